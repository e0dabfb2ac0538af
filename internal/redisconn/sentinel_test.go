package redisconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"golang.org/x/sync/singleflight"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// fakeSentinel starts a Sentinel that names a master with an epoch and, optionally, the state of a
// failover. It returns its host:port.
func fakeSentinel(t *testing.T, master string, epoch int, failover ...string) string {
	t.Helper()
	return fakeServer(t, func([]string) string { return sentinelState(master, epoch, failover...) })
}

// sentinelState returns a reply to SENTINEL MASTER.
func sentinelState(master string, epoch int, failover ...string) string {
	host, port, _ := net.SplitHostPort(master)
	state := []string{"ip", host, "port", port, "config-epoch", fmt.Sprint(epoch)}
	if failover == nil {
		state = append(state, "flags", "master")
	} else {
		state = append(state, "flags", "s_down,o_down,master,failover_in_progress", "failover-state", failover[0])
	}

	reply := fmt.Sprintf("*%d\r\n", len(state))
	for _, s := range state {
		reply += fmt.Sprintf("$%d\r\n%s\r\n", len(s), s)
	}

	return reply
}

func newSentinelClient(t *testing.T, timeout time.Duration, sentinels ...string) *Client {
	t.Helper()
	c := New(Options{Sentinels: sentinels, Master: "m", Timeout: timeout, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(c.Close)
	return c
}

// If Sentinels name different masters, the latest failover counts. Sentinels that are down or send
// invalid replies are ignored. The leader of a failover names the old master until it is complete.
func TestStaleSentinel(t *testing.T) {
	t.Parallel()
	old, current := storetest.StartRedis(t), storetest.StartRedis(t)
	invalid := fakeServer(t, func([]string) string { return "+OK\r\n" })
	c := newSentinelClient(t, busyTimeout, "127.0.0.1:1", fakeSentinel(t, old.Addr, 3), invalid,
		fakeSentinel(t, old.Addr, 12, "reconf_slaves"), fakeSentinel(t, current.Addr, 12), fakeSentinel(t, old.Addr, 9))
	if _, err := c.Do(context.Background(), "SET", "here", "1"); err != nil {
		t.Fatal(err)
	}

	if n, err := redis.Int(current.Conn(t).Do("EXISTS", "here")); n != 1 || err != nil {
		t.Errorf("got %d keys on the new master, %v; want 1", n, err)
	}
}

// A demoted master is not used, not even for reads, because it may lag behind. If all Sentinels are
// down, the current server is used while it is a master.
func TestDemotedMaster(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	proxy := storetest.NewProxy(t, fakeSentinel(t, server.Addr, 1))
	c := newSentinelClient(t, busyTimeout, proxy.Addr)
	ctx := context.Background()
	if _, err := c.Do(ctx, "SET", "key", "1"); err != nil {
		t.Fatal(err)
	}

	proxy.Refuse()
	for range 3 {
		c.requestRefresh()
		if _, err := c.Do(ctx, "GET", "key"); err != nil {
			t.Fatalf("without Sentinels: got %v, want no error", err)
		}
	}

	server.Demote(t)
	refused := func() bool {
		_, err := c.Do(ctx, "GET", "key")
		return errors.Is(err, ErrUnavailable) && c.topology.Load() == noMaster
	}

	testkit.Eventually(t, "the client to refuse reads from a replica", refused)
	if _, err := server.Conn(t).Do("REPLICAOF", "NO", "ONE"); err != nil {
		t.Fatal(err)
	}
}

// A master that is being replaced does not know that yet, and its replicas may still acknowledge
// writes. Such a write will be lost, so it must fail.
func TestWriteDuringFailover(t *testing.T) {
	t.Parallel()
	const otherServer = "127.0.0.1:1"
	set := NewScript(1, "return redis.call('SET', KEYS[1], 'x')").WaitForReplicas()
	for _, tc := range []struct {
		name  string
		reply func(master string) (one, other string) // the replies of the Sentinels after the first write
		fails bool
	}{
		{"no failover", func(m string) (string, string) { return sentinelState(m, 1), sentinelState(m, 1) }, false},
		{"one Sentinel replaces it", func(m string) (string, string) {
			return sentinelState(m, 1), sentinelState(m, 1, "send_slaveof_noone")
		}, true},
		{"one Sentinel waits for votes", func(m string) (string, string) {
			return sentinelState(m, 1), sentinelState(m, 1, "wait_start")
		}, false},
		{"one Sentinel names another master", func(m string) (string, string) {
			return sentinelState(m, 1), sentinelState(otherServer, 2)
		}, true},
		{"it has replaced another server", func(m string) (string, string) {
			return sentinelState(m, 2), sentinelState(otherServer, 2, "reconf_slaves")
		}, false},
		{"one Sentinel does not reply", func(m string) (string, string) { return sentinelState(m, 1), "" }, true},
		{"one Sentinel does not reply, the other returns an error", func(string) (string, string) { return "", "-ERR no\r\n" }, true},
		{"one Sentinel returns an error", func(m string) (string, string) { return sentinelState(m, 1), "-ERR no\r\n" }, false},
		{"all Sentinels return errors", func(string) (string, string) { return "-ERR no\r\n", "-ERR no\r\n" }, false},
	} {
		for _, lags := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, lag %v", tc.name, lags), func(t *testing.T) {
				t.Parallel()
				master := fakeServer(t, func(words []string) string {
					switch {
					case words[0] == "ROLE":
						return "*3\r\n$6\r\nmaster\r\n:9\r\n*2\r\n*0\r\n*0\r\n"
					case words[0] == "WAIT" && lags:
						return ":0\r\n"
					case words[0] == "WAIT":
						return ":" + words[1] + "\r\n"
					}

					return "+OK\r\n"
				})

				var written atomic.Bool
				one, other := tc.reply(master)
				sentinel := func(reply string) string {
					return fakeServer(t, func([]string) string {
						if written.Load() {
							return reply
						}

						return sentinelState(master, 1)
					})
				}

				timeout := busyTimeout
				if tc.fails {
					timeout = DefaultTimeout // all attempts must end within sentinelGrace
				}

				c := newSentinelClient(t, timeout, sentinel(one), sentinel(other))
				if _, err := c.Eval(context.Background(), set, "key"); err != nil {
					t.Fatal(err)
				}

				written.Store(true)
				for range 4 { // the replies come in any order
					if _, err := c.Eval(context.Background(), set, "key"); errors.Is(err, ErrUnavailable) != tc.fails {
						t.Errorf("got %v, want ErrUnavailable: %v", err, tc.fails)
					}
				}
			})
		}
	}
}

// A Sentinel that stops replying may be leading a failover, so writes fail. After sentinelGrace it
// counts as lost: otherwise one dead machine would prevent all logins. A Sentinel that refuses
// connections leads no failover.
func TestLostSentinel(t *testing.T) {
	t.Parallel()
	r := storetest.StartSentinel(t)
	silent, down := storetest.NewProxy(t, r.Sentinels[0]), storetest.NewProxy(t, r.Sentinels[1])
	r.Sentinels[0], r.Sentinels[1] = silent.Addr, down.Addr
	c := newClientWithTimeout(t, r.Redis, DefaultTimeout)
	set := NewScript(1, "return redis.call('SET', KEYS[1], 'x')").WaitForReplicas()
	write := func() error { return second(c.Eval(context.Background(), set, "key")) }
	allReply := func() bool {
		return !slices.ContainsFunc(c.sentinels, (*sentinel).isLost) && write() == nil
	}

	testkit.Eventually(t, "all Sentinels to reply", allReply)
	down.Refuse()
	if err := write(); err != nil {
		t.Errorf("one Sentinel is down: got %v, want no error", err)
	}

	silent.Blackhole()
	if err := write(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("one Sentinel does not reply: got %v, want ErrUnavailable", err)
	}

	testkit.Eventually(t, "a write without two Sentinels", func() bool { return write() == nil })
	silent.Set(storetest.Faults{})
	down.Restore(t)
	testkit.Eventually(t, "all Sentinels to reply again", allReply)
	silent.Blackhole()
	if err := write(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("one Sentinel does not reply again: got %v, want ErrUnavailable", err)
	}
}

// A call during a query gets the reply to the next query, because the running one may have been
// answered before a failover started. A dead connection does not count as a reply.
func TestSentinelQuery(t *testing.T) {
	t.Parallel()
	received, epochs := make(chan bool), make(chan int)
	proxy := storetest.NewProxy(t, fakeServer(t, func([]string) string {
		received <- true
		return sentinelState("127.0.0.1:1", <-epochs)
	}))
	s := newSentinel(proxy.Addr, Options{Timeout: busyTimeout, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { _ = s.pool.Close() })
	want := func(what string, replies <-chan singleflight.Result, epoch int64) {
		t.Helper()
		if reply, err := receive(replies, time.Now().Add(10*time.Second)); err != nil || reply.epoch != epoch {
			t.Errorf("%s: got epoch %d, %v; want %d", what, reply.epoch, err, epoch)
		}
	}

	first := s.query()
	<-received
	next := s.query()
	var others []<-chan singleflight.Result
	for range 100 {
		others = append(others, s.query())
		runtime.Gosched() // a query that does not wait starts now
	}

	epochs <- 0
	want("the first query", first, 0)
	<-received
	later := s.query()
	epochs <- 1
	want("a query during the first", next, 1)
	for _, other := range others {
		want("another query during the first", other, 1)
	}

	<-received
	epochs <- 2
	want("a query during the second", later, 2)
	proxy.Refuse()
	proxy.Restore(t)
	last := s.query()
	<-received
	epochs <- 3
	want("a query on a new connection", last, 3)
}
