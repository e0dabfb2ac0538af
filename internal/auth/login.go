package auth

import (
	"context"
	"errors"

	"latchkey/internal/user"
)

// Login proves that the caller knows the password of the account of email. It
// changes nothing but the hash, where a better one is due: begin the session,
// then call RecordLogin. Errors: ErrBadCredentials, user.ErrUnavailable.
func (s *Service) Login(ctx context.Context, email user.Email, password string) (user.User, error) {
	u, err := s.users.ByEmail(ctx, email)
	if errors.Is(err, user.ErrUnreadable) {
		s.log.ErrorContext(ctx, "an account cannot log in", "error", err)
	}
	if errors.Is(err, user.ErrNotFound) || errors.Is(err, user.ErrUnreadable) {
		// The same work as for an account that exists, or the time would tell.
		s.hasher.burn(password, s.hasher.cost)
		return user.User{}, ErrBadCredentials
	}
	if err != nil {
		return user.User{}, err
	}
	ok, outdated, err := s.hasher.verify(u.PasswordHash, password)
	if err != nil {
		s.log.WarnContext(ctx, "stored password hash cannot be used", "userId", u.ID, "error", err)
	}
	if !ok || !u.Active {
		return user.User{}, ErrBadCredentials
	}
	if outdated {
		better, err := s.hasher.hash(password)
		if err != nil {
			return user.User{}, err
		}
		if err := s.users.ReplaceHash(ctx, u.ID, u.PasswordHash, better); err != nil {
			return user.User{}, err
		}
	}
	return u, nil
}

// RecordLogin notes a login after its session has begun, and is the last word on
// it: an account that was disabled or deleted since Login looked is
// ErrBadCredentials, and its session must end. Asked in this order, a login
// cannot slip past someone who disables the account and ends its sessions.
// Errors: also user.ErrUnavailable.
func (s *Service) RecordLogin(ctx context.Context, id string) (user.User, error) {
	u, err := s.users.RecordLogin(ctx, id)
	if errors.Is(err, user.ErrNotFound) {
		return user.User{}, ErrBadCredentials
	}
	return u, err
}
