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
//
// It does not come back to a handle that it had as long as that has a trace, which
// outlives every request that was under way, not even where servers disagree on which
// secret is the first: so whoever takes a handle out of the index late takes no session
// out that lives.
// Errors: an EndedError, ErrReplaced or ErrNone where it has ended meanwhile, and those
// of the store.
func (m *Manager) move(ctx context.Context, s *Session, token string) (*Session, error) {
	if s.movedFrom != "" {
		return m.settle(ctx, s, token)
	}
	next := *s
	next.Handle, next.movedFrom = m.store.handle(token), s.Handle
	t, err := m.store.trace(ctx, next.Handle)
	if err != nil || t != nil {
		return s, err
	}
	if next.raw, err = next.encode(); err != nil {
		return nil, err
	}
	if err := m.store.relist(ctx, next.UserID, next.Handle, next.IdleExpiresAt); err != nil {
		return nil, err
	}
	err = m.store.create(ctx, next.Handle, next.raw, next.IdleExpiresAt, next.movedFrom)
	if errors.Is(err, errNotCreated) {
		return m.overtaken(ctx, &next, token)
	}
	if err != nil {
		return nil, err
	}
	return m.settle(ctx, &next, token)
}

// settle ends the session under the handle that it moves from, and then says so under
// the other one.
func (m *Manager) settle(ctx context.Context, s *Session, token string) (*Session, error) {
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
		return m.overtaken(ctx, s, token)
	}
	return &settled, nil
}

// overtaken returns the session of a token that another request has moved, used or ended
// while this one was moving it to the handle of s.
func (m *Manager) overtaken(ctx context.Context, s *Session, token string) (*Session, error) {
	if err := m.prune(ctx, s.UserID, s.Handle); err != nil {
		return nil, err
	}
	return m.find(ctx, token)
}

// find returns the live session of a token, under whatever handle it stands by now.
// Errors: as for move.
func (m *Manager) find(ctx context.Context, token string) (*Session, error) {
	found, ok, err := m.store.FindCtx(ctx, token)
	if err == nil && !ok {
		err = ErrNone
	}
	var s *Session
	if err == nil {
		s, err = decode(string(found[:handleLen]), found[handleLen:])
	}
	switch {
	case errors.Is(err, errUndecodable):
		return nil, ErrNone
	case err != nil:
		return nil, err
	case s.movedFrom != "":
		return m.settle(ctx, s, token)
	}
	return s, nil
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
