package main

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
)

const (
	// minSlopeTime is the shortest run for which the slope of memory usage is checked.
	minSlopeTime = 10 * time.Minute
	maxSoakSlope = 1.0 // MiB in 10 minutes, after the warm-up
	// maxSoakGrowth is the limit for shorter runs, in which the Go runtime still grows to
	// its working size: MiB after the warm-up.
	maxSoakGrowth = 16.0
	// soakWarmUp excludes one in this many windows from the checks. In a run of 10 minutes
	// memory usage grows for 6.
	soakWarmUp = 2
	// maxSoakDrift is the maximum change of a count that does not depend on traffic.
	maxSoakDrift = 5
	// soakRetention is how long Redis keeps the record of a timed-out session.
	soakRetention = 24 * time.Hour
	// The maximum number of connections to each store: see packages redisconn and
	// mongoconn.
	maxRedisConns, maxMongoConns = 64, 100
)

// soakKinds are the prefixes of all expected keys in Redis.
var soakKinds = []string{"sess:", "ended:", "idx:", "generation:", "limit:{"}

// soakWatch observes the server from outside.
type soakWatch struct {
	t         *testing.T
	pid       int
	redis     redigo.Conn
	redisPort int
	mongoPort int
	ops       string // host:port of the ops listener
	startedAt time.Time
	samples   []soakSample

	mu     sync.Mutex
	memory []float64 // resident MiB, one value per second of the current window
}

// soakSample is a measurement at the end of a window, without traffic.
type soakSample struct {
	elapsed    time.Duration
	requests   int
	rss        float64 // MiB, the median of the window
	heap       float64 // MiB, or -1 without metrics
	goroutines int     // -1 without metrics
	threads    int
	files      map[string]int // open descriptors by kind
	keys       map[string]int // keys in Redis by kind
	certain    int            // sessions that are certainly alive
	possible   int            // sessions that may be alive
}

func newSoakWatch(t *testing.T, p *process, redis storetest.Redis, mongo, ops string) *soakWatch {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("reads /proc")
	}
	uri, err := url.Parse(mongo)
	testkit.NoError(t, err)

	return &soakWatch{
		t:         t,
		pid:       p.cmd.Process.Pid,
		redis:     redis.Conn(t),
		redisPort: portOf(redis.Addr),
		mongoPort: portOf(uri.Host),
		ops:       ops,
		startedAt: time.Now(),
	}
}

func portOf(addr string) int {
	_, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port)

	return n
}

// sampleMemory records the memory usage of the server until stop is closed.
func (w *soakWatch) sampleMemory(stop <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()

	for {
		rss, _ := procStatus(w.pid, "VmRSS")
		w.mu.Lock()
		w.memory = append(w.memory, rss/1024)
		w.mu.Unlock()

		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// measure waits until the clients' connections are closed, and takes a sample.
func (w *soakWatch) measure(s *soakRun, window int) {
	const maxWait = 15 * time.Second // until the server drops a connection with half a request
	files := w.files()
	for deadline := time.Now().Add(maxWait); files["clients"] > 0 && time.Now().Before(deadline); files = w.files() {
		time.Sleep(50 * time.Millisecond)
	}

	w.mu.Lock()
	rss := median(w.memory)
	w.memory = nil
	w.mu.Unlock()

	threads, _ := procStatus(w.pid, "Threads")
	goroutines, heap := w.metrics()
	sample := soakSample{
		elapsed:    time.Since(w.startedAt),
		requests:   s.requests,
		rss:        rss,
		heap:       heap,
		goroutines: goroutines,
		threads:    int(threads),
		files:      files,
		keys:       map[string]int{},
	}
	w.checkSessions(s, &sample)
	w.samples = append(w.samples, sample)
	w.t.Logf("window %d: %d requests, %.1f MiB, %d goroutines, files %v, keys %v", window+1, s.requests, rss, goroutines, files, sample.keys)
}

// files counts the server's open descriptors.
func (w *soakWatch) files() map[string]int {
	remotePorts := map[string]int{} // by inode
	for _, name := range []string{"tcp", "tcp6"} {
		table, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", w.pid, name))
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(table); lines.Scan(); {
			fields := strings.Fields(lines.Text())
			if len(fields) < 10 {
				continue
			}
			_, port, _ := strings.Cut(fields[2], ":")
			n, _ := strconv.ParseInt(port, 16, 32)
			remotePorts["socket:["+fields[9]+"]"] = int(n)
		}
		_ = table.Close()
	}

	counts := map[string]int{}
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", w.pid))
	for _, link := range links {
		target, err := os.Readlink(link)
		port, isSocket := remotePorts[target]
		switch {
		case err != nil:
		case isSocket && port == w.redisPort:
			counts["redis"]++
		case isSocket && port == w.mongoPort:
			counts["mongo"]++
		case isSocket && port != 0:
			counts["clients"]++
		default:
			counts["others"]++
		}
	}

	return counts
}

// metrics reads the ops listener. It returns -1 for missing metrics.
func (w *soakWatch) metrics() (goroutines int, heap float64) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := client.Get("http://" + w.ops + "/metrics")
	if err != nil {
		return -1, -1
	}
	defer func() { _ = res.Body.Close() }()

	text, _ := io.ReadAll(res.Body)
	value := func(name string) float64 {
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, name+" "); ok {
				n, _ := strconv.ParseFloat(strings.TrimSpace(rest), 64)
				return n
			}
		}

		return -1
	}

	return int(value("go_goroutines")), max(-1, value("go_memstats_heap_alloc_bytes")/(1<<20))
}

// checkSessions compares the sessions in Redis with those of the clients.
func (w *soakWatch) checkSessions(s *soakRun, sample *soakSample) {
	before := time.Now()
	stored := w.scanKeys(sample)
	after := time.Now()

	tokens := 0
	for _, c := range s.clients {
		tokens += c.tokens
		for _, known := range c.sessions {
			key := "sess:" + session.IDOf(known.token)
			certain, _ := known.aliveAt(after)
			_, possible := known.aliveAt(before)
			if certain {
				sample.certain++
			}
			if possible {
				sample.possible++
			}
			if stored[key] && !possible || !stored[key] && certain {
				w.t.Errorf("session created %v ago and last seen %v ago: stored is %v, want %v", after.Sub(known.createdAt), after.Sub(known.seenTo), stored[key], !stored[key])
			}
			delete(stored, key)
		}
	}

	for key, alive := range stored {
		if alive && strings.HasPrefix(key, "sess:") {
			w.t.Errorf("%s: got a session that no client has", key)
		}
	}
	for kind, most := range map[string]int{"ended:": tokens, "idx:": soakClients, "generation:": soakClients, "limit:{": 4 * soakClients} {
		if sample.keys[kind] > most {
			w.t.Errorf("keys with prefix %s: got %d, want at most %d", kind, sample.keys[kind], most)
		}
	}
}

// scanKeys returns all keys in Redis, and whether each is anything but a timed-out session.
func (w *soakWatch) scanKeys(sample *soakSample) map[string]bool {
	stored := map[string]bool{}
	for cursor := "0"; ; {
		page, err := redigo.Values(w.redis.Do("SCAN", cursor, "COUNT", 1000))
		testkit.NoError(w.t, err)
		var keys []string
		_, err = redigo.Scan(page, &cursor, &keys)
		testkit.NoError(w.t, err)

		for _, key := range keys {
			stored[key] = w.countKey(key, sample)
		}
		if cursor == "0" {
			return stored
		}
	}
}

// countKey counts a key, which must have a TTL, and reports whether it is anything but a
// timed-out session.
func (w *soakWatch) countKey(key string, sample *soakSample) bool {
	i := slices.IndexFunc(soakKinds, func(kind string) bool { return strings.HasPrefix(key, kind) })
	if i < 0 {
		w.t.Errorf("unknown kind of key: %s", key)
		return false
	}

	ttl, err := redigo.Int64(w.redis.Do("PTTL", key))
	if err != nil || ttl == -1 {
		w.t.Errorf("%s: got TTL %d and error %v, want a TTL", key, ttl, err)
	}
	if soakKinds[i] == "sess:" && ttl <= soakRetention.Milliseconds() {
		return false
	}
	sample.keys[soakKinds[i]]++

	return true
}

// report logs the measurements and checks them against the limits.
func (w *soakWatch) report(length time.Duration, s *soakRun) {
	w.t.Log(w.table())
	slices.Sort(s.latencies)
	n := len(s.latencies)
	w.t.Logf("%d requests in %v, %.0f per second of traffic; p50 %v, p99 %v, maximum %v", s.requests, length,
		float64(s.requests)/length.Seconds(), s.latencies[n/2], s.latencies[n*99/100], s.latencies[n-1])
	for message, count := range s.errors {
		w.t.Errorf("%d times: %s", count, message)
	}

	checked := w.samples[len(w.samples)/soakWarmUp:]
	first := checked[0]
	last := checked[len(checked)-1]
	growth := last.rss - first.rss
	slope := w.slope(checked)
	w.t.Logf("memory after the warm-up: from %.1f to %.1f MiB", first.rss, last.rss)
	if length >= minSlopeTime {
		w.t.Logf("memory growth: %.2f MiB in 10 minutes", slope)
	}
	switch {
	case length >= minSlopeTime && slope > maxSoakSlope:
		w.t.Errorf("memory growth: got %.2f MiB in 10 minutes, want at most %.0f", slope, maxSoakSlope)
	case length < minSlopeTime && growth > maxSoakGrowth:
		w.t.Errorf("memory growth: got %.1f MiB, want at most %.0f", growth, maxSoakGrowth)
	}

	// Compare medians, because background work comes and goes.
	third := (len(checked) + 2) / 3
	for name, value := range map[string]func(soakSample) float64{
		"goroutines without traffic": func(s soakSample) float64 { return float64(s.goroutines) },
		"other descriptors":          func(s soakSample) float64 { return float64(s.files["others"]) },
	} {
		early := median(column(checked[:third], value))
		late := median(column(checked[len(checked)-third:], value))
		if math.Abs(late-early) > maxSoakDrift {
			w.t.Errorf("%s: got %.0f at the end, want about %.0f as after the warm-up", name, late, early)
		}
	}

	for _, sample := range checked {
		if n := sample.files["clients"]; n > 0 {
			w.t.Errorf("open client connections: got %d, want 0", n)
		}
		if sample.files["redis"] > maxRedisConns || sample.files["mongo"] > maxMongoConns {
			w.t.Errorf("connections to the stores: got %v, want at most %d to Redis and %d to MongoDB", sample.files, maxRedisConns, maxMongoConns)
		}
	}
	if first.goroutines < 0 {
		w.t.Log("goroutines not counted: no metrics at OPS_ADDR")
	}
}

// slope returns the growth of memory usage in MiB per 10 minutes, by linear regression.
func (w *soakWatch) slope(samples []soakSample) float64 {
	var x, y, xx, xy float64
	for _, s := range samples {
		elapsed := s.elapsed.Minutes() / 10
		x += elapsed
		y += s.rss
		xx += elapsed * elapsed
		xy += elapsed * s.rss
	}

	n := float64(len(samples))
	if n*xx == x*x {
		return 0
	}

	return (n*xy - x*y) / (n*xx - x*x)
}

// table returns the samples as a Markdown table.
func (w *soakWatch) table() string {
	var b strings.Builder
	b.WriteString("\n| elapsed | requests | MiB | heap MiB | goroutines | threads | fds: clients | redis | mongo | others | sessions | certain, possible | ended | index | limits |\n" +
		"| --- |" + strings.Repeat(" ---: |", 14) + "\n")
	for _, s := range w.samples {
		fmt.Fprintf(&b, "| %v | %d | %.1f | %.1f | %d | %d | %d | %d | %d | %d | %d | %d, %d | %d | %d | %d |\n",
			s.elapsed.Round(time.Second), s.requests, s.rss, s.heap, s.goroutines, s.threads,
			s.files["clients"], s.files["redis"], s.files["mongo"], s.files["others"],
			s.keys["sess:"], s.certain, s.possible, s.keys["ended:"], s.keys["idx:"], s.keys["limit:{"])
	}

	return b.String()
}
