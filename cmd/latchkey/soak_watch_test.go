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

// soakGrowth lists how much each figure may grow in the second half of a run, at rest.
var soakGrowth = map[string]float64{
	"go_goroutines":                 10,
	"descriptors":                   5,
	"go_memstats_heap_alloc_bytes":  1 << 20,
	"process_resident_memory_bytes": 24 << 20, // fluctuates by 10 MiB
}

const (
	// descriptorSlack is how many more descriptors a server may have after traffic, without
	// those of its connections to the stores.
	descriptorSlack = 5
	// soakRetention is how long Redis keeps the record of a timed-out session.
	soakRetention = 24 * time.Hour
)

// soakKinds are the prefixes of all expected keys in Redis.
var soakKinds = []string{"sess:", "ended:", "idx:", "generation:", "limit:{"}

// soakWatch observes the server from outside.
type soakWatch struct {
	t           *testing.T
	redis       redigo.Conn
	ops         string
	descriptors float64 // before the traffic
}

func newSoakWatch(t *testing.T, redis storetest.Redis, ops string) *soakWatch {
	w := &soakWatch{t: t, redis: redis.Conn(t), ops: ops}
	w.descriptors = w.scrape()["descriptors"]

	return w
}

// measure returns the figures of soakGrowth after the connections of clients are closed and
// after a garbage collection.
func (w *soakWatch) measure() map[string]float64 {
	testkit.Eventually(w.t, "the connections of clients to be closed", func() bool {
		return w.scrape()["descriptors"] <= w.descriptors+descriptorSlack
	})
	mustSend(w.t, http.StatusOK, "GET", w.ops+"/debug/pprof/heap?gc=1", "")

	return w.scrape()
}

// scrape returns the figures of soakGrowth. Descriptors are those that are not connections
// to a store, which come and go.
func (w *soakWatch) scrape() map[string]float64 {
	metrics := map[string]float64{}
	for line := range strings.Lines(mustSend(w.t, http.StatusOK, "GET", w.ops+"/metrics", "").text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, _, _ = strings.Cut(name, "{")
		n, _ := strconv.ParseFloat(value, 64)
		metrics[name] += n
	}
	metrics["descriptors"] = metrics["process_open_fds"] - metrics["latchkey_redis_connections"] - metrics["latchkey_mongo_connections"]

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
func (w *soakWatch) checkGrowth(warm, last map[string]float64) {
	for name, most := range soakGrowth {
		if growth := last[name] - warm[name]; growth > most {
			w.t.Errorf("%s: grew by %.0f from %.0f, want at most %.0f", name, growth, warm[name], most)
		}
	}
}

// checkSessions compares the sessions in Redis with those of the clients.
func (w *soakWatch) checkSessions(clients []*soakClient) {
	before := time.Now()
	stored, counts := w.scanKeys()
	after := time.Now()

	begun := 0
	for _, c := range clients {
		begun += c.begun
		for _, known := range c.sessions {
			key := "sess:" + session.IDOf(strings.TrimPrefix(known.cookie, "sid="))
			certain, _ := known.aliveAt(after)
			_, possible := known.aliveAt(before)
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
	for kind, most := range map[string]int{"ended:": begun, "idx:": soakClients, "generation:": soakClients, "limit:{": 4 * soakClients} {
		if counts[kind] > most {
			w.t.Errorf("keys with prefix %s: got %d, want at most %d", kind, counts[kind], most)
		}
	}
}

// scanKeys returns all keys in Redis with whether each is anything but a timed-out session,
// and the number of keys by kind. Every key must have a TTL.
func (w *soakWatch) scanKeys() (stored map[string]bool, counts map[string]int) {
	keys, err := redigo.Strings(w.redis.Do("KEYS", "*"))
	testkit.NoError(w.t, err)

	stored = map[string]bool{}
	counts = map[string]int{}
	for _, key := range keys {
		i := slices.IndexFunc(soakKinds, func(kind string) bool { return strings.HasPrefix(key, kind) })
		if i < 0 {
			w.t.Errorf("unknown kind of key: %s", key)
			continue
		}

		ttl, err := redigo.Int64(w.redis.Do("PTTL", key))
		if err != nil || ttl == -1 {
			w.t.Errorf("%s: got TTL %d and error %v, want a TTL", key, ttl, err)
		}
		counts[soakKinds[i]]++
		stored[key] = soakKinds[i] != "sess:" || ttl > soakRetention.Milliseconds()
	}

	return stored, counts
}
