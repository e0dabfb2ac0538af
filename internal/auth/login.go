package auth

import (
	"context"
	"errors"

	"latchkey/internal/hashpool"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// Credentials are what a user enters to log in.
type Credentials struct {
	Email user.Email
	// Account is the result of Service.Account for this email, or nil if that was not called.
	Account  *user.User
	Password string
	// Persistent keeps the cookie when the browser is closed ("remember me").
	Persistent bool
}

// Account returns the account to which a user with the given email logs in, or the zero User if there
// is none. Errors: user.ErrUnavailable.
func (s *Service) Account(ctx context.Context, email user.Email) (user.User, error) {
	found, err := s.users.ByEmail(ctx, email)

	return s.orNobody(ctx, found, err)
}

// SignIn signs a user in with a password, or begins a login that waits for a second factor. Together with ErrBadCredentials it returns the ID
// of the account with this email, if there is one. It also returns ErrBadCredentials for the correct
// password of an account whose password is restricted: see MaxFailures. Errors: ErrBadCredentials,
// possibly joined with ErrTooManyFailures; ErrBusy, user.ErrUnavailable, session.ErrUnavailable.
func (s *Service) SignIn(ctx context.Context, in Credentials, client Client) (SignedIn, error) {
	// If the password would not be hashed anyway, do not query the stores.
	if s.hasher.Busy(client.lane()) {
		return SignedIn{}, ErrBusy
	}

	var account user.User
	if in.Account != nil {
		account = *in.Account
	} else {
		var err error
		if account, err = s.Account(ctx, in.Email); err != nil {
			return SignedIn{}, err
		}
	}

	signedIn, err := s.signIn(ctx, client, attempt{
		userID:     account.ID,
		first:      session.Method{Method: session.Password},
		persistent: in.Persistent,
		prove:      func() (user.User, error) { return s.provePassword(ctx, account, in.Password, client) },
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
// replaced by one with the current cost. Errors: ErrBadCredentials, possibly joined with
// ErrTooManyFailures; ErrBusy, user.ErrUnavailable, redisconn.ErrUnavailable.
func (s *Service) provePassword(ctx context.Context, u user.User, password string, client Client) (user.User, error) {
	ok, outdated, err := s.tryPassword(ctx, u, password, client)
	if err != nil {
		return user.User{}, err
	}
	if !ok {
		return user.User{}, s.countFailure(ctx, u, client.Client, ErrBadCredentials)
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

		return s.provePassword(ctx, current, password, client)
	}

	u.PasswordHash = better

	return u, err
}

// tryPassword is like verify, except that it reports false if the password may not be checked. That
// takes the same amount of work: otherwise the response time would reveal which emails have an
// account, or whether a password that must not be accepted is correct.
func (s *Service) tryPassword(
	ctx context.Context, u user.User, password string, client Client,
) (ok, outdated bool, err error) {
	mayTry, err := s.mayTry(ctx, u, client.Client, client.Proofs)
	if err != nil {
		return false, false, err
	}
	if !mayTry {
		return false, false, s.hasher.DummyCompare(ctx, client.lane(), password)
	}

	return s.verify(ctx, client.lane(), u, password)
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
