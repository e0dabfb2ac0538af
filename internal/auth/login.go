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
	if !outdated {
		return u, nil
	}
	better, err := s.hasher.hash(password)
	if err != nil {
		return user.User{}, err
	}
	err = s.users.ReplaceHash(ctx, u.ID, u.PasswordHash, better)
	if errors.Is(err, user.ErrNotFound) {
		// Another login made it better already, or the password is another now: ask
		// again. It cannot be outdated a third time.
		return s.Login(ctx, email, password)
	}
	u.PasswordHash = better
	return u, err
}

// RecordLogin notes a login after its session has begun, and is the last word on
// it: an account that was disabled or deleted or got another password since Login
// returned u is ErrBadCredentials, and its session must end. Asked in this order, a
// login cannot slip past someone who disables the account and ends its sessions.
// Errors: also user.ErrUnavailable.
func (s *Service) RecordLogin(ctx context.Context, u user.User) (user.User, error) {
	recorded, err := s.users.RecordLogin(ctx, u.ID, u.PasswordHash)
	if errors.Is(err, user.ErrNotFound) {
		return user.User{}, ErrBadCredentials
	}
	return recorded, err
}
