package auth

import (
	"context"
	"errors"

	"latchkey/internal/user"
)

// Candidate is who the caller of a login claims to be. There need not be such an
// account.
type Candidate struct{ account user.User }

// UserID is "" where there is no such account.
func (c Candidate) UserID() string { return c.account.ID }

// Candidate looks up who a login is about. Errors: ErrBusy, so that a login that would
// not be hashed costs the stores nothing; user.ErrUnavailable.
func (s *Service) Candidate(ctx context.Context, email user.Email) (Candidate, error) {
	if s.pool.busy() {
		return Candidate{}, ErrBusy
	}
	u, err := s.users.ByEmail(ctx, email)
	if errors.Is(err, user.ErrUnreadable) {
		s.log.ErrorContext(ctx, "an account cannot log in", "error", err)
	}
	if errors.Is(err, user.ErrNotFound) || errors.Is(err, user.ErrUnreadable) {
		return Candidate{}, nil
	}
	return Candidate{u}, err
}

// Login proves that the caller knows the password of a candidate. It changes
// nothing but the hash, where a better one is due: call RecordLogin before the
// session begins. Errors: ErrBadCredentials, ErrBusy, user.ErrUnavailable.
func (s *Service) Login(ctx context.Context, candidate Candidate, password string) (user.User, error) {
	u := candidate.account
	if u.ID == "" {
		// The same work as for an account that exists, or the time would tell.
		if err := s.hasher.burn(ctx, password, s.hasher.cost); err != nil {
			return user.User{}, err
		}
		return user.User{}, ErrBadCredentials
	}
	ok, outdated, err := s.verify(ctx, u, password)
	if err != nil {
		return user.User{}, err
	}
	if !ok || !u.Active {
		return user.User{}, ErrBadCredentials
	}
	if !outdated {
		return u, nil
	}
	better, err := s.hasher.hash(ctx, password)
	if errors.Is(err, ErrBusy) {
		return u, nil // the next login will do
	}
	if err != nil {
		return user.User{}, err
	}
	err = s.users.ReplaceHash(ctx, u.ID, u.PasswordHash, better)
	if errors.Is(err, user.ErrNotFound) {
		// Another login made it better already, or the password is another now: ask
		// again. It cannot be outdated a third time.
		if candidate, err = s.Candidate(ctx, u.Email); err != nil {
			return user.User{}, err
		}
		return s.Login(ctx, candidate, password)
	}
	u.PasswordHash = better
	return u, err
}

// verify tells whether password is that of u, and whether its hash should be made
// again. A hash that nobody can verify fits no password. Errors: ErrBusy, or that of
// ctx.
func (s *Service) verify(ctx context.Context, u user.User, password string) (ok, outdated bool, err error) {
	ok, outdated, err = s.hasher.verify(ctx, u.PasswordHash, password)
	if errors.Is(err, errUnusable) && u.PasswordHash == "" {
		err = nil // who logs in with an account elsewhere only
	}
	if errors.Is(err, errUnusable) {
		s.log.WarnContext(ctx, "stored password hash cannot be used", "userId", u.ID, "error", err)
		err = nil
	}
	return ok, outdated, err
}

// RecordLogin notes a login. An account that was disabled or deleted or got another
// password since Login returned u is ErrBadCredentials. Who does one of these ends
// the sessions afterwards: either it is noticed here, or the session that begins next
// finds that its epoch is over. Errors: also user.ErrUnavailable.
func (s *Service) RecordLogin(ctx context.Context, u user.User) (user.User, error) {
	recorded, err := s.users.RecordLogin(ctx, u.ID, u.PasswordHash)
	if errors.Is(err, user.ErrNotFound) {
		return user.User{}, ErrBadCredentials
	}
	return recorded, err
}
