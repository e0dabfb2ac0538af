package redisconn

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// replyToAll returns a reply to every command, as a string.
func replyToAll(text string) func([]string) string {
	return func([]string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }
}

// If a single server refuses a command because it was demoted, the command is sent once more on a new
// connection, which may lead to the new master. The other connections are not used again, and a server that
// keeps refusing is not retried forever.
func TestDemotedSingleServer(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	set := NewScript(1, "return redis.call('SET', KEYS[1], 'x')")
	commands := map[string]func(*Client) (any, error){
		"GET":    func(c *Client) (any, error) { return c.Do(ctx, "GET", "key") },
		"SET":    func(c *Client) (any, error) { return c.Do(ctx, "SET", "key", "x") },
		"script": func(c *Client) (any, error) { return c.Eval(ctx, set, "key") },
	}

	for name, send := range commands {
		for _, tc := range []struct{ code, refusal string }{
			{"READONLY", "READONLY You can't write against a read only replica."},
			{"READONLY", "ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write against a read only replica."},
			{"MASTERDOWN", "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."},
			{"LOADING", "LOADING Redis is loading the dataset in memory"},
		} {
			t.Run(name+" "+tc.refusal, func(t *testing.T) {
				t.Parallel()
				var demoted atomic.Bool
				var refused atomic.Int64
				first := fakeServer(t, func([]string) string {
					if demoted.Load() {
						refused.Add(1)
						return "-" + tc.refusal + "\r\n"
					}

					return "$5\r\nfirst\r\n"
				})

				proxy := storetest.NewProxy(t, first)
				c := newClient(t, storetest.Redis{Addr: proxy.Addr})
				concurrently(8, func(int) {
					if err := c.Ping(ctx); err != nil {
						t.Error(err)
					}
				})
				demoted.Store(true)
				if _, err := send(c); !errors.Is(err, ErrUnavailable) || Code(err) != tc.code {
					t.Errorf("without a new master: got %v, want ErrUnavailable with the code %s", err, tc.code)
				}
				if n := refused.Swap(0); n != 2 {
					t.Errorf("without a new master: got %d refusals, want 2", n)
				}

				proxy.Retarget(fakeServer(t, replyToAll("second")))
				for range 8 {
					if got, err := redis.String(send(c)); got != "second" || err != nil {
						t.Errorf("got %q, %v; want the reply of the new master", got, err)
					}
				}
				if n := refused.Load(); n > 1 {
					t.Errorf("got %d refusals, want at most 1", n)
				}
			})
		}
	}
}

// A single server that is a replica is not used, not even for reads, because it may lag behind. A proxy
// that does not know ROLE is used.
func TestReplicaIsNotUsed(t *testing.T) {
	t.Parallel()
	for role, want := range map[string]string{
		"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:1\r\n$9\r\nconnected\r\n:1\r\n": "READONLY",
		"*3\r\n$6\r\nmaster\r\n:9\r\n*0\r\n":                                      "",
		"-NOPERM this user has no permissions to run the 'role' command\r\n":      "",
		"+OK\r\n": "",
	} {
		server := fakeServerWithRole(t, func(command []string) string {
			if command[0] == "ROLE" {
				return role
			}

			return "$5\r\nvalue\r\n"
		})
		c := newClient(t, storetest.Redis{Addr: server})
		if _, err := c.Do(context.Background(), "GET", "key"); Code(err) != want || errors.Is(err, ErrUnavailable) != (want != "") {
			t.Errorf("ROLE %q: got %v, want code %q", role, err, want)
		}
	}
}

// Connections are replaced regularly, so that a process that only reads does not stay connected to a demoted
// server.
func TestConnectionAge(t *testing.T) {
	t.Parallel()
	proxy := storetest.NewProxy(t, fakeServer(t, replyToAll("first")))
	c := newClient(t, storetest.Redis{Addr: proxy.Addr})
	get := func() string {
		got, err := redis.String(c.Do(context.Background(), "GET", "key"))
		testkit.NoError(t, err)
		return got
	}

	if got := get(); got != "first" {
		t.Errorf("got %q, want the reply of the first server", got)
	}

	proxy.Retarget(fakeServer(t, replyToAll("second")))
	testkit.Eventually(t, "a connection to the second server", func() bool { return get() == "second" })
}
