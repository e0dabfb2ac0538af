package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	redigo "github.com/gomodule/redigo/redis"
	"golang.org/x/crypto/bcrypt"

	"latchkey/internal/devstore/storetest"
)

var flood = flag.Duration("flood", 0, "how long TestLoginFlood floods in all; from judgedFlood on its figures are judged, 0 is a short run without")

const (
	floodClients = 128
	floodCost    = 10
	floodAgain   = 100 * time.Millisecond // after a 503, whatever Retry-After says
	floodRise    = time.Second            // until all clients are there

	// control is asked of Redis itself: how much of a delay is that of this machine.
	control = "Redis PING"

	// judgedFlood is the least that gives figures which mean something.
	judgedFlood  = 10 * time.Second
	maxSlowdown  = 2.5 // of the p99 of session checks, against the quiet before
	minHashShare = 0.9 // of what bcrypt alone does on this machine
	maxFloodRSS  = 256 // MiB
	maxOthers    = 0.2 // of the processors; more, and nothing can be said
)

// paced are the requests that others make meanwhile: how many a second in all, and on
// how many connections.
var paced = []struct {
	path    string
	rate    int
	clients int
}{
	{"/auth/session", 200, 8}, {"/auth/me", 20, 2}, {"/healthz", 10, 1}, {"/readyz", 5, 1}, {control, 50, 1},
}

// A flood of logins does not slow the rest: the hashing is done with what the others
// leave. The server is a process of its own; the clients and MongoDB are in this one.
func TestLoginFlood(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	rounds, length, hashing := 1, 2*time.Second, 250*time.Millisecond
	if *flood > 0 {
		rounds, length, hashing = 3, *flood/3, max(500*time.Millisecond, *flood/20)
	}
	redis := storetest.NewRedis(t)
	p := startProcess(t, build(t), []string{
		"APP_ENV=development", "LOG_FORMAT=json", "HOST=127.0.0.1", "PORT=0", "SESSION_SECRET=" + secret,
		"MONGODB_URI=" + storetest.Mongo(t), fmt.Sprintf("REDIS_URI=redis://%s/%d", redis.Addr, redis.DB),
		"RATE_LIMIT=off", fmt.Sprintf("BCRYPT_COST=%d", floodCost),
	})
	f := &floodRun{t: t, base: "http://" + p.addr, pid: p.cmd.Process.Pid, redis: redis.Conn(t)}
	for i := range 8 {
		f.register(fmt.Sprintf("flooded%d@example.com", i))
	}
	f.cookie = f.register("watcher@example.com")

	results := make([]floodRound, rounds)
	for i := range results {
		r := &results[i]
		r.alone = bcryptAlone(t, hashing)
		r.rss = f.memory("VmRSS")
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", f.pid), []byte("5"), 0) // VmHWM begins again
		before := f.cpu()
		f.pace(length, &r.quiet)
		r.cpuQuiet = f.cpu().since(before)
		f.flood(length, r)
		r.alone = (r.alone + bcryptAlone(t, hashing)) / 2 // the machine is not always as fast
		r.peak, r.after = f.memory("VmHWM"), f.memory("VmRSS")
	}
	t.Log(floodTable(results))
	for route, wrong := range f.wrong {
		t.Errorf("%s: %d answers are not what they must be, the first: %s", route, len(wrong), wrong[0])
	}
	if *flood < judgedFlood {
		return
	}
	for _, r := range results {
		if busy := max(r.cpuQuiet.others(), r.cpuFlood.others()); busy > maxOthers {
			t.Skipf("not judged: other programs, and Redis, took %.0f%% of the processors", 100*busy)
		}
	}
	judge := func(what string, got, least, most float64) {
		if got < least || got > most {
			t.Errorf("%s: %.2f, must be from %.2f to %.2f", what, got, least, most)
		}
	}
	judge("the p99 of /auth/session in the flood, against before", median(results, floodRound.slowdown), 0, maxSlowdown)
	judge("logins, against bcrypt alone in the time that others left", median(results, floodRound.leftShare), minHashShare, 2)
	judge("MiB of memory", slices.Max(column(results, func(r floodRound) float64 { return r.peak })), 0, maxFloodRSS)
}

// floodRun is the clients of the server.
type floodRun struct {
	t            *testing.T
	base, cookie string
	pid          int
	redis        redigo.Conn

	mu    sync.Mutex
	wrong map[string][]string // by route: answers that are errors
}

// floodRound are the figures of one round.
type floodRound struct {
	alone              float64 // hashes a second without a server
	quiet, loud        map[string][]time.Duration
	login, refused     []time.Duration // of the answers 200 and 401, of 503
	during             time.Duration
	rss, peak, after   float64 // MiB
	cpuQuiet, cpuFlood cpuTimes
}

func (r floodRound) logins() float64 { return float64(len(r.login)) / r.during.Seconds() }
func (r floodRound) share() float64  { return r.logins() / r.alone }

// others is what other programs than the server and this one took of all processors.
func (c cpuTimes) others() float64 { return (c.busy - c.own - c.serving - c.hashing) / c.all }

// leftShare leaves out what the clients, the stores and other programs took, and what the
// paced requests cost the server before: on the processors of a server alone, logins
// would be that share of bcrypt alone.
func (r floodRound) leftShare() float64 {
	c := r.cpuFlood
	return r.share() / (1 - c.own/c.all - c.others() - r.cpuQuiet.serving/r.cpuQuiet.all)
}

func (r floodRound) slowdown() float64 {
	return percentile(r.loud["/auth/session"], 99) / percentile(r.quiet["/auth/session"], 99)
}

func (f *floodRun) note(route, format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wrong == nil {
		f.wrong = map[string][]string{}
	}
	f.wrong[route] = append(f.wrong[route], fmt.Sprintf(format, args...))
}

const floodPassword = "correct horse battery"

func (f *floodRun) register(email string) (cookie string) {
	f.t.Helper()
	res, err := http.Post(f.base+"/auth/register", "application/json", strings.NewReader(`{"name":"F","email":"`+email+`","password":"`+floodPassword+`"}`))
	if err != nil {
		f.t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		f.t.Fatal("register:", res.Status)
	}
	cookie, _, _ = strings.Cut(res.Header.Get("Set-Cookie"), ";")
	return cookie
}

// pace sends what others ask for at fixed times, however long the answers take, and
// notes how long after these they came.
func (f *floodRun) pace(length time.Duration, took *map[string][]time.Duration) {
	*took = map[string][]time.Duration{}
	var mu sync.Mutex
	var clients sync.WaitGroup
	begun := time.Now()
	for _, p := range paced {
		for i := range p.clients {
			clients.Go(func() {
				own := http.Client{Transport: &http.Transport{}}
				defer own.CloseIdleConnections()
				var all []time.Duration
				for n := i; ; n += p.clients {
					due := begun.Add(time.Duration(n) * time.Second / time.Duration(p.rate))
					if due.Sub(begun) >= length {
						break
					}
					if wait := time.Until(due); wait > 0 {
						time.Sleep(wait)
						due = time.Now() // being woken late is not the server's fault
					}
					f.get(&own, p.path)
					all = append(all, time.Since(due))
				}
				mu.Lock()
				defer mu.Unlock()
				(*took)[p.path] = append((*took)[p.path], all...)
			})
		}
	}
	clients.Wait()
}

func (f *floodRun) get(c *http.Client, path string) {
	if path == control {
		if _, err := f.redis.Do("PING"); err != nil {
			f.note(path, "%v", err)
		}
		return
	}
	req, err := http.NewRequest(http.MethodGet, f.base+path, nil)
	if err != nil {
		f.note(path, "%v", err)
		return
	}
	req.Header.Set("Cookie", f.cookie)
	res, err := c.Do(req)
	if err != nil {
		f.note(path, "%v", err)
		return
	}
	defer func() { _ = res.Body.Close() }()
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
		f.note(path, "%s %.300s %v", res.Status, body, err)
	}
}

// flood logs in on all connections without a pause, half of the time with a wrong
// password, while pace goes on. It returns when the last is answered.
func (f *floodRun) flood(length time.Duration, r *floodRound) {
	transport := &http.Transport{MaxIdleConnsPerHost: floodClients}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport}
	var over atomic.Bool
	var mu sync.Mutex
	var clients sync.WaitGroup
	for i := range floodClients {
		clients.Go(func() {
			time.Sleep(time.Duration(i) * floodRise / floodClients)
			for n := i; !over.Load(); n++ {
				asked := time.Now()
				status := f.login(&client, n/2%8, n%2 == 0)
				took := time.Since(asked)
				if over.Load() {
					return // not within the time that is counted
				}
				mu.Lock()
				if status == http.StatusServiceUnavailable {
					r.refused = append(r.refused, took)
				} else {
					r.login = append(r.login, took)
				}
				mu.Unlock()
				if status == http.StatusServiceUnavailable {
					time.Sleep(floodAgain)
				}
			}
		})
	}
	before, begun := f.cpu(), time.Now()
	f.pace(length, &r.loud)
	over.Store(true)
	r.during, r.cpuFlood = time.Since(begun), f.cpu().since(before)
	clients.Wait()
}

func (f *floodRun) login(c *http.Client, account int, right bool) (status int) {
	const route = "/auth/login"
	password, want := floodPassword, http.StatusOK
	if !right {
		password, want = "wrong horse battery", http.StatusUnauthorized
	}
	res, err := c.Post(f.base+route, "application/json", strings.NewReader(fmt.Sprintf(`{"email":"flooded%d@example.com","password":"%s"}`, account, password)))
	if err != nil {
		f.note(route, "%v", err)
		return 0
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	switch {
	case err != nil, res.StatusCode != want && res.StatusCode != http.StatusServiceUnavailable:
		f.note(route, "%s instead of %d: %.300s %v", res.Status, want, body, err)
	case res.StatusCode == http.StatusServiceUnavailable && (res.Header.Get("Retry-After") == "" || !bytes.Contains(body, []byte(`"overloaded"`))):
		f.note(route, "not a 503 of too many logins: %.300s", body)
	}
	return res.StatusCode
}

// bcryptAlone is how many hashes a second all processors do with nothing else to do.
func bcryptAlone(t *testing.T, length time.Duration) float64 {
	hash, err := bcrypt.GenerateFromPassword([]byte(floodPassword), floodCost)
	if err != nil {
		t.Fatal(err)
	}
	var workers sync.WaitGroup
	var mu sync.Mutex
	rate := 0.0
	for range runtime.NumCPU() {
		workers.Go(func() {
			begun, n := time.Now(), 0
			for ; time.Since(begun) < length; n++ {
				_ = bcrypt.CompareHashAndPassword(hash, []byte(floodPassword))
			}
			mu.Lock()
			defer mu.Unlock()
			rate += float64(n) / time.Since(begun).Seconds()
		})
	}
	workers.Wait()
	return rate
}

// memory reads a line of /proc/<pid>/status, in MiB.
func (f *floodRun) memory(name string) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.pid))
	if err != nil {
		f.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), name+":")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		f.t.Fatal(err)
	}
	return float64(kib) / 1024
}

// cpuTimes are processor times in ticks: of the server's threads of low priority, which
// hash, of its others, of this process, of all that ran, and of all there was.
type cpuTimes struct{ hashing, serving, own, busy, all float64 }

func (c cpuTimes) since(before cpuTimes) cpuTimes {
	return cpuTimes{c.hashing - before.hashing, c.serving - before.serving, c.own - before.own, c.busy - before.busy, c.all - before.all}
}

func (f *floodRun) cpu() (c cpuTimes) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", f.pid))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, thread := range threads {
		if used, nice := cpuOf(thread); nice > 0 {
			c.hashing += used
		} else {
			c.serving += used
		}
	}
	c.own, _ = cpuOf("/proc/self/stat")
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		f.t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(first)[1:9] { // user nice system idle iowait irq softirq steal
		n, _ := strconv.ParseFloat(field, 64)
		if c.all += n; i != 3 && i != 4 {
			c.busy += n
		}
	}
	return c
}

// cpuOf reads the time and the nice value in a file of proc_pid_stat(5). A thread that
// is gone has used nothing.
func cpuOf(file string) (used, nice float64) {
	text, _ := os.ReadFile(file)
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 17 {
		return 0, 0
	}
	number := func(i int) float64 { n, _ := strconv.ParseFloat(fields[i-3], 64); return n }
	return number(14) + number(15), number(19)
}

// percentile is in milliseconds.
func percentile(took []time.Duration, p int) float64 {
	if len(took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(took))
	return float64(sorted[min(len(sorted)-1, len(sorted)*p/100)]) / float64(time.Millisecond)
}

func column(rounds []floodRound, of func(floodRound) float64) []float64 {
	all := make([]float64, len(rounds))
	for i, r := range rounds {
		all[i] = of(r)
	}
	return all
}

func median(rounds []floodRound, of func(floodRound) float64) float64 {
	return slices.Sorted(slices.Values(column(rounds, of)))[len(rounds)/2]
}

// floodTable is the figures as Markdown.
func floodTable(rounds []floodRound) string {
	type row struct {
		name   string
		digits int
		of     func(floodRound) float64
	}
	rows := []row{
		{"bcrypt alone, hashes/s", 1, func(r floodRound) float64 { return r.alone }},
		{"logins/s (200 and 401)", 1, floodRound.logins},
		{"logins, of bcrypt alone", 2, floodRound.share},
		{"login p50 ms", 0, func(r floodRound) float64 { return percentile(r.login, 50) }},
		{"login p99 ms", 0, func(r floodRound) float64 { return percentile(r.login, 99) }},
		{"refused with 503", 0, func(r floodRound) float64 { return float64(len(r.refused)) }},
		{"503 p99 ms", 1, func(r floodRound) float64 { return percentile(r.refused, 99) }},
	}
	for _, p := range paced {
		for _, percent := range []int{50, 99} {
			rows = append(rows,
				row{fmt.Sprintf("%s p%d ms, quiet", p.path, percent), 2, func(r floodRound) float64 { return percentile(r.quiet[p.path], percent) }},
				row{fmt.Sprintf("%s p%d ms, flood", p.path, percent), 2, func(r floodRound) float64 { return percentile(r.loud[p.path], percent) }})
		}
	}
	rows = append(rows,
		row{"/auth/session p99, flood of quiet", 2, floodRound.slowdown},
		row{"MiB resident before", 0, func(r floodRound) float64 { return r.rss }},
		row{"MiB at the peak", 0, func(r floodRound) float64 { return r.peak }},
		row{"MiB after", 0, func(r floodRound) float64 { return r.after }},
		row{"logins, of bcrypt alone in the time that others left", 2, floodRound.leftShare},
	)
	for _, phase := range []struct {
		name string
		of   func(floodRound) cpuTimes
	}{{"quiet", func(r floodRound) cpuTimes { return r.cpuQuiet }}, {"flood", func(r floodRound) cpuTimes { return r.cpuFlood }}} {
		for _, part := range []struct {
			name string
			of   func(cpuTimes) float64
		}{
			{"hashing", func(c cpuTimes) float64 { return c.hashing }},
			{"the server but for that", func(c cpuTimes) float64 { return c.serving }},
			{"clients and MongoDB", func(c cpuTimes) float64 { return c.own }},
			{"Redis and other programs", func(c cpuTimes) float64 { return c.busy - c.own - c.serving - c.hashing }},
			{"nothing", func(c cpuTimes) float64 { return c.all - c.busy }},
		} {
			rows = append(rows, row{"% of all processors, " + phase.name + ": " + part.name, 1, func(r floodRound) float64 {
				c := phase.of(r)
				return 100 * part.of(c) / c.all
			}})
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d clients log in at bcrypt cost %d on %d processors\n\n| what |", floodClients, floodCost, runtime.NumCPU())
	for i := range rounds {
		fmt.Fprintf(&b, " round %d |", i+1)
	}
	fmt.Fprintf(&b, " median |\n| --- |%s\n", strings.Repeat(" ---: |", len(rounds)+1))
	for _, row := range rows {
		fmt.Fprintf(&b, "| %s |", row.name)
		for _, value := range append(column(rounds, row.of), median(rounds, row.of)) {
			fmt.Fprintf(&b, " %.*f |", row.digits, value)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// build makes the program and returns its file.
func build(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "latchkey")
	if out, err := exec.Command("go", "build", "-o", file, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return file
}

// process is the program as a process of its own, for what a test cannot do to itself.
type process struct {
	addr string
	out  *output
	cmd  *exec.Cmd
	gone chan struct{}
}

// startProcess runs the program until the test ends.
func startProcess(t *testing.T, file string, environ []string) *process {
	t.Helper()
	p := &process{out: &output{lines: make(chan string, 64)}, cmd: exec.Command(file), gone: make(chan struct{})}
	p.cmd.Env, p.cmd.Dir = environ, t.TempDir()
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.gone)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(p.stop)
	for {
		select {
		case <-p.out.lines:
			for line := range strings.Lines(p.out.String()) {
				var entry struct{ Msg, Address string }
				if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "listening" {
					p.addr = entry.Address
					return p
				}
			}
		case <-p.gone:
			t.Fatalf("the program ended\n%s", p.out)
		case <-time.After(20 * time.Second):
			t.Fatalf("the program does not listen\n%s", p.out)
		}
	}
}

// stop ends the process as an operator does.
func (p *process) stop() {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); errors.Is(err, os.ErrProcessDone) {
		return
	}
	select {
	case <-p.gone:
	case <-time.After(20 * time.Second):
		p.kill()
	}
}

// kill ends the process at once (SIGKILL).
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.gone
}
