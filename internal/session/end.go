package session

import (
	"context"
	"crypto/rand"
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

// EndByID ends the session with an ID, or its latest successor, and returns it, or nil if it has ended
// before. Errors: ErrUnavailable.
func (m *Manager) EndByID(ctx context.Context, id string, reason Reason) (*Session, error) {
	s, err := m.endFollowed(ctx, id, reason)
	if IsGone(err) {
		return nil, nil //nolint:nilnil // there is nothing to end
	}

	return s, err
}

// AbandonByID is like EndByID, for use after a failure that may have used up the request's time budget.
func (m *Manager) AbandonByID(ctx context.Context, id string, reason Reason) error {
	_, err := m.EndByID(redisconn.WithBudget(ctx, m.redis.Timeout()/2), id, reason)

	return err
}

// Abandon is like End, for use after a failure that may have used up the request's time budget.
func (m *Manager) Abandon(ctx context.Context, reason Reason) error {
	return m.End(redisconn.WithBudget(ctx, m.redis.Timeout()/2), reason)
}

// Revoke ends one session of a user. by identifies the caller: it is the ID of the caller's
// session, or names an operator. Revoke also accepts the ID of a session that was rotated within
// the last minute. It succeeds again if the same caller has already revoked the session, because
// the earlier request may have failed when a reply from Redis was lost. Errors: ErrNotFound if the
// session is not live or belongs to another user; ErrUnavailable.
func (m *Manager) Revoke(ctx context.Context, userID, id, by string) error {
	tombstone := string(Revoked) + " " + by

	s, err := m.follow(ctx, id)
	belongsToOther := err == nil && s.UserID != userID

	var ended *EndedError
	switch {
	case errors.As(err, &ended):
		text, err := redisconn.String(m.redis.Do(ctx, "GET", m.keys.tombstone(id)))
		if err == nil && text != tombstone || errors.Is(err, redisconn.ErrNil) {
			return ErrNotFound
		}
		if err == nil {
			m.invalidate(ctx, []string{id}) // the earlier request may have failed before it told the other servers
		}

		return err
	case IsGone(err) || belongsToOther:
		return ErrNotFound
	case err != nil:
		return err
	}

	_, err = m.leaveTombstone(ctx, s.ID, Revoked, tombstone)
	return err
}

// RevokeAll ends a user's sessions and returns the number of sessions ended. keep is
// the ID of a session to keep, or "". Logins in progress will fail. Redis commands: 1.
// Errors: ErrUnavailable; the sessions may have ended nevertheless.
func (m *Manager) RevokeAll(ctx context.Context, userID, keep string, reason Reason) (int, error) {
	n, ids, err := parseEnded(m.redis.Eval(ctx, m.scripts.endAll,
		m.keys.index(userID), m.keys.generation(userID),
		keep, string(reason), rand.Text(), generationTTL.Milliseconds()))
	if err != nil {
		return n, err
	}

	m.invalidate(ctx, ids)
	m.options.Metrics.SessionsEnded(string(reason), n)

	return n, nil
}

// parseEnded parses a reply that consists of a number and the IDs of ended sessions. ids is nil if the
// script does not know them.
func parseEnded(reply any, err error) (n int, ids []string, _ error) {
	var list any
	err = redisconn.Scan(reply, err, &n, &list)
	if err == nil && list != nil {
		ids, err = redisconn.Strings(list, nil)
	}

	return n, ids, err
}

// follow returns the session with the given ID, or its latest successor if it was rotated.
// Errors: those of byID. If the successor is gone, the error is about id itself.
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
	tombstone := string(reason)
	if reason != replaced { // an ID after "replaced" is that of a successor
		tombstone += " " + rand.Text()
	}

	return m.leaveTombstone(ctx, id, reason, tombstone)
}

// leaveTombstone is like end, but takes the text of the tombstone. If the text names the caller, a
// second run of the script recognizes the work of the first.
func (m *Manager) leaveTombstone(ctx context.Context, id string, reason Reason, tombstone string) (bool, error) {
	reply, err := m.redis.Eval(ctx, m.scripts.end, m.keys.record(id), id, tombstone)

	var ended bool
	var endedID string
	if err := redisconn.Scan(reply, err, &ended, &endedID); err != nil {
		return false, err
	}

	m.invalidate(ctx, []string{endedID})
	if ended {
		m.options.Metrics.SessionsEnded(string(reason), 1)
	}

	return ended, nil
}
