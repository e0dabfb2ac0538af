package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/alexedwards/scs/v2"

	"latchkey/internal/coherence"
	"latchkey/internal/redisconn"
	"latchkey/internal/telemetry"
)

var (
	// ErrNone is returned when there is no live session: the token is missing, malformed or
	// unknown, or its session has ended. An EndedError is an ErrNone with a reason.
	ErrNone = errors.New("no session")

	// ErrReplaced is returned for a token that a rotation or a login replaced within the
	// last minute. The token is void, but the cookie must not be cleared: the browser may
	// already hold the new token.
	ErrReplaced = errors.New("session token was replaced")

	// ErrUntrusted is returned for a record that was not signed with any of our secrets.
	// The session must not be used. Its record and cookie must not be deleted, because a
	// server with a different secret may have written the record.
	ErrUntrusted = errors.New("session record cannot be trusted")

	// ErrNotFound is returned when the user has no live session with the given ID.
	ErrNotFound = errors.New("no such session")

	// ErrUnavailable is returned when Redis failed or did not reply in time. The session may
	// or may not be live.
	ErrUnavailable = redisconn.ErrUnavailable
)

// Options are the settings of a Manager. All durations must be positive.
type Options struct {
	// Secrets are what the MAC keys are derived from. The first one signs records; all are
	// accepted.
	Secrets [][]byte

	// Idle is how long a session lasts without being used.
	Idle time.Duration

	// Absolute is the maximum lifetime of a session, however often it is used.
	Absolute time.Duration

	// TouchInterval is the minimum time between two extensions of the idle timeout. It must
	// not exceed half of Idle.
	TouchInterval time.Duration

	// MaxPerUser is the maximum number of sessions per user; 0 means no limit. A login that
	// exceeds it ends the session that would expire first, usually the least recently used.
	MaxPerUser int

	// Now is the clock. The default is time.Now.
	Now func() time.Time

	// Cache keeps sessions in memory. If it is nil, every Load reads from Redis. Otherwise each end of a
	// session takes one more command, and waits for the other servers.
	Cache *coherence.Cache

	Metrics *telemetry.Metrics
	Log     *slog.Logger
}

// Manager begins, loads, rotates and ends sessions. It is safe for concurrent use.
type Manager struct {
	redis   *redisconn.Client
	scs     scs.SessionManager // accesses the data that loadWithSCS puts into contexts
	keys    keys
	scripts scripts
	macKeys macKeys
	options Options

	untrustedLogged atomic.Int64 // the minute in which ErrUntrusted was last logged
	touchFailed     atomic.Int64 // when touch last failed, in Unix seconds
}

// New returns a Manager that keeps its sessions in client's Redis.
func New(client *redisconn.Client, o Options) *Manager {
	if o.Now == nil {
		o.Now = time.Now
	}

	m := &Manager{
		redis:   client,
		keys:    keys{cluster: client.IsCluster()},
		scripts: newScripts(client.IsCluster()),
		macKeys: newMACKeys(o.Secrets),
		options: o,
	}

	for _, reason := range allReasons {
		o.Metrics.EndReasons(string(reason))
	}

	return m
}

// load returns a context that carries the session with an ID. Errors: those of Load, except
// ErrAmbiguous.
func (m *Manager) load(ctx context.Context, id string) (context.Context, error) {
	loaded, s, err := m.loadWithSCS(ctx, id)
	if err != nil {
		m.logUntrusted(ctx, id, err)
		return nil, err
	}

	now := m.options.Now()

	reason := s.expired(now)
	if reason != "" && m.options.Cache != nil {
		// Another server may have extended the session a moment ago.
		m.options.Cache.Forget(m.keys.record(s.ID), s)
		if loaded, s, err = m.loadWithSCS(ctx, id); err != nil {
			return nil, err
		}

		reason = s.expired(now)
	}

	if reason != "" {
		if _, err := m.end(ctx, s.ID, reason); err != nil {
			return nil, err
		}

		return nil, &EndedError{Reason: reason}
	}

	if now.Sub(s.LastSeenAt) >= m.options.TouchInterval && ctx.Value(withoutTouchKey{}) == nil {
		m.touch(loaded, s, now)
	}

	return loaded, nil
}

type withoutTouchKey struct{}

// WithoutTouch returns a context in which Load does not extend the idle timeout.
func WithoutTouch(ctx context.Context) context.Context {
	return context.WithValue(ctx, withoutTouchKey{}, true)
}

// FromContext returns the session that Load put into ctx, if any. It panics if ctx did not
// come from Load, because that is a bug.
func (m *Manager) FromContext(ctx context.Context) (*Session, bool) {
	s, ok := m.scs.Get(ctx, sessionKey).(*Session)
	return s, ok
}

// Recheck checks that the session in ctx has been neither ended nor rotated since it was
// loaded. Errors: ErrNone, ErrReplaced, ErrUntrusted, ErrUnavailable.
func (m *Manager) Recheck(ctx context.Context) error {
	s, ok := m.FromContext(ctx)
	if !ok {
		return ErrNone
	}

	_, err := m.byID(ctx, s.ID)
	return err
}

// touchPause is the time after a failure during which no session is extended, in seconds.
const touchPause = 5

// touch extends the idle timeout of a session, unless its record has changed since it was read. A
// failure is logged once a minute, but does not fail the request: the session was live a moment
// ago, and a later request tries again after touchPause.
func (m *Manager) touch(ctx context.Context, s *Session, now time.Time) {
	isPaused := now.Unix()-m.touchFailed.Load() < touchPause
	if isPaused && !m.keys.cluster { // in a cluster, other masters may accept writes
		return
	}

	touched := *s
	touched.markSeen(now, m.options.Idle)

	if err := m.update(ctx, s, touched); err != nil {
		if last := m.touchFailed.Swap(now.Unix()); last/60 != now.Unix()/60 {
			m.options.Log.WarnContext(ctx, "cannot extend sessions", "sessionId", s.ID, "error", err)
		}
	}
}

// update stores a changed session, and puts it into ctx, unless its record has changed since it was read.
func (m *Manager) update(ctx context.Context, s *Session, changed Session) error {
	value, err := changed.seal(m.macKeys)
	if err != nil {
		return err
	}
	changed.value = value

	saved, err := redisconn.Bool(m.redis.Eval(ctx, m.scripts.touch,
		m.keys.record(s.ID), m.keys.index(s.UserID),
		s.ID, s.value, value, m.ttl(changed.IdleExpiresAt)))
	if saved {
		m.scs.Put(ctx, sessionKey, &changed)
	}

	return err
}

// RecordVerifiedEmail records in the session in ctx that its email is verified, so that later requests
// need not look at the account. A failure has no effect: a later request tries again.
func (m *Manager) RecordVerifiedEmail(ctx context.Context) {
	s, ok := m.FromContext(ctx)
	isPaused := m.options.Now().Unix()-m.touchFailed.Load() < touchPause // as in touch
	if !ok || s.EmailVerified || isPaused {
		return
	}

	verified := *s
	verified.EmailVerified = true
	_ = m.update(ctx, s, verified)
}

// open verifies and parses a record. Errors: ErrUntrusted.
func (m *Manager) open(id, value string) (*Session, error) {
	if !m.macKeys.verify(id, value) {
		return nil, fmt.Errorf("%w: wrong MAC", ErrUntrusted)
	}

	s, err := parse(value[:len(value)-macLen])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}

	s.ID = id
	s.value = value

	return s, m.checkTimes(s)
}

// checkTimes refuses a session whose timestamps are in the future. Errors: ErrUntrusted.
func (m *Manager) checkTimes(s *Session) error {
	latest := m.options.Now().Add(maxClockSkew)
	if s.CreatedAt.After(latest) || s.LastSeenAt.After(latest) || s.AuthenticatedAt.After(latest) {
		return fmt.Errorf("%w: timestamp in the future", ErrUntrusted)
	}

	return nil
}

// ByID returns a live session of any user. Errors: ErrNotFound, ErrUnavailable.
func (m *Manager) ByID(ctx context.Context, id string) (*Session, error) {
	s, err := m.byID(ctx, id)
	if IsGone(err) {
		return nil, ErrNotFound
	}
	return s, err
}

// byID is like ByID, but its errors give the reason: ErrNone or an EndedError if the session
// is not live; ErrReplaced, ErrUntrusted, ErrUnavailable.
func (m *Manager) byID(ctx context.Context, id string) (*Session, error) {
	if !IsID(id) {
		return nil, ErrNone
	}

	s, err := m.lookup(ctx, id)
	if err != nil {
		m.logUntrusted(ctx, id, err)
		return nil, err
	}

	if reason := s.expired(m.options.Now()); reason != "" {
		return nil, &EndedError{Reason: reason}
	}

	return s, nil
}

// logUntrusted logs err if it is ErrUntrusted, at most once a minute.
func (m *Manager) logUntrusted(ctx context.Context, id string, err error) {
	if !errors.Is(err, ErrUntrusted) {
		return
	}

	if minute := m.options.Now().Unix() / 60; m.untrustedLogged.Swap(minute) != minute {
		m.options.Log.ErrorContext(ctx, "session record rejected: signed with another SESSION_SECRET or tampered with",
			"sessionId", id, "error", err)
	}
}

// ttl returns the time until expiry in milliseconds, at least 1: Redis rejects 0.
func (m *Manager) ttl(expiry time.Time) int64 {
	return max(1, expiry.Sub(toMillis(m.options.Now())).Milliseconds())
}
