package session

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"golang.org/x/sync/errgroup"

	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/redisconn"
	"latchkey/internal/testkit"
)

// The memory that Redis may use per session if every user has only one, so that every session
// needs its own index. Redis 7 with jemalloc allocates memory in steps; the limits are at the
// end of a step.
const (
	maxMemory = 700 // bytes in total
	maxValue  = 252 // bytes of a record; with 4 bytes of overhead 256
	maxIndex  = 28  // bytes of the index key; with 4 bytes of overhead 32
)

// usual returns a login from a common browser, with an email of typical length.
func usual(i int) Start {
	return Start{
		Owner:      Owner{UserID: fmt.Sprintf("65f0c0ff%016x", i), Email: fmt.Sprintf("ann.smith.%06d@example.com", i)},
		Client:     Client{IP: fmt.Sprintf("203.0.113.%d", 100+i%100), Device: "Chrome 141 on Windows"},
		Method:     "password",
		Persistent: true,
	}
}

// A record stays small throughout its life, for every common browser.
func TestRecordIsSmall(t *testing.T) {
	t.Parallel()
	in := usual(0)
	for _, device := range []string{"Chrome 141 on Windows", "Edge 141 on Windows", "Mobile Safari 26 on iOS", "Firefox 143 on macOS", "Chrome 141 on ChromeOS"} {
		s := Session{
			ID:         goldenID,
			Owner:      in.Owner,
			Client:     Client{IP: in.IP, Device: device},
			Times:      Times{CreatedAt: created, ExpiresAt: created.Add(30 * 24 * time.Hour)},
			Proof:      Proof{AuthenticatedAt: created, Methods: []string{in.Method}},
			Persistent: true,
		}

		s.markSeen(s.ExpiresAt.Add(-24*time.Hour+time.Millisecond), 24*time.Hour)
		value, err := s.seal(goldenKeys)
		if err != nil || len(value) > maxValue {
			t.Errorf("got %d bytes, %v; want at most %d: %s", len(value), err, maxValue, value)
		}
	}

	if index := (keys{}).index(in.UserID); len(index) > maxIndex {
		t.Errorf("got %d bytes for %s, want at most %d", len(index), index, maxIndex)
	}
}

// Measures the memory per session in a Redis with many sessions. Redis 7.0 with jemalloc is
// deterministic, so there the result must stay below the limit; for other versions the test
// only logs it.
func TestMemory(t *testing.T) {
	if os.Getenv("TEST_REDIS") != "server" {
		t.Skip("needs a real redis-server; run it with make check-redis")
	}

	// A million divided by a power of two gives the same bytes per session, because Redis
	// doubles its hash tables.
	const sessions = 1_000_000 / 64
	server := storetest.StartRedis(t)
	conn := server.Conn(t)
	m := New(conntest.Redis(t, server.Redis, redisconn.Options{}), Options{
		Secrets: [][]byte{[]byte("a secret")}, Idle: 24 * time.Hour, Absolute: 30 * 24 * time.Hour, TouchInterval: time.Minute, MaxPerUser: 100,
		Log: slog.New(slog.DiscardHandler),
	})

	begin := func(i int) *Session {
		s, _, err := m.Begin(context.Background(), usual(i))
		if err != nil {
			t.Error(err)
		}

		return s
	}

	begin(sessions) // loads the scripts
	before := memory(t, conn)
	var g errgroup.Group
	g.SetLimit(4)
	for i := range sessions {
		g.Go(func() error { begin(i); return nil })
	}

	testkit.NoError(t, g.Wait())
	each := float64(memory(t, conn)-before) / sessions
	t.Logf("%.1f bytes per session", each)

	s := begin(0) // the second of its user
	for key, want := range map[string]string{m.keys.record(s.ID): "raw", m.keys.index(s.UserID): "listpack"} {
		encoding, err := redis.String(conn.Do("OBJECT", "ENCODING", key))
		size, err2 := redis.Int(conn.Do("MEMORY", "USAGE", key))
		if err != nil || err2 != nil || encoding != want {
			t.Errorf("%s: got encoding %s, %v, %v; want %s", key, encoding, err, err2, want)
		}

		t.Logf("%s: %s, %d bytes", key, encoding, size)
	}

	info, err := redis.String(conn.Do("INFO"))
	testkit.NoError(t, err)
	if strings.Contains(info, "redis_version:7.0.") && strings.Contains(info, "mem_allocator:jemalloc-5.") && each > maxMemory {
		t.Errorf("got %.1f bytes per session, want at most %d", each, maxMemory)
	}
}

// memory returns the memory that Redis uses, without the temporary buffers of clients and the
// append-only file.
func memory(t *testing.T, conn redis.Conn) int {
	t.Helper()
	info, err := redis.String(conn.Do("INFO", "memory"))
	testkit.NoError(t, err)
	sizes := map[string]int{}
	for line := range strings.Lines(info) {
		var size int
		if name, value, ok := strings.Cut(line, ":"); ok {
			if _, err := fmt.Sscan(value, &size); err == nil {
				sizes[name] = size
			}
		}
	}

	return sizes["used_memory"] - sizes["mem_clients_normal"] - sizes["mem_aof_buffer"]
}
