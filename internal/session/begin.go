package session

import (
	"context"
	"errors"
	"slices"
	"time"

	"latchkey/internal/redisconn"
)

// SignIn is what a session begins with.
type SignIn struct {
	UserID string
	Email  string
	// Method is how the user proved who they are, for example "password", and
	// AuthenticatedAt when; zero is now.
	Method          string
	AuthenticatedAt time.Time
	// Persistent says that the cookie outlives the browser's run.
	Persistent bool
	// Epoch is that of the user when the proof began.
	Epoch Epoch
	// Replaces is the token of the session that this one takes the place of, for
	// Supersede: it does not count towards Options.MaxPerUser.
	Replaces string
	// IP and UserAgent are shown to the user in the list of sessions.
	IP        string
	UserAgent string
}

// Begin starts a session and returns it with its token, which is for the cookie
// and nothing else. Sessions of the user that are then too many end. A session
// that ctx holds is left alone. Errors: ErrUnavailable; an EndedError where all
// sessions of the user were ended since the login started.
func (m *Manager) Begin(ctx context.Context, in SignIn) (*Session, string, error) {
	now := m.options.Now().UTC().Truncate(time.Millisecond)
	s := &Session{
		UserID: in.UserID, Email: in.Email,
		CreatedAt: now, AuthenticatedAt: now, ExpiresAt: now.Add(m.options.Absolute),
		Methods: []string{in.Method}, Persistent: in.Persistent, IP: in.IP, agent: shorten(in.UserAgent),
		epoch: in.Epoch.all,
	}
	if !in.AuthenticatedAt.IsZero() && in.AuthenticatedAt.Before(now) {
		s.AuthenticatedAt = in.AuthenticatedAt.UTC().Truncate(time.Millisecond)
	}
	s.seen(now, m.options.Idle)
	token := newToken()
	s.Handle = m.store.handle(token)

	var replaces []string
	if WellFormed(in.Replaces) {
		replaces = m.store.handles(in.Replaces)
	}
	surplus, ok, err := m.store.enlist(ctx, s.UserID, s.Handle, s.IdleExpiresAt, in.Epoch, m.options.MaxPerUser, replaces)
	if err != nil {
		return nil, "", unavailable(err)
	}
	if !ok {
		return nil, "", &EndedError{Revoked}
	}
	value, err := s.encode()
	if err != nil {
		return nil, "", err
	}
	err = m.store.create(ctx, s.Handle, value, s.IdleExpiresAt, "")
	// Where it was not created it has ended before it began: it was too many for a
	// login that came in between, or all were ended. Its holder is told at the next
	// request, as if it had begun a moment earlier.
	if errors.Is(err, errNotCreated) {
		err = nil
	}
	if err == nil {
		err = m.sameEpoch(ctx, s)
	}
	for _, handle := range surplus {
		if err == nil {
			_, err = m.store.end(ctx, handle, TooManySessions, true)
		}
	}
	if err == nil {
		err = m.store.delist(ctx, s.UserID, surplus...)
	}
	if err != nil {
		m.Undo(ctx, s)
		return nil, "", unavailable(err)
	}
	return s, token, nil
}

// sameEpoch fails where the sessions of all users were ended since s, which exists
// by now, first began. Who ends them raises the barrier before looking for them, so
// that a session that is made meanwhile is either found there or stopped here.
func (m *Manager) sameEpoch(ctx context.Context, s *Session) error {
	all, err := m.store.barrier(ctx, everyone)
	if err == nil && all != "" && all != s.epoch {
		err = &EndedError{Revoked}
	}
	return err
}

// undoBudget is how long Undo may wait for Redis, whatever the request has left.
const undoBudget = 200 * time.Millisecond

// Undo takes back a session that has just begun and that nobody was told of. Where
// it cannot, that is logged: the session is of no use to anyone.
func (m *Manager) Undo(ctx context.Context, s *Session) {
	ctx = redisconn.WithBudget(ctx, undoBudget)
	err := m.store.discard(ctx, s.Handle)
	if err == nil {
		err = m.store.delist(ctx, s.UserID, s.Handle)
	}
	if err != nil {
		m.options.Log.ErrorContext(ctx, "a session stays that nobody was told of", "sessionId", s.Handle, "error", err)
	}
}

// Rotate gives the session in ctx a new token; the old one is void at once. Of
// several calls at once on one session exactly one succeeds. The absolute
// lifetime stays as it was. Errors: ErrReplaced for all others, and for one that
// a logout was faster than; an EndedError where the sessions of all users are being
// ended; ErrUnavailable.
func (m *Manager) Rotate(ctx context.Context) (*Session, string, error) {
	return m.renew(ctx, func(*Session, time.Time) {})
}

// Reauthenticate notes that the user has just proved again who they are, and gives the
// session a new token as Rotate does (OWASP ASVS 5.0 7.2.4). Errors: as for Rotate.
func (m *Manager) Reauthenticate(ctx context.Context) (*Session, string, error) {
	return m.renew(ctx, func(next *Session, now time.Time) {
		next.AuthenticatedAt = now.UTC().Truncate(time.Millisecond)
	})
}

// Readdress notes the new email address of the user, and gives the session a new token
// as Rotate does. Errors: as for Rotate.
func (m *Manager) Readdress(ctx context.Context, email string) (*Session, string, error) {
	return m.renew(ctx, func(next *Session, _ time.Time) { next.Email = email })
}

func (m *Manager) renew(ctx context.Context, change func(next *Session, now time.Time)) (*Session, string, error) {
	old, ok := m.FromContext(ctx)
	if !ok {
		return nil, "", ErrNone
	}
	for range renewals {
		next, token, err := m.renewOnce(ctx, old, change)
		if !errors.Is(err, errNotCreated) {
			return next, token, unavailable(err)
		}
		// All but this session were ended between the listing of the next one and its
		// making, or this one as well: then that is found out now.
	}
	return nil, "", ErrReplaced
}

// renewals is one more than a change of the account ends the other sessions.
const renewals = 3

// renewOnce may also return errNotCreated.
func (m *Manager) renewOnce(ctx context.Context, old *Session, change func(next *Session, now time.Time)) (*Session, string, error) {
	token, now := newToken(), m.options.Now()
	next := *old
	next.Handle = m.store.handle(token)
	next.seen(now, m.options.Idle)
	change(&next, now)
	value, err := next.encode()
	if err != nil {
		return nil, "", err
	}
	// The new one is listed and made first, while nobody knows of it. What decides is
	// the one step that ends the old one, and who ends the old one from then on is led
	// to the new one.
	if err := m.store.relist(ctx, next.UserID, next.Handle, next.IdleExpiresAt); err != nil {
		return nil, "", err
	}
	was, claimed := old.Handle, false
	if err = m.store.create(ctx, next.Handle, value, next.IdleExpiresAt, old.Handle); err == nil {
		err = m.sameEpoch(ctx, &next)
	}
	if err == nil {
		was, claimed, err = m.claim(ctx, was, next.Handle)
	}
	if err != nil || !claimed {
		m.Undo(ctx, &next)
		var ended *EndedError
		if errors.As(err, &ended) {
			if _, failed := m.endAndDelist(ctx, old.Handle, ended.Reason); failed != nil {
				err = failed
			}
		}
		if err == nil {
			err = ErrReplaced
		}
		return nil, "", err
	}
	if err := m.store.delist(ctx, next.UserID, was); err != nil {
		m.options.Log.WarnContext(ctx, "an ended session stays in the index until it is listed", "sessionId", was, "error", err)
	}
	return &next, token, nil
}

// claim ends the session in ctx, of the name was, in favour of successor, and returns its
// last name. Another server may have moved it to another secret since it was loaded.
func (m *Manager) claim(ctx context.Context, was, successor string) (string, bool, error) {
	own := m.store.handles(m.scs.Token(ctx))
	for range maxSuccessors {
		claimed, err := m.store.claim(ctx, was, successor, replacedTTL)
		if claimed || err != nil {
			return was, claimed, err
		}
		t, err := m.store.trace(ctx, was)
		if err != nil || t == nil || !slices.Contains(own, t.Successor) {
			return was, false, err
		}
		was = t.Successor
	}
	return was, false, nil
}
