package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/redisconn"
	"latchkey/internal/telemetry"
)

// What is in Redis, besides the index of index.go:
//
//	sess:<handle>          a live session, see format.go; its TTL is the idle lifetime
//	ended:{sess:<handle>}  its trace: why it ended, or while it lives, why it will
//	                       have ended once the key is gone; for a day after that
//
// Nothing else makes a session valid, and nothing here holds a token. The braces
// put both keys into one slot of a cluster, so that a script may use them together.
func keys(handle string) (live, trace string) {
	return "sess:" + handle, "ended:{sess:" + handle + "}"
}

// handleLen is the length of a handle: SHA-256 in unpadded base64url.
const handleLen = 43

// store is the scs.CtxStore of this package, in the place of scs's redisstore,
// none of whose calls can be kept: they know no context and no time limit, its
// Commit creates what was deleted, overwrites what exists and takes an error
// inside EXEC for a success, and its All blocks Redis. It stands in the tests, as
// the control group of the races.
//
// Every script here finds its own work done when it is run again because an
// answer was lost.
type store struct {
	redis   *redisconn.Client
	secrets [][]byte // the first makes new handles, all are accepted
	now     func() time.Time
	metrics *telemetry.Metrics
}

// handle names a new session.
func (s *store) handle(token string) string { return handleOf(s.secrets[0], token) }

// newest tells whether a handle, one of those that the session of token may have, is of
// the first secret.
func (s *store) newest(handle, token string) bool {
	return len(s.secrets) == 1 || handle == s.handle(token)
}

// handles are the names that the session of token may have.
func (s *store) handles(token string) []string {
	names := make([]string, len(s.secrets))
	for i, secret := range s.secrets {
		names[i] = handleOf(secret, token)
	}
	return names
}

// FindCtx implements scs.CtxStore. What it finds starts with the handle: see
// codec.Decode. A session that has ended is an EndedError where the reason is
// known, and ErrReplaced where its client has another token now.
func (s *store) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	if !WellFormed(token) {
		return nil, false, nil
	}
	names := s.handles(token)
	for _, name := range names {
		value, err := s.value(ctx, name)
		if value != nil || err != nil {
			return append([]byte(name), value...), err == nil, err
		}
	}
	var known *trace
	for _, name := range slices.Backward(names) {
		t, err := s.trace(ctx, name)
		if err != nil {
			return nil, false, err
		}
		if t == nil {
			continue
		}
		if slices.Contains(names, t.Successor) {
			// It has moved to another secret since the first look.
			value, err := s.value(ctx, t.Successor)
			if value != nil || err != nil {
				return append([]byte(t.Successor), value...), err == nil, err
			}
			continue
		}
		// One under whose other name no move was let in any more has not ended there.
		if known == nil || known.Reason != replaced {
			known = t
		}
	}
	if known == nil {
		return nil, false, nil
	}
	verdict := known.verdict(s.now())
	if known.At != 0 { // nobody has ended it
		var ended *EndedError
		if errors.As(verdict, &ended) {
			s.metrics.SessionsEnded(string(ended.Reason), 1)
		}
	}
	return nil, false, verdict
}

// value reads a live session; nil is none. Another type than a string, which no
// session of ours has, is errUndecodable.
func (s *store) value(ctx context.Context, handle string) ([]byte, error) {
	live, _ := keys(handle)
	value, err := asBytes(s.redis.Do(ctx, "GET", live))
	var reply redis.Error
	switch {
	case errors.Is(err, redis.ErrNil):
		return nil, nil
	case errors.As(err, &reply) && strings.HasPrefix(string(reply), "WRONGTYPE"):
		return nil, errUndecodable
	case err != nil:
		return nil, err
	}
	return value, nil
}

// trace reads what is known of a session that is gone; nil is nothing.
func (s *store) trace(ctx context.Context, handle string) (*trace, error) {
	_, key := keys(handle)
	value, err := asBytes(s.redis.Do(ctx, "GET", key))
	if errors.Is(err, redis.ErrNil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeTrace(value), nil
}

// createScript makes a session that does not exist and did not end before it
// began, as one does that a login has pushed out, or a revocation of all found in
// the index.
var createScript = redisconn.NewScript(2, `
local old = redis.call('GET', KEYS[1])
if old then return old == ARGV[1] and 1 or 0 end
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
return 1`).Lasting()

// errNotCreated says that createScript has made nothing.
var errNotCreated = errors.New("the session exists or has ended")

// CommitCtx implements scs.CtxStore for new sessions: it never overwrites one.
func (s *store) CommitCtx(ctx context.Context, token string, value []byte, expiry time.Time) error {
	return s.create(ctx, s.handle(token), value, expiry, "")
}

// create makes a session. Lifetimes are given to Redis as lengths, not dates, so
// that a clock that is off there changes nothing. One that is to take the place of
// another says of which ("" is none). Errors: also errNotCreated.
func (s *store) create(ctx context.Context, handle string, value []byte, expiry time.Time, heirOf string) error {
	live, traceKey := keys(handle)
	t := foretell(value, expiry)
	t.HeirOf = heirOf
	ok, err := asBool(s.redis.Eval(ctx, createScript, live, traceKey, value, s.ttl(expiry), t.encode(), s.ttl(expiry.Add(traceTTL))))
	if err != nil {
		return err
	}
	if !ok {
		return errNotCreated
	}
	return nil
}

// touchScript saves a session only where it still is what was read: a save that
// creates its key would bring back a session that was ended meanwhile (254 of
// 300 logouts under load, with scs's own idle timeout), and of several requests
// that find the interval over, one writes.
var touchScript = redisconn.NewScript(2, `
local value = redis.call('GET', KEYS[1])
if value ~= ARGV[1] then return value == ARGV[2] and 1 or 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[5])
return 1`)

// touch replaces the value of cur by next where it is unchanged.
func (s *store) touch(ctx context.Context, cur *Session, next []byte, expiry time.Time) (bool, error) {
	live, traceKey := keys(cur.Handle)
	t := foretell(next, expiry)
	return asBool(s.redis.Eval(ctx, touchScript, live, traceKey, cur.raw, next, s.ttl(expiry), t.encode(), s.ttl(expiry.Add(traceTTL))))
}

// claimScript ends a session whose client is given another token. Of several
// calls at once on one session exactly one finds it alive.
var claimScript = redisconn.NewScript(2, `
if redis.call('DEL', KEYS[1]) == 1 then
  redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
  return 1
end
return redis.call('GET', KEYS[2]) == ARGV[1] and 1 or 0`).Lasting()

// claim ends the session old in favour of successor, which is known for so long. It
// returns false where old is not live any more, or another call was faster.
func (s *store) claim(ctx context.Context, old, successor string, lasts time.Duration) (bool, error) {
	live, traceKey := keys(old)
	t := trace{Reason: replaced, Successor: successor}
	return asBool(s.redis.Eval(ctx, claimScript, live, traceKey, t.encode(), lasts.Milliseconds()))
}

// discard removes a session that nobody was told of, without a trace.
func (s *store) discard(ctx context.Context, handle string) error {
	live, traceKey := keys(handle)
	_, err := s.redis.Do(ctx, "DEL", live, traceKey)
	return err
}

// DeleteCtx implements scs.CtxStore.
func (s *store) DeleteCtx(ctx context.Context, token string) error {
	_, err := s.endToken(ctx, token, LoggedOut)
	return err
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
