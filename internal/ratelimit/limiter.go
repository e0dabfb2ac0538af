package ratelimit

import (
	"context"
	"regexp"
	"time"

	"latchkey/internal/redisconn"
	"latchkey/internal/token"
)

// Limiter counts events in Redis. It is safe for concurrent use.
type Limiter struct {
	redis *redisconn.Client
}

// New returns a Limiter that counts events through client.
func New(client *redisconn.Client) *Limiter { return &Limiter{redis: client} }

// maxLimits is the maximum number of limits in a call of takeAll.
const maxLimits = 3

// takeScripts contains the script that counts one event, indexed by its number of keys. For each
// key it takes two arguments in microseconds: the interval, in which one event becomes available
// again, and the burst, in which all events do.
//
// A key stores the time at which all events will be available again, in microseconds on the
// Redis clock (GCRA's "theoretical arrival time"), and expires then: a missing key means that
// all events are available. An "r" after the time means that this key has refused the last
// event.
//
// For each key, the script returns whether the key allows the event, the time until all events
// are available again, and whether this was the key's first refusal since an event was allowed.
//
// Design decisions:
//
//   - The event counts under all keys or, if one of them refuses it, under none. So a client
//     whose network has used up its budget does not also use up its own, and a flood leaves no
//     keys behind.
//   - A refused event does not extend the wait. Otherwise a client that keeps trying would
//     lock itself out forever, along with everyone who shares its IP.
//   - If the stored time is further in the future than the burst, no events are available,
//     but the wait is cut to the burst. Such a time comes from a rule with a longer window,
//     or from a clock that was ahead: it was set back, or a failover changed it.
//   - A value that is not a time is ignored: all events are available.
//   - If a lost reply makes Redis run the script twice, the event counts twice and the first
//     refusal may go unnoticed. This is the safe direction: a client cannot get more events
//     by breaking connections.
//   - The script does not wait for replicas. A failover may lose a few events, which is
//     better than a round trip on every request.
var takeScripts = newTakeScripts()

func newTakeScripts() (scripts [maxLimits + 1]*redisconn.Script) {
	for keys := 1; keys <= maxLimits; keys++ {
		scripts[keys] = redisconn.NewScript(keys, takeLua)
	}

	return scripts
}

const takeLua = `
local limits, allowed = {}, true
for i, key in ipairs(KEYS) do
  local limit = {interval = tonumber(ARGV[2 * i - 1]), full = micros, wasRefused = false}
  local latest = micros + tonumber(ARGV[2 * i])

  local value = redis.pcall('GET', key)
  if type(value) == 'string' and #value <= 17 then
    local time, mark = string.match(value, '^(%d+)(r?)$')
    if time then
      limit.full = math.max(micros, tonumber(time))
      limit.wasRefused = mark == 'r'
    end
  end

  limit.tooFar = limit.full > latest
  if limit.tooFar then limit.full = latest end

  limit.refuses = limit.full + limit.interval > latest
  if limit.refuses then allowed = false end
  limits[i] = limit
end

local reply = {}
for i, key in ipairs(KEYS) do
  local limit = limits[i]
  if allowed then limit.full = limit.full + limit.interval end

  local firstRefusal = limit.refuses and not limit.wasRefused
  if allowed or limit.tooFar or firstRefusal then
    local new = string.format('%.0f', limit.full) .. (limit.refuses and 'r' or '')
    local ttl = math.ceil((limit.full - micros) / 1000)
    redis.call('SET', key, new, 'PX', string.format('%.0f', ttl))
  end

  table.insert(reply, limit.refuses and 0 or 1)
  table.insert(reply, limit.full - micros)
  table.insert(reply, firstRefusal and 1 or 0)
end

return reply`

// Take counts one event under key and returns what is left of the budget. A key names what
// is counted and for whom, for example "login:account:" followed by an AccountKey. It may have
// any length and any characters.
//
// Always use the same rule for a key. If the rule changes, the new one applies immediately.
// The zero rule allows everything without using Redis; only Allowed is set in its Budget.
//
// Errors: redisconn.ErrUnavailable; the event may have been counted.
func (l *Limiter) Take(ctx context.Context, key string, rule Rule) (Budget, error) {
	if rule.Unlimited() {
		return Budget{Allowed: true}, nil
	}

	budgets, err := l.takeAll(ctx, key, []limit{{rule: rule}})
	if err != nil {
		return Budget{}, err
	}

	return budgets[0], nil
}

// limit is one of several limits of the same event. The names distinguish them.
type limit struct {
	name string
	rule Rule
}

// takeAll counts one event against several limits with one command, and returns what is left of
// their budgets. If one of them refuses the event, it counts against none of them; Allowed is set
// in the budgets that did not refuse it. All counters are on one server of a Redis Cluster, which
// key determines.
func (l *Limiter) takeAll(ctx context.Context, key string, limits []limit) ([]Budget, error) {
	var keys, args []any
	for _, limit := range limits {
		interval := limit.rule.interval()
		keys = append(keys, redisKey(key)+limit.name)
		args = append(args, interval, interval*int64(limit.rule.Events))
	}

	first := redisKey(key) + limits[0].name
	reply, err := l.redis.Eval(ctx, takeScripts[len(limits)], first, append(keys[1:], args...)...)

	allowed := make([]bool, len(limits))
	micros := make([]int64, len(limits))
	firstRefusal := make([]bool, len(limits))
	var dest []any
	for i := range limits {
		dest = append(dest, &allowed[i], &micros[i], &firstRefusal[i])
	}
	if err := redisconn.Scan(reply, err, dest...); err != nil {
		return nil, err
	}

	budgets := make([]Budget, len(limits))
	for i, limit := range limits {
		reset := time.Duration(micros[i]) * time.Microsecond
		budgets[i] = limit.rule.budget(allowed[i], firstRefusal[i], reset)
	}

	return budgets, nil
}

// Rule allows a burst of Events. They become available again one by one, each after
// Window/Events. In the long run that is Events per Window, and never more than 2*Events-1
// in any one Window.
//
// Window must be between a millisecond and a year: longer times would exceed the integers
// that Lua represents exactly (2^53). The zero Rule means no limit.
type Rule struct {
	Events int
	Window time.Duration
}

// Unlimited reports whether r is the zero Rule, which means no limit.
func (r Rule) Unlimited() bool { return r == Rule{} }

// interval returns the number of microseconds in which one event becomes available again. It
// rounds up, so that rounding never allows more events than the rule.
func (r Rule) interval() int64 {
	events := int64(r.Events)
	return (r.Window.Microseconds() + events - 1) / events
}

// Budget is what a Take leaves under a key.
type Budget struct {
	Rule    Rule
	Allowed bool

	// IsNetwork is set if TakeIP returns the budget of a network, which the client shares with
	// others.
	IsNetwork bool

	// FirstRefusal is set if this event was refused and the previous one was allowed. Use
	// it to log that a limit was reached once, rather than on every attempt.
	FirstRefusal bool

	// Remaining is the number of events that are available now.
	Remaining int

	// Reset is the time until all events of the rule are available again.
	Reset time.Duration

	// RetryAfter is the time until the next event will be allowed, or 0 if this one was. For
	// a Retry-After header, which is in seconds (RFC 9110 section 10.2.3), round it up;
	// otherwise the client retries too early.
	RetryAfter time.Duration
}

// budget returns the Budget for a key whose events will all be available again after reset.
func (r Rule) budget(allowed, firstRefusal bool, reset time.Duration) Budget {
	interval := time.Duration(r.interval()) * time.Microsecond
	available := interval*time.Duration(r.Events) - reset

	b := Budget{
		Rule:         r,
		Allowed:      allowed,
		FirstRefusal: firstRefusal,
		Remaining:    int(available / interval),
		Reset:        reset,
	}
	if !allowed {
		b.RetryAfter = interval - available
	}

	return b
}

// maxKey is the maximum length of a readable key in Redis, in bytes. Part of a key may come
// from the client.
const maxKey = 128

// KeyPrefix is the prefix of all keys.
const KeyPrefix = "limit:"

// redisKey returns the name of the Redis key for a caller's key:
//
//	limit:{<key>}          the time at which all events are available again, followed by an
//	                       "r" if the last event was refused; it expires at that time
//	limit:{<key>}:<name>   the same for one of several limits of an event
//
// The braces put all limits of an event into one slot of a Redis Cluster. redisKey hashes keys that
// are long, hard to read in redis-cli, or contain braces, which would change the slot.
func redisKey(key string) string {
	if !isPlain(key) {
		key = "sha256:" + token.Hash(key)
	}
	return KeyPrefix + "{" + key + "}"
}

// printable matches printable ASCII without spaces and braces.
var printable = regexp.MustCompile(`^[!-z|~]+$`)

func isPlain(key string) bool { return len(key) <= maxKey && printable.MatchString(key) }

// AccountKey returns the key for the account with the given canonical email. The key is a
// hash, so that Redis logs and monitoring tools do not show emails. It is not secret: anyone
// who knows the email can compute it.
func AccountKey(email string) string { return token.Hash(email) }
