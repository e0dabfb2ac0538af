package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/alexedwards/scs/v2"

	"latchkey/internal/redisconn"
)

var (
	// ErrNone says that there is no session: no token, an unknown or malformed
	// one, or one whose session has ended.
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
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	Log *slog.Logger
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
	st := &store{redis: redis, secrets: o.Secrets, now: o.Now}
	m := &Manager{scs: scs.New(), store: st, options: o}
	m.scs.Store = st
	m.scs.Codec = codec{}
	return m
}

// Ping asks the store whether it answers. The error is ErrUnavailable.
func (m *Manager) Ping(ctx context.Context) error { return unavailable(m.store.redis.Ping(ctx)) }

// Load finds the session of token and returns a context that holds it, for
// FromContext. It costs one Redis command for each secret up to that of the
// session, and one more at most once per TouchInterval. Errors: ErrNone, ErrReplaced, ErrUnavailable.
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
		return nil, m.drop(ctx, token)
	case errors.Is(err, ErrReplaced):
		return nil, ErrReplaced
	case err != nil:
		return nil, unavailable(err)
	}
	s, ok := m.FromContext(loaded)
	if !ok {
		return nil, ErrNone
	}
	// The TTL in Redis does this too, unless someone has removed it.
	now := m.options.Now()
	if !now.Before(s.IdleExpiresAt) || !now.Before(s.ExpiresAt) {
		return nil, m.drop(ctx, token)
	}
	if now.Sub(s.LastSeenAt) >= m.options.TouchInterval {
		m.touch(loaded, s, now)
	}
	return loaded, nil
}

// drop ends what stands under token and returns ErrNone, or ErrUnavailable.
func (m *Manager) drop(ctx context.Context, token string) error {
	if err := m.store.DeleteCtx(ctx, token); err != nil {
		return unavailable(err)
	}
	return ErrNone
}

// touch extends the idle lifetime. A session that changed or ended since it was
// read is left alone. When the store fails the request goes on: it was read as
// live a moment ago, and the next one tries again.
func (m *Manager) touch(ctx context.Context, s *Session, now time.Time) {
	next := *s
	next.seen(now, m.options.Idle)
	value, err := next.encode()
	if err == nil {
		var saved bool
		if saved, err = m.store.touch(ctx, s, value, next.IdleExpiresAt); saved {
			next.raw = value
			m.scs.Put(ctx, valueKey, &next)
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

// withoutValues is a context that has the time of another and none of its values.
type withoutValues struct{ context.Context }

// Value implements context.Context.
func (withoutValues) Value(any) any { return nil }

// SignIn is what a session begins with.
type SignIn struct {
	UserID string
	Email  string
	// Method is how the user proved who they are, for example "password".
	Method string
	// Persistent says that the cookie outlives the browser's run.
	Persistent bool
}

// Begin starts a session and returns it with its token, which is for the cookie
// and nothing else. A session that ctx holds is left alone. Errors:
// ErrUnavailable.
func (m *Manager) Begin(ctx context.Context, in SignIn) (*Session, string, error) {
	now := m.options.Now().UTC().Truncate(time.Millisecond)
	s := &Session{
		UserID: in.UserID, Email: in.Email,
		CreatedAt: now, AuthenticatedAt: now, ExpiresAt: now.Add(m.options.Absolute),
		Methods: []string{in.Method}, Persistent: in.Persistent,
	}
	s.seen(now, m.options.Idle)

	// scs would take up the session that a context holds already.
	ctx, err := m.scs.Load(withoutValues{ctx}, "")
	if err != nil {
		return nil, "", err
	}
	m.scs.Put(ctx, valueKey, s)
	m.scs.SetDeadline(ctx, s.IdleExpiresAt)
	token, _, err := m.scs.Commit(ctx)
	if err != nil {
		return nil, "", unavailable(err)
	}
	s.Handle = m.store.handle(token)
	return s, token, nil
}

// Rotate gives the session in ctx a new token; the old one is void at once. Of
// several calls at once on one session exactly one succeeds. The absolute
// lifetime stays as it was. Errors: ErrReplaced for all others, and for one that
// a logout was faster than; ErrUnavailable.
func (m *Manager) Rotate(ctx context.Context) (*Session, string, error) {
	old, ok := m.FromContext(ctx)
	if !ok {
		return nil, "", ErrNone
	}
	token := newToken()
	next := *old
	next.Handle = m.store.handle(token)
	next.seen(m.options.Now(), m.options.Idle)
	value, err := next.encode()
	if err != nil {
		return nil, "", err
	}
	moved, err := m.store.move(ctx, old.Handle, next.Handle, value, next.IdleExpiresAt)
	if err != nil {
		return nil, "", unavailable(err)
	}
	if !moved {
		return nil, "", ErrReplaced
	}
	return &next, token, nil
}

// End ends the session in ctx. It stays ended, whatever else is under way: no
// other call makes a key that is gone. Ending an ended session is no error.
// Errors: ErrUnavailable.
func (m *Manager) End(ctx context.Context) error {
	s, ok := m.FromContext(ctx)
	if !ok {
		return nil
	}
	return unavailable(m.store.end(ctx, s.Handle))
}

// EndToken ends the session of a token, as End does, under whatever token it was
// rotated to within the last minute. A token without a session is no error.
// Errors: ErrUnavailable.
func (m *Manager) EndToken(ctx context.Context, token string) error {
	return unavailable(m.store.DeleteCtx(ctx, token))
}

// Supersede ends the session of a token because the client that holds it has
// begun another. For a minute the token is ErrReplaced, so that a late answer to
// it does not take the new session's cookie away. Errors: ErrUnavailable.
func (m *Manager) Supersede(ctx context.Context, token string) error {
	return unavailable(m.store.supersede(ctx, token))
}

// unavailable makes what package redisconn says the error of this package, and
// leaves others as they are.
func unavailable(err error) error {
	if errors.Is(err, redisconn.ErrUnavailable) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}
