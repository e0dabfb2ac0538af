package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	redigo "github.com/gomodule/redigo/redis"
	"golang.org/x/crypto/bcrypt"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

var flood = flag.Duration("flood", 0, "total duration of the flood in TestLoginFlood; limits are checked from 10s on, 0 is a short run")

const (
	floodPassword = "correct horse battery"
	floodAccounts = 8
	floodClients  = 128
	floodCost     = 10
	floodBackoff  = 100 * time.Millisecond // after a 503, whatever Retry-After says
	floodRampUp   = time.Second            // until all clients have started

	// redisPing measures Redis directly, to show how much of a delay is due to this machine.
	redisPing = "Redis PING"

	// minFloodTime is the shortest duration for which the limits are checked.
	minFloodTime    = 10 * time.Second
	maxSlowdown     = 2.5 // p99 of session checks, relative to the time before the flood
	minHashShare    = 0.9 // login rate, relative to bcrypt alone on this machine
	maxFloodRSS     = 256 // MiB
	maxForeignUsage = 0.2 // share of the processors; beyond it the results mean nothing
)

// pacedRequests are the requests of other users: the total rate per second, and the number
// of connections.
var pacedRequests = []struct {
	path    string
	rate    int
	clients int
}{
	{"/auth/session", 200, 8},
	{"/auth/me", 20, 2},
	{"/healthz", 10, 1},
	{"/readyz", 5, 1},
	{redisPing, 50, 1},
}

// A flood of logins does not slow down other requests: hashing uses only idle processor
// time. The server runs in its own process; the clients and MongoDB run in this one.
func TestLoginFlood(t *testing.T) {
	suite.Require(t, suite.Flood)
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}

	rounds := 1
	length := 2 * time.Second
	hashing := 250 * time.Millisecond
	if *flood > 0 {
		rounds = 3
		length = *flood / 3
		hashing = max(500*time.Millisecond, *flood/20)
	}

	redis := storetest.NewRedis(t)
	p := startProcess(t, build(t), append(baseSettings(redis, storetest.Mongo(t)),
		"APP_ENV=development",
		"LOG_FORMAT=json",
		"RATE_LIMIT=off",
		"REDIS_TIMEOUT=10s",
		"MONGODB_TIMEOUT=10s",
		fmt.Sprintf("BCRYPT_COST=%d", floodCost)))
	f := &floodRun{
		t:      t,
		base:   "http://" + p.addr,
		pid:    p.cmd.Process.Pid,
		redis:  redis.Conn(t),
		errors: map[string][]string{},
	}
	for i := range floodAccounts {
		f.register(fmt.Sprintf("flooded%d@example.com", i))
	}
	f.cookie = f.register("watcher@example.com")

	results := make([]floodRound, rounds)
	for i := range results {
		f.measure(&results[i], length, hashing)
	}
	t.Log(floodTable(results))
	for route, errors := range f.errors {
		t.Errorf("%s: got %d errors, want none; the first: %s", route, len(errors), errors[0])
	}
	if *flood < minFloodTime {
		return
	}

	for _, r := range results {
		if usage := max(r.cpuQuiet.foreignShare(), r.cpuFlood.foreignShare()); usage > maxForeignUsage {
			t.Skipf("limits not checked: Redis and other programs used %.0f%% of the processors", 100*usage)
		}
	}
	check := func(name string, got, least, most float64) {
		if got < least || got > most {
			t.Errorf("%s: got %.2f, want %.2f to %.2f", name, got, least, most)
		}
	}
	check("p99 of /auth/session, flood/quiet", median(column(results, floodRound.slowdown)), 0, maxSlowdown)
	check("login rate, relative to bcrypt alone in the available time", median(column(results, floodRound.availableShare)), minHashShare, 2)
	check("MiB of memory", slices.Max(column(results, func(r floodRound) float64 { return r.peakRSS })), 0, maxFloodRSS)
}

// floodRun holds the clients of the server.
type floodRun struct {
	t      *testing.T
	base   string
	cookie string
	pid    int
	redis  redigo.Conn

	mu     sync.Mutex
	errors map[string][]string // by route
}

// latencies holds response times by path.
type latencies map[string][]time.Duration

// floodRound is the result of one round.
type floodRound struct {
	bcryptRate float64 // hashes per second while the server is idle
	quiet      latencies
	flooded    latencies
	logins     []time.Duration // responses with 200 or 401
	rejected   []time.Duration // responses with 503
	floodTime  time.Duration
	cpuQuiet   cpuTimes
	cpuFlood   cpuTimes

	// Resident memory in MiB.
	rssBefore, peakRSS, rssAfter float64
}

// measure runs one round: a quiet phase, then a flood.
func (f *floodRun) measure(r *floodRound, length, hashing time.Duration) {
	rateBefore := bcryptRate(f.t, hashing)
	r.rssBefore = f.memory("VmRSS")
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", f.pid), []byte("5"), 0) // resets VmHWM

	before := f.cpu()
	r.quiet = f.pace(length)
	r.cpuQuiet = f.cpu().since(before)

	f.flood(length, r)
	r.bcryptRate = (rateBefore + bcryptRate(f.t, hashing)) / 2 // the speed of the machine varies
	r.peakRSS = f.memory("VmHWM")
	r.rssAfter = f.memory("VmRSS")
}

// loginRate returns the number of logins per second.
func (r floodRound) loginRate() float64 { return float64(len(r.logins)) / r.floodTime.Seconds() }

// hashShare returns the login rate relative to bcrypt alone.
func (r floodRound) hashShare() float64 { return r.loginRate() / r.bcryptRate }

// availableShare estimates hashShare on a dedicated server: it leaves out the processor time
// of clients, stores, other programs and paced requests.
func (r floodRound) availableShare() float64 {
	c := r.cpuFlood

	return r.hashShare() / (1 - c.own/c.total - c.foreignShare() - r.cpuQuiet.serving/r.cpuQuiet.total)
}

func (r floodRound) slowdown() float64 {
	return percentile(r.flooded["/auth/session"], 99) / percentile(r.quiet["/auth/session"], 99)
}

func (f *floodRun) fail(route, format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()

	f.errors[route] = append(f.errors[route], fmt.Sprintf(format, args...))
}

func (f *floodRun) register(email string) (cookie string) {
	f.t.Helper()

	body := `{"name":"F","email":"` + email + `","password":"` + floodPassword + `"}`

	return mustSend(f.t, http.StatusCreated, "POST", f.base+"/auth/register", body).cookie()
}

// pace sends requests on a fixed schedule, whatever the response times, and measures the
// delays relative to the schedule.
func (f *floodRun) pace(length time.Duration) latencies {
	all := latencies{}
	var mu sync.Mutex
	var clients sync.WaitGroup
	startedAt := time.Now()
	for _, p := range pacedRequests {
		for i := range p.clients {
			clients.Go(func() {
				client := http.Client{Transport: &http.Transport{}}
				defer client.CloseIdleConnections()

				var times []time.Duration
				for n := i; ; n += p.clients {
					due := startedAt.Add(time.Duration(n) * time.Second / time.Duration(p.rate))
					if due.Sub(startedAt) >= length {
						break
					}
					if wait := time.Until(due); wait > 0 {
						time.Sleep(wait)
						due = time.Now() // a late wake-up is not the server's fault
					}
					if err := f.get(&client, p.path); err != nil {
						f.fail(p.path, "%v", err)
					}
					times = append(times, time.Since(due))
				}

				mu.Lock()
				defer mu.Unlock()
				all[p.path] = append(all[p.path], times...)
			})
		}
	}
	clients.Wait()

	return all
}

func (f *floodRun) get(c *http.Client, path string) error {
	if path == redisPing {
		_, err := f.redis.Do("PING")
		return err
	}

	req, err := http.NewRequest(http.MethodGet, f.base+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Cookie", f.cookie)
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()

	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("got %s %.300s, want 200", res.Status, body)
	}

	return err
}

// flood logs in on all connections without a pause, half of the time with a wrong password.
// It returns after the last response.
func (f *floodRun) flood(length time.Duration, r *floodRound) {
	transport := &http.Transport{MaxIdleConnsPerHost: floodClients}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport}

	var done atomic.Bool
	var mu sync.Mutex
	var clients sync.WaitGroup
	for i := range floodClients {
		clients.Go(func() {
			time.Sleep(time.Duration(i) * floodRampUp / floodClients)
			for n := i; !done.Load(); n++ {
				sentAt := time.Now()
				status := f.login(&client, n/2%floodAccounts, n%2 == 0)
				latency := time.Since(sentAt)
				if done.Load() {
					return // too late to be counted
				}

				rejected := status == http.StatusServiceUnavailable
				mu.Lock()
				if rejected {
					r.rejected = append(r.rejected, latency)
				} else {
					r.logins = append(r.logins, latency)
				}
				mu.Unlock()
				if rejected {
					time.Sleep(floodBackoff)
				}
			}
		})
	}

	before := f.cpu()
	startedAt := time.Now()
	r.flooded = f.pace(length)
	done.Store(true)
	r.floodTime = time.Since(startedAt)
	r.cpuFlood = f.cpu().since(before)
	clients.Wait()
}

func (f *floodRun) login(c *http.Client, account int, correct bool) (status int) {
	const route = "/auth/login"
	password, want := floodPassword, http.StatusOK
	if !correct {
		password, want = "wrong horse battery", http.StatusUnauthorized
	}

	res, err := c.Post(f.base+route, "application/json", strings.NewReader(fmt.Sprintf(`{"email":"flooded%d@example.com","password":"%s"}`, account, password)))
	if err != nil {
		f.fail(route, "%v", err)
		return 0
	}
	defer func() { _ = res.Body.Close() }()

	body, err := io.ReadAll(res.Body)
	rejected := res.StatusCode == http.StatusServiceUnavailable
	switch {
	case err != nil, res.StatusCode != want && !rejected:
		f.fail(route, "got %s %.300s and error %v, want %d", res.Status, body, err, want)
	case rejected && (res.Header.Get("Retry-After") == "" || !bytes.Contains(body, []byte(`"overloaded"`))):
		f.fail(route, "503: got %.300s, want the code overloaded and Retry-After", body)
	}

	return res.StatusCode
}

// bcryptRate returns the number of hashes per second that all processors together compute.
func bcryptRate(t *testing.T, length time.Duration) float64 {
	hash, err := bcrypt.GenerateFromPassword([]byte(floodPassword), floodCost)
	testkit.NoError(t, err)

	var workers sync.WaitGroup
	var mu sync.Mutex
	rate := 0.0
	for range runtime.NumCPU() {
		workers.Go(func() {
			startedAt := time.Now()
			n := 0
			for ; time.Since(startedAt) < length; n++ {
				_ = bcrypt.CompareHashAndPassword(hash, []byte(floodPassword))
			}

			mu.Lock()
			defer mu.Unlock()
			rate += float64(n) / time.Since(startedAt).Seconds()
		})
	}
	workers.Wait()

	return rate
}

// memory returns a value of /proc/<pid>/status in MiB.
func (f *floodRun) memory(name string) float64 {
	kib, err := procStatus(f.pid, name)
	testkit.NoError(f.t, err)

	return kib / 1024
}

// cpuTimes holds processor times in ticks.
type cpuTimes struct {
	hashing float64 // the server's low-priority threads
	serving float64 // the server's other threads
	own     float64 // this process
	busy    float64 // all processes
	total   float64 // including idle time
}

func (c cpuTimes) since(before cpuTimes) cpuTimes {
	return cpuTimes{
		hashing: c.hashing - before.hashing,
		serving: c.serving - before.serving,
		own:     c.own - before.own,
		busy:    c.busy - before.busy,
		total:   c.total - before.total,
	}
}

// foreign returns the time that Redis and other programs used.
func (c cpuTimes) foreign() float64 { return c.busy - c.own - c.serving - c.hashing }

func (c cpuTimes) foreignShare() float64 { return c.foreign() / c.total }

func (f *floodRun) cpu() (c cpuTimes) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", f.pid))
	testkit.NoError(f.t, err)
	for _, thread := range threads {
		if used, nice := cpuOf(thread); nice > 0 {
			c.hashing += used
		} else {
			c.serving += used
		}
	}
	c.own, _ = cpuOf("/proc/self/stat")

	text, err := os.ReadFile("/proc/stat")
	testkit.NoError(f.t, err)
	first, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(first)[1:9] { // user nice system idle iowait irq softirq steal
		n, _ := strconv.ParseFloat(field, 64)
		c.total += n
		if i != 3 && i != 4 {
			c.busy += n
		}
	}

	return c
}

// cpuOf returns the processor time and the nice value in a file like proc_pid_stat(5), or
// zeros if the thread has ended.
func cpuOf(file string) (used, nice float64) {
	text, _ := os.ReadFile(file)
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 17 {
		return 0, 0
	}
	number := func(i int) float64 {
		n, _ := strconv.ParseFloat(fields[i-3], 64)
		return n
	}

	return number(14) + number(15), number(19)
}

// percentile returns a percentile in milliseconds, or 0 if there are no times.
func percentile(times []time.Duration, p int) float64 {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))

	return float64(sorted[min(len(sorted)-1, len(sorted)*p/100)]) / float64(time.Millisecond)
}

// floodTable returns the results as a Markdown table.
func floodTable(rounds []floodRound) string {
	type row struct {
		name   string
		digits int
		value  func(floodRound) float64
	}
	rows := []row{
		{"bcrypt alone, hashes/s", 1, func(r floodRound) float64 { return r.bcryptRate }},
		{"logins/s (200 and 401)", 1, floodRound.loginRate},
		{"logins / bcrypt alone", 2, floodRound.hashShare},
		{"login p50 ms", 0, func(r floodRound) float64 { return percentile(r.logins, 50) }},
		{"login p99 ms", 0, func(r floodRound) float64 { return percentile(r.logins, 99) }},
		{"rejected with 503", 0, func(r floodRound) float64 { return float64(len(r.rejected)) }},
		{"503 p99 ms", 1, func(r floodRound) float64 { return percentile(r.rejected, 99) }},
	}
	for _, p := range pacedRequests {
		for _, percent := range []int{50, 99} {
			rows = append(rows,
				row{fmt.Sprintf("%s p%d ms, quiet", p.path, percent), 2, func(r floodRound) float64 { return percentile(r.quiet[p.path], percent) }},
				row{fmt.Sprintf("%s p%d ms, flood", p.path, percent), 2, func(r floodRound) float64 { return percentile(r.flooded[p.path], percent) }})
		}
	}
	rows = append(rows,
		row{"/auth/session p99, flood / quiet", 2, floodRound.slowdown},
		row{"MiB resident, before", 0, func(r floodRound) float64 { return r.rssBefore }},
		row{"MiB resident, peak", 0, func(r floodRound) float64 { return r.peakRSS }},
		row{"MiB resident, after", 0, func(r floodRound) float64 { return r.rssAfter }},
		row{"logins / bcrypt alone in the available time", 2, floodRound.availableShare},
	)
	for _, phase := range []struct {
		name  string
		times func(floodRound) cpuTimes
	}{
		{"quiet", func(r floodRound) cpuTimes { return r.cpuQuiet }},
		{"flood", func(r floodRound) cpuTimes { return r.cpuFlood }},
	} {
		for _, part := range []struct {
			name  string
			ticks func(cpuTimes) float64
		}{
			{"hashing", func(c cpuTimes) float64 { return c.hashing }},
			{"the rest of the server", func(c cpuTimes) float64 { return c.serving }},
			{"clients and MongoDB", func(c cpuTimes) float64 { return c.own }},
			{"Redis and other programs", cpuTimes.foreign},
			{"idle", func(c cpuTimes) float64 { return c.total - c.busy }},
		} {
			rows = append(rows, row{"% of all processors, " + phase.name + ": " + part.name, 1, func(r floodRound) float64 {
				c := phase.times(r)
				return 100 * part.ticks(c) / c.total
			}})
		}
	}

	var b strings.Builder
	fmt.Fprintf(&b, "\n%d clients log in at bcrypt cost %d on %d processors\n\n| value |", floodClients, floodCost, runtime.NumCPU())
	for i := range rounds {
		fmt.Fprintf(&b, " round %d |", i+1)
	}
	fmt.Fprintf(&b, " median |\n| --- |%s\n", strings.Repeat(" ---: |", len(rounds)+1))
	for _, row := range rows {
		fmt.Fprintf(&b, "| %s |", row.name)
		values := column(rounds, row.value)
		for _, value := range append(values, median(values)) {
			fmt.Fprintf(&b, " %.*f |", row.digits, value)
		}
		b.WriteString("\n")
	}

	return b.String()
}
