package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

var flood = flag.Duration("flood", 0, "duration of the flood in TestLoginFlood; limits are checked from 10s on, 0 is a short run")

const (
	floodPassword = "correct horse battery"
	floodAccounts = 8
	floodClients  = 128
	floodCost     = 10
	floodBackoff  = 100 * time.Millisecond // after a 503, whatever Retry-After says
	floodRampUp   = time.Second            // until all clients have started

	// minFloodTime is the shortest duration for which the limits are checked.
	minFloodTime    = 10 * time.Second
	maxSlowdown     = 2.5 // p99 of session checks, relative to the time before the flood
	minHashShare    = 0.9 // login rate, relative to bcrypt alone in the available processor time
	maxFloodRSS     = 256 // MiB
	maxForeignUsage = 0.2 // share of the processors; beyond it the results mean nothing
)

// pacedRequests are the requests of other users: the total rate per second, and the number
// of connections. Only the response times of the first are measured.
var pacedRequests = []struct {
	path    string
	rate    int
	clients int
}{
	{"/auth/session", 200, 8},
	{"/auth/me", 20, 2},
	{"/healthz", 10, 1},
	{"/readyz", 5, 1},
}

// A flood of logins does not slow down other requests: hashing uses only idle processor
// time. The server runs in its own process; the clients and MongoDB run in this one. The use of memory
// and of the processors is in /proc.
func TestLoginFlood(t *testing.T) {
	suite.Require(t, suite.Flood)

	p := startProcess(t, build(t), append(baseSettings(storetest.NewRedis(t), storetest.Mongo(t)),
		"TRUSTED_PROXIES=127.0.0.1",
		"RATE_LIMIT=off",
		"REDIS_TIMEOUT=10s",
		"MONGODB_TIMEOUT=10s",
		fmt.Sprintf("BCRYPT_COST=%d", floodCost)))
	f := &floodRun{t: t, base: "http://" + p.addr, pid: strconv.Itoa(p.cmd.Process.Pid)}
	for i := range floodAccounts {
		body := fmt.Sprintf(`{"name":"F","email":"flooded%d@example.com","password":"%s"}`, i, floodPassword)
		f.cookie = mustSend(t, http.StatusCreated, "POST", f.base+"/auth/register", body).cookie()
	}

	length := cmp.Or(*flood, 2*time.Second)
	hashRate := f.bcryptRate(length / 16)
	before := f.usage()
	quietDelays := f.pace(length)
	quietUsage := f.usage().since(before)

	logins, floodDelays, floodUsage := f.flood(length)
	hashRate = (hashRate + f.bcryptRate(length/16)) / 2 // the speed of the machine varies
	f.failed.report(t)

	slowdown := p99(floodDelays).Seconds() / p99(quietDelays).Seconds()
	available := (floodUsage.server+floodUsage.idle)/floodUsage.total - quietUsage.server/quietUsage.total
	share := float64(logins) / length.Seconds() / hashRate / available
	memory := peakMemory(t, f.pid)
	t.Logf("%d logins, %.2f times bcrypt alone; p99 of session checks: %v, in the flood %v; %.0f MiB",
		logins, share, p99(quietDelays), p99(floodDelays), memory)
	if *flood < minFloodTime {
		return
	}
	if foreign := max(quietUsage.foreign(), floodUsage.foreign()); foreign > maxForeignUsage {
		t.Fatalf("limits not checked: Redis and other programs used %.0f%% of the processors; this test needs an idle machine", 100*foreign)
	}

	check := func(name string, got, least, most float64) {
		if got < least || got > most {
			t.Errorf("%s: got %.2f, want %.2f to %.2f", name, got, least, most)
		}
	}
	check("p99 of session checks, flood/quiet", slowdown, 0, maxSlowdown)
	check("login rate, relative to bcrypt alone in the available time", share, minHashShare, 2)
	check("MiB of memory", memory, 0, maxFloodRSS)
}

// floodRun sends requests to the server and measures it.
type floodRun struct {
	t      *testing.T
	base   string
	cookie string
	pid    string
	failed failures
}

// pace sends the paced requests on a fixed schedule, whatever the response times. It returns
// the delays of session checks relative to the schedule.
func (f *floodRun) pace(length time.Duration) (delays []time.Duration) {
	var mu sync.Mutex
	var clients sync.WaitGroup
	startedAt := time.Now()
	for _, p := range pacedRequests {
		for i := range p.clients {
			clients.Go(func() {
				c := newLoadClient(f.base)
				c.cookie = f.cookie
				defer c.http.CloseIdleConnections()

				for n := i; ; n += p.clients {
					due := startedAt.Add(time.Duration(n) * time.Second / time.Duration(p.rate))
					if due.Sub(startedAt) >= length {
						return
					}
					if wait := time.Until(due); wait > 0 {
						time.Sleep(wait)
						due = time.Now() // a late wake-up is not the server's fault
					}

					f.failed.add(c.do("GET", p.path, "", http.StatusOK))
					if p.path == pacedRequests[0].path {
						mu.Lock()
						delays = append(delays, time.Since(due))
						mu.Unlock()
					}
				}
			})
		}
	}
	clients.Wait()

	return delays
}

// flood logs in on all connections without a pause while it sends the paced requests. It
// returns the number of logins, the delays of session checks and the use of the processors.
func (f *floodRun) flood(length time.Duration) (logins int64, delays []time.Duration, used usage) {
	transport := &http.Transport{MaxIdleConnsPerHost: floodClients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}

	var done atomic.Bool
	var served atomic.Int64
	var clients sync.WaitGroup
	for i := range floodClients {
		clients.Go(func() {
			time.Sleep(time.Duration(i) * floodRampUp / floodClients)
			for n := i; !done.Load(); n++ {
				rejected, err := f.login(client, n)
				f.failed.add(err)
				if rejected {
					time.Sleep(floodBackoff)
				} else {
					served.Add(1)
				}
			}
		})
	}

	before := f.usage()
	delays = f.pace(length)
	logins = served.Load()
	used = f.usage().since(before)
	done.Store(true)
	clients.Wait()

	return logins, delays, used
}

// login sends the nth login of a client, half of the time with a wrong password. It reports
// whether the server rejected it because too many logins were waiting.
func (f *floodRun) login(c *http.Client, n int) (rejected bool, err error) {
	password := floodPassword
	want := http.StatusOK
	if n%2 == 1 {
		password = "wrong horse battery"
		want = http.StatusUnauthorized
	}

	body := fmt.Sprintf(`{"email":"flooded%d@example.com","password":"%s"}`, n/2%floodAccounts, password)
	res, err := fetch(c, "POST", f.base+"/auth/login", body)
	switch {
	case err != nil:
		return false, err
	case res.StatusCode == http.StatusServiceUnavailable:
		if res.Header.Get("Retry-After") == "" || !strings.Contains(res.text, `"overloaded"`) {
			err = errors.New("503 without Retry-After or the code overloaded")
		}

		return true, err
	case res.StatusCode != want:
		return false, fmt.Errorf("login: got %s %.300s, want %d", res.Status, res.text, want)
	}

	return false, nil
}

// bcryptRate returns the number of hashes per second that all processors together compute.
func (f *floodRun) bcryptRate(length time.Duration) float64 {
	hash, err := bcrypt.GenerateFromPassword([]byte(floodPassword), floodCost)
	testkit.NoError(f.t, err)

	startedAt := time.Now()
	rates := testkit.Concurrently(runtime.NumCPU(), func(int) float64 {
		n := 0.0
		for ; time.Since(startedAt) < length; n++ {
			_ = bcrypt.CompareHashAndPassword(hash, []byte(floodPassword))
		}

		return n / time.Since(startedAt).Seconds()
	})

	total := 0.0
	for _, rate := range rates {
		total += rate
	}

	return total
}

// peakMemory returns the maximum resident memory of a process in MiB.
func peakMemory(t *testing.T, pid string) float64 {
	t.Helper()

	status, err := os.ReadFile("/proc/" + pid + "/status")
	testkit.NoError(t, err)
	match := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	kib, err := strconv.ParseFloat(string(match[1]), 64)
	testkit.NoError(t, err)

	return kib / 1024
}

// usage holds processor times in ticks.
type usage struct {
	server float64
	own    float64 // of this process
	idle   float64
	total  float64 // of all processors
}

func (u usage) since(before usage) usage {
	return usage{
		server: u.server - before.server,
		own:    u.own - before.own,
		idle:   u.idle - before.idle,
		total:  u.total - before.total,
	}
}

// foreign returns the share of the processors that Redis and other programs used.
func (u usage) foreign() float64 { return (u.total - u.idle - u.own - u.server) / u.total }

func (f *floodRun) usage() usage {
	// read returns the numbers after a name in the first line of a file.
	read := func(file, name string) (numbers []float64) {
		text, err := os.ReadFile(file)
		testkit.NoError(f.t, err)
		line, _, _ := strings.Cut(string(text), "\n")
		for field := range strings.FieldsSeq(line[strings.LastIndex(line, name)+len(name):]) {
			n, _ := strconv.ParseFloat(field, 64)
			numbers = append(numbers, n)
		}

		return numbers
	}

	all := read("/proc/stat", "cpu")[:8] // user nice system idle iowait irq softirq steal
	server := read("/proc/"+f.pid+"/stat", ")")
	own := read("/proc/self/stat", ")")
	u := usage{
		server: server[11] + server[12], // utime and stime
		own:    own[11] + own[12],
		idle:   all[3] + all[4],
	}
	for _, n := range all {
		u.total += n
	}

	return u
}

// p99 sorts times and returns their 99th percentile.
func p99(times []time.Duration) time.Duration {
	slices.Sort(times)

	return times[min(len(times)-1, len(times)*99/100)]
}
