package session

import (
	"context"
	"errors"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/redisconn"
)

// The index of a user's sessions:
//
//	idx:{<user id>}        their handles, ordered by when they expire, on the clock
//	                       of Redis in microseconds
//	barrier:{<user id>}    when all of them were last ended, on the same clock
//	barrier                when those of all users were
//
// The first name is short because most users have one session: with it the name is
// of 30 bytes, which Redis keeps in 32, and from 31 on in 48.
//
// A handle is in the index before its session is made, so that ending all finds
// it. The index never decides whether a session is valid: it may be lost or know
// handles that have ended. It mends itself: what has expired goes with every use,
// what has ended with every list, and a session that is missing comes back with
// its next touch. Until then, ending all would miss it.
func indexKeys(userID string) (index, barrier string) {
	return "idx:{" + userID + "}", "barrier:{" + userID + "}"
}

// everyone is the barrier of all users.
const everyone = "barrier"

// barrierTTL outlives every login that is under way.
const barrierTTL = time.Hour

// Epoch is the time between two ends of all sessions, of one user or of all users.
// A login takes note of it when it starts and begins no session in another one: so
// what ends all sessions ends those too that are about to begin. It is compared for
// equality only, and no clock can be wrong about it.
type Epoch struct {
	user string
	all  string
}

// Epoch returns the epoch of a user, for SignIn: call it before anything is proved.
// A user who does not exist yet has "". Errors: ErrUnavailable.
func (m *Manager) Epoch(ctx context.Context, userID string) (Epoch, error) {
	_, barrier := indexKeys(userID)
	user, err := m.store.barrier(ctx, barrier)
	if err != nil {
		return Epoch{}, unavailable(err)
	}
	all, err := m.store.barrier(ctx, everyone)
	return Epoch{user, all}, unavailable(err)
}

// barrier reads a barrier; "" is none.
func (s *store) barrier(ctx context.Context, key string) (string, error) {
	value, err := asString(s.redis.Do(ctx, "GET", key))
	if errors.Is(err, redis.ErrNil) {
		err = nil
	}
	return value, err
}

// list puts a handle (ARGV[1]) into the index for so many milliseconds (ARGV[2]). Of
// those that expire within a second the latest to come expires last: clocks and rounding
// must not put one that is in use before one that is not.
const list = `
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', micros))
local score = micros + tonumber(ARGV[2]) * 1000
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
local ahead = last[2] and tonumber(last[2]) - score or -1
if ahead >= 0 and ahead < 1000000 then score = score + ahead + (last[1] == ARGV[1] and 0 or 1) end
redis.call('ZADD', KEYS[1], string.format('%.0f', score), ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
`

// enlistScript lists a session that is to begin, of a login that started when the
// barrier was ARGV[3]. It returns those that are now too many (ARGV[4], 0 is
// no limit): the ones that expire first, which are the ones least lately used, but for
// those that are near their absolute end. What
// it is to replace (ARGV[5] and on) does not count.
var enlistScript = redisconn.NewScript(2, `
local barrier = redis.call('GET', KEYS[2])
if barrier and barrier ~= ARGV[3] then return false end
`+list+`
local most, surplus, spared = tonumber(ARGV[4]), {}, {[ARGV[1]] = true}
local n = redis.call('ZCARD', KEYS[1])
if most == 0 or n <= most then return surplus end
for i = 5, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    spared[ARGV[i]] = true
    n = n - 1
  end
end
for _, handle in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if #surplus >= n - most then break end
  if not spared[handle] then surplus[#surplus + 1] = handle end
end
return surplus`).Lasting()

// enlist lists a session before it begins and returns the handles that are too
// many with it. It returns false where all sessions of the user were ended since
// the login started.
func (s *store) enlist(ctx context.Context, userID, handle string, expiry time.Time, epoch Epoch, most int, replaces []string) (surplus []string, ok bool, err error) {
	index, barrier := indexKeys(userID)
	args := []any{index, barrier, handle, s.ttl(expiry), epoch.user, most}
	for _, replaced := range replaces {
		args = append(args, replaced)
	}
	reply, err := s.redis.Eval(ctx, enlistScript, args...)
	if err != nil || reply == nil {
		return nil, false, err
	}
	surplus, err = asStrings(reply, nil)
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
	args := make([]any, len(handles))
	for i, handle := range handles {
		args[i] = handle
	}
	_, err := s.redis.Do(ctx, "ZREM", index, args...)
	return err
}

var listedScript = redisconn.NewScript(1, `
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', micros))
return redis.call('ZREVRANGE', KEYS[1], 0, -1)`)

// listed returns the handles of a user that have not expired, the latest first.
func (s *store) listed(ctx context.Context, userID string) ([]string, error) {
	index, _ := indexKeys(userID)
	return asStrings(s.redis.Eval(ctx, listedScript, index))
}

var barScript = redisconn.NewScript(2, `
redis.call('SET', KEYS[2], string.format('%.0f', micros), 'PX', ARGV[1])
return redis.call('ZRANGE', KEYS[1], 0, -1)`).Lasting()

// bar keeps logins that are under way from beginning a session, and returns the
// handles of those that have.
func (s *store) bar(ctx context.Context, userID string) ([]string, error) {
	index, barrier := indexKeys(userID)
	return asStrings(s.redis.Eval(ctx, barScript, index, barrier, barrierTTL.Milliseconds()))
}

var barEveryoneScript = redisconn.NewScript(1, `
return redis.call('SET', KEYS[1], string.format('%.0f', micros), 'PX', ARGV[1])`).Lasting()

// barEveryone does for all users what bar does for one. It lasts as long as a session
// can: one that began before may be given a new token after.
func (s *store) barEveryone(ctx context.Context, lasts time.Duration) error {
	_, err := s.redis.Eval(ctx, barEveryoneScript, everyone, lasts.Milliseconds())
	return err
}
