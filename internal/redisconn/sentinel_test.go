package redisconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
)

// sentinelSays is a Sentinel that names a server, by an election of some number, and may
// be about a failover.
func sentinelSays(t *testing.T, master string, epoch int, failover ...string) string {
	t.Helper()
	return fakeServer(t, func([]string) string { return sentinelState(master, epoch, failover...) })
}

// sentinelState is the answer to SENTINEL MASTER.
func sentinelState(master string, epoch int, failover ...string) string {
	host, port, _ := net.SplitHostPort(master)
	state := []string{"ip", host, "port", port, "config-epoch", fmt.Sprint(epoch)}
	if failover == nil {
		state = append(state, "flags", "master")
	} else {
		state = append(state, "flags", "s_down,o_down,master,failover_in_progress", "failover-state", failover[0])
	}
	answer := fmt.Sprintf("*%d\r\n", len(state))
	for _, s := range state {
		answer += fmt.Sprintf("$%d\r\n%s\r\n", len(s), s)
	}
	return answer
}

func newSentinelClient(t *testing.T, sentinels ...string) *Client {
	t.Helper()
	c := New(Options{Sentinels: sentinels, Master: "m", Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(c.Close)
	return c
}

// Of Sentinels that name different servers the one counts that knows of the latest
// election; those that are away or talk nonsense count for nothing, and one that holds
// it names the old server until it is done.
func TestStaleSentinel(t *testing.T) {
	t.Parallel()
	old, current := storetest.StartRedis(t), storetest.StartRedis(t)
	nonsense := fakeServer(t, func([]string) string { return "+OK\r\n" })
	c := newSentinelClient(t, "127.0.0.1:1", sentinelSays(t, old.Addr, 3), nonsense,
		sentinelSays(t, old.Addr, 12, "reconf_slaves"), sentinelSays(t, current.Addr, 12), sentinelSays(t, old.Addr, 9))
	if _, err := c.Do(context.Background(), "SET", "here", "1"); err != nil {
		t.Fatal(err)
	}
	if n, err := redis.Int(current.Conn(t).Do("EXISTS", "here")); n != 1 || err != nil {
		t.Errorf("the old server was used, %v", err)
	}
}

// A server that was demoted serves nothing, not even reads: it may lag behind. With no
// Sentinel to ask, the one that is in use goes on while it is the master.
func TestDemotedMaster(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	proxy := storetest.NewProxy(t, sentinelSays(t, server.Addr, 1))
	c := newSentinelClient(t, proxy.Addr)
	ctx := context.Background()
	if _, err := c.Do(ctx, "SET", "key", "1"); err != nil {
		t.Fatal(err)
	}
	proxy.Refuse()
	for range 3 {
		c.look()
		if _, err := c.Do(ctx, "GET", "key"); err != nil {
			t.Fatalf("without Sentinels: %v", err)
		}
	}
	server.Demote(t)
	refused := func() bool {
		_, err := c.Do(ctx, "GET", "key")
		return errors.Is(err, ErrUnavailable) && c.layout.Load() == nobody
	}
	for deadline := time.Now().Add(10 * time.Second); !refused(); {
		if time.Now().After(deadline) {
			t.Fatal("a replica is read")
		}
	}
	if _, err := server.Conn(t).Do("REPLICAOF", "NO", "ONE"); err != nil {
		t.Fatal(err)
	}
}

// A server in whose place another one is put does not know yet, and may have replicas
// that keep up: what it is told is lost, and must not be answered with success.
func TestReplaced(t *testing.T) {
	t.Parallel()
	const elsewhere = "127.0.0.1:1"
	set := NewScript(1, "return redis.call('SET', KEYS[1], 'x')").Lasting()
	for _, tc := range []struct {
		name  string
		says  func(master string) (one, other string) // the Sentinels, after a first change
		fails bool
	}{
		{"all is well", func(m string) (string, string) { return sentinelState(m, 1), sentinelState(m, 1) }, false},
		{"one replaces it", func(m string) (string, string) {
			return sentinelState(m, 1), sentinelState(m, 1, "send_slaveof_noone")
		}, true},
		{"one would like to replace it", func(m string) (string, string) {
			return sentinelState(m, 1), sentinelState(m, 1, "wait_start")
		}, false},
		{"one names another server", func(m string) (string, string) {
			return sentinelState(m, 1), sentinelState(elsewhere, 2)
		}, true},
		{"it has replaced another", func(m string) (string, string) {
			return sentinelState(m, 2), sentinelState(elsewhere, 2, "reconf_slaves")
		}, false},
		{"one is silent", func(m string) (string, string) { return sentinelState(m, 1), "" }, true},
		{"one is out of order", func(m string) (string, string) { return sentinelState(m, 1), "-ERR no\r\n" }, false},
		{"all are out of order", func(string) (string, string) { return "-ERR no\r\n", "-ERR no\r\n" }, false},
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
				var then atomic.Bool
				one, other := tc.says(master)
				sentinel := func(says string) string {
					return fakeServer(t, func([]string) string {
						if then.Load() {
							return says
						}
						return sentinelState(master, 1)
					})
				}
				c := newSentinelClient(t, sentinel(one), sentinel(other))
				if _, err := c.Eval(context.Background(), set, "key"); err != nil {
					t.Fatal(err)
				}
				then.Store(true)
				if _, err := c.Eval(context.Background(), set, "key"); errors.Is(err, ErrUnavailable) != tc.fails {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

// A Sentinel that has stopped to answer may know of a failover; after a while it is
// taken for lost, or a machine that is would keep people from logging in. One that is
// down knows of none.
func TestLostSentinel(t *testing.T) {
	t.Parallel()
	r := storetest.StartSentinel(t)
	silent, down := storetest.NewProxy(t, r.Sentinels[0]), storetest.NewProxy(t, r.Sentinels[1])
	r.Sentinels[0], r.Sentinels[1] = silent.Addr, down.Addr
	c := newClient(t, r.Redis)
	set := NewScript(1, "return redis.call('SET', KEYS[1], 'x')").Lasting()
	change := func() error { return second(c.Eval(context.Background(), set, "key")) }
	eventually := func(what string, done func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * silence); !done(); {
			if time.Now().After(deadline) {
				t.Fatal("not in time: ", what)
			}
		}
	}
	all := func() bool {
		return !slices.ContainsFunc(c.sentinels, (*sentinel).lost) && change() == nil
	}
	eventually("all answer", all)
	down.Refuse()
	if err := change(); err != nil {
		t.Errorf("one is down: %v", err)
	}
	silent.Silence()
	if err := change(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("one is silent: %v", err)
	}
	eventually("a change without two of them", func() bool { return change() == nil })
	silent.Set(storetest.Faults{})
	down.Restore(t)
	eventually("all answer again", all)
	silent.Silence()
	if err := change(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("one is silent again: %v", err)
	}
}

// Who asks while a question is under way gets the answer to the next: the one under way
// may have been answered before a failover began. A connection that was closed meanwhile
// is no answer.
func TestSentinelAsked(t *testing.T) {
	t.Parallel()
	heard, answer := make(chan bool), make(chan int)
	proxy := storetest.NewProxy(t, fakeServer(t, func([]string) string {
		heard <- true
		return sentinelState("127.0.0.1:1", <-answer)
	}))
	s := Options{Log: slog.New(slog.DiscardHandler)}.sentinel(proxy.Addr)
	t.Cleanup(func() { _ = s.pool.Close() })
	first := s.ask()
	<-heard
	next, same := s.ask(), s.ask()
	if next == first || next != same {
		t.Error("the next question is not shared by those who ask during the first")
	}
	for epoch, a := range []*statement{first, next} {
		answer <- epoch
		if <-a.said; a.err != nil || a.epoch != int64(epoch) {
			t.Errorf("question %d: election %d, %v", epoch, a.epoch, a.err)
		}
		if a == first {
			<-heard
		}
	}
	proxy.Refuse()
	proxy.Restore(t)
	last := s.ask()
	<-heard
	answer <- 2
	if <-last.said; last.err != nil || last.epoch != 2 {
		t.Errorf("on a new connection: election %d, %v", last.epoch, last.err)
	}
}
