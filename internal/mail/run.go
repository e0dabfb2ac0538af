package mail

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"latchkey/internal/telemetry"
)

// settleIntervals is the number of intervals for which no job is claimed after a Redis outage. If
// the outage was longer than the leases, other processes need this time to remove the jobs that
// they delivered meanwhile.
const settleIntervals = 3

// run is the state of one call to Run.
type run struct {
	*Queue
	handle func(context.Context, Job) error

	// sent contains the IDs of jobs that are delivered but not yet removed from Redis.
	sent sync.Map

	mu          sync.Mutex
	redisDown   bool
	pausedUntil time.Time // the end of the settling time after an outage
}

// Run calls handle for due jobs, the longest due first and up to Workers at a time, until
// ctx ends. It then waits up to Grace for running jobs, and cancels those that take longer.
// Any number of processes may call it.
//
// If handle returns nil, the job is done. If it returns an error, the job is retried, unless
// it is too old or the error wraps ErrRejected. The context of handle ends after half a lease
// and handle must return then. Its errors are logged, so they must not contain email
// addresses or links.
func (q *Queue) Run(ctx context.Context, handle func(context.Context, Job) error) {
	r := &run{Queue: q, handle: handle}

	jobCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(q.options.Grace, cancel) })()

	var workers sync.WaitGroup
	defer workers.Wait()
	for range q.options.Workers {
		workers.Go(func() {
			for c := r.next(ctx); c != nil; c = r.next(ctx) {
				r.process(jobCtx, c)
			}
		})
	}
}

// next waits for a due job and leases it. It returns nil when ctx ends.
func (r *run) next(ctx context.Context) *claimedJob {
	token := rand.Text()

	for ctx.Err() == nil {
		r.mu.Lock()
		redisDown := r.redisDown
		pause := time.Until(r.pausedUntil)
		r.mu.Unlock()

		wait := r.options.Interval
		switch {
		case redisDown:
			_, err := r.Len(ctx) // checks the connection without claiming a job
			r.setRedisState(ctx, err)
		case pause > 0:
			wait = pause
		default:
			c, err := r.claim(ctx, token)
			r.setRedisState(ctx, err)
			if c != nil {
				return c
			}
		}

		sleep(ctx, wait)
	}

	return nil
}

// setRedisState records whether Redis is available, given the error of a command, and logs
// changes.
func (r *run) setRedisState(ctx context.Context, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()

	switch {
	case err != nil && !r.redisDown:
		r.redisDown = true
		r.options.Log.WarnContext(ctx, "email queue paused: Redis is unavailable", "error", err)
	case err == nil && r.redisDown:
		r.redisDown = false
		r.pausedUntil = time.Now().Add(settleIntervals * r.options.Interval)
		r.options.Log.InfoContext(ctx, "email queue resumed")
	}
}

// process handles a claimed job and removes, postpones or drops it.
func (r *run) process(ctx context.Context, c *claimedJob) {
	if _, sent := r.sent.Load(c.id); sent {
		// The lease ended before the job could be removed. Another worker of this process is
		// still trying to remove it.
		return
	}

	log := r.options.Log.With("id", c.id, "attempts", c.attempts)
	var job Job
	drop := func(reason error) {
		log.ErrorContext(ctx, "email dropped", "error", reason)
		r.options.Metrics.Mail(string(job.Kind), telemetry.MailDropped)
		r.finish(ctx, c)
	}

	if json.Unmarshal(c.value, &job) != nil {
		job = Job{}
		drop(errors.New("malformed job")) // the error of Unmarshal may quote the job

		return
	}
	log = log.With("kind", job.Kind)

	age := r.now().Sub(job.Created)
	if age > r.options.MaxAge {
		log = log.With("age", age.Round(time.Minute).String())
		drop(errors.New("too old"))

		return
	}

	err := r.try(ctx, log, job)
	delay := r.backoff(c.attempts)
	switch {
	case err == nil:
		r.options.Metrics.Mail(string(job.Kind), telemetry.MailSent)
		r.finish(ctx, c)
	case errors.Is(err, ErrRejected), age+delay > r.options.MaxAge:
		drop(err)
	default:
		log.WarnContext(ctx, "email not sent; will retry", "error", err, "after", delay.String())
		r.options.Metrics.Mail(string(job.Kind), telemetry.MailRetried)
		// If this fails, the job becomes due when the lease ends.
		r.setRedisState(ctx, r.postpone(ctx, c, delay))
	}
}

// try calls handle. It recovers from panics, since a job that panics would otherwise crash
// the server each time its lease ends.
func (r *run) try(ctx context.Context, log *slog.Logger, job Job) (err error) {
	ctx, cancel := context.WithTimeout(ctx, r.options.Lease/2)
	defer cancel()

	defer func() {
		if p := recover(); p != nil {
			log.ErrorContext(ctx, "panic while sending an email", "error", telemetry.Recovered(p))
			err = errors.New("panic")
		}
	}()

	return r.handle(ctx, job)
}

// finish removes a job. It keeps trying until Redis is available, even after the lease has
// ended: otherwise the job would become due and the email would be sent again.
func (r *run) finish(ctx context.Context, c *claimedJob) {
	r.sent.Store(c.id, true)

	for {
		err := r.remove(ctx, c.id)
		r.setRedisState(ctx, err)
		if err == nil {
			r.sent.Delete(c.id)
			return
		}

		// Retry more often than workers claim jobs; see settleIntervals.
		sleep(ctx, r.options.Interval/2)
		if ctx.Err() != nil {
			return
		}
	}
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()

	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
