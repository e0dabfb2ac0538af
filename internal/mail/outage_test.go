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
	"latchkey/internal/testkit"
)

// If a process crashes while it handles a job, another process gets the job when the lease ends, and
// not before.
func TestRunAfterCrash(t *testing.T) {
	t.Parallel()

	r := storetest.NewRedis(t)
	const lease = 400 * time.Millisecond
	crashed, _ := newQueue(t, r, QueueOptions{Lease: lease})
	q, _ := newQueue(t, r, QueueOptions{})
	push(t, crashed, "job")
	claimedAt := time.Now()
	if c, err := crashed.claim(t.Context(), "token"); err != nil || c == nil || c.id != "job" || c.attempts != 1 {
		t.Fatalf("claim: got %+v, error %v, want the job", c, err)
	}

	received := make(chan time.Duration, 9)
	start(t, q, func(context.Context, Job) error {
		received <- time.Since(claimedAt)
		return nil
	})

	if delay := testkit.Receive(t, "the job", received); delay < lease {
		t.Errorf("job handled %v after the claim, want it after the lease of %v", delay, lease)
	}

	testkit.Eventually(t, "the queue to be empty", isEmpty(t, q))
	if len(received) > 0 {
		t.Error("the job was handled twice")
	}
}

// If Redis goes down while a job is handled, the job is handled once, even if the outage is longer
// than the lease. Each process logs the outage once.
func TestRunRedisDown(t *testing.T) {
	t.Parallel()

	direct, proxied, proxy := storetest.ProxiedRedis(t)
	const lease = 300 * time.Millisecond
	const interval = 100 * time.Millisecond
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
	testkit.Eventually(t, "the job to be sent", func() bool { return sent.Load() > 0 })
	start(t, other, handle)
	testkit.Eventually(t, "both queues to notice the outage", func() bool {
		return len(lines(t, log, pausedMessage)) > 0 && len(lines(t, otherLog, pausedMessage)) > 0
	})

	if err := q.Push(t.Context(), Job{}); !errors.Is(err, redisconn.ErrUnavailable) {
		t.Errorf("Push: got error %v, want ErrUnavailable", err)
	}
	if _, err := q.Len(t.Context()); !errors.Is(err, redisconn.ErrUnavailable) {
		t.Errorf("Len: got error %v, want ErrUnavailable", err)
	}

	observer, _ := newQueue(t, direct, QueueOptions{})
	conn := direct.Conn(t)
	testkit.Eventually(t, "the end of the lease", func() bool {
		n, err := conn.Do("ZCOUNT", dueKey, 0, time.Now().UnixMicro())

		return n == int64(1) && err == nil
	})

	proxy.Restore(t)
	testkit.Eventually(t, "the queue to be empty", isEmpty(t, observer))

	for _, log := range []*testkit.Buffer{log, otherLog} {
		testkit.Eventually(t, "both queues to resume", func() bool { return len(lines(t, log, "email queue resumed")) > 0 })
		if n := len(lines(t, log, pausedMessage)); n != 1 {
			t.Errorf("got %d log lines about the outage, want 1", n)
		}
	}

	if sent.Load() != 1 {
		t.Errorf("got the job sent %d times, want once", sent.Load())
	}
}

// If Redis is down when Run starts, the outage is logged once. When Redis is available again, no job is
// claimed until other processes have had time to remove the jobs that they have sent.
func TestRunSettles(t *testing.T) {
	t.Parallel()

	direct, proxied, proxy := storetest.ProxiedRedis(t)
	crashed, _ := newQueue(t, direct, QueueOptions{Lease: time.Millisecond})
	push(t, crashed, "job")
	if c, err := crashed.claim(t.Context(), "token"); c == nil || err != nil {
		t.Fatalf("claim: got %v, error %v, want the job", c, err)
	}

	const interval = 50 * time.Millisecond
	q, log := newQueue(t, proxied, QueueOptions{Interval: interval})
	var connects atomic.Int32
	proxy.Set(storetest.Faults{Accept: func(client net.Conn) bool {
		connects.Add(1)
		_ = client.Close()

		return true
	}})

	received := make(chan time.Time, 1)
	start(t, q, func(context.Context, Job) error {
		received <- time.Now()
		return nil
	})

	testkit.Eventually(t, "several connection attempts", func() bool {
		return len(lines(t, log, pausedMessage)) > 0 && connects.Load() > 30 // several for each command
	})

	outageEnd := time.Now()
	proxy.Set(storetest.Faults{})
	delay := testkit.Receive(t, "the job", received).Sub(outageEnd)
	if delay < settleIntervals*interval {
		t.Errorf("job handled %v after the outage, want at least %v", delay, settleIntervals*interval)
	}
	if n := len(lines(t, log, pausedMessage)); n != 1 {
		t.Errorf("got %d log lines about the outage, want 1", n)
	}
}

// When its context ends, Run waits for the running jobs, but no longer than the grace period, and starts
// no new ones.
func TestRunEnds(t *testing.T) {
	t.Parallel()

	q, _ := newQueue(t, storetest.NewRedis(t), QueueOptions{Workers: 1})
	push(t, q, "one", "two")
	started := make(chan string, 2)
	proceed := make(chan struct{})
	stop := start(t, q, func(ctx context.Context, job Job) error {
		started <- job.ID
		<-proceed

		return ctx.Err()
	})

	testkit.Receive(t, "a started job", started)
	ended := make(chan struct{})
	go func() {
		stop()
		close(ended)
	}()

	select {
	case <-ended:
		t.Fatal("Run returned, want it to wait for the running job")
	case <-time.After(50 * time.Millisecond): // a longer wait would only find more bugs
	}

	close(proceed)
	testkit.Receive(t, "the end of Run", ended)
	if n, err := q.Len(t.Context()); n != 1 || err != nil || len(started) > 0 {
		t.Errorf("got %d queued jobs, error %v, %d more jobs started, want 1 and none", n, err, len(started))
	}

	shortGrace, _ := newQueue(t, storetest.NewRedis(t), QueueOptions{Grace: 20 * time.Millisecond})
	push(t, shortGrace, "job")
	stop = start(t, shortGrace, func(ctx context.Context, _ Job) error {
		started <- "hanging"
		<-ctx.Done()

		return ctx.Err()
	})

	testkit.Receive(t, "a started job", started)
	stop()
	if n, err := shortGrace.Len(t.Context()); n != 1 || err != nil {
		t.Errorf("after a cancelled job: got %d queued jobs, error %v, want 1", n, err)
	}

	// An attempt is cancelled long before the lease ends, so that no other process starts one.
	shortLease, log := newQueue(t, storetest.NewRedis(t), QueueOptions{Lease: 200 * time.Millisecond, Backoff: time.Hour})
	push(t, shortLease, "job")
	start(t, shortLease, func(ctx context.Context, _ Job) error {
		<-ctx.Done()
		return ctx.Err()
	})

	testkit.Eventually(t, "the attempt to be cancelled", func() bool { return len(lines(t, log, "email not sent; will retry")) == 1 })
}
