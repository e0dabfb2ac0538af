package auth

import (
	"cmp"
	"context"
	"errors"

	"latchkey/internal/device"
	"latchkey/internal/mail"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// Caller identifies who changes an account.
type Caller struct {
	// UserID is the account to change.
	UserID string
	// SessionID is the session of the signed-in user, which must also be the session in the
	// context. It is empty for an operator.
	SessionID string
	// Client describes the device that the request came from. The email about the change
	// mentions it.
	session.Client
	// Proofs prove to which accounts the browser is known.
	Proofs device.Proofs
}

// owns reports whether the caller has a session of an account, or a device that has logged in to it.
func (c Caller) owns(id string) bool { return c.UserID == id || c.Proofs.WasKnown(id) }

// Operator returns the Caller for an operator who changes an account.
func Operator(userID string) Caller { return Caller{UserID: userID} }

// Changed is the result of a change that ended the sessions of an account.
type Changed struct {
	// User is the updated account, or the zero User if nothing was changed or the result is
	// unknown. If it comes with an error of package session, the change was made, but some
	// sessions may still be active.
	User user.User
	// Ended is the number of sessions ended.
	Ended int
	// Session is the session of the caller, which continues under a new token. It is nil if
	// the caller has none, or if it ended because a concurrent request rotated its token.
	Session *session.Session
	Token   string
}

// change describes a change of an account that no session except keep may survive.
type change struct {
	why  session.Reason
	keep string // the ID of the session that continues, or ""
	// unlink also removes the external accounts.
	unlink bool
	// urgent applies the change even if the sessions cannot be ended before it. It is for
	// changes that the operator can repeat.
	urgent bool
	apply  func() (user.User, error)
	// notify emails the owner about the change. It may be nil.
	notify func(user.User)
}

// withSessionsEnded revokes the sessions of an account, applies a change, and revokes again, so
// that no session survives it. The change itself must revoke all known devices. Errors: the errors
// of c.apply; session.ErrNone and session.ErrReplaced if the caller's session has ended;
// session.ErrUnavailable.
func (s *Service) withSessionsEnded(ctx context.Context, caller Caller, c change) (Changed, error) {
	ended := 0
	end := func() error {
		n, err := s.endSessions(ctx, caller.UserID, c)
		ended += n

		return err
	}

	// 1. Check that the caller is still signed in: the session may have ended while a
	// password was being hashed.
	if err := s.stillSignedIn(ctx, caller); err != nil {
		return Changed{}, err
	}

	// 2. End the sessions. If that fails, do not change anything.
	if err := end(); err != nil && !c.urgent {
		return Changed{}, err
	}

	// 3. Apply the change. If the result is unknown, assume that the change was made.
	u, err := c.apply()
	if err != nil && !errors.Is(err, user.ErrUnavailable) {
		return Changed{}, err
	}

	// 4. End the sessions that began since step 2, and cancel what they may have requested.
	endErr := end()
	s.cancelEmailChange(ctx, caller.UserID)
	if endErr != nil {
		s.log.ErrorContext(ctx, "account was changed, but new sessions could not be ended",
			"userId", caller.UserID, "error", endErr)
	}
	if err != nil {
		return Changed{}, err
	}

	// 5. Notify the owner.
	if c.notify != nil {
		c.notify(u)
	}

	return Changed{User: u, Ended: ended}, endErr
}

// stillSignedIn returns an error if the caller's session has ended. Operators need no
// session.
func (s *Service) stillSignedIn(ctx context.Context, caller Caller) error {
	if caller.SessionID == "" {
		return nil
	}

	return s.sessions.Recheck(ctx)
}

// endSessions ends the sessions of an account and returns the number of sessions ended.
func (s *Service) endSessions(ctx context.Context, userID string, c change) (int, error) {
	n, err := s.sessions.RevokeAll(ctx, userID, c.keep, c.why)
	if err != nil || !c.unlink {
		return n, err
	}

	// The sessions ended first, so none of them can link another external account. End
	// sessions again afterwards, because one may have started with an external account that
	// was still linked.
	if err := s.users.UnlinkAll(ctx, userID); err != nil {
		return n, err
	}

	more, err := s.sessions.RevokeAll(ctx, userID, c.keep, c.why)

	return n + more, err
}

// renew gives the caller's session a new token after a change. It ends the session instead in two
// cases. If a concurrent request has rotated the token, the client with the rotated token may not
// be the one that made the change. If Redis fails, the session may have a token that the client
// does not know, or still contain the old email.
func (s *Service) renew(
	ctx context.Context, changed Changed, why session.Reason,
	rotate func(context.Context) (*session.Session, string, error),
) (Changed, error) {
	next, token, err := rotate(ctx)
	if errors.Is(err, session.ErrReplaced) || errors.Is(err, session.ErrUnavailable) {
		return changed, s.sessions.Abandon(ctx, why)
	}

	changed.Session = next
	changed.Token = token

	return changed, err
}

// Disable disables an account on behalf of an operator, so that nobody can log in to it, and
// ends its sessions.
// Errors: user.ErrNotFound, user.ErrUnavailable, session.ErrUnavailable.
func (s *Service) Disable(ctx context.Context, caller Caller, why session.Reason) (Changed, error) {
	return s.withSessionsEnded(ctx, caller, change{
		why:    why,
		urgent: true,
		apply: func() (user.User, error) {
			disabled, err := s.users.SetActive(ctx, caller.UserID, false)

			return disabled.User, err
		},
	})
}

// Delete deletes the account of a signed-in user, ends its sessions and notifies the owner.
// Errors: user.ErrNotFound, user.ErrUnavailable, the errors of package session.
func (s *Service) Delete(ctx context.Context, caller Caller) (Changed, error) {
	u, err := s.users.ByID(ctx, caller.UserID)
	if err != nil {
		return Changed{}, err
	}

	return s.withSessionsEnded(ctx, caller, change{
		why:   session.AccountDeleted,
		apply: func() (user.User, error) { return u, s.Remove(ctx, u) },
		notify: func(u user.User) {
			s.notify(ctx, mail.Job{Kind: mail.AccountDeleted}, u, caller.Client)
		},
	})
}

// Remove deletes an account without ending its sessions. It withdraws the invitation for its email, too: if
// MongoDB failed when the account was created, the used invitation is still there, and its link could create
// the account again. Errors: user.ErrUnavailable.
func (s *Service) Remove(ctx context.Context, u user.User) error {
	if u.EmailVerified { // otherwise somebody else may be invited
		if _, err := s.users.RemoveInvitation(ctx, u.Email); err != nil {
			return err
		}
	}

	return s.users.Delete(ctx, u.ID)
}

// RevokeSession ends one session of the caller's account, and cancels a pending email change. It
// succeeds again if the same caller repeats it. Errors: session.ErrNotFound,
// session.ErrUnavailable.
func (s *Service) RevokeSession(ctx context.Context, caller Caller, id string) error {
	err := s.sessions.Revoke(ctx, caller.UserID, id, cmp.Or(caller.SessionID, "operator"))
	if errors.Is(err, session.ErrNotFound) {
		return err
	}

	// Do this even if the result is unknown: the session may have ended.
	s.cancelEmailChange(ctx, caller.UserID)

	return err
}

// RevokeSessions ends the sessions of a user and revokes all known devices. The session with the ID
// keep, if any, continues. If MongoDB fails, this is only logged, and the account in the result is
// the zero User: revoking sessions must not depend on MongoDB. Errors: session.ErrUnavailable.
func (s *Service) RevokeSessions(ctx context.Context, userID, keep string) (Changed, error) {
	n, err := s.sessions.RevokeAll(ctx, userID, keep, session.Revoked)

	return Changed{User: s.revokeDevices(ctx, userID), Ended: n}, err
}

// revokeDevices revokes all known devices of an account, cancels a pending email change and returns
// the account. A failure is only logged, and the result is the zero User.
func (s *Service) revokeDevices(ctx context.Context, userID string) user.User {
	u, err := s.users.RevokeDevices(ctx, userID)
	if err == nil {
		return u
	}

	if !errors.Is(err, user.ErrNotFound) {
		s.log.ErrorContext(ctx, "cannot revoke the known devices and a pending email change", "userId", userID, "error", err)
	}

	return user.User{}
}
