package mail

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/redisconn"
)

// A process that dies with a job in its hands loses nothing: when the lease ends, and
// not before, another one has it.
func TestRunAfterDeath(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	const lease = 400 * time.Millisecond
	dead, _ := newQueue(t, r, QueueOptions{Lease: lease})
	q, _ := newQueue(t, r, QueueOptions{})
	push(t, dead, "job")
	begun := time.Now()
	if c, err := dead.claim(t.Context(), "token"); err != nil || c == nil || c.id != "job" || c.attempts != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	came := make(chan time.Duration, 9)
	start(t, q, func(context.Context, Job) error {
		came <- time.Since(begun)
		return nil
	})
	if after := next(t, came); after < lease {
		t.Errorf("it was taken over after %v, the lease is %v", after, lease)
	}
	eventually(t, "the queue is empty", empty(t, q))
	if len(came) > 0 {
		t.Error("it came twice")
	}
}

// A job that is sent while Redis goes away is sent once, also when Redis is away for
// longer than the lease; and of an outage the log says so once.
func TestRunRedisAway(t *testing.T) {
	t.Parallel()
	direct, proxied, proxy := storetest.ProxiedRedis(t)
	const lease, interval = 300 * time.Millisecond, 100 * time.Millisecond
	q, log := newQueue(t, proxied, QueueOptions{Lease: lease, Interval: interval})
	other, otherLog := newQueue(t, proxied, QueueOptions{Lease: lease, Interval: interval})
	push(t, q, "job")
	var sent atomic.Int32
	handle := func(context.Context, Job) error {
		sent.Add(1)
		proxy.Refuse()
		return nil
	}
	start(t, q, handle)
	eventually(t, "it was sent", func() bool { return sent.Load() > 0 })
	start(t, other, handle)
	eventually(t, "both have noticed", func() bool {
		return len(log.lines(t, waits)) > 0 && len(otherLog.lines(t, waits)) > 0
	})
	if err := q.Push(t.Context(), Job{}); !errors.Is(err, redisconn.ErrUnavailable) {
		t.Errorf("Push: %v", err)
	}
	if _, err := q.Len(t.Context()); !errors.Is(err, redisconn.ErrUnavailable) {
		t.Errorf("Len: %v", err)
	}
	observer, _ := newQueue(t, direct, QueueOptions{})
	conn := direct.Conn(t)
	eventually(t, "the lease is over", func() bool {
		n, err := conn.Do("EXISTS", jobsKey)
		due, dueErr := overdue(conn)
		return n == int64(1) && err == nil && due && dueErr == nil
	})
	proxy.Restore(t)
	eventually(t, "the queue is empty", empty(t, observer))
	for _, log := range []*logged{log, otherLog} {
		eventually(t, "both go on", func() bool { return len(log.lines(t, "mail goes on")) > 0 })
		if n := len(log.lines(t, waits)); n != 1 {
			t.Errorf("%d lines of one outage", n)
		}
	}
	if sent.Load() != 1 {
		t.Errorf("sent %d times", sent.Load())
	}
}

// A Redis that is away from the start is waited for quietly. When it is back nobody
// takes over what another process has sent, before that had the time to say so.
func TestRunSettles(t *testing.T) {
	t.Parallel()
	direct, proxied, proxy := storetest.ProxiedRedis(t)
	dead, _ := newQueue(t, direct, QueueOptions{Lease: time.Millisecond})
	push(t, dead, "job")
	if c, err := dead.claim(t.Context(), "token"); c == nil || err != nil {
		t.Fatalf("%v, %v", c, err)
	}
	const interval = 50 * time.Millisecond
	q, log := newQueue(t, proxied, QueueOptions{Interval: interval})
	var looks atomic.Int32
	proxy.Set(storetest.Faults{Accept: func(client net.Conn) bool {
		looks.Add(1)
		_ = client.Close()
		return true
	}})
	came := make(chan time.Time, 1)
	start(t, q, func(context.Context, Job) error {
		came <- time.Now()
		return nil
	})
	eventually(t, "it has looked several times", func() bool {
		return len(log.lines(t, waits)) > 0 && looks.Load() > 30 // several for each command
	})
	restored := time.Now()
	proxy.Set(storetest.Faults{})
	if at := next(t, came); at.Sub(restored) < settleIntervals*interval {
		t.Errorf("it went on %v after Redis was back", at.Sub(restored))
	}
	if n := len(log.lines(t, waits)); n != 1 {
		t.Errorf("%d lines of one outage", n)
	}
}

// The end of Run waits for the jobs in hand, and for no new ones; and no longer than
// it may.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	q, _ := newQueue(t, storetest.NewRedis(t), QueueOptions{Workers: 1})
	push(t, q, "one", "two")
	in, goOn := make(chan string, 2), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		q.Run(ctx, func(ctx context.Context, job Job) error {
			in <- job.ID
			<-goOn
			return ctx.Err()
		})
	}()
	next(t, in)
	cancel()
	select {
	case <-ended:
		t.Fatal("it ended with a job in hand")
	case <-time.After(50 * time.Millisecond): // it cannot fail where all is well
	}
	close(goOn)
	next(t, ended)
	if n, err := q.Len(t.Context()); n != 1 || err != nil || len(in) > 0 {
		t.Errorf("%d jobs are left, %v", n, err)
	}

	hasty, _ := newQueue(t, storetest.NewRedis(t), QueueOptions{Grace: 20 * time.Millisecond})
	push(t, hasty, "job")
	stop := start(t, hasty, func(ctx context.Context, _ Job) error {
		in <- "hanging"
		<-ctx.Done()
		return ctx.Err()
	})
	next(t, in)
	stop()
	if n, err := hasty.Len(t.Context()); n != 1 || err != nil {
		t.Errorf("%d jobs are left of one that was cut short, %v", n, err)
	}

	// One attempt ends long before the lease, so that nobody else begins meanwhile.
	slow, log := newQueue(t, storetest.NewRedis(t), QueueOptions{Lease: 200 * time.Millisecond, Backoff: time.Hour})
	push(t, slow, "job")
	start(t, slow, func(ctx context.Context, _ Job) error {
		<-ctx.Done()
		return ctx.Err()
	})
	eventually(t, "it was given up", func() bool { return len(log.lines(t, "mail was not sent and will be tried again")) == 1 })
}
