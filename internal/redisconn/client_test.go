package redisconn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

func TestMain(m *testing.M) { storetest.MainParallel(m) }

// busyTimeout is the time limit of a command on a busy machine, for tests that are not about
// time limits.
const busyTimeout = 10 * time.Second

func newClient(t testing.TB, r storetest.Redis) *Client {
	t.Helper()
	return newClientWithTimeout(t, r, busyTimeout)
}

func newClientWithTimeout(t testing.TB, r storetest.Redis, timeout time.Duration) *Client {
	t.Helper()
	c := New(Options{
		Addr:      r.Addr,
		DB:        r.DB,
		Sentinels: r.Sentinels,
		Master:    r.Master,
		Cluster:   r.Cluster,
		Timeout:   timeout,
		Log:       slog.New(slog.DiscardHandler),
	})

	t.Cleanup(c.Close)
	return c
}

// No command fails if the server closes connections, whether idle or in the middle of a command. If
// it closes none, every GET is sent exactly once.
func TestDeadConnections(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	c := newClient(t, server.Redis)
	ctx := context.Background()
	conn := server.Conn(t)
	_, err := conn.Do("SET", "key", "value")
	testkit.NoError(t, err)

	burst := func() {
		concurrently(2*maxConns, func(int) {
			for range 5 {
				if err := c.Ping(ctx); err != nil {
					t.Error(err)
				}
				if got, err := redis.String(c.Do(ctx, "GET", "key")); got != "value" || err != nil {
					t.Errorf("GET: got %q, %v; want \"value\"", got, err)
				}
			}
		})
	}
	kill := func() int {
		killed, err := redis.Int(conn.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
		testkit.NoError(t, err)
		return killed
	}

	burst()
	stats, err := redis.String(conn.Do("INFO", "commandstats"))
	if want := fmt.Sprintf("cmdstat_get:calls=%d,", 2*maxConns*5); err != nil || !strings.Contains(stats, want) {
		t.Errorf("INFO commandstats: got %s, %v; want it to contain %q", stats, err, want)
	}

	for range 5 {
		if kill() == 0 {
			t.Error("CLIENT KILL: got no connections killed, want at least 1")
		}

		var wg sync.WaitGroup
		wg.Go(burst)
		kill()
		wg.Wait()
	}

	_, err = conn.Do("SCRIPT", "FLUSH")
	testkit.NoError(t, err)
	if one, err := redis.Int(c.Eval(ctx, NewScript(1, "return 1"), "key")); one != 1 || err != nil {
		t.Errorf("script after SCRIPT FLUSH: got %d, %v; want 1", one, err)
	}
}

// All failures are ErrUnavailable. A missing key is not a failure.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := storetest.NewRedis(t)
	c := newClient(t, r)
	_, err := r.Conn(t).Do("RPUSH", "list", "x")
	testkit.NoError(t, err)

	unreachable := newClient(t, storetest.Redis{Addr: "127.0.0.1:1"})
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for name, err := range map[string]error{
		"error reply":  discardReply(c.Do(ctx, "GET", "list")),
		"script error": discardReply(c.Eval(ctx, NewScript(1, "return redis.call('GET', KEYS[1])"), "list")),
		"no server":    discardReply(unreachable.Do(ctx, "GET", "x")),
		"disconnected": discardReply(unreachable.Do(cancelled, "GET", "x")),
	} {
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: got %v, want ErrUnavailable", name, err)
		}
	}

	if reply, err := c.Do(ctx, "GET", "nothing"); reply != nil || err != nil {
		t.Errorf("missing key: got %v, %v; want a nil reply", reply, err)
	}
}

// A server that cannot write to its disk refuses PING. New connections to it still serve reads.
func TestServerCannotPersist(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.NoError(t, err)
	c := newClient(t, storetest.Redis{Addr: serve(t, l, func(command []string) string {
		switch command[0] {
		case "GET":
			return "$5\r\nvalue\r\n"
		case "ROLE":
			return "*3\r\n$6\r\nmaster\r\n:9\r\n*0\r\n"
		}

		return "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.\r\n"
	})})

	if got, err := redis.String(c.Do(ctx, "GET", "key")); got != "value" || err != nil {
		t.Errorf("GET: got %q, %v; want the value", got, err)
	}

	for name, err := range map[string]error{
		"PING": c.Ping(ctx),
		"SET":  discardReply(c.Do(ctx, "SET", "key", "x")),
	} {
		if !errors.Is(err, ErrUnavailable) || Code(err) != "MISCONF" {
			t.Errorf("%s: got %v, want ErrUnavailable with the code MISCONF", name, err)
		}
	}
}

// discardReply returns the error of a command.
func discardReply(_ any, err error) error { return err }

// If a server does not reply, commands fail at the time limit, even if many of them wait for a
// connection or for a pipeline.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	const timeout = 2 * time.Second
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	silent := l.Addr().String()
	for name, o := range map[string]Options{
		"plain":        {Addr: silent},
		"password":     {Addr: silent, Username: "u", Password: "p", DB: 1},
		"TLS":          {Addr: silent, TLS: true},
		"replies PONG": {Addr: fakeServer(t, func([]string) string { return "" })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.Timeout = timeout
			c := New(o)
			t.Cleanup(c.Close)
			start := time.Now()
			concurrently(4*maxConns, func(i int) {
				command := []string{"GET", "EXISTS"}[i%2]
				if _, err := c.Do(context.Background(), command, "x"); !errors.Is(err, ErrUnavailable) {
					t.Errorf("got %v, want ErrUnavailable", err)
				}
			})

			// Commands that wait for each other would take a multiple of the limit.
			if elapsed := time.Since(start); elapsed >= 2*timeout {
				t.Errorf("commands failed after %v, want about %v", elapsed, timeout)
			}
		})
	}
}

// A script does not run after its deadline, even if Redis's clock differs from ours.
func TestScriptDeadline(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	c := newClient(t, r)
	conn := r.Conn(t)
	set := NewScript(1, "return redis.call('SET', KEYS[1], ARGV[1])")
	ctx := context.Background()
	for _, offset := range []time.Duration{0, time.Hour, -time.Hour} {
		// Make the client's assumption about Redis's clock wrong. It must correct that.
		if offset != 0 {
			n := c.topology.Load().nodeFor("key")
			start := n.clockStart.Load().Add(-offset)
			n.clockStart.Store(&start)
		}

		if reply, err := redis.String(c.Eval(ctx, set, "key", "value")); reply != "OK" || err != nil {
			t.Errorf("clock off by %v: got %s, %v; want OK", offset, reply, err)
		}
	}

	_, err := conn.Do("DEL", "key")
	testkit.NoError(t, err)
	_, err = set.script.Do(conn, "key", "value", time.Now().Add(-time.Second).UnixMilli())
	if _, late := parseLate(err); !late {
		t.Errorf("script after its deadline: got %v, want LATE", err)
	}

	if n, err := redis.Int(conn.Do("EXISTS", "key")); err != nil || n != 0 {
		t.Errorf("after a late script: got %d keys, %v; want 0", n, err)
	}
}

// With TLS the client rejects an untrusted certificate and a server without TLS. A process reads
// the trusted certificates only once, so each case runs in its own process.
func TestTLS(t *testing.T) {
	t.Parallel()
	const addrVar = "REDISCONN_TEST_ADDR"
	if addr := os.Getenv(addrVar); addr != "" {
		c := New(Options{Addr: addr, TLS: os.Getenv("REDISCONN_TEST_TLS") != "", Timeout: busyTimeout})
		defer c.Close()
		fmt.Println(c.Ping(context.Background()))
		return
	}

	certFile, keyFile := storetest.Certificate(t, t.TempDir())
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	testkit.NoError(t, err)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	testkit.NoError(t, err)
	pong := func([]string) string { return "+PONG\r\n" }
	secureAddr := serve(t, l, pong)
	plainAddr := fakeServer(t, pong)
	for _, tc := range []struct{ name, addr, tls, trusted, want string }{
		{"trusted", secureAddr, "yes", certFile, "<nil>"},
		{"not trusted", secureAddr, "yes", "/dev/null", "certificate"},
		{"plain to TLS", secureAddr, "", certFile, "redis is unavailable"},
		{"TLS to plain", plainAddr, "yes", certFile, "redis is unavailable"},
	} {
		child := exec.Command(os.Args[0], "-test.run=^TestTLS$")
		child.Env = append(os.Environ(), addrVar+"="+tc.addr, "REDISCONN_TEST_TLS="+tc.tls,
			"SSL_CERT_FILE="+tc.trusted, "SSL_CERT_DIR=/dev/null")
		if out, err := child.CombinedOutput(); err != nil || !strings.Contains(string(out), tc.want) {
			t.Errorf("%s: got %v, output %q; want the output to contain %q", tc.name, err, out, tc.want)
		}
	}
}

// A command that gets no connection before its deadline fails without being sent, even if the node
// was removed.
func TestNoConnectionInTime(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	c := newClient(t, r)
	testkit.NoError(t, c.Ping(context.Background()))
	for range 20 { // a redigo pool with Wait would panic in half of the cases
		n := c.nodeAt("127.0.0.1:1")
		c.apply(c.topology.Load()) // removes n
		if _, err := n.withConn(time.Now(), false, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after the deadline: got %v, want DeadlineExceeded", err)
		}
	}

	n := c.topology.Load().nodeFor("key")
	for range maxConns {
		n.slots <- struct{}{}
	}

	ctx := WithBudget(context.Background(), 20*time.Millisecond)
	if _, err := c.Do(ctx, "SET", "key", "value"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("all connections in use: got %v, want ErrUnavailable", err)
	}
}

// The client does not use a server that replies, but is not Redis.
func TestNotRedis(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.NoError(t, err)
	c := newClient(t, storetest.Redis{Addr: serve(t, l, func([]string) string { return "+OK\r\n" })})
	if _, err := c.Do(context.Background(), "SET", "key", "value"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

// A command is sent again only if the connection was dead.
func TestIsDeadConn(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{io.EOF, true},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, true},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, false},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, false},
		{context.DeadlineExceeded, false},
		{redis.Error("ERR no"), false},
		{fmt.Errorf("%w: %w", errNotConfirmed, io.EOF), false},
	} {
		if got := isDeadConn(tc.err); got != tc.want {
			t.Errorf("isDeadConn(%v) = %t, want %t", tc.err, got, tc.want)
		}
	}
}

// A closed client has no connections and opens none.
func TestClose(t *testing.T) {
	t.Parallel()
	c := newClient(t, storetest.NewRedis(t))
	testkit.NoError(t, c.Ping(context.Background()))

	nodes := c.topology.Load().nodes
	c.Close()
	for _, n := range nodes {
		if stats := n.pool.Load().Stats(); stats.ActiveCount != 0 {
			t.Errorf("got %d connections to %s, want 0", stats.ActiveCount, n.addr)
		}
	}

	if _, err := c.Do(context.Background(), "GET", "key"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}

	if idle, inUse := c.Connections(); idle != 0 || inUse != 0 {
		t.Errorf("got %d idle connections and %d in use, want 0 and 0", idle, inUse)
	}
}

// If the reply to a durable script does not arrive in time, the script runs again, because its
// caller must know what it has done. Other scripts only count events and do not run again. Nothing
// runs after the request's budget is used up.
func TestScriptTimeout(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		durable     bool
		budget      time.Duration
		lostReplies int
		want        int64
	}{
		"durable":                {durable: true, budget: time.Minute, lostReplies: 1, want: 2},
		"durable, lost twice":    {durable: true, budget: time.Minute, lostReplies: 2},
		"durable, budget of 1ns": {durable: true, budget: 1, lostReplies: 0},
		"not durable":            {budget: time.Minute, lostReplies: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _, _ := storetest.ProxiedRedis(t)
			dialer := &storetest.LossyDialer{}
			c := New(Options{Addr: r.Addr, DB: r.DB, Timeout: 10 * time.Second, Dial: dialer.Dial, Log: slog.New(slog.DiscardHandler)})
			t.Cleanup(c.Close)

			count := NewScript(1, "return redis.call('INCRBY', KEYS[1], ARGV[1])")
			if tc.durable {
				count.WaitForReplicas()
			}
			testkit.NoError(t, discardReply(c.Eval(context.Background(), count, "key", 0))) // loads the script

			dialer.Ignored = [][]byte{[]byte("SELECT"), []byte("PING")} // of a new connection
			dialer.Lose(1, tc.lostReplies, os.ErrDeadlineExceeded)
			got, err := Int64(c.Eval(WithBudget(context.Background(), tc.budget), count, "key", 1))
			if got != tc.want || (err == nil) != (tc.want > 0) || err != nil && !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %d, %v; want %d", got, err, tc.want)
			}
		})
	}
}
