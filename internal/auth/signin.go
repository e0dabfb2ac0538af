package auth

import (
	"context"
	"errors"
	"time"

	"latchkey/internal/device"
	"latchkey/internal/hashpool"
	"latchkey/internal/pending"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// Client describes the browser that signs in.
type Client struct {
	session.Client
	// Locale is the BCP 47 locale that the browser prefers, in canonical form. New accounts get it.
	Locale string
	// SessionIDs are the sessions that the browser already has, possibly of other users. The new
	// session replaces them.
	SessionIDs []string
	// KnownDevice is set if the account has logged in on the device before, and the device has not
	// exceeded its own rate limits. During a flood of logins, its password then waits in a separate
	// queue: see hashpool.Owners.
	KnownDevice bool
	// Proofs prove to which accounts the browser is known.
	Proofs device.Proofs
	// TrustProof returns the proof that the browser is a trusted device of an account, or "". Nil means
	// that there is none.
	TrustProof func(userID string) string
}

// lane returns the queue in which the client's password waits to be checked.
func (c Client) lane() hashpool.Lane {
	if c.KnownDevice {
		return hashpool.Owners
	}

	return hashpool.Anyone
}

// SignedIn is the result of a sign-in: a user whose session has begun, or who still has to prove a second
// factor.
type SignedIn struct {
	User    user.User
	Session *session.Session // nil if Pending is set
	Token   string           // for the cookie
	Outcome Outcome          // only for a sign-in with a provider
	// Pending is the login that waits for the second factor, or nil.
	Pending *Pending
	// TrustProof is the proof for a browser that has become a trusted device, or "".
	TrustProof string
	// RecoveryUsed is set if a recovery code was used, even if the sign-in failed afterwards.
	RecoveryUsed bool
}

// attempt is one attempt to sign in to an account.
type attempt struct {
	// userID is the ID of the account, or "" if there is none. In that case prove must fail.
	userID string
	// generation is the session generation in which a pending login started. Nil means the current one.
	generation *session.Generation
	// first is the first factor. The default of first.At is now.
	first session.Method
	// persistent is set if the cookie of the session survives a browser restart.
	persistent bool
	// claims are those of a provider, or nil.
	claims *user.Claims
	// prove checks that the client may sign in, and returns the account.
	prove func() (user.User, error)
	// second is the second factor that prove checks, or "".
	second string
	// record stores the sign-in and returns the updated account. It returns user.ErrNotFound
	// if the account no longer matches what prove has checked.
	record func(user.User) (user.User, error)
}

// signIn is the only way to begin a session. If the account has a second factor that the client has not
// proved, the result is a pending login instead. If the session cannot begin after the sign-in
// was recorded, signIn returns the account together with the error, and the client keeps
// its previous session. Errors: the errors of prove and record, ErrBadCredentials,
// session.ErrUnavailable.
//
// A change of an account that revokes its sessions first updates the account, then ends the
// session generation. A concurrent sign-in therefore notices the update in step 4 or the
// ended generation in step 5.
func (s *Service) signIn(ctx context.Context, client Client, a attempt) (SignedIn, error) {
	// 1. Read the session generation before checking anything.
	generation, err := s.generationOf(ctx, a)
	if err != nil {
		return SignedIn{}, err
	}

	// 2. Verify the proof of identity.
	proved, err := a.prove()
	if err != nil {
		return SignedIn{}, err
	}

	// 3. Require the second factor of the account.
	methods := []session.Method{a.first}
	second := a.second
	if second == "" && s.isTrusted(client, proved) {
		second = session.Device
	}
	if second != "" {
		methods = append(methods, session.Method{Method: second})
	}
	if s.needsFactor(proved) && second == "" {
		return s.beginPending(ctx, proved, a, generation)
	}

	// 4. Record the sign-in, unless the account has changed since step 2.
	u, err := a.record(proved)
	if errors.Is(err, user.ErrNotFound) {
		err = ErrBadCredentials
	}
	if err != nil {
		return SignedIn{}, err
	}

	// 5. Begin the session, unless the generation has ended since step 1.
	begun, token, err := s.sessions.Begin(ctx, session.Start{
		Owner:      session.Owner{UserID: u.ID, Email: string(u.Email), EmailVerified: u.EmailVerified},
		Client:     client.Client,
		Methods:    methods,
		Persistent: a.persistent,
		Generation: generation,
		Replaces:   client.SessionIDs,
	})
	if errors.Is(err, session.ErrNone) {
		err = ErrBadCredentials
	}

	return SignedIn{User: u, Session: begun, Token: token}, err
}

// generationOf returns the session generation in which an attempt started.
func (s *Service) generationOf(ctx context.Context, a attempt) (session.Generation, error) {
	if a.generation != nil {
		return *a.generation, nil
	}

	return s.sessions.Generation(ctx, a.userID)
}

// needsFactor reports whether a login to an account needs a second factor.
func (s *Service) needsFactor(u user.User) bool {
	return s.options.MFA != MFAOff && u.HasFactor()
}

// Pending is a login whose first factor is proved, and that waits for the second.
type Pending struct {
	pending.Login

	// Token is for the cookie. It is empty if the client has sent it.
	Token string
	// Factors are the kinds of factors that the account accepts: see FactorKinds.
	Factors []FactorKind
}

// beginPending begins a pending login. The sign-in is not recorded before the second factor is proved.
func (s *Service) beginPending(
	ctx context.Context, u user.User, a attempt, generation session.Generation,
) (SignedIn, error) {
	l := pending.Login{
		UserID:           u.ID,
		Method:           a.first.Method,
		Provider:         a.first.Provider,
		At:               a.first.At,
		Persistent:       a.persistent,
		Generation:       generation.String(),
		Email:            string(u.Email),
		DeviceGeneration: u.DeviceGeneration,
	}
	if l.At.IsZero() {
		l.At = s.options.Now().UTC().Truncate(time.Millisecond)
	}
	if a.claims != nil {
		l.Issuer = a.claims.Issuer
		l.Subject = a.claims.Subject
	}

	token, err := s.options.Pending.Begin(ctx, &l)
	if err != nil {
		return SignedIn{}, err
	}

	return SignedIn{User: u, Pending: &Pending{Login: l, Token: token, Factors: FactorKinds(u)}}, nil
}
