package redisconn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// clients is the number of concurrent clients in a test.
const clients = 64

// readConcurrently calls read several times in each of the given number of goroutines.
func readConcurrently(callers, each int, read func(i int)) {
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := range each {
				read(caller + i)
			}
		})
	}

	wg.Wait()
}

// Every pipelined GET gets the value or the error of its own key.
func TestPipeline(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	c := newClient(t, r)
	conn := r.Conn(t)
	const keys = 50
	for i := range keys {
		if _, err := conn.Do("SET", fmt.Sprint("key", i), i); err != nil {
			t.Fatal(err)
		}
	}

	if _, err := conn.Do("RPUSH", "list", "x"); err != nil {
		t.Fatal(err)
	}

	readConcurrently(4*clients, 20, func(i int) {
		switch i % 10 {
		case 0:
			if reply, err := c.Do(context.Background(), "GET", "list"); !errors.Is(err, ErrUnavailable) {
				t.Errorf("GET of a list: got %v, %v; want ErrUnavailable", reply, err)
			}
		case 1:
			if reply, err := c.Do(context.Background(), "GET", "nothing"); reply != nil || err != nil {
				t.Errorf("missing key: got %v, %v; want a nil reply", reply, err)
			}
		default:
			if got, err := redis.Int(c.Do(context.Background(), "GET", fmt.Sprint("key", i%keys))); got != i%keys || err != nil {
				t.Errorf("got %d, %v; want %d", got, err, i%keys)
			}
		}
	})

	for _, n := range c.topology.Load().nodes {
		idle := func() bool {
			n.pipeline.mu.Lock()
			defer n.pipeline.mu.Unlock()
			return n.pipeline.running == 0 && len(n.pipeline.waiting) == 0
		}

		testkit.Eventually(t, "an idle pipeline", idle)
	}
}

// No GET fails if connections die. If none dies, every GET is sent once.
func TestPipelineOnDeadConnections(t *testing.T) {
	server := storetest.StartRedis(t)
	c := newClient(t, server.Redis)
	other := server.Conn(t)
	if _, err := other.Do("SET", "key", "value"); err != nil {
		t.Fatal(err)
	}

	reads := func() {
		readConcurrently(2*clients, 10, func(int) {
			if got, err := redis.String(c.Do(context.Background(), "GET", "key")); got != "value" || err != nil {
				t.Errorf("got %q, %v; want \"value\"", got, err)
			}
		})
	}

	before := calls(t, other)
	reads()
	if n := calls(t, other) - before; n != 2*clients*10 {
		t.Errorf("got %d commands, want %d", n, 2*clients*10)
	}

	for range 5 {
		var wg sync.WaitGroup
		wg.Go(reads)
		if _, err := other.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"); err != nil {
			t.Fatal(err)
		}

		wg.Wait()
	}
}

// calls returns the number of GETs that a server has executed.
func calls(t *testing.T, conn redis.Conn) int {
	t.Helper()
	stats, err := redis.String(conn.Do("INFO", "commandstats"))
	testkit.NoError(t, err)

	var n int
	for line := range strings.Lines(stats) {
		_, _ = fmt.Sscanf(line, "cmdstat_get:calls=%d", &n)
	}

	return n
}

// If the server does not reply, every GET fails at the time limit, even if it waits for a pipeline.
func TestPipelineToSilentServer(t *testing.T) {
	silent := fakeServer(t, func([]string) string { return "" })
	c := New(Options{Addr: silent})
	t.Cleanup(c.Close)
	var mu sync.Mutex
	var longest time.Duration
	readConcurrently(4*clients, 3, func(int) {
		start := time.Now()
		if _, err := c.Do(context.Background(), "GET", "x"); !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}

		mu.Lock()
		defer mu.Unlock()
		longest = max(longest, time.Since(start))
	})

	// A GET that waited for two batches would take a multiple of the limit.
	if longest >= 2*DefaultTimeout {
		t.Errorf("got an error after %v, want about %v", longest, DefaultTimeout)
	}
}

// If there are no replies on a connection, its GETs are repeated on other connections. No more GETs
// fail than if they had been sent one by one.
func TestPipelineOnSilentConnection(t *testing.T) {
	const lost = 8
	var received atomic.Int64
	server := fakeServer(t, func([]string) string {
		if received.Add(1) <= lost {
			return ""
		}

		return "$5\r\nvalue\r\n"
	})

	c := New(Options{Addr: server})
	t.Cleanup(c.Close)
	var failed atomic.Int64
	readConcurrently(clients, 2, func(int) {
		if got, err := redis.String(c.Do(context.Background(), "GET", "x")); err != nil {
			failed.Add(1)
		} else if got != "value" {
			t.Errorf("got %q, want \"value\"", got)
		}
	})

	if n := failed.Load(); n > lost {
		t.Errorf("got %d failed GETs, want at most %d", n, lost)
	}
}

// A single GET without a reply is repeated in time on another connection.
func TestGetOnSilentConnection(t *testing.T) {
	t.Parallel()
	var received atomic.Int64
	server := fakeServer(t, func([]string) string {
		if received.Add(1) == 1 {
			return ""
		}

		return "$5\r\nvalue\r\n"
	})

	c := New(Options{Addr: server, Timeout: 4 * time.Second}) // it waits a quarter of it
	t.Cleanup(c.Close)
	if got, err := redis.String(c.Do(context.Background(), "GET", "x")); got != "value" || err != nil {
		t.Errorf("got %q, %v; want a value", got, err)
	}
}

// A connection with an unexpected reply is not used again, because all later replies would go to
// the wrong GETs.
func TestUnexpectedReply(t *testing.T) {
	t.Parallel()
	var received atomic.Int64
	server := fakeServer(t, func([]string) string {
		if received.Add(1) == 1 {
			return "+OK\r\n$5\r\nfirst\r\n"
		}

		return "$5\r\nother\r\n"
	})

	c := New(Options{Addr: server})
	t.Cleanup(c.Close)
	for range 3 {
		if got, err := redis.String(c.Do(context.Background(), "GET", "x")); got != "other" || err != nil {
			t.Errorf("got %q, %v; want a value", got, err)
		}
	}
}

// A GET is sent on its own if no pipeline becomes free in time.
func TestPipelinesBusy(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	c := newClient(t, r)
	if _, err := c.Do(context.Background(), "SET", "key", "value"); err != nil {
		t.Fatal(err)
	}

	n := c.topology.Load().nodeFor("key")
	n.pipeline.mu.Lock()
	n.pipeline.running = maxPipelines // they never end
	n.pipeline.mu.Unlock()
	if got, err := redis.String(c.Do(context.Background(), "GET", "key")); got != "value" || err != nil {
		t.Errorf("got %q, %v; want \"value\"", got, err)
	}
}
