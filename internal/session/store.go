package session

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/redisconn"
)

// What is in Redis:
//
//	sess:<handle>     a live session, as record; its TTL is the idle lifetime
//	replaced:<handle> the client of this session has another now, for a minute: the
//	                  handle that a rotation moved it to, or "" after a login
//
// Nothing else makes a session valid, and nothing here holds a token.
const (
	livePrefix     = "sess:"
	replacedPrefix = "replaced:"
)

// handleLen is the length of a handle: SHA-256 in unpadded base64url.
const handleLen = 43

// replacedTTL is how long a token that was replaced is known as such. It outlives
// every request that was under way then.
const replacedTTL = time.Minute

// errTokenTaken says that a new session met an existing one of the same name.
var errTokenTaken = errors.New("a session of this token exists")

// store is the scs.CtxStore of this package, in the place of scs's redisstore,
// none of whose calls can be kept: they know no context and no time limit, its
// Commit creates what was deleted, overwrites what exists and takes an error
// inside EXEC for a success, and its All blocks Redis. It stands in the tests, as
// the control group of the races.
type store struct {
	redis   *redisconn.Client
	secrets [][]byte // the first makes new handles, all are accepted
	now     func() time.Time
}

// handle names a new session.
func (s *store) handle(token string) string { return handleOf(s.secrets[0], token) }

// handles are the names that the session of token may have.
func (s *store) handles(token string) []string {
	names := make([]string, len(s.secrets))
	for i, secret := range s.secrets {
		names[i] = handleOf(secret, token)
	}
	return names
}

// FindCtx implements scs.CtxStore. What it finds starts with the handle: see
// codec.Decode. A session whose client has another token now is ErrReplaced.
func (s *store) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	if !WellFormed(token) {
		return nil, false, nil
	}
	names := s.handles(token)
	for _, name := range names {
		value, err := redis.Bytes(s.redis.Do(ctx, "GET", livePrefix+name))
		if errors.Is(err, redis.ErrNil) {
			continue
		}
		if isWrongType(err) {
			return nil, false, errUndecodable
		}
		if err != nil {
			return nil, false, err
		}
		return append([]byte(name), value...), true, nil
	}
	for _, name := range names {
		if gone, err := redis.Bool(s.redis.Do(ctx, "EXISTS", replacedPrefix+name)); err != nil {
			return nil, false, err
		} else if gone {
			return nil, false, ErrReplaced
		}
	}
	return nil, false, nil
}

// isWrongType tells whether a key holds another type than a string, which no
// session of ours does.
func isWrongType(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && strings.HasPrefix(string(reply), "WRONGTYPE")
}

// createScript sets a key that does not exist. Running it again with the same
// value is a success, so that it can be repeated when an answer was lost.
var createScript = redisconn.NewScript(1, `
local old = redis.call('GET', KEYS[1])
if not old then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return 1
end
return old == ARGV[1] and 1 or 0`)

// CommitCtx implements scs.CtxStore for new sessions, the only ones that are
// committed through scs: it never overwrites one. The lifetime is given to Redis
// as a length, not a date, so that a clock that is off there changes nothing.
func (s *store) CommitCtx(ctx context.Context, token string, value []byte, expiry time.Time) error {
	ok, err := redis.Bool(s.redis.Eval(ctx, createScript, livePrefix+s.handle(token), value, s.ttl(expiry)))
	if err != nil {
		return err
	}
	if !ok {
		return errTokenTaken
	}
	return nil
}

// touchScript saves a session only where it still is what was read: a save that
// creates its key would bring back a session that was ended meanwhile (254 of
// 300 logouts under load, with scs's own idle timeout), and of several requests
// that find the interval over, one writes.
var touchScript = redisconn.NewScript(1, `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`)

// touch replaces the value of cur by next where it is unchanged.
func (s *store) touch(ctx context.Context, cur *Session, next []byte, expiry time.Time) (bool, error) {
	return redis.Bool(s.redis.Eval(ctx, touchScript, livePrefix+cur.Handle, cur.raw, next, s.ttl(expiry)))
}

// moveScript gives a session a new handle. Of several calls at once on one
// session exactly one finds it (scs leaves each caller with a session of its
// own). A call that is repeated because its answer was lost finds its own work.
var moveScript = redisconn.NewScript(3, `
if redis.call('EXISTS', KEYS[1]) == 0 then
  return redis.call('EXISTS', KEYS[2])
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[4])
redis.call('DEL', KEYS[1])
return 1`)

// move renames the session old to handle and gives it a new value. It returns
// false where old is not live any more.
func (s *store) move(ctx context.Context, old, handle string, value []byte, expiry time.Time) (bool, error) {
	return redis.Bool(s.redis.Eval(ctx, moveScript,
		livePrefix+old, livePrefix+handle, replacedPrefix+old,
		value, s.ttl(expiry), handle, replacedTTL.Milliseconds()))
}

// endScript ends a session. One that was rotated while its logout was on the way
// lives on under another handle, and is followed there: who logged out is out.
var endScript = redisconn.NewScript(0, `
local handle, live, replaced = ARGV[1], ARGV[2], ARGV[3]
for _ = 1, 1000 do -- more than anyone can rotate in a minute, so not for ever
  if redis.call('DEL', live .. handle) == 1 then return 1 end
  handle = redis.call('GET', replaced .. handle)
  if not handle or handle == '' then return 0 end
end
return 0`)

// end ends the sessions of the given handles, wherever they have moved.
func (s *store) end(ctx context.Context, handles ...string) error {
	for _, handle := range handles {
		if _, err := s.redis.Eval(ctx, endScript, handle, livePrefix, replacedPrefix); err != nil {
			return err
		}
	}
	return nil
}

// supersede ends the session of a token and notes that its client has another.
func (s *store) supersede(ctx context.Context, token string) error {
	if !WellFormed(token) {
		return nil
	}
	for _, handle := range s.handles(token) {
		live, err := redis.Bool(s.redis.Eval(ctx, supersedeScript, livePrefix+handle, replacedPrefix+handle, replacedTTL.Milliseconds()))
		if err != nil {
			return err
		}
		if live {
			return nil
		}
	}
	// Not live: it may have been rotated while the login was under way.
	return s.end(ctx, s.handles(token)...)
}

// supersedeScript ends a live session and leaves a note without a successor. Run
// again after a lost answer it finds the note, and following it leads nowhere.
var supersedeScript = redisconn.NewScript(2, `
if redis.call('DEL', KEYS[1]) == 0 then return 0 end
redis.call('SET', KEYS[2], '', 'PX', ARGV[1])
return 1`)

// DeleteCtx implements scs.CtxStore.
func (s *store) DeleteCtx(ctx context.Context, token string) error {
	if !WellFormed(token) {
		return nil
	}
	return s.end(ctx, s.handles(token)...)
}

// ttl is how long a key that expires at expiry has to live, in milliseconds.
// Redis refuses zero.
func (s *store) ttl(expiry time.Time) int64 {
	return max(1, expiry.Sub(s.now()).Milliseconds())
}

// Find, Commit and Delete are the calls of scs.Store that know no context. scs
// does not use them where the others exist.
func (s *store) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

// Commit implements scs.Store.
func (s *store) Commit(token string, value []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, value, expiry)
}

// Delete implements scs.Store.
func (s *store) Delete(token string) error {
	return s.DeleteCtx(context.Background(), token)
}
