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

// fetch returns the record of a session without verifying it, from memory if possible. Errors: ErrNone
// or an EndedError if there is no record; ErrReplaced, ErrUntrusted, ErrUnavailable.
func (m *Manager) fetch(ctx context.Context, id string) (string, error) {
	if m.options.Cache == nil {
		value, _, err := m.read(ctx, id)
		return value, err
	}

	data, err := m.options.Cache.Load(ctx, m.keys.record(id), func(ctx context.Context) (coherence.Value, error) {
		value, server, err := m.read(ctx, id)

		return coherence.Value{Data: value, Size: len(value), Server: server}, err
	})
	if err != nil {
		return "", err
	}

	return data.(string), nil
}

// read returns the record of a session from Redis, and the server that it is from. Errors: those of
// fetch.
func (m *Manager) read(ctx context.Context, id string) (value, server string, err error) {
	value, server, err = m.redis.Get(ctx, m.keys.record(id))

	var reply redis.Error
	switch {
	case errors.Is(err, redisconn.ErrNil):
		err = m.whyEnded(ctx, id)
	case errors.As(err, &reply) && strings.HasPrefix(string(reply), "WRONGTYPE"):
		err = fmt.Errorf("%w: not a string", ErrUntrusted)
	}

	return value, server, err
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

	_, err := m.options.Cache.Invalidate(ctx, keys...)
	if err != nil { // sessions have ended everywhere nevertheless: see coherence.Cache.Invalidate
		m.options.Log.WarnContext(ctx, "cannot tell other servers that sessions have ended; waited instead", "error", err)
	}
}
