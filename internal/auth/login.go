package auth

import (
	"context"
	"errors"

	"latchkey/internal/hashpool"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// MethodPassword is the method of a session that began with a password. Other sessions have
// the name of the provider as their method.
const MethodPassword = "password"

// Credentials are what a user enters to log in.
type Credentials struct {
	Email    user.Email
	Password string
	// Persistent keeps the cookie when the browser is closed ("remember me").
	Persistent bool
}

// SignIn signs a user in with a password. Together with ErrBadCredentials it returns the ID
// of the account with this email, if there is one. Errors: ErrBadCredentials, ErrBusy,
// user.ErrUnavailable, session.ErrUnavailable.
func (s *Service) SignIn(ctx context.Context, in Credentials, client Client) (SignedIn, error) {
	lane := hashpool.Anyone
	if client.KnownDevice {
		lane = hashpool.Owners
	}

	// If the password would not be hashed anyway, do not query the stores.
	if s.hasher.Busy(lane) {
		return SignedIn{}, ErrBusy
	}

	found, err := s.users.ByEmail(ctx, in.Email)
	account, err := s.orNobody(ctx, found, err)
	if err != nil {
		return SignedIn{}, err
	}

	signedIn, err := s.signIn(ctx, client, attempt{
		userID: account.ID,
		start:  session.Start{Method: MethodPassword, Persistent: in.Persistent},
		prove:  func() (user.User, error) { return s.provePassword(ctx, lane, account, in.Password) },
		record: func(u user.User) (user.User, error) {
			// The hash may have been upgraded by now, but the account must still have the
			// email that the user entered.
			u.Email = account.Email

			return s.users.RecordLogin(ctx, u)
		},
	})
	if err != nil {
		return SignedIn{User: user.User{ID: account.ID}}, err
	}

	return signedIn, nil
}

// orNobody returns the zero User instead of an error if the account does not exist or
// cannot be decoded.
func (s *Service) orNobody(ctx context.Context, u user.User, err error) (user.User, error) {
	switch {
	case errors.Is(err, user.ErrUnreadable):
		s.log.ErrorContext(ctx, "account is unreadable and cannot log in", "error", err)

		return user.User{}, nil
	case errors.Is(err, user.ErrNotFound):
		return user.User{}, nil
	}

	return u, err
}

// provePassword checks the password of u and returns u. If the hash is outdated, it is
// replaced by one with the current cost.
// Errors: ErrBadCredentials, ErrBusy, user.ErrUnavailable.
func (s *Service) provePassword(ctx context.Context, lane hashpool.Lane, u user.User, password string) (user.User, error) {
	if u.ID == "" {
		// Do the same work as for an account that exists: otherwise the response time reveals
		// which emails have an account.
		if err := s.hasher.DummyCompare(ctx, lane, password); err != nil {
			return user.User{}, err
		}

		return user.User{}, ErrBadCredentials
	}

	ok, outdated, err := s.verify(ctx, lane, u, password)
	if err != nil {
		return user.User{}, err
	}
	if !ok || !u.Active {
		return user.User{}, ErrBadCredentials
	}
	if !outdated {
		return u, nil
	}

	better, err := s.hasher.Hash(ctx, hashpool.Owners, password)
	if errors.Is(err, ErrBusy) {
		return u, nil // the next login will replace the hash
	}
	if err != nil {
		return user.User{}, err
	}

	err = s.users.ReplaceHash(ctx, u.ID, u.PasswordHash, better)
	if errors.Is(err, user.ErrNotFound) {
		// Another login has replaced the hash, or the password was changed. Check the current
		// hash; it has the current cost, so this happens only once.
		found, err := s.users.ByID(ctx, u.ID)
		current, err := s.orNobody(ctx, found, err)
		if err != nil {
			return user.User{}, err
		}

		return s.provePassword(ctx, lane, current, password)
	}

	u.PasswordHash = better

	return u, err
}

// verify reports whether password is the password of u, and whether the stored hash is
// outdated. An unusable hash matches no password. Errors: ErrBusy and the errors of ctx.
func (s *Service) verify(ctx context.Context, lane hashpool.Lane, u user.User, password string) (ok, outdated bool, err error) {
	ok, outdated, err = s.hasher.Verify(ctx, lane, u.PasswordHash, password)
	if errors.Is(err, hashpool.ErrUnusable) && u.PasswordHash == "" {
		err = nil // an account without a password: the user signs in with a provider
	}
	if errors.Is(err, hashpool.ErrUnusable) {
		s.log.WarnContext(ctx, "stored password hash is unusable", "userId", u.ID, "error", err)
		err = nil
	}

	return ok, outdated, err
}
