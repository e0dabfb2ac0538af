package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/alexedwards/scs/v2"

	"latchkey/internal/redisconn"
	"latchkey/internal/telemetry"
)

var (
	// ErrNone says that there is no session: no token, an unknown or malformed
	// one, or one whose session has ended. An EndedError is one with the reason.
	ErrNone = errors.New("no session")
	// ErrReplaced says that the client was given another token within the last
	// minute, by a rotation or a login. This one is void, but the cookie must stay:
	// the browser may hold the new one already. And a logout with it must end a
	// session that was rotated, which EndToken does.
	ErrReplaced = errors.New("the session has another token now")
	// ErrUnavailable says that the store did not answer. It is no statement about
	// any session.
	ErrUnavailable = errors.New("session store is unavailable")
)

// Options are the settings of a Manager. All durations must be positive.
type Options struct {
	// Secrets key the handles. The first makes new ones, all are accepted.
	Secrets [][]byte
	// Idle ends a session that is not used for so long.
	Idle time.Duration
	// Absolute ends a session however much it is used.
	Absolute time.Duration
	// TouchInterval is the least time between two extensions of Idle; at most
	// half of Idle.
	TouchInterval time.Duration
	// MaxPerUser is how many sessions a user has at most; a login beyond it ends the
	// one that would expire first, as a rule the one least lately used. 0 is no limit.
	MaxPerUser int
	// Now is the clock; nil is time.Now.
	Now     func() time.Time
	Metrics *telemetry.Metrics
	Log     *slog.Logger
}

// Manager begins, loads, rotates and ends sessions. It is safe for concurrent
// use.
type Manager struct {
	scs     *scs.SessionManager
	store   *store
	options Options
}

// New returns a Manager on redis.
func New(redis *redisconn.Client, o Options) *Manager {
	if o.Now == nil {
		o.Now = time.Now
	}
	st := &store{redis: redis, secrets: o.Secrets, now: o.Now, metrics: o.Metrics}
	m := &Manager{scs: scs.New(), store: st, options: o}
	m.scs.Store = st
	m.scs.Codec = codec{}
	return m
}

// WithBudget returns a context with which the store is waited for no longer than d in
// all, however many calls it takes: see redisconn.WithBudget.
func WithBudget(ctx context.Context, d time.Duration) context.Context {
	return redisconn.WithBudget(ctx, d)
}

// Ping asks the store whether it answers. The error is ErrUnavailable.
func (m *Manager) Ping(ctx context.Context) error { return unavailable(m.store.redis.Ping(ctx)) }

// Load finds the session of token and returns a context that holds it, for
// FromContext. It costs one Redis command for each secret up to that of the
// session, two more once per TouchInterval, of several requests two or three for each,
// and where that is not the first
// secret one more, or once a few with which the session moves to it. Errors: ErrNone,
// ErrReplaced, ErrUnavailable.
func (m *Manager) Load(ctx context.Context, token string) (context.Context, error) {
	if !WellFormed(token) {
		return nil, ErrNone
	}
	loaded, err := m.scs.Load(ctx, token)
	switch {
	case errors.Is(err, errUndecodable):
		// An old format or a damaged value. It is nobody's session, and answering
		// with an error until it expires would lock its owner out.
		m.options.Log.WarnContext(ctx, "dropped a session value that cannot be read", "sessionId", m.store.handle(token))
		if _, err := m.store.endToken(ctx, token, Revoked); err != nil {
			return nil, unavailable(err)
		}
		return nil, ErrNone
	case errors.Is(err, ErrReplaced), errors.Is(err, ErrNone):
		return nil, err
	case err != nil:
		return nil, unavailable(err)
	}
	s, ok := m.FromContext(loaded)
	if !ok {
		return nil, ErrNone
	}
	// The TTL in Redis does this too, unless someone has removed it.
	now := m.options.Now()
	if why, expired := s.expired(now); expired {
		if _, err := m.endAndDelist(ctx, s.Handle, why); err != nil {
			return nil, unavailable(err)
		}
		return nil, &EndedError{why}
	}
	if s.movedFrom != "" || !m.store.newest(s.Handle, token) {
		moved, err := m.move(ctx, s, token)
		switch err = unavailable(err); {
		case err == nil:
			s = moved
			m.scs.Put(loaded, valueKey, s)
		case s.movedFrom != "" || !errors.Is(err, ErrUnavailable):
			return nil, err
		default:
			// As with a touch: it was read as live, and the next request tries again.
			m.options.Log.WarnContext(ctx, "could not move a session to the first secret", "sessionId", s.Handle, "error", err)
		}
	}
	if now.Sub(s.LastSeenAt) >= m.options.TouchInterval {
		m.touch(loaded, s, now)
	}
	return loaded, nil
}

// expired tells whether a session has ended by itself at now, and why.
func (s *Session) expired(now time.Time) (Reason, bool) {
	switch {
	case !now.Before(s.ExpiresAt):
		return AbsoluteTimeout, true
	case !now.Before(s.IdleExpiresAt):
		return IdleTimeout, true
	}
	return "", false
}

// touch extends the idle lifetime. A session that changed or ended since it was
// read is left alone, and taken out of the index again where it has ended. When the
// store fails the request goes on: it was read as live a moment ago, and the next one
// tries again.
func (m *Manager) touch(ctx context.Context, s *Session, now time.Time) {
	next := *s
	next.seen(now, m.options.Idle)
	value, err := next.encode()
	if err == nil {
		err = m.store.relist(ctx, next.UserID, next.Handle, next.IdleExpiresAt)
	}
	if err == nil {
		var saved bool
		if saved, err = m.store.touch(ctx, s, value, next.IdleExpiresAt); saved {
			next.raw = value
			m.scs.Put(ctx, valueKey, &next)
		} else if err == nil {
			err = m.prune(ctx, next.UserID, next.Handle)
		}
	}
	if err != nil {
		m.options.Log.WarnContext(ctx, "could not extend a session", "sessionId", s.Handle, "error", err)
	}
}

// seen notes use at now.
func (s *Session) seen(now time.Time, idle time.Duration) {
	s.LastSeenAt = now.UTC().Truncate(time.Millisecond)
	s.IdleExpiresAt = s.LastSeenAt.Add(idle)
	if s.IdleExpiresAt.After(s.ExpiresAt) {
		s.IdleExpiresAt = s.ExpiresAt
	}
}

// FromContext returns the session that Load put into ctx. Without a Load it
// panics: asking who is signed in before finding out is a bug, not a stranger.
func (m *Manager) FromContext(ctx context.Context) (*Session, bool) {
	s, ok := m.scs.Get(ctx, valueKey).(*Session)
	return s, ok
}

// Still makes sure that the session in ctx has not ended and was not given another token
// since it was loaded. Errors: ErrNone, ErrReplaced, ErrUnavailable.
func (m *Manager) Still(ctx context.Context) error {
	if _, ok := m.FromContext(ctx); !ok {
		return ErrNone
	}
	// By its token: another server may have moved it to another secret meanwhile.
	_, err := m.find(ctx, m.scs.Token(ctx))
	return unavailable(err)
}

// unavailable makes what package redisconn says the error of this package, and
// leaves others as they are.
func unavailable(err error) error {
	if errors.Is(err, redisconn.ErrUnavailable) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}
