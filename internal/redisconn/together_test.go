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
)

// crowd has so many callers read at once, each key in turn.
func crowd(callers, each int, read func(i int)) {
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

// Who reads along with others gets the value of its own key, or its own refusal.
func TestReadsTogether(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	c, conn := newClient(t, r), r.Conn(t)
	const keys = 50
	for i := range keys {
		if _, err := conn.Do("SET", fmt.Sprint("key", i), i); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Do("RPUSH", "list", "x"); err != nil {
		t.Fatal(err)
	}
	crowd(4*maxBatch, 20, func(i int) {
		switch i % 10 {
		case 0:
			if reply, err := c.Do(context.Background(), "GET", "list"); !errors.Is(err, ErrUnavailable) {
				t.Errorf("a list: %v, %v", reply, err)
			}
		case 1:
			if reply, err := c.Do(context.Background(), "GET", "nothing"); reply != nil || err != nil {
				t.Errorf("a missing key: %v, %v", reply, err)
			}
		default:
			if got, err := redis.Int(c.Do(context.Background(), "GET", fmt.Sprint("key", i%keys))); got != i%keys || err != nil {
				t.Errorf("key %d has %d, %v", i%keys, got, err)
			}
		}
	})
	for _, n := range c.layout.Load().nodes {
		if n.reads.batches != 0 || len(n.reads.waiting) != 0 {
			t.Errorf("%d batches under way, %d reads wait", n.reads.batches, len(n.reads.waiting))
		}
	}
}

// A connection that dies costs no read, and each was sent once where none dies.
func TestReadsTogetherOnDeadConnections(t *testing.T) {
	server := storetest.StartRedis(t)
	c, other := newClient(t, server.Redis), server.Conn(t)
	if _, err := other.Do("SET", "key", "value"); err != nil {
		t.Fatal(err)
	}
	reads := func() {
		crowd(2*maxBatch, 10, func(int) {
			if got, err := redis.String(c.Do(context.Background(), "GET", "key")); got != "value" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	before := calls(t, other)
	reads()
	if n := calls(t, other) - before; n != 2*maxBatch*10 {
		t.Errorf("%d commands for %d reads", n, 2*maxBatch*10)
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

// calls returns how many GETs a server has done.
func calls(t *testing.T, conn redis.Conn) int {
	t.Helper()
	stats, err := redis.String(conn.Do("INFO", "commandstats"))
	if err != nil {
		t.Fatal(err)
	}
	var n int
	for line := range strings.Lines(stats) {
		_, _ = fmt.Sscanf(line, "cmdstat_get:calls=%d", &n)
	}
	return n
}

// A server that hangs holds nobody longer than the limit, whoever it is waited behind.
func TestReadsTogetherOfSilentServer(t *testing.T) {
	silent := fakeServer(t, func([]string) string { return "" })
	c := New(Options{Addr: silent})
	t.Cleanup(c.Close)
	var mu sync.Mutex
	var longest time.Duration
	crowd(4*maxBatch, 3, func(int) {
		start := time.Now()
		if _, err := c.Do(context.Background(), "GET", "x"); !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		longest = max(longest, time.Since(start))
	})
	// A read behind two batches would take its own time on top of theirs.
	if longest >= 2*commandTimeout {
		t.Errorf("a read took %v, the limit is %v", longest, commandTimeout)
	}
}

// Of reads that go together on a connection that has gone silent each is answered on
// another one: no more fail than were sent alone.
func TestReadsTogetherOnSilentConnection(t *testing.T) {
	const lost = 8
	var heard atomic.Int64
	server := fakeServer(t, func([]string) string {
		if heard.Add(1) <= lost {
			return ""
		}
		return "$5\r\nvalue\r\n"
	})
	c := New(Options{Addr: server})
	t.Cleanup(c.Close)
	var failed atomic.Int64
	crowd(maxBatch, 2, func(int) {
		if got, err := redis.String(c.Do(context.Background(), "GET", "x")); err != nil {
			failed.Add(1)
		} else if got != "value" {
			t.Errorf("got %q", got)
		}
	})
	if n := failed.Load(); n > lost {
		t.Errorf("%d reads failed of %d that were not answered", n, lost)
	}
}

// A connection on which a reply too many has come is not used again: everyone on it would
// be given what another one has asked for.
func TestReplyTooMany(t *testing.T) {
	t.Parallel()
	var heard atomic.Int64
	server := fakeServer(t, func([]string) string {
		if heard.Add(1) == 1 {
			return "+OK\r\n$5\r\nfirst\r\n"
		}
		return "$5\r\nother\r\n"
	})
	c := New(Options{Addr: server})
	t.Cleanup(c.Close)
	for range 3 {
		if got, err := redis.String(c.Do(context.Background(), "GET", "x")); got != "other" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
}
