package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"latchkey/internal/mail"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// maxMailDelay is the maximum time between the request to change an email address and the
// delivery of the link that confirms it.
const maxMailDelay = 72 * time.Hour

// RequestVerification emails a link to verify the email address of an account. It
// sends nothing if that is already verified. Errors: ErrMailNotConfigured, redisconn.ErrUnavailable.
func (s *Service) RequestVerification(ctx context.Context, u user.User, client session.Client) error {
	if !s.SendsEmail() {
		return ErrMailNotConfigured
	}

	return s.pushLink(ctx, addressed(mail.Job{Kind: mail.VerifyEmail}, u, client))
}

// RequestEmailChange emails a confirmation link to the new email address of u and a warning
// to the current one. The change takes effect when the link is used. The caller does
// not learn whether another account has the new email. Errors: ErrMailNotConfigured,
// ErrEmailDomain, user.ErrNotFound, user.ErrUnavailable, redisconn.ErrUnavailable, the errors of package session.
//
// The request is stored in the account before the email is sent, so that a change of the
// password cancels it at any time.
func (s *Service) RequestEmailChange(ctx context.Context, caller Caller, u user.User, email user.Email) error {
	if !s.SendsEmail() {
		return ErrMailNotConfigured
	}
	if err := s.options.Registration.checkDomain(email); err != nil {
		return err
	}

	requestID, err := s.users.PendingEmailChange(ctx, u.ID, email)
	if errors.Is(err, user.ErrNotFound) {
		// Keep a pending request for the same email: a new request would void the link that
		// was already sent, and the next link is not sent before MailInterval has passed.
		requestID = rand.Text()
		err = s.users.PutToken(ctx, u.ID, u.Email, user.EmailChangeToken, user.OneTimeToken{
			RequestID: requestID,
			Email:     email,
			Expires:   s.options.Now().Add(maxMailDelay),
		})
	}
	if err != nil {
		return err
	}

	// From now on, whatever ends the sessions also cancels the stored request. If the session
	// ended before that, drop the request here: otherwise an attacker who has just been locked
	// out could still take over the account.
	if err := s.stillSignedIn(ctx, caller); err != nil {
		return errors.Join(err, s.users.RevokeToken(ctx, u.ID, user.EmailChangeToken, requestID))
	}

	// Send no link unless the warning was queued.
	warning := addressed(mail.Job{Kind: mail.EmailChangeRequested, NewEmail: string(email)}, u, caller.Client)
	if queued, err := s.pushNotice(ctx, warning); err != nil || !queued {
		return err
	}

	link := addressed(mail.Job{
		Kind:      mail.ConfirmEmail,
		RequestID: requestID,
		OldEmail:  string(u.Email),
		NewEmail:  string(email),
	}, u, caller.Client)
	link.To = string(email)

	return s.pushLink(ctx, link)
}

// cancelEmailChange cancels a pending email change. It must be called whenever sessions are
// revoked, because an attacker who had one of them may have requested the change. A failure
// is only logged: revoking sessions must not depend on MongoDB.
func (s *Service) cancelEmailChange(ctx context.Context, userID string) {
	if err := s.users.RevokeToken(ctx, userID, user.EmailChangeToken, ""); err != nil {
		s.log.ErrorContext(ctx, "cannot cancel a pending email change", "userId", userID, "error", err)
	}
}

// ConfirmEmail redeems the token of a verification link or of an email change, and reports
// which of the two it was. A change voids the account's other one-time tokens, ends its
// sessions and notifies both email addresses. If the caller has a session of this account,
// it continues under a new token.
//
// Without a session of the account or a device that has logged in to it, the token only proves that
// the caller can read the email. The account may belong to someone else: see
// user.User.OwnerConfirmed.
//
// Errors: ErrInvalidToken, ErrEmailDomain, user.ErrEmailTaken, user.ErrUnavailable, the errors of package
// session.
func (s *Service) ConfirmEmail(ctx context.Context, token string, caller Caller) (changed Changed, isChange bool, err error) {
	kind, id, err := readToken(token)
	if err != nil {
		return Changed{}, false, err
	}

	switch kind {
	case user.VerifyToken:
		u, err := s.users.VerifyEmail(ctx, id, tokenHash(token), caller.owns(id))

		return Changed{User: u}, false, invalidIfGone(err)
	case user.EmailChangeToken:
		changed, err := s.changeEmail(ctx, id, token, caller)

		return changed, true, invalidIfGone(err)
	}

	return Changed{}, false, ErrInvalidToken
}

func (s *Service) changeEmail(ctx context.Context, id, token string, caller Caller) (Changed, error) {
	before, email, err := s.users.ByToken(ctx, id, user.EmailChangeToken, tokenHash(token))
	if err != nil {
		return Changed{}, err
	}

	// Check this first, so that a change that must fail does not end any session. The domains may have
	// changed since the request.
	if err := s.options.Registration.checkDomain(email); err != nil {
		return Changed{}, err
	}
	if err := s.users.CheckEmailFree(ctx, email, id); err != nil {
		return Changed{}, err
	}

	keep := ""
	if caller.UserID == id {
		keep = caller.SessionID
	}

	// The token authorizes the change, so the caller does not have to be signed in.
	changed, err := s.withSessionsEnded(ctx, Caller{UserID: id, Client: caller.Client}, change{
		why:  session.EmailChanged,
		keep: keep,
		apply: func() (user.User, error) {
			return s.users.ChangeEmail(ctx, id, tokenHash(token), email, caller.owns(id))
		},
		notify: func(u user.User) {
			for _, to := range []user.Email{before.Email, u.Email} {
				recipient := u
				recipient.Email = to

				s.notify(ctx, mail.Job{
					Kind:     mail.EmailChanged,
					OldEmail: string(before.Email),
					NewEmail: string(u.Email),
				}, recipient, caller.Client)
			}
		},
	})
	if err != nil || keep == "" {
		return changed, err
	}

	return s.renew(ctx, changed, session.EmailChanged, func(ctx context.Context) (*session.Session, string, error) {
		return s.sessions.ChangeEmail(ctx, string(changed.User.Email))
	})
}
