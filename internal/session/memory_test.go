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

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/redisconn"
)

// What Redis needs for a session, in the worst case: a user has one, so that it bears a
// whole index. Sizes that Redis (7, with jemalloc) takes grow in steps, and the limits
// here are those of a step.
const (
	maxMemory = 700 // bytes in all
	maxValue  = 156 // of sess:<handle>, and 4 for itself: 160
	maxIndex  = 30  // of the name of the index, and 2: 32
)

// usual is how a browser that is used signs in, with names of usual length.
func usual(i int) SignIn {
	return SignIn{
		UserID: fmt.Sprintf("65f0c0ff%016x", i), Email: fmt.Sprintf("ann.smith.%06d@example.com", i), Method: "password", Persistent: true,
		IP: fmt.Sprintf("203.0.113.%d", 100+i%100), UserAgent: browsers[0],
	}
}

// A session stays small in all its life, whichever browser it is of.
func TestValueIsSmall(t *testing.T) {
	t.Parallel()
	in := usual(0)
	for _, ua := range browsers {
		s := Session{
			UserID: in.UserID, Email: in.Email, Methods: []string{in.Method}, Persistent: true, IP: in.IP, agent: shorten(ua),
			CreatedAt: born, AuthenticatedAt: born, ExpiresAt: born.Add(30 * 24 * time.Hour),
		}
		s.seen(s.ExpiresAt.Add(-24*time.Hour-time.Millisecond), 24*time.Hour)
		value, err := s.encode()
		if err != nil || len(value) > maxValue {
			t.Errorf("%d bytes, %v: %s", len(value), err, value)
		}
	}
	if index, _ := indexKeys(in.UserID); len(index) > maxIndex {
		t.Errorf("%s is of %d bytes", index, len(index))
	}
}

// What it takes in a Redis that holds many. What Redis 7.0 with jemalloc answers
// depends on nothing but what it is told, so it is held to the limit; another one is
// only reported.
func TestMemory(t *testing.T) {
	if os.Getenv("TEST_REDIS") != "server" {
		t.Skip("measures a redis-server; make check-redis runs this test")
	}
	// A 64th of a million: Redis doubles its tables, which are then a 64th, too.
	const sessions = 1_000_000 / 64
	server := storetest.StartRedis(t)
	conn := server.Conn(t)
	conns := redisconn.New(redisconn.Options{Addr: server.Addr, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(conns.Close)
	m := New(conns, Options{
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
	must(t, g.Wait())
	each := float64(memory(t, conn)-before) / sessions
	t.Logf("%.1f bytes for a session", each)

	s := begin(0) // the second of its user
	live, trace := keys(s.Handle)
	index, _ := indexKeys(s.UserID)
	for key, want := range map[string]string{live: "raw", trace: "int", index: "listpack"} {
		encoding, err := redis.String(conn.Do("OBJECT", "ENCODING", key))
		size, err2 := redis.Int(conn.Do("MEMORY", "USAGE", key))
		if err != nil || err2 != nil || encoding != want {
			t.Errorf("%s is kept as %s, want %s; %v, %v", key, encoding, want, err, err2)
		}
		t.Logf("%s: %s, %d bytes", key, encoding, size)
	}
	info, err := redis.String(conn.Do("INFO"))
	must(t, err)
	if strings.Contains(info, "redis_version:7.0.") && strings.Contains(info, "mem_allocator:jemalloc-5.") && each > maxMemory {
		t.Errorf("a session takes %.1f bytes, more than %d", each, maxMemory)
	}
}

// memory is what Redis holds, without what its clients and its file need for a moment.
func memory(t *testing.T, conn redis.Conn) int {
	t.Helper()
	info, err := redis.String(conn.Do("INFO", "memory"))
	must(t, err)
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
