package redisconn

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// Every pipelined GET gets the value or the error of its own key.
func TestPipeline(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	c := newClient(t, r)
	conn := r.Conn(t)
	const keys = 50
	for i := range keys {
		_, err := conn.Do("SET", fmt.Sprint("key", i), i)
		testkit.NoError(t, err)
	}

	_, err := conn.Do("RPUSH", "list", "x")
	testkit.NoError(t, err)
	concurrently(4*maxConns, func(caller int) {
		for i := range 20 {
			i := caller + i
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
					t.Errorf("GET key%d: got %d, %v; want %d", i%keys, got, err, i%keys)
				}
			}
		}
	})

	for _, n := range c.topology.Load().nodes {
		testkit.Eventually(t, "an idle pipeline", func() bool {
			n.pipeline.mu.Lock()
			defer n.pipeline.mu.Unlock()
			return n.pipeline.running == 0 && len(n.pipeline.waiting) == 0
		})
	}
}

// A GET is repeated in time if it gets no reply or an unexpected one. If no pipeline becomes free, it
// is sent on its own. No more GETs fail than if they had been sent one by one. A connection with an
// unexpected reply is not used again, because all later replies would go to the wrong GETs.
func TestGetAgain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		badReply  string // to the first badCount GETs
		badCount  int64
		callers   int
		running   int // the number of pipelines that never end
		maxFailed int64
	}{
		"no reply":         {badReply: "", badCount: 1, callers: 1},
		"no replies":       {badReply: "", badCount: 8, callers: maxConns, maxFailed: 8},
		"unexpected reply": {badReply: "+OK\r\n$5\r\nfirst\r\n", badCount: 1, callers: 1},
		"pipelines busy":   {callers: 1, running: maxPipelines},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var received, failed atomic.Int64
			server := fakeServer(t, func([]string) string {
				if received.Add(1) <= tc.badCount {
					return tc.badReply
				}

				return "$5\r\nvalue\r\n"
			})

			c := newClientWithTimeout(t, storetest.Redis{Addr: server}, 2*time.Second)
			c.topology.Load().nodes[0].pipeline.running = tc.running
			concurrently(tc.callers, func(int) {
				for range 2 {
					if got, err := redis.String(c.Do(context.Background(), "GET", "x")); err != nil {
						failed.Add(1)
					} else if got != "value" {
						t.Errorf("got %q, want \"value\"", got)
					}
				}
			})

			if n := failed.Load(); n > tc.maxFailed {
				t.Errorf("got %d failed GETs, want at most %d", n, tc.maxFailed)
			}
		})
	}
}
