package auth

import (
	"context"
	"errors"

	"latchkey/internal/mail"
	"latchkey/internal/user"
)

// EndSessions ends the sessions of an account that must not outlive a change of it.
// It is called before the change, so that nothing is changed while the sessions cannot
// be ended, and after it, for those that began in between.
type EndSessions func(ctx context.Context, userID string) error

// around makes a change of an account between two ends of its sessions, and tells of
// it. Where it is unknown whether the change was made, the sessions are ended as if it
// were. With an error of the second end the change is made, and returned.
func (s *Service) around(ctx context.Context, userID string, end EndSessions, change func() (user.User, error), tell func(user.User)) (user.User, error) {
	if err := end(ctx, userID); err != nil {
		return user.User{}, err
	}
	u, err := change()
	if err != nil && !errors.Is(err, user.ErrUnavailable) {
		return user.User{}, err
	}
	ended := end(ctx, userID)
	s.CancelEmailChange(ctx, userID) // which one of them may just have asked for
	if ended != nil {
		s.log.ErrorContext(ctx, "an account was changed, and sessions that began at that moment may live on", "userId", userID, "error", ended)
	}
	if err != nil {
		return user.User{}, err
	}
	tell(u)
	return u, ended
}

// ChangePassword proves the current password and puts another in its place. All
// one-time tokens of the account are void then, and its owner is told. With an error of
// end after the change, the account is returned as well. Errors: ErrWrongPassword,
// ErrNoPassword, a WeakPasswordError, ErrBusy, user.ErrNotFound, user.ErrUnavailable, those of end.
func (s *Service) ChangePassword(ctx context.Context, userID, current, next string, from Origin, end EndSessions) (user.User, error) {
	u, err := s.Prove(ctx, userID, current)
	if err != nil {
		return user.User{}, err
	}
	if current == next {
		return user.User{}, &WeakPasswordError{Unchanged}
	}
	hash, err := s.newHash(ctx, u, next)
	if err != nil {
		return user.User{}, err
	}
	tell := func(u user.User) { s.tell(ctx, mail.PasswordChanged, u, from) }
	for {
		changed, err := s.around(ctx, userID, end, func() (user.User, error) {
			return s.users.ChangePassword(ctx, userID, u.PasswordHash, hash)
		}, tell)
		if !errors.Is(err, user.ErrNotFound) {
			return changed, err
		}
		// A login has made a better hash of the same password, or it is another now.
		before := u.PasswordHash
		if u, err = s.Prove(ctx, userID, current); err != nil {
			return user.User{}, err
		}
		if u.PasswordHash == before {
			return user.User{}, user.ErrNotFound
		}
	}
}

// AddPassword gives an account that has none its first one. Its owner is told. With an
// error of end after the change, the account is returned as well. Errors:
// ErrHasPassword, a WeakPasswordError, ErrBusy, user.ErrNotFound, user.ErrUnavailable,
// those of end.
func (s *Service) AddPassword(ctx context.Context, userID, password string, from Origin, end EndSessions) (user.User, error) {
	u, err := s.users.ByID(ctx, userID)
	if err != nil {
		return user.User{}, err
	}
	if u.PasswordHash != "" {
		return user.User{}, ErrHasPassword
	}
	hash, err := s.newHash(ctx, u, password)
	if err != nil {
		return user.User{}, err
	}
	return s.around(ctx, userID, end, func() (user.User, error) {
		return s.users.AddPassword(ctx, u, hash)
	}, func(u user.User) { s.tell(ctx, mail.PasswordChanged, u, from) })
}

// newHash makes the hash of a new password of an account, if the rules allow it. Errors:
// a WeakPasswordError, ErrBusy.
func (s *Service) newHash(ctx context.Context, u user.User, password string) (string, error) {
	if err := s.options.Rules.Check(ctx, password, u.Name, string(u.Email)); err != nil {
		return "", err
	}
	return s.hasher.hash(ctx, password)
}

// SetPassword gives an account another password, for an operator, and tells its owner.
// The sessions that it has must be ended. Errors: a WeakPasswordError, ErrBusy, user.ErrNotFound,
// user.ErrUnavailable.
func (s *Service) SetPassword(ctx context.Context, id, password string) (user.User, error) {
	u, err := s.users.ByID(ctx, id)
	if err != nil {
		return user.User{}, err
	}
	hash, err := s.newHash(ctx, u, password)
	if err != nil {
		return user.User{}, err
	}
	if u, err = s.users.SetPassword(ctx, id, hash); err != nil {
		return user.User{}, err
	}
	s.tell(ctx, mail.PasswordChanged, u, Origin{})
	return u, nil
}
