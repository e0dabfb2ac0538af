package session

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/coherence"
	"latchkey/internal/redisconn"
)

// sessionSize is the approximate memory of a Session without its record, in bytes. It includes the
// encoded response.
const sessionSize = 800

// lookup returns the session with an ID, which may have timed out. It comes from memory if possible,
// and is shared by all requests that get it, so it must not be modified. Errors: ErrNone or an
// EndedError if there is no record; ErrReplaced, ErrUntrusted, ErrUnavailable.
func (m *Manager) lookup(ctx context.Context, id string) (*Session, error) {
	if m.options.Cache == nil {
		s, _, err := m.read(ctx, id)
		return s, err
	}

	data, err := m.options.Cache.Load(ctx, m.keys.record(id), func(ctx context.Context) (coherence.Value, error) {
		s, server, err := m.read(ctx, id)
		if err != nil {
			return coherence.Value{}, err
		}
		s.response = &response{session: s}

		return coherence.Value{Data: s, Size: len(s.value) + sessionSize, Server: server}, nil
	})
	if err != nil {
		return nil, err
	}

	s := data.(*Session)

	return s, m.checkTimes(s) // again, because our clock may have stepped back
}

// read returns a session from Redis, and the server that it is from. Errors: those of lookup.
func (m *Manager) read(ctx context.Context, id string) (s *Session, server string, err error) {
	value, server, err := m.redis.Get(ctx, m.keys.record(id))

	var reply redis.Error
	switch {
	case errors.Is(err, redisconn.ErrNil):
		err = m.whyEnded(ctx, id)
	case errors.As(err, &reply) && strings.HasPrefix(string(reply), "WRONGTYPE"):
		err = fmt.Errorf("%w: not a string", ErrUntrusted)
	case err == nil:
		s, err = m.open(id, value)
	}

	return s, server, err
}

// invalidate makes all servers forget sessions that have ended, before that is reported as done. ids
// is nil if they are not known.
func (m *Manager) invalidate(ctx context.Context, ids []string) {
	if m.options.Cache == nil || ids != nil && len(ids) == 0 {
		return
	}
	if ids == nil {
		coherence.AwaitLease()
		return
	}

	var keys []string
	for _, id := range ids {
		keys = append(keys, m.keys.record(id))
	}

	// After an error, the sessions have ended everywhere nevertheless: see coherence.Cache.Invalidate.
	_, _ = m.options.Cache.Invalidate(ctx, keys...)
}

// InMemory returns the session for a token if it is in memory and may be used without a command to
// Redis, and otherwise nil.
func (m *Manager) InMemory(token string) *Session {
	id := IDOf(token)
	if id == "" || m.options.Cache == nil {
		return nil
	}

	s, _ := m.options.Cache.Peek(m.keys.record(id)).(*Session)
	if s == nil {
		return nil
	}

	now := m.options.Now()
	if s.expired(now) != "" || now.Sub(s.LastSeenAt) >= m.options.TouchInterval || m.checkTimes(s) != nil {
		return nil
	}

	return s
}
