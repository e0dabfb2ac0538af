package session

import (
	"context"
	"errors"

	"latchkey/internal/redisconn"
)

// End ends the session in ctx. No concurrent request can bring it back. Ending a session
// that has already ended is not an error. Errors: ErrUnavailable.
func (m *Manager) End(ctx context.Context, reason Reason) error {
	s, ok := m.FromContext(ctx)
	if !ok {
		return nil
	}

	_, err := m.end(ctx, s.ID, reason)
	return err
}

// Revoke ends one session of a user. It also accepts the ID of a session that was rotated
// within the last minute. Errors: ErrNotFound if the session is not live or belongs to
// another user; ErrUnavailable.
func (m *Manager) Revoke(ctx context.Context, userID, id string, reason Reason) error {
	s, err := m.follow(ctx, id)

	belongsToOther := err == nil && s.UserID != userID
	if IsGone(err) || belongsToOther {
		return ErrNotFound
	}
	if err != nil {
		return err
	}

	_, err = m.end(ctx, s.ID, reason)
	return err
}

// RevokeAll ends a user's sessions and returns the number of sessions ended. keep is
// the ID of a session to keep, or "". Logins in progress will fail. Redis commands: 1.
// Errors: ErrUnavailable; the sessions may have ended nevertheless.
func (m *Manager) RevokeAll(ctx context.Context, userID, keep string, reason Reason) (int, error) {
	n, err := redisconn.Int64(m.redis.Eval(ctx, m.scripts.endAll,
		m.keys.index(userID), m.keys.generation(userID),
		keep, string(reason), generationTTL.Milliseconds()))
	m.options.Metrics.SessionsEnded(string(reason), int(n))
	return int(n), err
}

// follow returns the session with the given ID, or its latest successor if it was rotated.
// Errors: same as byID. If the successor is gone, the error is about id itself.
func (m *Manager) follow(ctx context.Context, id string) (*Session, error) {
	s, err := m.byID(ctx, id)

	latestErr := err
	for range maxSuccessors {
		var rotated *replacedError
		if !errors.As(latestErr, &rotated) {
			break
		}

		s, latestErr = m.byID(ctx, rotated.successor)
	}

	if IsGone(latestErr) {
		return nil, err
	}

	return s, latestErr
}

// end ends the session with the given ID, or its latest successor if it was rotated. It
// reports whether a live session ended. Errors: ErrUnavailable.
func (m *Manager) end(ctx context.Context, id string, reason Reason) (bool, error) {
	ended, err := redisconn.Bool(m.redis.Eval(ctx, m.scripts.end, m.keys.record(id), id, string(reason)))
	if ended {
		m.options.Metrics.SessionsEnded(string(reason), 1)
	}
	return ended, err
}
