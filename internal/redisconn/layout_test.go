package redisconn

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
)

// fakeServer answers each command, by its words, as the test says. It is for what real
// servers cannot be made to say at a given moment.
func fakeServer(t *testing.T, answer func(words []string) string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				r := bufio.NewReader(conn)
				for {
					words, err := readCommand(r)
					if err != nil {
						return
					}
					reply := "+PONG\r\n"
					if words[0] != "PING" {
						reply = answer(words)
					}
					if _, err := io.WriteString(conn, reply); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func readCommand(r *bufio.Reader) ([]string, error) {
	var n int
	if _, err := fmt.Fscanf(r, "*%d\r\n", &n); err != nil {
		return nil, err
	}
	words := make([]string, n)
	for i := range words {
		var length int
		if _, err := fmt.Fscanf(r, "$%d\r\n", &length); err != nil {
			return nil, err
		}
		word := make([]byte, length+2)
		if _, err := io.ReadFull(r, word); err != nil {
			return nil, err
		}
		words[i] = string(word[:length])
	}
	return words, nil
}

// A server of a cluster may name another one for a key, for good (MOVED) or while the
// slot is on its way (ASK), or ask for patience (TRYAGAIN).
func TestRedirections(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var heard []string
	patience := 2 * maxTries // it does not count as a try
	target := fakeServer(t, func(words []string) string {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, words[0])
		switch {
		case words[0] == "ASKING":
			return "+OK\r\n"
		case len(words) > 1 && words[1] == "waits" && patience > 0:
			patience--
			return "-TRYAGAIN Multiple keys request during rehashing of slot\r\n"
		}
		return "$6\r\ntarget\r\n"
	})
	first := fakeServer(t, func(words []string) string {
		if words[0] != "GET" {
			return "-ERR unknown\r\n"
		}
		return fmt.Sprintf("-%s 1 %s\r\n", map[string]string{"moved": "MOVED", "asked": "ASK", "waits": "MOVED"}[words[1]], target)
	})
	c := New(Options{Addr: first})
	t.Cleanup(c.Close)
	for key, want := range map[string]string{"moved": "GET", "asked": "ASKING GET", "waits": strings.Repeat("GET ", 2*maxTries) + "GET"} {
		mu.Lock()
		heard = nil
		mu.Unlock()
		if got, err := redis.String(c.Do(context.Background(), "GET", key)); got != "target" || err != nil {
			t.Errorf("%s: %q, %v", key, got, err)
		}
		mu.Lock()
		if got := strings.Join(heard, " "); got != want {
			t.Errorf("%s: the other server heard %s", key, got)
		}
		mu.Unlock()
	}
}

// A layout is read from a server that may leave out its own host, and is not taken
// from one that knows nothing.
func TestCompleted(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"10.0.0.1:1": "10.0.0.1:1", ":2": "host:2", "?:3": "host:3", "fe80::1:4": "[fe80::1]:4", "[fe80::1]:5": "[fe80::1]:5",
	} {
		if got := completed(addr, "host:9"); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// A change waits for replicas that keep up and not for those that do not; then it is
// done all the same, and the log says so.
func TestLasting(t *testing.T) {
	t.Parallel()
	set := NewScript(1, "return redis.call('SET', KEYS[1], 'x')").Lasting()
	for _, tc := range []struct {
		name   string
		wait   string
		warns  bool
		fails  bool
		budget time.Duration
	}{
		{"confirmed", ":2\r\n", false, false, time.Second},
		{"one lags", ":1\r\n", true, false, time.Second},
		{"an error", "-ERR no\r\n", false, true, time.Second},
		{"no time left", ":0\r\n", false, true, 40 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			scripts := 0
			master := fakeServer(t, func(words []string) string {
				mu.Lock()
				defer mu.Unlock()
				switch words[0] {
				case "ROLE":
					return "*3\r\n$6\r\nmaster\r\n:9\r\n*2\r\n*0\r\n*0\r\n"
				case "WAIT":
					return tc.wait
				case "EVALSHA":
					scripts++
				}
				return "+OK\r\n"
			})
			var log lockedBuffer
			c := New(Options{Sentinels: []string{sentinelSays(t, master, 1)}, Log: slog.New(slog.NewTextHandler(&log, nil))})
			t.Cleanup(c.Close)
			if err := c.Ping(context.Background()); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				_, err := c.Eval(WithBudget(context.Background(), tc.budget), set, "key")
				if errors.Is(err, ErrUnavailable) != tc.fails {
					t.Errorf("got %v", err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if scripts != 2 {
				t.Errorf("the script ran %d times for 2 changes", scripts)
			}
			if got := strings.Count(log.String(), "do not keep up"); got > 1 || (got == 1) != tc.warns {
				t.Errorf("%d warnings: %s", got, log.String())
			}
		})
	}
}

// Commands of one request share its budget, those side by side at the same time; what
// is between them does not count.
func TestBudget(t *testing.T) {
	t.Parallel()
	silent := fakeServer(t, func([]string) string { return "" })
	c := New(Options{Addr: silent})
	t.Cleanup(c.Close)
	ctx := WithBudget(context.Background(), 300*time.Millisecond)
	start := time.Now()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := c.Do(ctx, "GET", "x"); !errors.Is(err, ErrUnavailable) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for range 100 { // nothing is left
		if _, err := c.Do(ctx, "GET", "x"); !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
	}
	if took := time.Since(start); took < 250*time.Millisecond || took > 10*300*time.Millisecond {
		t.Errorf("108 commands took %v", took)
	}
	b := &budget{left: time.Second}
	now := time.Now()
	after := func(d time.Duration) time.Time { now = now.Add(d); return now }
	for range 3 {
		b.enter(after(time.Minute))
		b.enter(after(10 * time.Millisecond))
		b.leave(after(10 * time.Millisecond))
		b.leave(after(10 * time.Millisecond))
	}
	if left, want := b.enter(after(time.Minute)), 910*time.Millisecond; left != want {
		t.Errorf("left %v, want %v", left, want)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A limit ends in time for who waits for it, before or after it was asked how long.
func TestLimit(t *testing.T) {
	t.Parallel()
	request, cancel := context.WithCancel(WithBudget(context.Background(), 10*time.Millisecond))
	cancel()
	l := limited(request)
	if err := l.Err(); err != nil && time.Until(l.deadline) > 0 {
		t.Errorf("ended with the request: %v", err)
	}
	<-l.Done()
	if err := l.Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("done, and its error is %v", err)
	}
	l.done()
	l = limited(context.Background())
	l.done()
	<-l.Done() // a connection that is being made looks after the command has ended
}
