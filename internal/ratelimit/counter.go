package ratelimit

import (
	"context"
	"time"

	"latchkey/internal/redisconn"
)

// countScript adds one to a counter. ARGV[1] is the lowest count from which it continues, ARGV[2] the
// lifetime of the counter in milliseconds, and ARGV[3] its period. The key stores the count, a space
// and the period. A value with another period or in another format is ignored.
//
// If a lost reply makes Redis run the script twice, the event counts twice, which errs on the safe
// side. The script does not wait for replicas: a failover may lose a few events.
var countScript = redisconn.NewScript(1, `
local count, period = tonumber(ARGV[1]), ARGV[3]
local value = redis.pcall('GET', KEYS[1])
if type(value) == 'string' then
  local stored, ofPeriod = string.match(value, '^(%d+) (.*)$')
  if ofPeriod == period and #stored <= 9 then
    count = math.max(count, tonumber(stored))
  end
end

count = count + 1
redis.call('SET', KEYS[1], string.format('%.0f', count) .. ' ' .. period, 'PX', ARGV[2])

return {count}`)

// Count adds an event to the counter under key and returns the number of events in a period. Unlike
// with Take, events never become available again. A new period starts a new count. The counter
// disappears if no event is counted for ttl. If Redis has lost the counter, or it is lower than
// atLeast, it continues from atLeast.
//
// Do not use a key for both Take and Count.
//
// Errors: redisconn.ErrUnavailable; the event may have been counted.
func (l *Limiter) Count(ctx context.Context, key, period string, atLeast int, ttl time.Duration) (int, error) {
	reply, err := l.redis.Eval(ctx, countScript, redisKey(key), atLeast, ttl.Milliseconds(), period)

	var count int
	err = redisconn.Scan(reply, err, &count)

	return count, err
}
