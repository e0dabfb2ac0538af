package session

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"golang.org/x/sync/errgroup"

	"latchkey/internal/devstore/storetest"
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

// usual returns a login from a common browser with a long name, and with an email of typical
// length.
func usual(i int) Start {
	return Start{
		Owner:      Owner{UserID: fmt.Sprintf("65f0c0ff%016x", i), Email: fmt.Sprintf("ann.smith.%06d@example.com", i)},
		Client:     Client{IP: fmt.Sprintf("203.0.113.%d", 100+i%100), Device: "Mobile Safari 26 on iOS"},
		Method:     "password",
		Persistent: true,
	}
}

// A record stays small throughout its life.
func TestRecordIsSmall(t *testing.T) {
	t.Parallel()
	in := usual(0)
	s := Session{
		ID:         goldenID,
		Owner:      in.Owner,
		Client:     in.Client,
		Times:      Times{CreatedAt: created, ExpiresAt: created.Add(30 * 24 * time.Hour)},
		Proof:      Proof{AuthenticatedAt: created, Methods: []string{in.Method}},
		Persistent: true,
	}

	s.markSeen(s.ExpiresAt.Add(-24*time.Hour+time.Millisecond), 24*time.Hour)
	value, err := s.seal(goldenKeys)
	if err != nil || len(value) > maxValue {
		t.Errorf("got %d bytes, %v; want at most %d: %s", len(value), err, maxValue, value)
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
	m := newManagerOn(t, server.Redis)
	m.options.Idle = 24 * time.Hour
	m.options.Absolute = 30 * 24 * time.Hour

	_, _, err := m.Begin(background, usual(sessions)) // loads the scripts
	testkit.NoError(t, err)
	before := memory(t, conn)
	var g errgroup.Group
	g.SetLimit(4)
	for i := range sessions {
		g.Go(func() error {
			_, _, err := m.Begin(background, usual(i))
			return err
		})
	}

	testkit.NoError(t, g.Wait())
	each := float64(memory(t, conn)-before) / sessions
	t.Logf("%.1f bytes per session", each)

	s, _, err := m.Begin(background, usual(0)) // the second of its user
	testkit.NoError(t, err)
	for key, want := range map[string]string{m.keys.record(s.ID): "raw", m.keys.index(s.UserID): "listpack"} {
		if encoding, err := redis.String(conn.Do("OBJECT", "ENCODING", key)); err != nil || encoding != want {
			t.Errorf("%s: got encoding %s, %v; want %s", key, encoding, err, want)
		}
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
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		sizes[name], _ = strconv.Atoi(value)
	}

	return sizes["used_memory"] - sizes["mem_clients_normal"] - sizes["mem_aof_buffer"]
}
