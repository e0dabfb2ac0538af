package main

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
)

// soakGrowth lists how much each figure may grow in the second half of a run. The figures are
// measured while the server is idle.
var soakGrowth = map[string]float64{
	"go_goroutines":                 10,
	"descriptors":                   5,
	"heap":                          1 << 20,
	"process_resident_memory_bytes": 24 << 20, // fluctuates by 10 MiB
}

const (
	// descriptorSlack is how many more descriptors the server may have after traffic than before,
	// not counting its connections to the stores.
	descriptorSlack = 5
	// soakRetention is how long Redis keeps the record of a timed-out session.
	soakRetention = 24 * time.Hour
)

// soakKeyPrefixes are the prefixes of all expected keys in Redis.
var soakKeyPrefixes = []string{"sess:", "ended:", "idx:", "generation:", "limit:{"}

// soakWatch observes the server from outside.
type soakWatch struct {
	t           *testing.T
	redis       redigo.Conn
	opsURL      string
	descriptors float64 // before the traffic
}

func newSoakWatch(t *testing.T, redis storetest.Redis, opsURL string) *soakWatch {
	w := &soakWatch{t: t, redis: redis.Conn(t), opsURL: opsURL}
	w.descriptors = w.scrape()["descriptors"]

	return w
}

// measure returns the figures of soakGrowth after the connections of clients are closed and
// after a garbage collection.
func (w *soakWatch) measure() map[string]float64 {
	testkit.Eventually(w.t, "the connections of clients to be closed", func() bool {
		return w.scrape()["descriptors"] <= w.descriptors+descriptorSlack
	})
	mustSend(w.t, http.StatusOK, "GET", w.opsURL+"/debug/pprof/heap?gc=1", "")

	return w.scrape()
}

// scrape returns the figures of soakGrowth. The descriptors exclude connections to the stores,
// which come and go, and the heap the sessions in memory, whose size SESSION_CACHE bounds.
func (w *soakWatch) scrape() map[string]float64 {
	metrics := map[string]float64{}
	for line := range strings.Lines(mustSend(w.t, http.StatusOK, "GET", w.opsURL+"/metrics", "").text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, _, _ = strings.Cut(name, "{")
		n, _ := strconv.ParseFloat(value, 64)
		metrics[name] += n
	}
	metrics["descriptors"] = metrics["process_open_fds"] - metrics["latchkey_redis_connections"] - metrics["latchkey_mongo_connections"]
	metrics["heap"] = metrics["go_memstats_heap_alloc_bytes"] - metrics["latchkey_session_cache_bytes"]
	w.t.Logf("sessions in memory: %.0f bytes, %.0f hits, %.0f misses", metrics["latchkey_session_cache_bytes"],
		metrics["latchkey_session_cache_hits_total"], metrics["latchkey_session_cache_misses_total"])

	figures := map[string]float64{}
	for name := range soakGrowth {
		figures[name] = metrics[name]
		if metrics[name] <= 0 {
			w.t.Fatalf("metric %s: got %v, want more than 0", name, metrics[name])
		}
	}

	return figures
}

// checkGrowth fails the test if a figure has grown too much.
func (w *soakWatch) checkGrowth(baseline, last map[string]float64) {
	for name, limit := range soakGrowth {
		if growth := last[name] - baseline[name]; growth > limit {
			w.t.Errorf("%s: grew by %.0f from %.0f, want at most %.0f", name, growth, baseline[name], limit)
		}
	}
}

// checkSessions compares the sessions in Redis with those of the clients.
func (w *soakWatch) checkSessions(clients []*soakClient) {
	before := time.Now()
	stored, counts := w.scanKeys()
	after := time.Now()

	received := 0
	for _, c := range clients {
		received += c.received
		for _, known := range c.sessions {
			key := "sess:" + session.IDOf(strings.TrimPrefix(known.cookie, "sid="))
			certain, _ := known.aliveAt(after)
			_, possible := known.aliveAt(before)
			if stored[key] && !possible || !stored[key] && certain {
				w.t.Errorf("session created %v ago and last seen %v ago: got stored %t, want %t",
					after.Sub(known.createdAt), after.Sub(known.seenTo), stored[key], !stored[key])
			}
			delete(stored, key)
		}
	}

	for key, alive := range stored {
		if alive && strings.HasPrefix(key, "sess:") {
			w.t.Errorf("%s: got a session that no client has", key)
		}
	}
	for prefix, limit := range map[string]int{
		"ended:":      received,
		"idx:":        soakClients,
		"generation:": soakClients,
		"limit:{":     4 * soakClients,
	} {
		if counts[prefix] > limit {
			w.t.Errorf("keys with prefix %s: got %d, want at most %d", prefix, counts[prefix], limit)
		}
	}
}

// scanKeys returns the keys in Redis, and their number by prefix. stored is false for the record of
// a timed-out session, and true for any other key. Every key but the hash of the
// servers must have a TTL.
func (w *soakWatch) scanKeys() (stored map[string]bool, counts map[string]int) {
	keys, err := redigo.Strings(w.redis.Do("KEYS", "*"))
	testkit.NoError(w.t, err)

	stored = map[string]bool{}
	counts = map[string]int{}
	for _, key := range keys {
		if key == "members" { // the servers that keep sessions in memory
			continue
		}
		i := slices.IndexFunc(soakKeyPrefixes, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
		if i < 0 {
			w.t.Errorf("unexpected key in Redis: %s", key)
			continue
		}

		ttl, err := redigo.Int64(w.redis.Do("PTTL", key))
		if err != nil || ttl == -1 {
			w.t.Errorf("%s: got TTL %d and error %v, want a TTL", key, ttl, err)
		}
		counts[soakKeyPrefixes[i]]++
		stored[key] = soakKeyPrefixes[i] != "sess:" || ttl > soakRetention.Milliseconds()
	}

	return stored, counts
}
