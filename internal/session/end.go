package session

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// ErrNotFound says that the user has no such session.
var ErrNotFound = errors.New("no such session")

// End ends the session in ctx for a reason. It stays ended, whatever else is
// under way: no other call makes a key that is gone. Ending an ended session is
// no error. Errors: ErrUnavailable.
func (m *Manager) End(ctx context.Context, why Reason) error {
	s, ok := m.FromContext(ctx)
	if !ok {
		return nil
	}
	_, err := m.endAndDelist(ctx, s.Handle, why)
	return unavailable(err)
}

// EndToken ends the session of a token, as End does, under whatever token it was
// rotated to within the last minute. It returns the session, or nil
// where there was none, which is no error. Errors: ErrUnavailable.
func (m *Manager) EndToken(ctx context.Context, token string, why Reason) (*Session, error) {
	ended, err := m.store.endToken(ctx, token, why)
	if err == nil && ended != nil {
		err = m.store.delist(ctx, ended.UserID, ended.Handle)
	}
	return ended, unavailable(err)
}

// Supersede ends the session of a token because the client that holds it has
// begun another. For a minute the token is ErrReplaced, so that a late answer to
// it does not take the new session's cookie away. Errors: ErrUnavailable.
func (m *Manager) Supersede(ctx context.Context, token string) error {
	_, err := m.EndToken(ctx, token, replaced)
	return err
}

// Revoke ends one session of a user by its handle, or under the one that it was
// rotated to within the last minute. Errors: ErrNotFound for one that is not live
// or another user's; ErrUnavailable.
func (m *Manager) Revoke(ctx context.Context, userID, handle string, why Reason) error {
	s, err := m.byHandle(ctx, handle)
	for range maxSuccessors {
		if s != nil || err != nil || !WellFormed(handle) {
			break
		}
		var t *trace
		if t, err = m.store.trace(ctx, handle); err != nil || t == nil || t.Successor == "" {
			break
		}
		handle = t.Successor
		s, err = m.byHandle(ctx, handle)
	}
	if err != nil {
		return unavailable(err)
	}
	if s == nil || s.UserID != userID {
		return ErrNotFound
	}
	if s.movedFrom != "" {
		// First where it is about to move from, which is the judge: if the rest fails, the
		// session has ended all the same.
		if _, _, err := m.store.endOne(ctx, s.movedFrom, why, false, nil); err != nil {
			return unavailable(err)
		}
	}
	ended, err := m.endAndDelist(ctx, handle, why)
	if err == nil && ended == nil {
		err = ErrNotFound
	}
	return unavailable(err)
}

// heirTime is more than passes between the making of a session and the claim with which
// it takes the place of another, whatever the clocks of two servers differ by. One that is
// older and has not will not any more.
const heirTime = time.Minute

// RevokeAll ends the sessions of a user, all but the one of the token keep (""
// keeps none), and returns how many it were. Logins that are under way begin
// none. Errors: ErrUnavailable; then some may have ended.
func (m *Manager) RevokeAll(ctx context.Context, userID, keep string, why Reason) (int, error) {
	handles, err := m.store.bar(ctx, userID)
	if err != nil {
		return 0, unavailable(err)
	}
	// What is kept may have moved, or been rotated, since the request was let in.
	var kept []string
	if WellFormed(keep) {
		kept = m.store.handles(keep)
	}
	for i := 0; i < len(kept) && i < maxSuccessors; i++ {
		t, err := m.store.trace(ctx, kept[i])
		if err != nil {
			return 0, unavailable(err)
		}
		if t != nil && t.Successor != "" && !slices.Contains(kept, t.Successor) {
			kept = append(kept, t.Successor)
		}
	}
	handles = slices.DeleteFunc(handles, func(handle string) bool { return slices.Contains(kept, handle) })
	ended, spared := make([]*Session, len(handles)), make([]bool, len(handles))
	err = sideBySide(handles, func(i int, handle string) error {
		s, err := m.store.end(ctx, handle, why, true, kept...)
		if errors.Is(err, errSpared) {
			spared[i] = s.movedFrom != "" || m.options.Now().Sub(s.LastSeenAt) < heirTime
			if spared[i] {
				return nil
			}
			s, err = m.store.end(ctx, handle, why, true)
		}
		ended[i] = s
		return err
	})
	n, gone := 0, make([]string, 0, len(handles))
	for i, s := range ended {
		if !spared[i] {
			gone = append(gone, handles[i])
		}
		if s == nil {
			continue
		}
		n++
		if s.Handle != handles[i] {
			gone = append(gone, s.Handle)
		}
	}
	if err == nil {
		err = m.store.delist(ctx, userID, gone...)
	}
	return n, unavailable(err)
}

// maxSideBySide is how many commands are under way at once for one call, below the
// number of connections.
const maxSideBySide = 32

// sideBySide calls f for each handle, some at a time, and returns the first error.
func sideBySide(handles []string, f func(i int, handle string) error) error {
	var g errgroup.Group
	g.SetLimit(maxSideBySide)
	for i, handle := range handles {
		g.Go(func() error { return f(i, handle) })
	}
	return g.Wait()
}

// List returns the live sessions of a user, the one last used first. Errors:
// ErrUnavailable.
func (m *Manager) List(ctx context.Context, userID string) ([]*Session, error) {
	handles, err := m.store.listed(ctx, userID)
	if err != nil {
		return nil, unavailable(err)
	}
	live := make([]*Session, len(handles))
	err = sideBySide(handles, func(i int, handle string) (err error) {
		if live[i], err = m.byHandle(ctx, handle); live[i] == nil && err == nil {
			err = m.prune(ctx, userID, handle)
		}
		return err
	})
	if err != nil {
		return nil, unavailable(err)
	}
	return slices.DeleteFunc(live, func(s *Session) bool { return s == nil || s.UserID != userID }), nil
}

// prune takes a handle that was not live out of the index, if it has ended. One
// without a trace is about to begin; one that has a trace and is live now has begun
// since.
func (m *Manager) prune(ctx context.Context, userID, handle string) error {
	t, err := m.store.trace(ctx, handle)
	if t == nil || err != nil {
		return err
	}
	s, err := m.byHandle(ctx, handle)
	if s != nil || err != nil {
		return err
	}
	return m.store.delist(ctx, userID, handle)
}

// byHandle reads a live session; nil is none.
func (m *Manager) byHandle(ctx context.Context, handle string) (*Session, error) {
	if !WellFormed(handle) { // a handle has the form of a token
		return nil, nil
	}
	var s *Session
	value, err := m.store.value(ctx, handle)
	if value != nil {
		s, err = decode(handle, value)
	}
	if errors.Is(err, errUndecodable) {
		return nil, nil
	}
	if s == nil || err != nil {
		return nil, err
	}
	if _, expired := s.expired(m.options.Now()); expired {
		return nil, nil
	}
	return s, nil
}

// endAndDelist ends a session, see store.end, and takes it out of the index.
func (m *Manager) endAndDelist(ctx context.Context, handle string, why Reason) (*Session, error) {
	ended, err := m.store.end(ctx, handle, why, false)
	if err != nil || ended == nil {
		return nil, err
	}
	return ended, m.store.delist(ctx, ended.UserID, ended.Handle, handle)
}
