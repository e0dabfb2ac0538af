package mail

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/internal/redisconn"
)

// A lookup is a request for an email to whoever has an email address. Anyone can send these, and
// for email addresses that have no account. So they are not jobs: they delay none, cost much less,
// and leave no keys behind. They are looked up later, because a response that waits for the lookup
// would reveal by its time whether there is an account.

const (
	// maxLookups is the maximum number of waiting requests. It bounds the memory that a flood can
	// use, to about 3 MB.
	maxLookups = 10_000
	// lookupBatch is the number of requests that a worker takes at once.
	lookupBatch = 100
	// parallelLookups is the number of requests that a worker looks up in parallel.
	parallelLookups = 4
	// lookupLease is how long a batch is reserved for one worker.
	lookupLease = 30 * time.Second
)

// ErrFull is returned if too many requests wait for a lookup.
var ErrFull = errors.New("too many requests for emails")

// pushLookupScript adds a request unless there are too many. It returns 1 if the request is queued.
var pushLookupScript = redisconn.NewScript(1, `
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 1 end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], string.format('%.0f', micros), ARGV[1])
return 1`).WaitForReplicas()

// PushLookup queues a request for an email to whoever has the email address job.To, which may be
// nobody. It takes the same time for all of them. RunLookups finds the recipient. Errors: ErrFull,
// redisconn.ErrUnavailable.
func (q *Queue) PushLookup(ctx context.Context, job Job) error {
	job.complete(q.now())

	value, err := json.Marshal(job)
	if err != nil {
		return err // a time after the year 9999
	}

	queued, err := redisconn.Bool(q.redis.Eval(ctx, pushLookupScript, lookupsKey, value, maxLookups))
	if err == nil && !queued {
		err = ErrFull
	}

	return err
}

// claimLookupsScript leases the requests that have been due longest. If the reply is lost, they
// become due again when the lease ends.
var claimLookupsScript = redisconn.NewScript(1, `
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', micros), 'LIMIT', 0, ARGV[1])
for _, request in ipairs(due) do
  redis.call('ZADD', KEYS[1], string.format('%.0f', micros + tonumber(ARGV[2])), request)
end
return due`)

// RunLookups calls lookUp for the requests of PushLookup, several at a time, until ctx ends. Any
// number of processes may call it.
//
// If there is a recipient, lookUp must push the job with the ID that it has: the same request may
// be looked up twice. If lookUp returns an error, the request is repeated when its lease ends,
// unless it is older than MaxAge by then.
func (q *Queue) RunLookups(ctx context.Context, lookUp func(context.Context, Job) error) {
	r := &run{Queue: q, handle: lookUp}
	failing := false

	for ctx.Err() == nil {
		n, err := r.lookUpBatch(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			q.options.Log.WarnContext(ctx, "cannot look up the recipients of emails; will retry", "error", err)
		}
		failing = err != nil

		if failing || n < lookupBatch {
			sleep(ctx, q.options.Interval)
		}
	}
}

// lookUpBatch looks up a batch of requests and returns their number and the first error.
func (r *run) lookUpBatch(ctx context.Context) (int, error) {
	requests, err := redisconn.Strings(r.redis.Eval(ctx, claimLookupsScript, lookupsKey, lookupBatch, lookupLease.Microseconds()))
	if err != nil || len(requests) == 0 {
		return 0, err
	}

	ctx, cancel := context.WithTimeout(ctx, lookupLease/2)
	defer cancel()

	errs := make([]error, len(requests))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range parallelLookups {
		workers.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(requests); i = next.Add(1) - 1 {
				errs[i] = r.lookUpOne(ctx, requests[i])
			}
		})
	}
	workers.Wait()

	var done []any
	var firstErr error
	for i, request := range requests {
		if errs[i] == nil {
			done = append(done, request)
		}
		firstErr = cmp.Or(firstErr, errs[i])
	}

	if len(done) > 0 {
		_, err := r.redis.Do(ctx, "ZREM", lookupsKey, done...)
		firstErr = cmp.Or(firstErr, err)
	}

	return len(requests), firstErr
}

// lookUpOne looks up one request. It drops requests that are malformed or too old.
func (r *run) lookUpOne(ctx context.Context, request string) error {
	var job Job
	if json.Unmarshal([]byte(request), &job) != nil {
		r.options.Log.ErrorContext(ctx, "email request dropped: malformed") // the error may quote it
		return nil
	}

	log := r.options.Log.With("id", job.ID, "kind", job.Kind)
	if r.now().Sub(job.Created) > r.options.MaxAge {
		log.ErrorContext(ctx, "email request dropped: too old")
		return nil
	}

	return r.try(ctx, log, job)
}
