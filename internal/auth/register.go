package auth

import (
	"context"
	"errors"

	"latchkey/internal/hashpool"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// Registration is what a user enters to register.
type Registration struct {
	Name     string
	Email    user.Email
	Password string
	// Invitation is the token of an invitation, or "".
	Invitation string
}

// Register creates an account, signs its user in and emails a link to verify the email
// address. With an invitation, the email is verified already. If the session cannot begin, the account is
// removed again, so that the user can submit the same form once more. Errors: those of
// RegistrationPolicy, ErrInvalidToken for the token of an invitation, a WeakPasswordError, ErrBusy,
// user.ErrEmailTaken, user.ErrUnavailable, ErrBadCredentials, session.ErrUnavailable.
func (s *Service) Register(ctx context.Context, in Registration, client Client) (SignedIn, error) {
	// Check this first: a request that must fail should cost no password hash.
	if err := s.mayRegister(ctx, in); err != nil {
		return SignedIn{}, err
	}

	// Choose the ID before the account exists: on a Redis Cluster, the key of the session
	// generation contains it.
	id := user.NewID()

	signedIn, err := s.signIn(ctx, client, attempt{
		userID:     id,
		first:      session.Method{Method: session.Password},
		persistent: true,
		prove:      func() (user.User, error) { return s.newUser(ctx, id, in, client.Locale) },
		record:     func(u user.User) (user.User, error) { return s.createRegistered(ctx, u, in.Invitation) },
	})
	if err != nil {
		if signedIn.User.ID == "" {
			return SignedIn{}, err
		}

		s.rollBack(ctx, signedIn.User)

		return SignedIn{}, err
	}

	if in.Invitation != "" {
		s.removeInvitation(ctx, signedIn.User)

		return signedIn, nil
	}

	s.requestFirstVerification(ctx, signedIn.User, client.Client)

	return signedIn, nil
}

// rollBack removes a new account whose user could not be signed in.
func (s *Service) rollBack(ctx context.Context, u user.User) {
	if err := s.users.Delete(ctx, u.ID); err != nil {
		s.log.ErrorContext(ctx, "could not roll back a new account", "userId", u.ID, "error", err)

		return
	}

	if u.EmailVerified { // otherwise no invitation was used
		s.releaseInvitation(ctx, u)
	}
}

// CreateUser creates an account on behalf of an operator, without a session. Errors: a
// WeakPasswordError, ErrBusy, user.ErrEmailTaken, user.ErrUnavailable.
func (s *Service) CreateUser(ctx context.Context, in Registration) (user.User, error) {
	u, err := s.newUser(ctx, user.NewID(), in, "")
	if err != nil {
		return user.User{}, err
	}

	return s.users.Create(ctx, u)
}

// newUser returns a new account with a hashed password, without storing it. Errors: a
// WeakPasswordError, ErrBusy.
func (s *Service) newUser(ctx context.Context, id string, in Registration, locale string) (user.User, error) {
	u := user.User{ID: id, Name: in.Name, Email: in.Email, Locale: locale}

	var err error
	u.PasswordHash, err = s.newHash(ctx, hashpool.Anyone, u, in.Password)

	return u, err
}

// requestFirstVerification emails a link to verify the email address of a new account. A
// failure is only logged, because the account exists and the user can request another link.
func (s *Service) requestFirstVerification(ctx context.Context, u user.User, client session.Client) {
	if err := s.RequestVerification(ctx, u, client); err != nil && !errors.Is(err, ErrMailNotConfigured) {
		s.log.ErrorContext(ctx, "cannot queue the verification email for a new account", "userId", u.ID, "error", err)
	}
}
