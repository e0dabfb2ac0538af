package redisconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

func newClient(t testing.TB, r storetest.Redis) *Client {
	t.Helper()
	c := New(Options{
		Addr: r.Addr, DB: r.DB, Sentinels: r.Sentinels, Master: r.Master, Cluster: r.Cluster,
		Log: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(c.Close)
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
	if one, err := redis.Int(c.Eval(ctx, NewScript(0, "return 1"))); one != 1 || err != nil {
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
		"script error":  second(c.Eval(ctx, NewScript(0, "return redis.call('GET', 'list')"))),
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
	for name, o := range map[string]Options{
		"plain": {}, "with a password": {Username: "u", Password: "p", DB: 1}, "TLS": {TLS: true},
	} {
		o.Addr = l.Addr().String()
		c := New(o)
		t.Cleanup(c.Close)
		start := time.Now()
		var wg sync.WaitGroup
		for range 4 * maxConns {
			wg.Go(func() {
				if err := c.Ping(context.Background()); !errors.Is(err, ErrUnavailable) {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		wg.Wait()
		// A command behind another would take its time and its own.
		if took := time.Since(start); took >= 2*commandTimeout {
			t.Errorf("%s: the commands took %v, the limit is %v", name, took, commandTimeout)
		}
	}
}

// A script knows when it is too late, on a clock that is not ours.
func TestScriptInTime(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	c, conn := newClient(t, r), r.Conn(t)
	set := NewScript(1, "return redis.call('SET', KEYS[1], ARGV[1])")
	ctx := context.Background()
	for _, offset := range []time.Duration{0, time.Hour, -time.Hour} {
		// What we believe of the clock of Redis is off: it corrects us.
		if offset != 0 {
			c.layout.Load().at("key").clock.offset.Add(offset.Milliseconds())
		}
		if reply, err := redis.String(c.Eval(ctx, set, "key", "value")); reply != "OK" || err != nil {
			t.Errorf("clock off by %v: %s, %v", offset, reply, err)
		}
	}
	if _, err := conn.Do("DEL", "key"); err != nil {
		t.Fatal(err)
	}
	_, err := set.script.Do(conn, "key", "value", time.Now().Add(-time.Second).UnixMilli())
	if _, late := lateness(err); !late {
		t.Errorf("a late script: %v", err)
	}
	if n, err := redis.Int(conn.Do("EXISTS", "key")); err != nil || n != 0 {
		t.Error("a late script ran")
	}
}

// TLS holds both ways: a server that nobody vouches for is not spoken to, and neither
// is one that does not speak it. Whom this machine trusts is settled once for a
// process, so each case has its own.
func TestTLS(t *testing.T) {
	const addrVar = "REDISCONN_TEST_ADDR"
	if addr := os.Getenv(addrVar); addr != "" {
		c := New(Options{Addr: addr, TLS: os.Getenv("REDISCONN_TEST_TLS") != ""})
		defer c.Close()
		fmt.Println(c.Ping(context.Background()))
		return
	}
	secure, authority := storetest.StartTLSRedis(t)
	plain := storetest.StartRedis(t)
	for _, tc := range []struct{ name, addr, tls, trusted, want string }{
		{"trusted", secure.Addr, "yes", authority, "<nil>"},
		{"not trusted", secure.Addr, "yes", "/dev/null", "certificate"},
		{"plain to TLS", secure.Addr, "", authority, "redis is unavailable"},
		{"TLS to plain", plain.Addr, "yes", authority, "redis is unavailable"},
	} {
		child := exec.Command(os.Args[0], "-test.run=^TestTLS$")
		child.Env = append(os.Environ(), addrVar+"="+tc.addr, "REDISCONN_TEST_TLS="+tc.tls, "SSL_CERT_FILE="+tc.trusted, "SSL_CERT_DIR=/dev/null")
		if out, err := child.CombinedOutput(); err != nil || !strings.Contains(string(out), tc.want) {
			t.Errorf("%s: %v\n%s", tc.name, err, out)
		}
	}
}

// Servers come and go while commands wait for connections to them.
func TestRetire(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	c := newClient(t, r)
	if err := c.Ping(context.Background()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 * maxConns {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_, _ = c.nodeAt("127.0.0.1:1").once(&limit{Context: context.Background()}, false, nil) // which is over
				}
			}
		})
	}
	for range 50_000 {
		c.adopt(c.layout.Load()) // which parts with the other one
	}
	close(stop)
	wg.Wait()
	if err := c.Ping(context.Background()); err != nil {
		t.Error(err)
	}
}
