package mail

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"latchkey/internal/telemetry"
)

// settleIntervals is how many intervals nothing is claimed after Redis was away. The
// processes that have sent something meanwhile need the time to say so, when the
// outage was longer than their leases.
const settleIntervals = 3

// run is one call of Run.
type run struct {
	*Queue
	handle func(context.Context, Job) error

	mu sync.Mutex
	// sent are jobs that are done, and that Redis does not know of yet.
	sent  map[string]bool
	away  bool      // Redis is
	until time.Time // when all have settled
}

// Run calls handle for each job that is due, for Workers at a time and the one that
// has been due longest first, until ctx ends and the jobs in hand are done; what
// takes longer than Grace then is cut short. It may run in any number of processes.
//
// What handle returns decides: with nil the job is done; with an error it is tried
// again, until it is too old or the error wraps ErrRejected. The context of handle
// ends after half a lease, and handle must end with it. Its errors are logged and
// must not name addresses or links.
func (q *Queue) Run(ctx context.Context, handle func(context.Context, Job) error) {
	r := &run{Queue: q, handle: handle, sent: map[string]bool{}}
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(q.options.Grace, cut) })()

	slots := make(chan struct{}, q.options.Workers)
	var workers sync.WaitGroup
	defer workers.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case slots <- struct{}{}:
		}
		c := r.next(ctx)
		if c == nil {
			return
		}
		workers.Go(func() {
			defer func() { <-slots }()
			r.do(work, c)
		})
	}
}

// next waits for a job; nil is the end of ctx.
func (r *run) next(ctx context.Context) *claimed {
	token := rand.Text()
	for ctx.Err() == nil {
		wait := r.options.Interval
		switch away, unsettled := r.state(); {
		case away:
			_, err := r.Len(ctx) // which claims nothing yet
			r.note(ctx, err)
		case unsettled > 0:
			wait = unsettled
		default:
			c, err := r.claim(ctx, token)
			r.note(ctx, err)
			if c != nil {
				return c
			}
		}
		sleep(ctx, wait)
	}
	return nil
}

// state tells whether Redis is away, and otherwise how long to let things settle.
func (r *run) state() (away bool, unsettled time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.away, time.Until(r.until)
}

// note takes note of whether Redis answers, and logs when that changes.
func (r *run) note(ctx context.Context, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil && !r.away:
		r.away = true
		r.options.Log.WarnContext(ctx, "mail waits until Redis is back", "error", err)
	case err == nil && r.away:
		r.away, r.until = false, time.Now().Add(settleIntervals*r.options.Interval)
		r.options.Log.InfoContext(ctx, "mail goes on")
	}
}

// do works on a claimed job.
func (r *run) do(ctx context.Context, c *claimed) {
	if r.isSent(c.id) {
		return // its lease ended before Redis could be told; another worker tells it
	}
	log := r.options.Log.With("id", c.id, "attempts", c.attempts)
	var job Job
	if json.Unmarshal(c.value, &job) != nil {
		// What is wrong is not said, because it may quote the job.
		log.ErrorContext(ctx, "mail was dropped", "error", "not a job")
		r.options.Metrics.Mail("", telemetry.MailDropped)
		r.finish(ctx, c)
		return
	}
	log = log.With("kind", job.Kind)
	count := func(outcome string) { r.options.Metrics.Mail(string(job.Kind), outcome) }
	age := r.now().Sub(job.Created)
	if age > r.options.MaxAge {
		log.ErrorContext(ctx, "mail was dropped", "error", "too old", "age", age)
		count(telemetry.MailDropped)
		r.finish(ctx, c)
		return
	}
	err := r.try(ctx, log, job)
	pause := r.pause(c.attempts)
	switch {
	case err == nil:
		count(telemetry.MailSent)
		r.finish(ctx, c)
	case errors.Is(err, ErrRejected), age+pause > r.options.MaxAge:
		log.ErrorContext(ctx, "mail was dropped", "error", err)
		count(telemetry.MailDropped)
		r.finish(ctx, c)
	default:
		log.WarnContext(ctx, "mail was not sent and will be tried again", "error", err, "after", pause)
		count(telemetry.MailRetried)
		// Where this fails the job is due when the lease ends.
		r.note(ctx, r.postpone(ctx, c, pause))
	}
}

// try calls handle. A job that makes it panic must not take the server down with it,
// each time that the lease ends.
func (r *run) try(ctx context.Context, log *slog.Logger, job Job) (err error) {
	ctx, cancel := context.WithTimeout(ctx, r.options.Lease/2)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			log.ErrorContext(ctx, "mail: panic", "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			err = errors.New("panic")
		}
	}()
	return r.handle(ctx, job)
}

// finish removes a job, however long it takes Redis to come back: also when the lease
// has ended, because then the job is due again, and must not be sent again.
func (r *run) finish(ctx context.Context, c *claimed) {
	r.setSent(c.id, true)
	for {
		err := r.remove(ctx, c.id)
		r.note(ctx, err)
		if err == nil {
			r.setSent(c.id, false)
			return
		}
		// Sooner than anybody claims something, see settleIntervals.
		if sleep(ctx, r.options.Interval/2); ctx.Err() != nil {
			return
		}
	}
}

func (r *run) isSent(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent[id]
}

func (r *run) setSent(id string, sent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if sent {
		r.sent[id] = true
	} else {
		delete(r.sent, id)
	}
}

// sleep waits, but not longer than ctx.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
