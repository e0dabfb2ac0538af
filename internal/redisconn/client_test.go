package redisconn

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

func newClient(t *testing.T, r storetest.Redis) *Client {
	t.Helper()
	c := New(Options{Addr: r.Addr, DB: r.DB})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Connections that are killed under the pool, as by a restart or an idle limit of
// the server, cost no command.
func TestDeadConnections(t *testing.T) {
	server := storetest.StartRedis(t)
	c := newClient(t, server.Redis)
	ctx := context.Background()
	other := server.Conn(t)
	for range 5 {
		var wg sync.WaitGroup
		for range 2 * maxConns {
			wg.Go(func() {
				if err := c.Ping(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if killed, err := redis.Int(other.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")); err != nil || killed == 0 {
			t.Fatalf("killed %d connections, %v", killed, err)
		}
	}
	if _, err := other.Do("SCRIPT", "FLUSH"); err != nil {
		t.Fatal(err)
	}
	if one, err := redis.Int(c.Eval(ctx, redis.NewScript(0, "return 1"))); one != 1 || err != nil {
		t.Errorf("a script after a flush: %d, %v", one, err)
	}
}

// Whatever is wrong is ErrUnavailable, and a Redis that is there and says no is
// asked once.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := storetest.NewRedis(t)
	c := newClient(t, r)
	if _, err := r.Conn(t).Do("RPUSH", "list", "x"); err != nil {
		t.Fatal(err)
	}
	closed := newClient(t, storetest.Redis{Addr: "127.0.0.1:1"})
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for name, err := range map[string]error{
		"error reply":   second(c.Do(ctx, "GET", "list")),
		"script error":  second(c.Eval(ctx, redis.NewScript(0, "return redis.call('GET', 'list')"))),
		"nobody there":  second(closed.Do(ctx, "GET", "x")),
		"client's gone": second(closed.Do(cancelled, "GET", "x")),
	} {
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if reply, err := c.Do(ctx, "GET", "nothing"); reply != nil || err != nil {
		t.Errorf("a missing key: %v, %v", reply, err)
	}
}

func second(_ any, err error) error { return err }

// A server that takes connections and never answers holds no command longer than
// the limit, however many wait for a connection.
func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	c := newClient(t, storetest.Redis{Addr: l.Addr().String()})
	start := time.Now()
	var wg sync.WaitGroup
	for range 4 * maxConns {
		wg.Go(func() {
			if err := c.Ping(context.Background()); !errors.Is(err, ErrUnavailable) {
				t.Errorf("ping: %v", err)
			}
		})
	}
	wg.Wait()
	// A command behind another would take its time and its own.
	if took := time.Since(start); took >= 2*commandTimeout {
		t.Errorf("the commands took %v, the limit is %v", took, commandTimeout)
	}
}
