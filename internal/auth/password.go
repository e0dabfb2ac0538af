package auth

import (
	"context"
	"errors"

	"latchkey/internal/hashpool"
	"latchkey/internal/mail"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// ChangePassword replaces the password of a user who knows the current one. It voids the
// account's one-time tokens, ends its other sessions, notifies the owner, and gives the
// caller's session a new token. Errors: those of CheckPassword, a WeakPasswordError, the errors of
// package session.
func (s *Service) ChangePassword(ctx context.Context, caller Caller, current, next string) (Changed, error) {
	u, err := s.CheckPassword(ctx, caller, current)
	if err != nil {
		return Changed{}, err
	}
	if current == next {
		return Changed{}, &WeakPasswordError{Why: Unchanged}
	}

	hash, err := s.newHash(ctx, hashpool.Owners, u, next)
	if err != nil {
		return Changed{}, err
	}

	for {
		before := u.PasswordHash
		changed, err := s.replacePassword(ctx, caller, func() (user.User, error) {
			return s.users.ChangePassword(ctx, u.ID, before, hash)
		})
		if !errors.Is(err, user.ErrNotFound) {
			return changed, err
		}

		// The stored hash has changed: a login has upgraded the hash of the same password, or
		// another request has changed the password. Check it again.
		if u, err = s.CheckPassword(ctx, caller, current); err != nil {
			return Changed{}, err
		}
		if u.PasswordHash == before {
			return Changed{}, user.ErrNotFound
		}
	}
}

// AddPassword sets the first password of an account that has none, with the same effects as
// ChangePassword. Errors: ErrHasPassword, a WeakPasswordError, ErrBusy, user.ErrNotFound,
// user.ErrUnavailable, the errors of package session.
func (s *Service) AddPassword(ctx context.Context, caller Caller, password string) (Changed, error) {
	u, err := s.users.ByID(ctx, caller.UserID)
	if err != nil {
		return Changed{}, err
	}
	if u.PasswordHash != "" {
		return Changed{}, ErrHasPassword
	}

	hash, err := s.newHash(ctx, hashpool.Owners, u, password)
	if err != nil {
		return Changed{}, err
	}

	return s.replacePassword(ctx, caller, func() (user.User, error) {
		return s.users.AddPassword(ctx, u, hash)
	})
}

// replacePassword stores a new password for a signed-in user by calling apply.
func (s *Service) replacePassword(ctx context.Context, caller Caller, apply func() (user.User, error)) (Changed, error) {
	changed, err := s.withSessionsEnded(ctx, caller, change{
		why:   session.PasswordChanged,
		keep:  caller.SessionID,
		apply: apply,
		notify: func(u user.User) {
			s.notify(ctx, mail.Job{Kind: mail.PasswordChanged}, u, caller.Client)
		},
	})
	if err != nil {
		return changed, err
	}

	return s.renew(ctx, changed, session.PasswordChanged, func(ctx context.Context) (*session.Session, string, error) {
		return s.sessions.Reauthenticate(ctx, session.Password)
	})
}

// SetPassword sets the password of an account on behalf of an operator, ends its sessions
// and notifies the owner. Errors: a WeakPasswordError, ErrBusy, user.ErrNotFound,
// user.ErrUnavailable, session.ErrUnavailable.
func (s *Service) SetPassword(ctx context.Context, caller Caller, password string) (Changed, error) {
	u, err := s.users.ByID(ctx, caller.UserID)
	if err != nil {
		return Changed{}, err
	}

	hash, err := s.newHash(ctx, hashpool.Owners, u, password)
	if err != nil {
		return Changed{}, err
	}

	return s.withSessionsEnded(ctx, caller, change{
		why:    session.PasswordChanged,
		urgent: true,
		apply: func() (user.User, error) {
			return s.users.SetPassword(ctx, u.ID, hash)
		},
		notify: func(u user.User) {
			s.notify(ctx, mail.Job{Kind: mail.PasswordChanged}, u, caller.Client)
		},
	})
}

// newHash checks a new password against the rules and returns its hash. Errors:
// a WeakPasswordError, ErrBusy.
func (s *Service) newHash(ctx context.Context, lane hashpool.Lane, u user.User, password string) (string, error) {
	if err := s.options.Rules.Check(ctx, password, u.Name, string(u.Email)); err != nil {
		return "", err
	}

	return s.hasher.Hash(ctx, lane, password)
}

// CheckPassword checks the password of the caller's account and returns the account. Errors:
// ErrWrongPassword, possibly joined with ErrTooManyFailures; ErrPasswordRestricted, ErrNoPassword,
// ErrBusy, user.ErrUnavailable, redisconn.ErrUnavailable, and user.ErrNotFound if the account was
// deleted or disabled.
func (s *Service) CheckPassword(ctx context.Context, caller Caller, password string) (user.User, error) {
	u, err := s.users.ByID(ctx, caller.UserID)
	if err != nil {
		return user.User{}, err
	}
	if !u.Active {
		return user.User{}, user.ErrNotFound
	}

	if u.PasswordHash == "" {
		return user.User{}, ErrNoPassword
	}

	mayTry, err := s.mayTry(ctx, u, caller.Client, caller.Proofs)
	if err != nil {
		return user.User{}, err
	}
	if !mayTry {
		return user.User{}, ErrPasswordRestricted
	}

	ok, _, err := s.verify(ctx, hashpool.Owners, u, password)
	if err != nil {
		return user.User{}, err
	}
	if !ok {
		return user.User{}, s.countFailure(ctx, u, caller.Client, ErrWrongPassword)
	}

	return u, nil
}
