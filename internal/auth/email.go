package auth

import (
	"context"
	"errors"

	"latchkey/internal/mail"
	"latchkey/internal/user"
)

// AskVerification has a link mailed to the address of an account by which its owner
// shows to read mail there. One that is verified gets none. Errors:
// mail.ErrUnavailable, ratelimit.ErrUnavailable.
func (s *Service) AskVerification(ctx context.Context, u user.User, from Origin) error {
	return s.post(ctx, mail.Job{Kind: mail.VerifyEmail, UserID: u.ID, Email: string(u.Email), Name: u.Name, IP: from.IP, Device: from.Device})
}

// AskEmailChange has a link mailed to another address, which becomes the account's
// when the link is used, and tells the one of now. Whether another account has it is
// not said to the caller. Errors: mail.ErrUnavailable, ratelimit.ErrUnavailable.
func (s *Service) AskEmailChange(ctx context.Context, u user.User, email user.Email, from Origin) error {
	err := s.post(ctx, mail.Job{
		Kind: mail.ConfirmEmail, UserID: u.ID, Email: string(email), Name: u.Name,
		OldEmail: string(u.Email), NewEmail: string(email), IP: from.IP, Device: from.Device,
	})
	if err != nil {
		return err
	}
	return s.push(ctx, mail.Job{
		Kind: mail.EmailChangeAsked, UserID: u.ID, Email: string(u.Email), Name: u.Name,
		NewEmail: string(email), IP: from.IP, Device: from.Device,
	})
}

// ConfirmEmail uses the token of either link. It returns the account, and whether its
// address is another now; then its other one-time tokens are void, and both addresses
// are told. end is called for a change only. Errors: ErrInvalidToken,
// user.ErrEmailTaken, user.ErrUnavailable, those of end.
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
	u, err = s.around(ctx, id, end, func() (user.User, error) {
		return s.users.ChangeEmail(ctx, id, ticketHash(token), email)
	})
	if errors.Is(err, user.ErrNotFound) {
		err = ErrInvalidToken
	}
	if err != nil {
		return user.User{}, false, err
	}
	for _, to := range []user.Email{before.Email, u.Email} {
		told := u
		told.Email = to
		s.tellOf(ctx, mail.Job{Kind: mail.EmailChanged, OldEmail: string(before.Email), NewEmail: string(u.Email)}, told, from)
	}
	return u, true, nil
}
