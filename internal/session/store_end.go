package session

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/redisconn"
)

// endScript ends a live session and returns its value, or else its trace. Where
// there is neither and ARGV[3] asks for it, the session may be about to begin, and
// the trace is laid to keep it from doing so. A session that is about to take the place
// of one that is to be spared (ARGV[4] and on) is that one.
var endScript = redisconn.NewScript(2, `
local value = redis.pcall('GET', KEYS[1])
local trace = redis.pcall('GET', KEYS[2])
if type(trace) ~= 'string' then trace = false end
if value then
  local heirOf = trace and string.match(trace, '^-?%d+ (.*)$')
  for i = 4, #ARGV do
    if heirOf == ARGV[i] then return {3, type(value) == 'string' and value or ''} end
  end
  redis.call('DEL', KEYS[1])
  redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
  return {1, type(value) == 'string' and value or ''}
end
if trace then return {2, trace} end
if ARGV[3] == '1' then redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2]) end
return {0, ''}`).Lasting()

// What endScript found.
const (
	foundNothing = 0
	foundLive    = 1
	foundTrace   = 2
	foundSpared  = 3
)

// errSpared says that a session was made to take the place of one that is to be spared.
var errSpared = errors.New("the session is to be spared")

// end ends the session of handle for a reason and returns it, or nil where it was
// not live. One that was rotated lives on under another handle, and is followed
// there: who logged out is out. With unbegun, a session that has not begun yet is
// kept from it. What spare names is not followed. Errors: also errSpared, with the
// session.
func (s *store) end(ctx context.Context, handle string, why Reason, unbegun bool, spare ...string) (*Session, error) {
	for range maxSuccessors {
		ended, t, err := s.endOne(ctx, handle, why, unbegun, spare)
		if ended != nil && err == nil {
			s.metrics.SessionsEnded(string(why), 1)
		}
		switch {
		case err != nil:
			return ended, err
		case ended != nil && ended.movedFrom != "":
			// It was about to move, see move: it must not live on where it was.
			_, _, err = s.endOne(ctx, ended.movedFrom, why, false, nil)
			return ended, err
		case ended != nil || t == nil || t.Successor == "" || slices.Contains(spare, t.Successor):
			return ended, nil
		}
		handle = t.Successor
	}
	return nil, nil
}

// endOne ends the session of a handle, and returns it or else its trace. Errors: as for
// end.
func (s *store) endOne(ctx context.Context, handle string, why Reason, unbegun bool, spare []string) (*Session, *trace, error) {
	lasts := traceTTL
	if why == replaced {
		lasts = replacedTTL
	}
	live, traceKey := keys(handle)
	args := []any{live, traceKey, trace{Reason: why}.encode(), lasts.Milliseconds(), unbegun}
	for _, spared := range spare {
		args = append(args, spared)
	}
	reply, err := asValues(s.redis.Eval(ctx, endScript, args...))
	if err != nil {
		return nil, nil, err
	}
	var found int
	var value []byte
	if _, err := redis.Scan(reply, &found, &value); err != nil {
		return nil, nil, strange(err)
	}
	switch found {
	case foundLive, foundSpared:
		s, err := decode(handle, value)
		if err != nil {
			s = &Session{Handle: handle} // not one that can be read
		}
		if found == foundSpared {
			return s, nil, errSpared
		}
		return s, nil, nil
	case foundTrace:
		return nil, decodeTrace(value), nil
	case foundNothing:
		return nil, nil, nil
	}
	return nil, nil, strange(fmt.Errorf("found %d", found))
}

// endToken ends the session of a token, whichever secret its handle has.
func (s *store) endToken(ctx context.Context, token string, why Reason) (*Session, error) {
	if !WellFormed(token) {
		return nil, nil
	}
	for _, handle := range s.handles(token) {
		if ended, err := s.end(ctx, handle, why, false); ended != nil || err != nil {
			return ended, err
		}
	}
	return nil, nil
}
