package session

import (
	"context"
	"fmt"
	"time"

	"latchkey/internal/redisconn"
)

// The results that replaceLua returns.
const (
	rotateLost    = 0 // another rotation or a logout came first
	rotateDone    = 1
	rotateRevoked = 2 // the sessions of all users were revoked
)

// Rotate gives the session in ctx a new token and voids the old one immediately. Of several
// concurrent calls for one session, exactly one succeeds. The absolute timeout does not
// change. Redis commands: 1. Errors: ErrReplaced if another call or a logout came first; an
// EndedError if the session timed out or all users' sessions are being ended;
// ErrUnavailable.
func (m *Manager) Rotate(ctx context.Context) (*Session, string, error) {
	return m.replace(ctx, func(*Session, time.Time) {})
}

// Reauthenticate records that the user has just proved methods again and gives the session a
// new token (OWASP ASVS 5.0 7.2.4). Errors: those of Rotate.
func (m *Manager) Reauthenticate(ctx context.Context, methods ...string) (*Session, string, error) {
	return m.replace(ctx, func(next *Session, now time.Time) { next.Proof = next.with(now, methods...) })
}

// ForgetFactors removes the second factors from the session, whose account has none any more, and gives
// it a new token. Errors: those of Rotate.
func (m *Manager) ForgetFactors(ctx context.Context) (*Session, string, error) {
	return m.replace(ctx, func(next *Session, _ time.Time) { next.Proof = next.without(OTP, Recovery, Device) })
}

// ChangeEmail records the user's new email, which is verified, and gives the session a new token.
// Errors: same as Rotate.
func (m *Manager) ChangeEmail(ctx context.Context, email string) (*Session, string, error) {
	return m.replace(ctx, func(next *Session, _ time.Time) {
		next.Email = email
		next.EmailVerified = true
	})
}

// replace applies change to the session in ctx and stores it under a new ID and token.
// Errors: those of Rotate.
func (m *Manager) replace(ctx context.Context, change func(next *Session, now time.Time)) (*Session, string, error) {
	old, ok := m.FromContext(ctx)
	if !ok {
		return nil, "", ErrNone
	}

	now := toMillis(m.options.Now())
	if reason := old.expired(now); reason != "" { // since it was loaded
		return nil, "", &EndedError{Reason: reason}
	}

	shard := old.ID[:shardLen]
	token := newToken(shard)

	next := *old
	next.ID = IDOf(token)
	next.markSeen(now, m.options.Idle)
	change(&next, now)

	value, err := next.seal(m.macKeys)
	if err != nil {
		return nil, "", err
	}

	result, err := redisconn.Int64(m.redis.Eval(ctx, m.scripts.replace,
		m.keys.record(old.ID), m.keys.record(next.ID), m.keys.tombstone(old.ID), m.keys.index(old.UserID), m.keys.globalGeneration(shard),
		old.ID, next.ID, value, m.ttl(next.IdleExpiresAt), old.generation))
	if err != nil {
		return nil, "", err
	}

	switch result {
	case rotateLost:
		return nil, "", ErrReplaced
	case rotateDone:
		m.invalidate(ctx, []string{old.ID})
		return &next, token, nil
	case rotateRevoked:
		m.invalidate(ctx, []string{old.ID})
		m.options.Metrics.SessionsEnded(string(Revoked), 1)
		return nil, "", &EndedError{Reason: Revoked}
	}

	return nil, "", fmt.Errorf("%w: unexpected reply: %d", ErrUnavailable, result)
}
