package redisconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// A server of a cluster may redirect a command permanently (MOVED) or while the slot is being moved
// (ASK), or ask the client to try again later (TRYAGAIN).
func TestRedirections(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		redirection string
		tryAgain    int    // the number of TRYAGAIN replies, which do not count as tries
		want        string // the commands that the target server receives
	}{
		"moved": {"MOVED", 0, "GET "},
		"asked": {"ASK", 0, "ASKING GET "},
		"waits": {"MOVED", 2 * maxTries, "GET "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			received := ""
			target := fakeServer(t, func(words []string) string {
				received += words[0] + " "
				return "$6\r\ntarget\r\n"
			})

			first := fakeServer(t, func([]string) string {
				if tc.tryAgain > 0 {
					tc.tryAgain--
					return "-TRYAGAIN Multiple keys request during rehashing of slot\r\n"
				}

				return fmt.Sprintf("-%s 1 %s\r\n", tc.redirection, target)
			})

			c := newClient(t, storetest.Redis{Addr: first})
			if got, err := redis.String(c.Do(context.Background(), "GET", "key")); got != "target" || err != nil {
				t.Errorf("got %q, %v; want \"target\"", got, err)
			}

			if received != tc.want {
				t.Errorf("commands on the target server: got %q, want %q", received, tc.want)
			}
		})
	}
}

// A server may leave out its own host.
func TestResolveAddr(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"10.0.0.1:1": "10.0.0.1:1", ":2": "host:2", "?:3": "host:3", "fe80::1:4": "[fe80::1]:4", "[fe80::1]:5": "[fe80::1]:5",
	} {
		if got := resolveAddr(addr, "host:9"); got != want {
			t.Errorf("resolveAddr(%q) = %q, want %q", addr, got, want)
		}
	}
}

// A durable write waits for the replicas. If one lags behind, the write succeeds anyway, and that is
// logged once.
func TestWaitForReplicas(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		wait   string // the reply to WAIT
		warns  bool
		fails  bool
		budget time.Duration
	}{
		"confirmed":       {":2\r\n", false, false, busyTimeout},
		"one lags behind": {":1\r\n", true, false, busyTimeout},
		"error":           {"-ERR no\r\n", false, true, busyTimeout},
		"no time left":    {":0\r\n", false, true, busyTimeout / 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var scripts atomic.Int64
			master := fakeMaster(t, func(words []string) string {
				switch words[0] {
				case "WAIT":
					return tc.wait
				case "EVALSHA":
					scripts.Add(1)
				}

				return "+OK\r\n"
			})

			var log testkit.Buffer
			c := New(Options{
				Sentinels: []string{fakeSentinel(t, master, 1)},
				Timeout:   busyTimeout,
				Log:       slog.New(slog.NewTextHandler(&log, nil)),
			})
			t.Cleanup(c.Close)
			testkit.NoError(t, c.Ping(context.Background()))

			for range 2 {
				_, err := c.Eval(WithBudget(context.Background(), tc.budget), durableSet, "key")
				if errors.Is(err, ErrUnavailable) != tc.fails {
					t.Errorf("Eval: got %v, want ErrUnavailable: %t", err, tc.fails)
				}
			}

			if n := scripts.Load(); n != 2 {
				t.Errorf("got %d runs of the script, want 2", n)
			}
			if got := strings.Count(log.String(), "lag behind"); got > 1 || (got == 1) != tc.warns {
				t.Errorf("got %d warnings about lagging replicas, want one: %t; log: %s", got, tc.warns, log.String())
			}
		})
	}
}

// The commands of a request share its budget. The time between them does not count.
func TestBudget(t *testing.T) {
	t.Parallel()
	silent := fakeServer(t, func([]string) string { return "" })
	c := newClient(t, storetest.Redis{Addr: silent})
	ctx := WithBudget(context.Background(), 300*time.Millisecond)
	start := time.Now()
	get := func(int) {
		if _, err := c.Do(ctx, "GET", "x"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("GET: got %v, want ErrUnavailable", err)
		}
	}

	concurrently(8, get)
	for i := range 100 { // the budget is used up
		get(i)
	}

	if elapsed := time.Since(start); elapsed < 250*time.Millisecond || elapsed > 10*300*time.Millisecond {
		t.Errorf("108 commands failed after %v, want about 300ms", elapsed)
	}

	synctest.Test(t, func(t *testing.T) {
		c := &Client{options: Options{Timeout: DefaultTimeout}}
		ctx := WithBudget(t.Context(), time.Second)
		for range 3 {
			time.Sleep(time.Minute) // on the fake clock
			_, release := c.commandDeadline(ctx)
			time.Sleep(250 * time.Millisecond)
			release()
		}

		time.Sleep(time.Minute)
		deadline, _ := c.commandDeadline(ctx)
		if left := time.Until(deadline); left != 250*time.Millisecond {
			t.Errorf("remaining budget: got %v, want 250ms", left)
		}
	})
}

// A scan that starts before the first refresh of the topology waits for it, and runs only once.
func TestScanAtStart(t *testing.T) {
	t.Parallel()
	scans := 0
	server := fakeServer(t, func([]string) string {
		scans++
		return "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n"
	})

	c := newClient(t, storetest.Redis{Addr: server})
	first := c.topology.Swap(nil)
	c.ready = make(chan struct{})
	time.AfterFunc(10*time.Millisecond, func() {
		c.topology.Store(first)
		close(c.ready)
	})

	err := c.Scan(context.Background(), "*", func([]string) error { return nil })
	if err != nil || scans != 1 {
		t.Errorf("got %d scans, %v; want 1", scans, err)
	}
}

// If keys move to another server during a scan, the scan starts again.
func TestScanAgain(t *testing.T) {
	t.Parallel()
	server := func(key string) string {
		return fakeServer(t, func([]string) string {
			return fmt.Sprintf("*2\r\n$1\r\n0\r\n*1\r\n$%d\r\n%s\r\n", len(key), key)
		})
	}

	first := server("first")
	second := server("second")
	for _, tc := range []struct {
		moves int
		want  string
		fails bool
	}{
		{0, "first", false},
		{1, "first second", false},
		{maxTries, "first second first second first", true},
	} {
		c := newClient(t, storetest.Redis{Addr: first})
		var got []string
		err := c.Scan(context.Background(), "*", func(keys []string) error {
			got = append(got, keys...)
			if len(got) <= tc.moves {
				next := []string{first, second}[len(got)%2]
				c.apply(&topology{nodes: []*node{c.nodeAt(next)}})
			}

			return nil
		})

		if strings.Join(got, " ") != tc.want || errors.Is(err, ErrUnavailable) != tc.fails {
			t.Errorf("%d moves: got keys %v and error %v, want keys %s and ErrUnavailable: %t", tc.moves, got, err, tc.want, tc.fails)
		}
	}
}
