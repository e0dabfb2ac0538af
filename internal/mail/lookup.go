package mail

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"

	"latchkey/internal/redisconn"
)

// A lookup is a request to send an email to the owner of an email address, if there is an account.
// Anyone can send such requests, even for email addresses without an account. Therefore they are not
// jobs: they delay no jobs, cost much less, and leave no keys behind. The account is looked up later:
// if the response waited for that, its timing would reveal whether the account exists.

const (
	// maxLookups is the maximum number of waiting requests. It limits the memory that a flood can
	// use to a few megabytes.
	maxLookups = 10_000
	// lookupBatch is the number of requests that a worker takes at once.
	lookupBatch = 100
	// lookupLease is how long a batch is reserved for one worker.
	lookupLease = 30 * time.Second
)

// ErrFull is returned if too many requests are waiting for a lookup.
var ErrFull = errors.New("too many requests for emails")

// pushLookupScript adds a request unless there are too many. It returns 1 if the request is queued.
var pushLookupScript = redisconn.NewScript(1, `
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 1 end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], string.format('%.0f', micros), ARGV[1])
return 1`).WaitForReplicas()

// PushLookup queues a request to send an email to the owner of job.To. It takes the same time
// whether or not there is an account, because only RunLookups finds out. Errors:
// ErrFull, redisconn.ErrUnavailable.
func (q *Queue) PushLookup(ctx context.Context, job Job) error {
	job.complete(q.now())

	value, err := json.Marshal(job)
	if err != nil {
		return err // for a time after the year 9999
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

// RunLookups calls lookUp for the requests from PushLookup, in batches, until ctx ends. Any number
// of processes may call it.
//
// lookUp must push the jobs whose recipients have an account, and keep their IDs: the same request
// may be looked up twice. If lookUp returns an error, the requests are looked up again when their lease
// ends, unless they are older than MaxAge by then.
func (q *Queue) RunLookups(ctx context.Context, lookUp func(context.Context, []Job) error) {
	failing := false

	for ctx.Err() == nil {
		n, err := q.lookUpBatch(ctx, lookUp)
		if err != nil && !failing && ctx.Err() == nil {
			q.options.Log.WarnContext(ctx, "cannot look up the recipients of emails; will retry", "error", err)
		}
		failing = err != nil

		if failing || n < lookupBatch {
			sleep(ctx, q.options.Interval)
		}
	}
}

// lookUpBatch looks up a batch of requests and returns their number.
func (q *Queue) lookUpBatch(ctx context.Context, lookUp func(context.Context, []Job) error) (int, error) {
	requests, err := redisconn.Strings(q.redis.Eval(ctx, claimLookupsScript, lookupsKey, lookupBatch, lookupLease.Microseconds()))
	if err != nil || len(requests) == 0 {
		return 0, err
	}

	var jobs []Job
	var valid, done []any
	for _, request := range requests {
		job, err := q.decodeLookup(request)
		if err != nil {
			q.options.Log.ErrorContext(ctx, "email request dropped", "id", job.ID, "error", err)
			done = append(done, request)
			continue
		}

		jobs = append(jobs, job)
		valid = append(valid, request)
	}

	if len(jobs) > 0 {
		lookUpCtx, cancel := context.WithTimeout(ctx, lookupLease/2)
		defer cancel()
		err = lookUp(lookUpCtx, jobs)
	}
	if err == nil {
		done = append(done, valid...)
	}

	if len(done) > 0 {
		_, removeErr := q.redis.Do(ctx, "ZREM", lookupsKey, done...)
		err = cmp.Or(err, removeErr)
	}

	return len(requests), err
}

// decodeLookup decodes a request. It returns an error if the request must be dropped.
func (q *Queue) decodeLookup(request string) (Job, error) {
	var job Job
	if json.Unmarshal([]byte(request), &job) != nil {
		return Job{}, errors.New("malformed request") // the error of Unmarshal may quote it
	}
	if q.now().Sub(job.Created) > q.options.MaxAge {
		return job, errors.New("too old")
	}

	return job, nil
}
