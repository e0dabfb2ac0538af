package session

import (
	"context"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/redisconn"
)

// The index of a user's sessions:
//
//	sessions:{<user id>}   their handles, ordered by when they expire, on the clock
//	                       of Redis in microseconds
//	barrier:{<user id>}    when all of them were last ended, on the same clock: a login
//	                       that started before does not begin a session after
//
// A handle is in the index before its session is made, so that ending all finds
// it. The index never decides whether a session is valid: it may be lost or know
// handles that have ended. It mends itself: what has expired goes with every use,
// what has ended with every list, and a session that is missing comes back with
// its next touch. Until then, ending all would miss it.
func indexKeys(userID string) (index, barrier string) {
	return "sessions:{" + userID + "}", "barrier:{" + userID + "}"
}

// barrierTTL outlives every login that is under way.
const barrierTTL = time.Hour

// list puts a handle (ARGV[1]) into the index for so many milliseconds (ARGV[2]),
// as the one that expires last: of two in one microsecond the later one counts.
const list = `
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', micros))
local score = micros + tonumber(ARGV[2]) * 1000
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
if last[2] and last[1] ~= ARGV[1] and tonumber(last[2]) >= score then score = tonumber(last[2]) + 1 end
redis.call('ZADD', KEYS[1], string.format('%.0f', score), ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
`

// enlistScript lists a session that is to begin, of a login that started so many
// microseconds ago (ARGV[3]). It returns those that are now too many (ARGV[4], 0 is
// no limit): the ones that expire first, which are the ones least lately used.
var enlistScript = redisconn.NewScript(2, `
local barrier = redis.call('GET', KEYS[2])
if barrier and tonumber(barrier) >= micros - tonumber(ARGV[3]) then return false end
`+list+`
local most, surplus = tonumber(ARGV[4]), {}
local n = redis.call('ZCARD', KEYS[1])
if most > 0 and n > most then
  for _, handle in ipairs(redis.call('ZRANGE', KEYS[1], 0, n - most)) do
    if handle ~= ARGV[1] and #surplus < n - most then surplus[#surplus + 1] = handle end
  end
end
return surplus`)

// enlist lists a session before it begins and returns the handles that are too
// many with it. It returns false where all sessions of the user were ended since
// the login started.
func (s *store) enlist(ctx context.Context, userID, handle string, expiry time.Time, started time.Time, most int) (surplus []string, ok bool, err error) {
	index, barrier := indexKeys(userID)
	reply, err := s.redis.Eval(ctx, enlistScript, index, barrier, handle, s.ttl(expiry), redisconn.Since(started), most)
	if err != nil || reply == nil {
		return nil, false, err
	}
	surplus, err = redis.Strings(reply, nil)
	return surplus, err == nil, err
}

var relistScript = redisconn.NewScript(1, list+`return 1`)

// relist notes that a session will expire later, or under which handle it goes on.
// It comes before the change itself: a session that is not in the index is one that
// ending all would miss.
func (s *store) relist(ctx context.Context, userID, handle string, expiry time.Time) error {
	index, _ := indexKeys(userID)
	_, err := s.redis.Eval(ctx, relistScript, index, handle, s.ttl(expiry))
	return err
}

// delist removes handles of sessions that have ended.
func (s *store) delist(ctx context.Context, userID string, handles ...string) error {
	if len(handles) == 0 {
		return nil
	}
	index, _ := indexKeys(userID)
	args := []any{index}
	for _, handle := range handles {
		args = append(args, handle)
	}
	_, err := s.redis.Do(ctx, "ZREM", args...)
	return err
}

var listedScript = redisconn.NewScript(1, `
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', micros))
return redis.call('ZREVRANGE', KEYS[1], 0, -1)`)

// listed returns the handles of a user that have not expired, the latest first.
func (s *store) listed(ctx context.Context, userID string) ([]string, error) {
	index, _ := indexKeys(userID)
	return redis.Strings(s.redis.Eval(ctx, listedScript, index))
}

var barScript = redisconn.NewScript(2, `
redis.call('SET', KEYS[2], string.format('%.0f', micros), 'PX', ARGV[1])
return redis.call('ZRANGE', KEYS[1], 0, -1)`)

// bar keeps logins that are under way from beginning a session, and returns the
// handles of those that have.
func (s *store) bar(ctx context.Context, userID string) ([]string, error) {
	index, barrier := indexKeys(userID)
	return redis.Strings(s.redis.Eval(ctx, barScript, index, barrier, barrierTTL.Milliseconds()))
}
