package auth

import (
	"context"
	"errors"
	"slices"
	"strings"

	"latchkey/internal/mail"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

var (
	// ErrNoAccount is returned if an external account is not linked and no account has its
	// email. RegisterWithProvider creates one.
	ErrNoAccount = errors.New("no account for the external account")

	// ErrLinkRequired is returned if the email of an external account belongs to an account
	// that is not linked to it. The owner has to sign in and link the two.
	ErrLinkRequired = errors.New("email belongs to an account that is not linked")

	// ErrNoEmail is returned if an account cannot be created because the provider returned no
	// email.
	ErrNoEmail = errors.New("provider returned no email")

	// ErrDisabled is returned only after the caller has proved ownership.
	ErrDisabled = errors.New("account is disabled")
)

// Outcome is how a sign-in with a provider was matched to an account.
type Outcome string

// The outcomes of a sign-in with a provider.
const (
	Existing Outcome = ""        // the account was linked before
	Created  Outcome = "created" // a new account
	Linked   Outcome = "linked"  // an account with the same email, confirmed by its owner
	Claimed  Outcome = "claimed" // an account with the same email, which may be somebody else's
)

// signInTries is the number of times that a sign-in with a provider is tried if concurrent
// requests interfere.
const signInTries = 3

// ProviderSignIn is a sign-in of a user authenticated by an external provider.
type ProviderSignIn struct {
	Claims user.Claims
	// Persistent keeps the cookie when the browser is closed ("remember me").
	Persistent bool
}

// SignInWithProvider signs in a user authenticated by an external provider. The account is
// looked up by issuer and subject (OWASP ASVS 5.0 6.8.1, 10.5.2). If none is linked, the
// email decides:
//
//   - No account has this email: ErrNoAccount.
//   - The provider has not verified the email: ErrLinkRequired. The same if the email of the account is
//     verified and the account has a second factor, which the user has not proved.
//   - The user of the account has proved ownership of the email (user.User.OwnerConfirmed):
//     the external account is linked.
//   - Otherwise the user takes over the account. Someone else may have created it in advance
//     to share it with the owner of the email (pre-hijacking), so its password, sessions,
//     links, factors and one-time tokens are removed.
//
// Once the account was linked or taken over, errors are returned together with the account and the
// outcome. Other errors: ErrNoEmail, ErrDisabled, ErrBadCredentials, user.ErrUnavailable,
// session.ErrUnavailable.
func (s *Service) SignInWithProvider(ctx context.Context, in ProviderSignIn, client Client) (SignedIn, error) {
	return s.signInWithProvider(ctx, in, client, false)
}

// RegisterWithProvider does the same as SignInWithProvider, except that it creates an account
// instead of returning ErrNoAccount. If the session cannot begin, the account is removed again.
// Further errors: those of RegistrationPolicy.
func (s *Service) RegisterWithProvider(ctx context.Context, in ProviderSignIn, client Client) (SignedIn, error) {
	return s.signInWithProvider(ctx, in, client, true)
}

func (s *Service) signInWithProvider(ctx context.Context, in ProviderSignIn, client Client, mayCreate bool) (SignedIn, error) {
	c := in.Claims
	u, outcome, err := s.findOrCreate(ctx, c, client, mayCreate)
	if err != nil {
		return SignedIn{User: u, Outcome: outcome}, err
	}

	signedIn, err := s.signIn(ctx, client, attempt{
		userID:     u.ID,
		first:      session.Method{Method: session.Federated, Provider: c.Provider, At: c.AuthenticatedAt},
		persistent: in.Persistent,
		claims:     &c,
		// The provider has authenticated the user. The account may have changed before signIn
		// read the session generation, but RecordSignIn checks the account and the link again.
		prove:  func() (user.User, error) { return u, nil },
		record: func(u user.User) (user.User, error) { return s.users.RecordSignIn(ctx, u, c) },
	})
	if err != nil && outcome == Created {
		s.rollBack(ctx, u)

		return SignedIn{}, err
	}
	if outcome == Created && u.EmailVerified {
		s.removeInvitation(ctx, u)
	}
	if err != nil {
		return SignedIn{User: u, Outcome: outcome}, err
	}
	signedIn.Outcome = outcome

	return signedIn, nil
}

func (s *Service) findOrCreate(ctx context.Context, c user.Claims, client Client, mayCreate bool) (user.User, Outcome, error) {
	for range signInTries {
		u, err := s.users.ByIdentity(ctx, c.Issuer, c.Subject)
		outcome := Existing
		if errors.Is(err, user.ErrNotFound) {
			u, outcome, err = s.byVerifiedEmail(ctx, c, client)
		}
		if errors.Is(err, ErrNoAccount) && mayCreate {
			u, err = s.create(ctx, c, client)
			outcome = Created
		}

		switch {
		case errors.Is(err, user.ErrNotFound), errors.Is(err, user.ErrEmailTaken), errors.Is(err, user.ErrIdentityTaken):
			continue // a concurrent request has changed what was just found
		case err == nil && !u.Active:
			return user.User{}, "", ErrDisabled
		}

		return u, outcome, err
	}

	return user.User{}, "", user.ErrUnavailable
}

// byVerifiedEmail finds the account with the email of an external account, and links the two
// if both sides may be trusted.
func (s *Service) byVerifiedEmail(ctx context.Context, c user.Claims, client Client) (user.User, Outcome, error) {
	if c.Email == "" {
		return user.User{}, "", ErrNoEmail
	}

	u, err := s.users.ByEmail(ctx, c.Email)
	switch {
	case errors.Is(err, user.ErrNotFound):
		return user.User{}, "", ErrNoAccount
	case err != nil:
		return user.User{}, "", err
	case !c.EmailVerified:
		return user.User{}, "", ErrLinkRequired
	case !u.Active:
		return user.User{}, "", ErrDisabled
	case u.OwnerConfirmed && slices.Contains(u.Unlinked, c.Provider):
		return user.User{}, "", ErrLinkRequired
	case u.EmailVerified && u.HasFactor():
		// A link adds a way to log in, so it requires the second factor. Access to the mailbox must not
		// replace it (OWASP ASVS 5.0 6.4.3).
		return user.User{}, "", ErrLinkRequired
	}

	outcome := Linked
	kind := mail.IdentityLinked
	if !u.OwnerConfirmed {
		outcome = Claimed
		kind = mail.AccountClaimed
		if u, err = s.claim(ctx, u, c, client.Locale); err != nil {
			return user.User{}, "", err
		}
	}

	// Check again before confirming, because the email may have changed concurrently.
	added, err := s.connect(ctx, u.ID, c, func() error {
		now, err := s.users.ByID(ctx, u.ID)
		if err == nil && (now.Email != u.Email || !now.OwnerConfirmed || now.HasFactor()) {
			err = user.ErrNotFound
		}

		return err
	})
	if errors.Is(err, user.ErrAlreadyLinked) {
		// Another account of this provider, which had the same email, is already linked. The
		// email has a new owner, who may be a stranger.
		err = ErrLinkRequired
	}
	if added || outcome == Claimed {
		s.notifyOfProvider(ctx, kind, c, u, client.Client)
	}
	if err != nil && outcome != Claimed {
		return user.User{}, "", err
	}

	return u, outcome, err
}

// create creates an account and links the external account to it. If linking fails, the
// account is removed again.
func (s *Service) create(ctx context.Context, c user.Claims, client Client) (user.User, error) {
	u := user.User{
		ID:             user.NewID(),
		Name:           nameOf(c),
		Email:          c.Email,
		EmailVerified:  c.EmailVerified,
		OwnerConfirmed: c.EmailVerified,
		Picture:        c.Picture,
		Locale:         client.Locale,
	}

	refused := s.options.Registration.check(c.Email)
	if refused != nil {
		if err := s.takeInvitationOf(ctx, u, refused); err != nil {
			return user.User{}, err
		}
	}

	created, err := s.users.Create(ctx, u)
	if err != nil {
		if refused != nil {
			s.releaseInvitation(ctx, u)
		}

		return user.User{}, err
	}
	u = created

	if _, err := s.connect(ctx, u.ID, c, func() error { return nil }); err != nil {
		s.rollBack(ctx, u)

		return user.User{}, err
	}

	if !u.EmailVerified {
		s.requestFirstVerification(ctx, u, client.Client)
	}

	return u, nil
}

// claim hands an account to the owner of its email and locks out its creator. The email is
// marked as verified by its owner last, so that an interrupted claim is repeated at the next
// sign-in.
func (s *Service) claim(ctx context.Context, u user.User, c user.Claims, locale string) (user.User, error) {
	if _, err := s.endSessions(ctx, u.ID, change{why: session.Revoked}); err != nil {
		return user.User{}, err
	}
	if err := s.users.RemoveCredentials(ctx, u.ID, c.Email); err != nil {
		return user.User{}, err
	}
	if _, err := s.endSessions(ctx, u.ID, change{why: session.Revoked, unlink: true}); err != nil {
		return user.User{}, err
	}

	return s.users.ClaimAccount(ctx, u.ID, c.Email, user.Profile{Name: nameOf(c), Picture: c.Picture, Locale: locale})
}

// nameOf returns the name for a new account. The default is the local part of the email.
func nameOf(c user.Claims) string {
	if c.Name != "" {
		return c.Name
	}

	local, _, _ := strings.Cut(string(c.Email), "@")

	return local
}
