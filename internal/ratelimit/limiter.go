package ratelimit

import (
	"context"
	"net/netip"
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

// takeScript counts one event. ARGV[1] is the interval, the time in which one event becomes
// available again; ARGV[2] is the burst, the time in which all events do. Both are in
// microseconds.
//
// A key stores the time at which all events will be available again, in microseconds on the
// Redis clock (GCRA's "theoretical arrival time"), and expires then: a missing key means that
// all events are available. An "r" after the time means that the last event was
// refused.
//
// The script returns whether the event was allowed, the time until all events are available
// again, and whether this was the first refusal since an event was allowed.
//
// Design decisions:
//
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
var takeScript = redisconn.NewScript(1, `
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])

local full, wasRefused = micros, false
local value = redis.pcall('GET', KEYS[1])
if type(value) == 'string' and #value <= 17 then
  local time, mark = string.match(value, '^(%d+)(r?)$')
  if time then
    full = math.max(micros, tonumber(time))
    wasRefused = mark == 'r'
  end
end

local tooFar = full > micros + burst
if tooFar then full = micros + burst end

local allowed = full + interval <= micros + burst
if allowed then full = full + interval end

local firstRefusal = not allowed and not wasRefused
if allowed or tooFar or firstRefusal then
  local new = string.format('%.0f', full) .. (allowed and '' or 'r')
  local ttl = math.ceil((full - micros) / 1000)
  redis.call('SET', KEYS[1], new, 'PX', string.format('%.0f', ttl))
end

return {allowed and 1 or 0, full - micros, firstRefusal and 1 or 0}`)

// Take counts one event under key and returns what is left of the budget. A key names what
// is counted and for whom, for example "login:ip:" followed by an IPKey. It may have any
// length and any characters.
//
// Always use the same rule for a key. If the rule changes, the new one applies immediately.
// The zero rule allows everything without using Redis; only Allowed is set in its Budget.
//
// Errors: redisconn.ErrUnavailable; the event may have been counted.
func (l *Limiter) Take(ctx context.Context, key string, rule Rule) (Budget, error) {
	if rule.Unlimited() {
		return Budget{Allowed: true}, nil
	}

	interval := rule.interval()
	reply, err := l.redis.Eval(ctx, takeScript, redisKey(key), interval, interval*int64(rule.Events))

	var allowed, firstRefusal bool
	var micros int64
	if err := redisconn.Scan(reply, err, &allowed, &micros, &firstRefusal); err != nil {
		return Budget{}, err
	}

	reset := time.Duration(micros) * time.Microsecond

	return rule.budget(allowed, firstRefusal, reset), nil
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
	Allowed bool

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

// KeyPrefix is the prefix of the names of all keys.
const KeyPrefix = "limit:"

// redisKey returns the name of the Redis key for a caller's key:
//
//	limit:{<key>}   the time at which all events are available again, followed by an
//	                "r" if the last event was refused; it expires at that time
//
// It hashes keys that are long, hard to read in redis-cli, or contain braces, which would
// change the slot in a Redis Cluster.
func redisKey(key string) string {
	if !isPlain(key) {
		key = "sha256:" + token.Hash(key)
	}
	return KeyPrefix + "{" + key + "}"
}

// printable matches printable ASCII without spaces and braces.
var printable = regexp.MustCompile(`^[!-z|~]+$`)

func isPlain(key string) bool { return len(key) <= maxKey && printable.MatchString(key) }

// maxInvalidIP is the maximum length of an IPKey for text that is not an IP, in bytes.
const maxInvalidIP = 64

// IPKey returns the key for the client at an IP. For IPv6 it is the /64 prefix: a customer
// usually gets at least a /64, and could use each of its 2^64 IPs as a new client. IPv4 in
// IPv6 notation counts as IPv4, and zones are ignored. Text that is not an IP is returned
// as it is, truncated to 64 bytes.
func IPKey(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ip[:min(len(ip), maxInvalidIP)]
	}

	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}

	return netip.PrefixFrom(addr, 64).Masked().String()
}

// AccountKey returns the key for the account with the given canonical email. The key is a
// hash, so that Redis logs and monitoring tools do not show emails. It is not secret: anyone
// who knows the email can compute it.
func AccountKey(email string) string { return token.Hash(email) }
