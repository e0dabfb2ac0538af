package auth

import (
	"context"
	"errors"

	"latchkey/internal/device"
	"latchkey/internal/hashpool"
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
}

// lane returns the queue in which the client's password waits to be checked.
func (c Client) lane() hashpool.Lane {
	if c.KnownDevice {
		return hashpool.Owners
	}

	return hashpool.Anyone
}

// SignedIn is a user whose session has begun.
type SignedIn struct {
	User    user.User
	Session *session.Session
	Token   string  // for the cookie
	Outcome Outcome // only for a sign-in with a provider
}

// attempt is one attempt to sign in to an account.
type attempt struct {
	// userID is the ID of the account, or "" if there is none. In that case prove must fail.
	userID string
	// start contains the settings of the new session that depend on the method.
	start session.Start
	// prove checks that the client may sign in, and returns the account.
	prove func() (user.User, error)
	// record stores the sign-in and returns the updated account. It returns user.ErrNotFound
	// if the account no longer matches what prove has checked.
	record func(user.User) (user.User, error)
}

// signIn is the only way to begin a session. If the session cannot begin after the sign-in
// was recorded, signIn returns the account together with the error, and the client keeps
// its previous session. Errors: the errors of prove and record, ErrBadCredentials,
// session.ErrUnavailable.
//
// A change of an account that revokes its sessions first updates the account, then ends the
// session generation. A concurrent sign-in therefore notices the update in step 3 or the
// ended generation in step 4.
func (s *Service) signIn(ctx context.Context, client Client, a attempt) (SignedIn, error) {
	// 1. Read the session generation before checking anything.
	generation, err := s.sessions.Generation(ctx, a.userID)
	if err != nil {
		return SignedIn{}, err
	}

	// 2. Verify the proof of identity.
	proved, err := a.prove()
	if err != nil {
		return SignedIn{}, err
	}

	// 3. Record the sign-in, unless the account has changed since step 2.
	u, err := a.record(proved)
	if errors.Is(err, user.ErrNotFound) {
		err = ErrBadCredentials
	}
	if err != nil {
		return SignedIn{}, err
	}

	// 4. Begin the session, unless the generation has ended since step 1.
	start := a.start
	start.Owner = session.Owner{UserID: u.ID, Email: string(u.Email), EmailVerified: u.EmailVerified}
	start.Client = client.Client
	start.Replaces = client.SessionIDs
	start.Generation = generation

	begun, token, err := s.sessions.Begin(ctx, start)
	if errors.Is(err, session.ErrNone) {
		err = ErrBadCredentials
	}

	return SignedIn{User: u, Session: begun, Token: token}, err
}
