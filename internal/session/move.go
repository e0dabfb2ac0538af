package session

import (
	"context"
	"errors"
)

// move gives a session that is used the handle that the first secret makes of its
// token, so that the others can be taken away some day. The token stays.
//
// As in Rotate, the session is made under its new handle first and then claimed
// under the old one, which is the one judge of whether it still lives. In between it
// stands under both, and says so: who is let in by it must claim it before anything
// else, or one that was ended under the old handle would be seen alive for a moment.
// Errors: an EndedError, ErrReplaced or ErrNone where it has ended meanwhile, and those
// of the store.
func (m *Manager) move(ctx context.Context, s *Session, to string) (*Session, error) {
	if s.movedFrom != "" {
		return m.settle(ctx, s)
	}
	next := *s
	next.Handle, next.movedFrom = to, s.Handle
	var err error
	if next.raw, err = next.encode(); err != nil {
		return nil, err
	}
	if err := m.store.relist(ctx, next.UserID, next.Handle, next.IdleExpiresAt); err != nil {
		return nil, err
	}
	err = m.store.create(ctx, next.Handle, next.raw, next.IdleExpiresAt, next.movedFrom)
	if errors.Is(err, errNotCreated) {
		return m.moved(ctx, next.Handle)
	}
	if err != nil {
		return nil, err
	}
	return m.settle(ctx, &next)
}

// moved returns the session that another request has moved to a handle and used
// there since.
func (m *Manager) moved(ctx context.Context, handle string) (*Session, error) {
	s, err := m.byHandle(ctx, handle)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, m.verdict(ctx, handle)
	}
	if s.movedFrom != "" {
		return m.settle(ctx, s)
	}
	return s, nil
}

// settle ends the session under the handle that it moves from, and then says so under
// the other one.
func (m *Manager) settle(ctx context.Context, s *Session) (*Session, error) {
	var ended *EndedError
	if err := m.sameEpoch(ctx, s); errors.As(err, &ended) {
		_, failed := m.endAndDelist(ctx, s.Handle, ended.Reason)
		return nil, errors.Join(err, failed)
	} else if err != nil {
		return nil, err
	}
	lasts := s.IdleExpiresAt.Sub(m.options.Now()) + replacedTTL
	claimed, err := m.store.claim(ctx, s.movedFrom, s.Handle, lasts)
	if err != nil {
		return nil, err
	}
	if !claimed {
		return nil, m.settleEnded(ctx, s)
	}
	if err := m.store.delist(ctx, s.UserID, s.movedFrom); err != nil {
		return nil, err
	}
	settled := *s
	settled.movedFrom = ""
	if settled.raw, err = settled.encode(); err != nil {
		return nil, err
	}
	saved, err := m.store.touch(ctx, s, settled.raw, s.IdleExpiresAt)
	if err != nil {
		return nil, err
	}
	if !saved {
		return m.moved(ctx, s.Handle)
	}
	return &settled, nil
}

// settleEnded ends a session that was ended or rotated under the handle that it was
// about to move from. What the rotation led to lives on.
func (m *Manager) settleEnded(ctx context.Context, s *Session) error {
	verdict, why := m.verdict(ctx, s.movedFrom), Revoked
	var ended *EndedError
	switch {
	case errors.As(verdict, &ended):
		why = ended.Reason
	case errors.Is(verdict, ErrReplaced):
		why = replaced
	case !errors.Is(verdict, ErrNone):
		return verdict
	}
	if _, _, err := m.store.endOne(ctx, s.Handle, why, false, nil); err != nil {
		return err
	}
	if err := m.store.delist(ctx, s.UserID, s.Handle); err != nil {
		return err
	}
	return verdict
}

// verdict is why a handle has no live session.
func (m *Manager) verdict(ctx context.Context, handle string) error {
	t, err := m.store.trace(ctx, handle)
	if err != nil {
		return err
	}
	if t == nil {
		return ErrNone
	}
	return t.verdict(m.options.Now())
}
