package redisconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

func newSentinelClient(t *testing.T, timeout time.Duration, sentinels ...string) *Client {
	t.Helper()
	return newClientWithTimeout(t, storetest.Redis{Sentinels: sentinels}, timeout)
}

// durableSet is a durable write.
var durableSet = NewScript(1, "return redis.call('SET', KEYS[1], 'x')").WaitForReplicas()

// If Sentinels name different masters, the latest failover counts. Sentinels that are down or send
// invalid replies are ignored. The leader of a failover names the old master until it is complete.
func TestStaleSentinel(t *testing.T) {
	t.Parallel()
	startMaster := func(name string) string {
		return fakeMaster(t, func([]string) string { return "+" + name + "\r\n" })
	}

	old := startMaster("old")
	current := startMaster("current")
	invalid := fakeServer(t, func([]string) string { return "+OK\r\n" })
	for range 10 { // the replies arrive in any order
		c := newSentinelClient(t, busyTimeout, "127.0.0.1:1", fakeSentinel(t, old, 3), invalid,
			fakeSentinel(t, old, 12, "reconf_slaves"), fakeSentinel(t, current, 12), fakeSentinel(t, old, 9))
		if got, err := redis.String(c.Do(context.Background(), "SET", "key", "1")); got != "current" || err != nil {
			t.Errorf("SET: got reply %q, %v; want the current master's", got, err)
		}
	}
}

// A demoted master is not used, not even for reads, because it may lag behind. If all Sentinels are
// down, the current server is used while it is a master.
func TestDemotedMaster(t *testing.T) {
	t.Parallel()
	role := make(chan string, 1)
	role <- "master"
	server := fakeServerWithRole(t, func(command []string) string {
		if command[0] != "ROLE" {
			return "$1\r\n1\r\n"
		}

		current := <-role
		role <- current
		return fmt.Sprintf("*1\r\n$%d\r\n%s\r\n", len(current), current)
	})

	proxy := storetest.NewProxy(t, fakeSentinel(t, server, 1))
	c := newSentinelClient(t, busyTimeout, proxy.Addr)
	get := func() error { return discardReply(c.Do(context.Background(), "GET", "key")) }
	testkit.NoError(t, get())

	proxy.Refuse()
	for range 3 {
		c.requestRefresh()
		testkit.NoError(t, get())
	}

	<-role
	role <- "slave"
	testkit.Eventually(t, "the client to refuse reads from a replica", func() bool {
		return errors.Is(get(), ErrUnavailable) && c.topology.Load() == noMaster
	})
}

// A master that is being replaced does not know that yet, and its replicas may still acknowledge
// writes. Such a write will be lost, so it must fail.
func TestWriteDuringFailover(t *testing.T) {
	t.Parallel()
	const otherServer = "127.0.0.1:1"
	for lag, wait := range map[string]string{"confirmed": ":2\r\n", "lagging": ":0\r\n"} {
		master := fakeMaster(t, replyToWait(wait))
		healthyState := sentinelState(master, 1)
		for name, tc := range map[string]struct {
			one, other string // the Sentinels' replies after the first write
			fails      bool
		}{
			"no failover":                          {healthyState, healthyState, false},
			"one Sentinel replaces it":             {healthyState, sentinelState(master, 1, "send_slaveof_noone"), true},
			"one Sentinel waits for votes":         {healthyState, sentinelState(master, 1, "wait_start"), false},
			"one Sentinel names another master":    {healthyState, sentinelState(otherServer, 2), true},
			"it has replaced another server":       {sentinelState(master, 2), sentinelState(otherServer, 2, "reconf_slaves"), false},
			"one Sentinel does not reply":          {healthyState, "", true},
			"one does not reply, one has an error": {"", "-ERR no\r\n", true},
			"one Sentinel returns an error":        {healthyState, "-ERR no\r\n", false},
			"all Sentinels return errors":          {"-ERR no\r\n", "-ERR no\r\n", false},
		} {
			t.Run(name+", "+lag, func(t *testing.T) {
				t.Parallel()
				var written atomic.Bool
				sentinel := func(reply string) string {
					return fakeServer(t, func([]string) string {
						if written.Load() {
							return reply
						}

						return healthyState
					})
				}

				timeout := busyTimeout
				if tc.fails {
					timeout = DefaultTimeout // all attempts must end within sentinelGrace
				}

				c := newSentinelClient(t, timeout, sentinel(tc.one), sentinel(tc.other))
				write := func() error { return discardReply(c.Eval(context.Background(), durableSet, "key")) }
				testkit.Eventually(t, "the first write", func() bool { return write() == nil })
				written.Store(true)
				for range 4 { // the replies arrive in any order
					if err := write(); errors.Is(err, ErrUnavailable) != tc.fails {
						t.Errorf("write: got %v, want ErrUnavailable: %t", err, tc.fails)
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
	master := fakeMaster(t, replyToWait(":2\r\n"))
	silentProxy := storetest.NewProxy(t, fakeSentinel(t, master, 1))
	downProxy := storetest.NewProxy(t, fakeSentinel(t, master, 1))
	c := newSentinelClient(t, sentinelGrace/3, silentProxy.Addr, downProxy.Addr, fakeSentinel(t, master, 1))
	write := func() error { return discardReply(c.Eval(context.Background(), durableSet, "key")) }
	allReply := func() bool {
		return !slices.ContainsFunc(c.sentinels, (*sentinel).isLost) && write() == nil
	}

	testkit.Eventually(t, "all Sentinels to reply", allReply)
	downProxy.Refuse()
	if err := write(); err != nil {
		t.Errorf("one Sentinel is down: got %v, want no error", err)
	}

	silentProxy.Blackhole()
	if err := write(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("one Sentinel does not reply: got %v, want ErrUnavailable", err)
	}

	testkit.Eventually(t, "a write without two Sentinels", func() bool { return write() == nil })
	silentProxy.Set(storetest.Faults{})
	downProxy.Restore(t)
	testkit.Eventually(t, "all Sentinels to reply again", allReply)
	silentProxy.Blackhole()
	if err := write(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("one Sentinel does not reply again: got %v, want ErrUnavailable", err)
	}
}

// A call during a query gets the reply to the next query, because the running one may have been
// answered before a failover started. A dead connection does not count as a reply.
func TestSentinelQuery(t *testing.T) {
	t.Parallel()
	received := make(chan bool)
	epochs := make(chan int)
	proxy := storetest.NewProxy(t, fakeServer(t, func([]string) string {
		received <- true
		return sentinelState("127.0.0.1:1", <-epochs)
	}))
	s := newSentinel(proxy.Addr, Options{Timeout: busyTimeout, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { _ = s.pool.Load().Close() })
	wantEpoch := func(what string, replies <-chan singleflight.Result, epoch int64) {
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
	wantEpoch("the first query", first, 0)
	<-received
	later := s.query()
	epochs <- 1
	wantEpoch("a query during the first", next, 1)
	for _, other := range others {
		wantEpoch("another query during the first", other, 1)
	}

	<-received
	epochs <- 2
	wantEpoch("a query during the second", later, 2)
	proxy.Refuse()
	proxy.Restore(t)
	last := s.query()
	<-received
	epochs <- 3
	wantEpoch("a query on a new connection", last, 3)
}
