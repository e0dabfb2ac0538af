package mail

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"latchkey/internal/redisconn"
	"latchkey/internal/telemetry"
	"latchkey/internal/token"
)

// The keys in Redis:
//
//	mail:{queue}                 job IDs, sorted by due time (microseconds, Redis clock)
//	mail:{queue}:jobs            jobs by ID, as JSON
//	mail:{queue}:attempts        number of attempts by job ID
//	mail:{queue}:claim:<token>   the job that the claim with this token has returned
//	mail:{queue}:done:<id>       exists for the length of a lease after a job is done
//	mail:{queue}:throttle:<hash> exists while no further job with this throttle is accepted
//	mail:{queue}:day:<hash>      number of jobs with this throttle in the last 24 hours
//	mail:{queue}:lookups         requests to look up, as JSON, sorted by due time
//
// While a worker holds the lease of a job, the due time is the end of the lease: if the
// process dies, the job becomes due again and is not lost. The braces are a hash tag that
// puts all keys into one slot of a Redis Cluster.
const (
	dueKey      = KeyPrefix + "{queue}"
	jobsKey     = dueKey + ":jobs"
	attemptsKey = dueKey + ":attempts"
	lookupsKey  = dueKey + ":lookups"
)

// KeyPrefix is the prefix of all keys.
const KeyPrefix = "mail:"

// key returns the Redis key for a kind of value and a name, which is a claim's token, a job ID or
// the hash of a throttle. Throttles are hashed because key names must not contain email
// addresses.
func key(kind, name string) string { return dueKey + ":" + kind + ":" + name }

// QueueOptions are the settings of a Queue. Zero values select the defaults.
type QueueOptions struct {
	// Interval is the time between two checks for due jobs. The default is 1 s.
	Interval time.Duration
	// Workers is the number of jobs that this process handles concurrently. The default is 2.
	Workers int
	// Lease is how long a job is reserved for one worker. A single attempt may take half of
	// it. The default is 2 min.
	Lease time.Duration
	// Backoff is the delay after the first failure. It doubles with each further failure, up
	// to maxBackoff. The default is 10 s.
	Backoff time.Duration
	// MaxAge is the age at which a job is dropped. The default is 72 h.
	MaxAge time.Duration
	// Grace is how long Run waits for running jobs after its context has ended. The default is 8 s.
	Grace time.Duration

	Metrics *telemetry.Metrics
	Log     *slog.Logger
}

// maxBackoff is the maximum delay between two attempts.
const maxBackoff = 30 * time.Minute

// Queue is the email queue in Redis that all processes share. It is safe for concurrent use.
//
// Each job is delivered at least once. It is delivered twice only if a process dies or loses
// its connection to Redis between the mail server's reply and the removal of the job.
// Both messages then have the same Message-ID, so many mail servers drop the second one,
// unless it contains a new link.
type Queue struct {
	redis   *redisconn.Client
	options QueueOptions
	now     func() time.Time
}

// NewQueue returns the Queue stored in Redis.
func NewQueue(client *redisconn.Client, o QueueOptions) *Queue {
	o.Interval = cmp.Or(o.Interval, time.Second)
	o.Workers = cmp.Or(o.Workers, 2)
	o.Lease = cmp.Or(o.Lease, 2*time.Minute)
	o.Backoff = cmp.Or(o.Backoff, 10*time.Second)
	o.MaxAge = cmp.Or(o.MaxAge, 72*time.Hour)
	o.Grace = cmp.Or(o.Grace, 8*time.Second)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))

	for _, kind := range Kinds() {
		o.Metrics.MailKinds(string(kind))
	}

	return &Queue{redis: client, options: o, now: time.Now}
}

// pushScript adds a job unless it is already queued or done: the script may run again after
// the job was sent. If ARGV[6] is 1, the job is throttled: one job is accepted per ARGV[3]
// milliseconds, and after ARGV[4] jobs in a day one per ARGV[5] milliseconds. The script
// returns 1 if the job was accepted, in this run or an earlier one.
var pushScript = redisconn.NewScript(5, `
if redis.call('EXISTS', KEYS[3]) == 1 or redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 1 end
if ARGV[6] == '1' then
  if redis.call('EXISTS', KEYS[4]) == 1 then return 0 end
  local today = redis.call('INCR', KEYS[5])
  local pause = tonumber(ARGV[3])
  if today == 1 then redis.call('PEXPIRE', KEYS[5], 86400000) end
  if today >= tonumber(ARGV[4]) then pause = math.max(pause, tonumber(ARGV[5])) end
  if pause > 0 then redis.call('SET', KEYS[4], '', 'PX', string.format('%.0f', pause)) end
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[1], string.format('%.0f', micros), ARGV[1])
return 1`).WaitForReplicas()

const (
	// maxPerDay is the number of jobs with the same throttle that are accepted in a day before
	// slowInterval applies. Anyone can enter a stranger's email address, and nobody needs
	// more emails than this.
	maxPerDay = 20
	// slowInterval is the minimum time between two jobs after maxPerDay. It is shorter than the
	// lifetime of a link: flooding an owner with emails must not lock them out of the links
	// that they request themselves.
	slowInterval = 15 * time.Minute
)

// PushThrottled queues a job for immediate delivery and reports whether it was accepted. Of
// the jobs with the same throttle, one is accepted per interval (0 means no minimum interval),
// and fewer after maxPerDay. The throttle "" accepts all jobs. ID and Created are set if they
// are empty. If the caller has set the ID, the same job may be pushed again after an error.
// Errors: redisconn.ErrUnavailable.
func (q *Queue) PushThrottled(ctx context.Context, job Job, throttle string, interval time.Duration) (bool, error) {
	job.complete(q.now())

	value, err := json.Marshal(job)
	if err != nil {
		return false, err // a time after the year 9999
	}

	hash := token.Hash(throttle)

	return redisconn.Bool(q.redis.Eval(ctx, pushScript,
		dueKey, jobsKey, key("done", job.ID), key("throttle", hash), key("day", hash),
		job.ID, value, interval.Milliseconds(), maxPerDay, slowInterval.Milliseconds(), throttle != ""))
}

// complete sets the ID and Created if they are empty.
func (j *Job) complete(now time.Time) {
	j.ID = cmp.Or(j.ID, rand.Text())
	if j.Created.IsZero() {
		j.Created = now
	}
}

// Len returns the number of jobs that are due, waiting for another attempt, or being delivered,
// plus the number of requests to look up. Errors: redisconn.ErrUnavailable.
func (q *Queue) Len(ctx context.Context) (int, error) {
	// In this order, a request that becomes a job in between is not missed.
	lookups, err := redisconn.Int64(q.redis.Do(ctx, "ZCARD", lookupsKey))
	if err != nil {
		return 0, err
	}
	jobs, err := redisconn.Int64(q.redis.Do(ctx, "ZCARD", dueKey))

	return int(lookups + jobs), err
}

// claimedJob is a job that this process has leased.
type claimedJob struct {
	id       string
	lease    string // the end of the lease by the Redis clock; unique for each claim
	attempts int    // including the current one
	value    []byte
}

// claimScript leases the job that has been due longest, and stores the result under KEYS[4].
// If the reply is lost, the same claim returns the same job again. Otherwise the first job
// would be stuck until its lease ends.
var claimScript = redisconn.NewScript(4, `
local id, lease
local before = redis.call('GET', KEYS[4])
if before then lease, id = string.match(before, '^(%d+) (.*)$') end
if not id then
  while true do
    id = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', micros), 'LIMIT', 0, 1)[1]
    if not id then return false end
    if redis.call('HEXISTS', KEYS[2], id) == 1 then break end
    redis.call('ZREM', KEYS[1], id)
    redis.call('HDEL', KEYS[3], id)
  end
  lease = string.format('%.0f', micros + tonumber(ARGV[1]))
  redis.call('ZADD', KEYS[1], lease, id)
  redis.call('HINCRBY', KEYS[3], id, 1)
  redis.call('SET', KEYS[4], lease .. ' ' .. id, 'PX', ARGV[2])
end
return {id, lease, redis.call('HGET', KEYS[3], id), redis.call('HGET', KEYS[2], id)}`).WaitForReplicas()

// claim leases the job that has been due longest, or returns nil if no job is due. A caller
// must use the same token until it has received a reply. At least three quarters of the
// lease remain when claim returns.
func (q *Queue) claim(ctx context.Context, token string) (*claimedJob, error) {
	reply, err := q.redis.Eval(ctx, claimScript,
		dueKey, jobsKey, attemptsKey, key("claim", token),
		q.options.Lease.Microseconds(), max(1, (q.options.Lease/4).Milliseconds()))

	c := &claimedJob{}
	err = redisconn.Scan(reply, err, &c.id, &c.lease, &c.attempts, &c.value)
	if errors.Is(err, redisconn.ErrNil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}

	return c, nil
}

var removeScript = redisconn.NewScript(4, `
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('SET', KEYS[4], '', 'PX', ARGV[2])
return 1`).WaitForReplicas()

// remove removes a job from the queue, even if another worker has leased it by now.
func (q *Queue) remove(ctx context.Context, id string) error {
	_, err := q.redis.Eval(ctx, removeScript,
		dueKey, jobsKey, attemptsKey, key("done", id),
		id, q.options.Lease.Milliseconds())

	return err
}

// postponeScript changes the due time of a job, unless another worker has leased it.
var postponeScript = redisconn.NewScript(1, `
local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not due or string.format('%.0f', tonumber(due)) ~= ARGV[2] then return 0 end
redis.call('ZADD', KEYS[1], string.format('%.0f', micros + tonumber(ARGV[3])), ARGV[1])
return 1`)

// postpone ends a job's lease and makes the job due again after a delay.
func (q *Queue) postpone(ctx context.Context, c *claimedJob, delay time.Duration) error {
	_, err := q.redis.Eval(ctx, postponeScript, dueKey, c.id, c.lease, strconv.FormatInt(delay.Microseconds(), 10))

	return err
}

// backoff returns the delay before the next attempt after the given number of attempts.
func (q *Queue) backoff(attempts int) time.Duration {
	const maxDoublings = 20 // avoids overflow; maxBackoff is reached much earlier

	return min(q.options.Backoff<<min(attempts-1, maxDoublings), maxBackoff)
}
