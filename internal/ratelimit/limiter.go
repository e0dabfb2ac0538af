package ratelimit

import (
	"context"
	"errors"
	"fmt"

	"latchkey/internal/redisconn"
)

// ErrUnavailable says that Redis did not answer, or not in time. Whether the event was
// counted is unknown. It comes with redisconn.ErrUnavailable.
var ErrUnavailable = errors.New("rate limit store is unavailable")

// Limiter counts events in Redis. It is safe for concurrent use.
type Limiter struct {
	redis *redisconn.Client
}

// New returns a Limiter on redis.
func New(redis *redisconn.Client) *Limiter { return &Limiter{redis: redis} }

// takeScript takes one event that comes back after ARGV[1] microseconds, where all of
// them take ARGV[2]. The value of the key is when all of them will be back, on the
// clock of Redis in microseconds (the theoretical arrival time of GCRA); a key that is
// gone is a whole budget, so it lives until then and no longer. The answer is whether
// the event was allowed, how long until all are back, and whether it is the first that
// was refused since one was allowed, which an r behind the time keeps in mind.
//
// An event that is refused moves no time: a client that goes on trying would be locked
// out for good, and so would everybody behind the same address.
//
// A time further away than a whole budget was written by a longer rule, or before the
// clock of Redis was set back, or by a server before a failover that was ahead. It is
// taken for an empty budget and written so: else nothing would be allowed until the
// clock is there. What is not a time at all is nothing of ours, and a whole budget.
//
// Run twice because an answer was lost, it counts the event twice. That is the safe
// direction: a client may lose one event of its budget, and none gets more than its
// budget by breaking connections. The first refusal may go unseen then. It does not
// wait for replicas either: a failover may forget a few events, and it is not worth a
// round trip on every request.
var takeScript = redisconn.NewScript(1, `
local interval, whole = tonumber(ARGV[1]), tonumber(ARGV[2])
local value = redis.pcall('GET', KEYS[1])
local back, refused = micros, ''
if type(value) == 'string' and #value <= 17 then
  local time, mark = string.match(value, '^(%d+)(r?)$')
  if time then back, refused = math.max(micros, tonumber(time)), mark end
end
local astray = back > micros + whole
if astray then back = micros + whole end
local allowed = back + interval <= micros + whole
local first = not allowed and refused == ''
if allowed then back = back + interval end
if allowed or astray or first then
  local next = string.format('%.0f', back) .. (allowed and '' or 'r')
  redis.call('SET', KEYS[1], next, 'PX', string.format('%.0f', math.ceil((back - micros) / 1000)))
end
return {allowed and 1 or 0, back - micros, first and 1 or 0}`)

// Take takes one event of key's budget and returns what is left of it. All uses of a
// key must be under one rule; one that replaces another applies at once. A zero rule
// allows everything and asks nobody; of its Budget only Allowed counts. Errors:
// ErrUnavailable; ErrRule, which is a mistake of the caller's.
//
// key says what is counted and of whom, for example "login:address:" with an
// AddressKey. Its length and characters may be any.
func (l *Limiter) Take(ctx context.Context, key string, rule Rule) (Budget, error) {
	if rule.Unlimited() {
		return Budget{Allowed: true}, nil
	}
	if err := rule.check(); err != nil {
		return Budget{}, err
	}
	interval := rule.interval()
	reply, err := l.redis.Eval(ctx, takeScript, redisKey(key), interval, interval*int64(rule.Events))
	if err != nil {
		return Budget{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	allowed, owed, first, ok := taken(reply)
	if !ok {
		return Budget{}, fmt.Errorf("%w: %w: strange answer", ErrUnavailable, redisconn.ErrUnavailable)
	}
	b := rule.budget(allowed, owed)
	b.FirstRefused = first
	return b, nil
}

// taken reads the answer of takeScript.
func taken(reply any) (allowed bool, owed int64, first, ok bool) {
	answer, _ := reply.([]any)
	if len(answer) != 3 {
		return false, 0, false, false
	}
	yes, ok1 := answer[0].(int64)
	owed, ok2 := answer[1].(int64)
	one, ok3 := answer[2].(int64)
	return yes == 1, owed, one == 1, ok1 && ok2 && ok3 && owed >= 0
}
