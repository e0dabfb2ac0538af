package mail

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/redisconn"
	"latchkey/internal/telemetry"
)

// What is in Redis:
//
//	mail:{queue}               ids of jobs, ordered by when they are due, on the clock
//	                           of Redis in microseconds
//	mail:{queue}:jobs          the jobs by id, as JSON
//	mail:{queue}:attempts      how often each was tried
//	mail:{queue}:claim:<token> what a claim was given, for a part of the lease
//	mail:{queue}:done:<id>     that a job is done, for the length of a lease
//	mail:{queue}:pace:<hash>   that a job of a pace was taken within its interval
//	mail:{queue}:day:<hash>    how many jobs of a pace there were today
//
// A job that someone works on is one that is due when the lease ends: a process that
// dies loses nothing. The braces put all keys into one slot of a cluster.
const (
	dueKey      = "mail:{queue}"
	jobsKey     = dueKey + ":jobs"
	attemptsKey = dueKey + ":attempts"
)

func claimKey(token string) string { return dueKey + ":claim:" + token }

func doneKey(id string) string { return dueKey + ":done:" + id }

func paceKey(pace string) string { return dueKey + ":pace:" + hashed(pace) }

func dayKey(pace string) string { return dueKey + ":day:" + hashed(pace) }

// hashed keeps addresses out of the names of keys, and bounds them.
func hashed(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// QueueOptions are the times and sizes of a Queue. What is zero has its default.
type QueueOptions struct {
	Interval time.Duration // between two looks for jobs that are due; 1 s
	Workers  int           // jobs at a time in this process; 2
	// Lease is how long a job is out of sight for others while one process works on it;
	// 2 min. Half of it is the time that one attempt may take.
	Lease   time.Duration
	Backoff time.Duration // after the first failure, doubled by each further one; 10 s
	MaxAge  time.Duration // of a job; 72 h
	Grace   time.Duration // for the jobs in hand when Run is to end; 8 s
	Metrics *telemetry.Metrics
	Log     *slog.Logger
}

// maxBackoff is the longest pause between two attempts.
const maxBackoff = 30 * time.Minute

// Queue is the jobs that wait in Redis, for all processes together. It is safe for
// concurrent use.
//
// A job is sent at least once, and twice only where nobody can know better: where a
// process dies, or is cut off from a Redis that others reach, between the answer of
// the mail server and the removal of the job. Both messages have the same Message-ID
// then, by which many mail servers know the second one, unless its link is another.
type Queue struct {
	redis   *redisconn.Client
	options QueueOptions
	now     func() time.Time
}

// NewQueue returns the Queue in a Redis.
func NewQueue(client *redisconn.Client, o QueueOptions) *Queue {
	o.Interval = cmp.Or(o.Interval, time.Second)
	o.Workers = cmp.Or(o.Workers, 2)
	o.Lease = cmp.Or(o.Lease, 2*time.Minute)
	o.Backoff = cmp.Or(o.Backoff, 10*time.Second)
	o.MaxAge = cmp.Or(o.MaxAge, 72*time.Hour)
	o.Grace = cmp.Or(o.Grace, 8*time.Second)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return &Queue{redis: client, options: o, now: time.Now}
}

// pushScript adds a job, unless it is there or was done already: the script may be
// run again when the job has long been sent. Where ARGV[6] says so, the pace has to
// allow it, too: one job in ARGV[3] milliseconds, and after so many (ARGV[4]) in a day
// one in ARGV[5]. It answers whether the job is to be sent.
var pushScript = redisconn.NewScript(5, `
if redis.call('EXISTS', KEYS[3]) == 1 or redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 1 end
if ARGV[6] == '1' then
  if redis.call('EXISTS', KEYS[4]) == 1 then return 0 end
  local today, pause = redis.call('INCR', KEYS[5]), tonumber(ARGV[3])
  if today == 1 then redis.call('PEXPIRE', KEYS[5], 86400000) end
  if today >= tonumber(ARGV[4]) then pause = math.max(pause, tonumber(ARGV[5])) end
  if pause > 0 then redis.call('SET', KEYS[4], '', 'PX', string.format('%.0f', pause)) end
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[1], string.format('%.0f', micros), ARGV[1])
return 1`).Lasting()

const (
	// maxPerDay is how many jobs of a pace are taken in a day before it slows down: anyone
	// can give a stranger's address, and nobody needs more of them.
	maxPerDay = 20
	// slowPace is the least time between two from then on. It is shorter than a link is
	// good: who floods an address must not keep its owner from the one that they need.
	slowPace = 15 * time.Minute
)

// PushPaced adds a job, due at once, unless there are too many: of a pace one is taken
// in an interval, 0 for any number, which is longer after maxPerDay; the pace "" takes
// all. It returns whether this one was taken. It is given an ID and the time of its
// creation where it has none; with an ID of its own it may be pushed again after an
// error. Errors: ErrUnavailable of package redisconn.
func (q *Queue) PushPaced(ctx context.Context, job Job, pace string, interval time.Duration) (bool, error) {
	job.ID = cmp.Or(job.ID, rand.Text())
	if job.Created.IsZero() {
		job.Created = q.now()
	}
	value, err := json.Marshal(job)
	if err != nil {
		return false, err // a year beyond 9999
	}
	taken, err := redis.Bool(q.redis.Eval(ctx, pushScript, dueKey, jobsKey, doneKey(job.ID), paceKey(pace), dayKey(pace),
		job.ID, value, interval.Milliseconds(), maxPerDay, slowPace.Milliseconds(), pace != ""))
	return taken, answered(err)
}

// Len returns how many jobs there are: due, waiting for another attempt, or in hand.
// Errors: ErrUnavailable of package redisconn.
func (q *Queue) Len(ctx context.Context) (int, error) {
	n, err := redis.Int(q.redis.Do(ctx, "ZCARD", dueKey))
	return n, answered(err)
}

// claimed is a job in the hands of this process.
type claimed struct {
	id       string
	lease    string // when it ends, on the clock of Redis; nobody else has the same
	attempts int    // with the one that is to be made
	value    []byte
}

// claimScript leases the job that has been due longest. When an answer was lost the
// same claim gets the same job again, for KEYS[4] says what it was: the next one
// would leave the first with nobody until the lease ends.
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
return {id, lease, redis.call('HGET', KEYS[3], id), redis.call('HGET', KEYS[2], id)}`).Lasting()

// claim leases the job that has been due longest; nil is none. The token is the same
// until there was an answer. Of the lease three quarters are left at least.
func (q *Queue) claim(ctx context.Context, token string) (*claimed, error) {
	reply, err := redis.Values(q.redis.Eval(ctx, claimScript, dueKey, jobsKey, attemptsKey, claimKey(token),
		q.options.Lease.Microseconds(), max(1, (q.options.Lease/4).Milliseconds())))
	if errors.Is(err, redis.ErrNil) {
		return nil, nil
	}
	if err != nil {
		return nil, answered(err)
	}
	c := &claimed{}
	if _, err := redis.Scan(reply, &c.id, &c.lease, &c.attempts, &c.value); err != nil {
		return nil, answered(err)
	}
	return c, nil
}

var removeScript = redisconn.NewScript(4, `
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('SET', KEYS[4], '', 'PX', ARGV[2])
return 1`).Lasting()

// remove takes a job out of the queue, whoever has it now.
func (q *Queue) remove(ctx context.Context, id string) error {
	_, err := q.redis.Eval(ctx, removeScript, dueKey, jobsKey, attemptsKey, doneKey(id), id, q.options.Lease.Milliseconds())
	return err
}

// postponeScript makes a job due later, as long as it is leased to who says so.
var postponeScript = redisconn.NewScript(1, `
local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not due or string.format('%.0f', tonumber(due)) ~= ARGV[2] then return 0 end
redis.call('ZADD', KEYS[1], string.format('%.0f', micros + tonumber(ARGV[3])), ARGV[1])
return 1`)

// postpone ends a lease, and has the job tried again after a pause.
func (q *Queue) postpone(ctx context.Context, c *claimed, pause time.Duration) error {
	_, err := q.redis.Eval(ctx, postponeScript, dueKey, c.id, c.lease, strconv.FormatInt(pause.Microseconds(), 10))
	return err
}

// pause is how long to wait after so many attempts.
func (q *Queue) pause(attempts int) time.Duration {
	pause := min(q.options.Backoff, maxBackoff)
	for range attempts - 1 {
		if pause = min(2*pause, maxBackoff); pause == maxBackoff {
			break
		}
	}
	return pause
}

// answered makes of an answer of Redis that is not what it must be an ErrUnavailable.
func answered(err error) error {
	if err != nil && !errors.Is(err, redisconn.ErrUnavailable) {
		err = fmt.Errorf("%w: strange answer: %w", redisconn.ErrUnavailable, err)
	}
	return err
}
