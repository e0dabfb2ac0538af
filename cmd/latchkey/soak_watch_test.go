package main

import (
	"bufio"
	"fmt"
	"io"
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
)

const (
	// judgedSoak is the least length of which the slope of the memory means something.
	judgedSoak   = 10 * time.Minute
	maxSoakSlope = 1.0 // MiB in 10 minutes, after the warm-up
	// maxSoakGrowth is for shorter runs, in which the runtime still takes what it will
	// need: MiB after the warm-up.
	maxSoakGrowth = 16.0
	// soakWarmUp is the part of the windows that is not judged: one in so many. In runs of 10
	// minutes the memory rises for 6, until the runtime has what it needs.
	soakWarmUp = 2
	// maxSoakDrift is by how much what is counted without traffic may differ.
	maxSoakDrift = 5
	// The most connections of the server to each store, see packages redisconn and mongoconn.
	maxRedisConns, maxMongoConns = 64, 100
)

// soakKinds are the keys that there may be in Redis, by what their names begin with.
var soakKinds = []string{"sess:", "ended:{", "idx:{", "barrier:{", "limit:{"}

// soakWatch looks at the server from outside.
type soakWatch struct {
	t                    *testing.T
	pid                  int
	redis                redigo.Conn
	redisPort, mongoPort int
	ops                  string // of the private listener
	begun                time.Time
	samples              []soakSample

	mu     sync.Mutex
	memory []float64 // MiB resident, each second of the traffic of a window
}

// soakSample is what was seen at the end of a window, without traffic.
type soakSample struct {
	at          time.Duration
	requests    int
	rss         float64 // MiB, the median of the window
	heap        float64 // MiB; -1 where there are no metrics
	goroutines  int     // likewise
	threads     int
	files       map[string]int // open descriptors, by what they are
	keys        map[string]int // in Redis, by kind
	surely, may int            // sessions that must be there, and that may be
}

func newSoakWatch(t *testing.T, p *process, redis storetest.Redis, mongo, ops string) *soakWatch {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("reads /proc")
	}
	w := &soakWatch{t: t, pid: p.cmd.Process.Pid, redis: redis.Conn(t), ops: ops, begun: time.Now()}
	uri, err := url.Parse(mongo)
	if err != nil {
		t.Fatal(err)
	}
	w.redisPort, w.mongoPort = portOf(redis.Addr), portOf(uri.Host)
	return w
}

func portOf(addr string) int {
	_, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port)
	return n
}

// sampleMemory notes the memory of the server until it is told to stop.
func (w *soakWatch) sampleMemory(stop <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		w.mu.Lock()
		w.memory = append(w.memory, w.status("VmRSS")/1024)
		w.mu.Unlock()
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// status reads a number of /proc/<pid>/status.
func (w *soakWatch) status(name string) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.pid))
	_, rest, _ := strings.Cut(string(text), name+":")
	n, _ := strconv.ParseFloat(strings.Fields(rest + " 0")[0], 64)
	return n
}

// settle waits until the connections of the clients are closed, and looks at everything.
func (w *soakWatch) settle(s *soakRun, window int) {
	const patience = 15 * time.Second // what a connection with half a request may take
	files := w.files()
	for deadline := time.Now().Add(patience); files["clients"] > 0 && time.Now().Before(deadline); files = w.files() {
		time.Sleep(50 * time.Millisecond)
	}
	w.mu.Lock()
	rss := middle(w.memory)
	w.memory = nil
	w.mu.Unlock()
	sample := soakSample{
		at: time.Since(w.begun), requests: s.requests, rss: rss, threads: int(w.status("Threads")), files: files,
	}
	sample.goroutines, sample.heap = w.metrics()
	w.keys(s, &sample)
	w.samples = append(w.samples, sample)
	w.t.Logf("window %d: %d requests, %.1f MiB, %d goroutines, files %v, keys %v", window+1, s.requests, rss, sample.goroutines, files, sample.keys)
}

// files counts the open descriptors of the server.
func (w *soakWatch) files() map[string]int {
	remote := map[string]int{} // the port at the other end, by inode
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
			remote["socket:["+fields[9]+"]"] = int(n)
		}
		_ = table.Close()
	}
	counts := map[string]int{}
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", w.pid))
	for _, link := range links {
		target, err := os.Readlink(link)
		port, isSocket := remote[target]
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

// metrics reads the private listener, if the server has one.
func (w *soakWatch) metrics() (goroutines int, heap float64) {
	own := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := own.Get("http://" + w.ops + "/metrics")
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

// keys counts the keys in Redis, each of which must go by itself some day, and compares
// the sessions with those that the clients know.
func (w *soakWatch) keys(s *soakRun, sample *soakSample) {
	sample.keys = map[string]int{}
	before := time.Now()
	there := map[string]bool{}
	for cursor := "0"; ; {
		found, err := redigo.Values(w.redis.Do("SCAN", cursor, "COUNT", 1000))
		var keys []string
		if err == nil {
			_, err = redigo.Scan(found, &cursor, &keys)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		for _, key := range keys {
			there[key] = true
			w.key(key, sample)
		}
		if cursor == "0" {
			break
		}
	}
	after := time.Now()
	for _, c := range s.clients {
		for _, one := range c.sessions {
			key := "sess:" + one.handle()
			surely, _ := one.lives(after)
			_, perhaps := one.lives(before)
			if surely {
				sample.surely++
			}
			if perhaps {
				sample.may++
			}
			if there[key] && !perhaps || !there[key] && surely {
				w.t.Errorf("a session that began %v ago and was seen %v ago: in Redis %v", after.Sub(one.begun), after.Sub(one.seenTo), there[key])
			}
			delete(there, key)
		}
	}
	for key := range there {
		if strings.HasPrefix(key, "sess:") {
			w.t.Errorf("%s is in Redis, and nobody has it", key)
		}
	}
	tokens := 0
	for _, c := range s.clients {
		tokens += c.begun
	}
	for kind, most := range map[string]int{"ended:{": tokens, "idx:{": soakClients, "barrier:{": soakClients, "limit:{": 4 * soakClients} {
		if sample.keys[kind] > most {
			w.t.Errorf("%d keys %s..., must be at most %d", sample.keys[kind], kind, most)
		}
	}
}

func (w *soakWatch) key(key string, sample *soakSample) {
	i := slices.IndexFunc(soakKinds, func(kind string) bool { return strings.HasPrefix(key, kind) })
	if i < 0 {
		w.t.Errorf("a key of an unknown kind: %s", key)
		return
	}
	sample.keys[soakKinds[i]]++
	if left, err := redigo.Int64(w.redis.Do("PTTL", key)); err != nil || left == -1 {
		w.t.Errorf("%s stays for ever (%d, %v)", key, left, err)
	}
}

// report prints what was seen and judges it.
func (w *soakWatch) report(length time.Duration, s *soakRun) {
	w.t.Log(w.table())
	slices.Sort(s.took)
	w.t.Logf("%d requests in %v, %.0f a second while there was traffic; p50 %v, p99 %v, longest %v", s.requests, length,
		float64(s.requests)/length.Seconds(), s.took[len(s.took)/2], s.took[len(s.took)*99/100], s.took[len(s.took)-1])
	for what, n := range s.wrong {
		w.t.Errorf("%d times: %s", n, what)
	}
	judged := w.samples[len(w.samples)/soakWarmUp:]
	first, last := judged[0], judged[len(judged)-1]
	slope := w.slope(judged)
	w.t.Logf("memory: from %.1f to %.1f MiB after the warm-up", first.rss, last.rss)
	if length >= judgedSoak {
		w.t.Logf("it grows by %.2f MiB in 10 minutes", slope)
	}
	switch {
	case length >= judgedSoak && slope > maxSoakSlope:
		w.t.Errorf("it grows by %.2f MiB in 10 minutes, more than %.0f", slope, maxSoakSlope)
	case length < judgedSoak && last.rss-first.rss > maxSoakGrowth:
		w.t.Errorf("it has grown by %.1f MiB, more than %.0f", last.rss-first.rss, maxSoakGrowth)
	}
	// What works beside the requests comes and goes, so that one sample says little.
	third := (len(judged) + 2) / 3
	early, late := judged[:third], judged[len(judged)-third:]
	for what, of := range map[string]func(soakSample) int{
		"goroutines without traffic": func(s soakSample) int { return s.goroutines },
		"other descriptors":          func(s soakSample) int { return s.files["others"] },
	} {
		if from, to := medianOf(early, of), medianOf(late, of); to-from > maxSoakDrift || from-to > maxSoakDrift {
			w.t.Errorf("%d %s at the end, and %d after the warm-up", to, what, from)
		}
	}
	for _, sample := range judged {
		if n := sample.files["clients"]; n > 0 {
			w.t.Errorf("%d connections of clients stay open", n)
		}
		if sample.files["redis"] > maxRedisConns || sample.files["mongo"] > maxMongoConns {
			w.t.Errorf("connections to the stores: %v", sample.files)
		}
	}
	if first.goroutines < 0 {
		w.t.Log("there are no metrics at OPS_ADDR, so goroutines were not counted")
	}
}

// medianOf is the median of something in samples.
func medianOf(samples []soakSample, of func(soakSample) int) int {
	values := make([]int, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// slope is by how many MiB the memory grows in 10 minutes: the line of least squares.
func (w *soakWatch) slope(samples []soakSample) float64 {
	var x, y, xx, xy float64
	n := float64(len(samples))
	for _, s := range samples {
		at := s.at.Minutes() / 10
		x, y, xx, xy = x+at, y+s.rss, xx+at*at, xy+at*s.rss
	}
	if n*xx == x*x {
		return 0
	}
	return (n*xy - x*y) / (n*xx - x*x)
}

func middle(of []float64) float64 {
	if len(of) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(of))[len(of)/2]
}

// table is the samples as Markdown.
func (w *soakWatch) table() string {
	var b strings.Builder
	b.WriteString("\n| after | requests | MiB | heap MiB | goroutines | threads | fds: clients | redis | mongo | others | sessions | must, may be | ended | index | limits |\n" +
		"| --- |" + strings.Repeat(" ---: |", 14) + "\n")
	for _, s := range w.samples {
		fmt.Fprintf(&b, "| %v | %d | %.1f | %.1f | %d | %d | %d | %d | %d | %d | %d | %d, %d | %d | %d | %d |\n",
			s.at.Round(time.Second), s.requests, s.rss, s.heap, s.goroutines, s.threads,
			s.files["clients"], s.files["redis"], s.files["mongo"], s.files["others"],
			s.keys["sess:"], s.surely, s.may, s.keys["ended:{"], s.keys["idx:{"], s.keys["limit:{"])
	}
	return b.String()
}
