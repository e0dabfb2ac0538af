package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"latchkey/internal/mail"
	"latchkey/internal/user"
)

// AskVerification has a link mailed to the address of an account by which its owner
// shows to read mail there. One that is verified gets none. Errors:
// redisconn.ErrUnavailable.
func (s *Service) AskVerification(ctx context.Context, u user.User, from Origin) error {
	return s.pushLink(ctx, about(mail.Job{Kind: mail.VerifyEmail}, u, from))
}

// AskEmailChange has a link mailed to another address, which becomes the account's
// when the link is used, and tells the one of now. Whether another account has it is
// not said to the caller.
//
// What is asked for stands in the account from now on, so that a change of the password
// takes it back, also while the mail waits. still says whether the caller may still
// ask, once it stands there: who was signed out in between could otherwise take an
// account away that its owner has just got back. Errors: user.ErrNotFound,
// user.ErrUnavailable, redisconn.ErrUnavailable, those of still.
func (s *Service) AskEmailChange(ctx context.Context, u user.User, email user.Email, from Origin, still func() error) error {
	ask, err := s.users.Asked(ctx, u.ID, email)
	if errors.Is(err, user.ErrNotFound) {
		// Not again where it was asked for already: the link that is on its way would be void,
		// and another one not be sent so soon.
		ask = rand.Text()
		err = s.users.PutTicket(ctx, u.ID, u.Email, user.ChangeTicket, user.Ticket{Ask: ask, Email: email, Expires: s.options.Now().Add(maxMailDelay)})
	}
	if err != nil {
		return err
	}
	if err := still(); err != nil {
		return errors.Join(err, s.users.DropTicket(ctx, u.ID, user.ChangeTicket, ask))
	}
	// The warning comes first, and without it there is no link.
	warning := about(mail.Job{Kind: mail.EmailChangeAsked, NewEmail: string(email)}, u, from)
	if taken, err := s.pushNotice(ctx, warning); err != nil || !taken {
		return err
	}
	link := about(mail.Job{Kind: mail.ConfirmEmail, Ask: ask, OldEmail: string(u.Email), NewEmail: string(email)}, u, from)
	link.Email = string(email)
	return s.pushLink(ctx, link)
}

// CancelEmailChange makes a change of address void that was asked for and has not been
// confirmed. Call it when sessions were ended because someone else may have had them: it
// may be what they wanted the account for. That they end must not depend on MongoDB, so
// a failure is logged.
func (s *Service) CancelEmailChange(ctx context.Context, userID string) {
	if err := s.users.DropTicket(ctx, userID, user.ChangeTicket, ""); err != nil {
		s.log.ErrorContext(ctx, "a change of address that was asked for stays possible", "userId", userID, "error", err)
	}
}

// maxMailDelay is how long the link of a change of address may take to be sent.
const maxMailDelay = 72 * time.Hour

// ConfirmEmail uses the token of either link. It returns the account, and whether its
// address is another now; then its other one-time tokens are void, and both addresses
// are told. end is called for a change only. With an error of end after the change, the
// account is returned as well. Errors: ErrInvalidToken, user.ErrEmailTaken,
// user.ErrUnavailable, those of end.
func (s *Service) ConfirmEmail(ctx context.Context, token string, from Origin, end EndSessions) (u user.User, changed bool, err error) {
	kind, id, err := readToken(token)
	if err != nil {
		return user.User{}, false, err
	}
	switch kind {
	case user.VerifyTicket:
		u, err = s.users.VerifyEmail(ctx, id, ticketHash(token))
		return u, false, invalidIfGone(err)
	case user.ChangeTicket:
	default:
		return user.User{}, false, ErrInvalidToken
	}
	before, email, err := s.users.ByTicket(ctx, id, kind, ticketHash(token))
	if err != nil {
		return user.User{}, false, invalidIfGone(err)
	}
	if other, err := s.users.ByEmail(ctx, email); err == nil && other.ID != id {
		return user.User{}, false, user.ErrEmailTaken // before anybody is signed out for it
	}
	u, err = s.around(ctx, id, end, func() (user.User, error) {
		return s.users.ChangeEmail(ctx, id, ticketHash(token), email)
	}, func(u user.User) {
		for _, to := range []user.Email{before.Email, u.Email} {
			told := u
			told.Email = to
			s.tellOf(ctx, mail.Job{Kind: mail.EmailChanged, OldEmail: string(before.Email), NewEmail: string(u.Email)}, told, from)
		}
	})
	return u, true, invalidIfGone(err)
}
