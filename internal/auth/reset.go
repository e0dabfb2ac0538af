package auth

import (
	"context"
	"errors"

	"latchkey/internal/mail"
	"latchkey/internal/user"
)

// Forgot has a link to reset the password mailed to the account of an address, if
// there is one. It asks for no account: who is answered learns nothing, not by the
// time either (OWASP ASVS 5.0 6.3.8). Errors: redisconn.ErrUnavailable.
func (s *Service) Forgot(ctx context.Context, email user.Email, from Origin) error {
	return s.pushLink(ctx, mail.Job{Kind: mail.ResetPassword, Email: string(email), IP: from.IP, Device: from.Device})
}

// ResetPassword uses the token of such a link. The account then has the new password
// and a verified address, its one-time tokens are void, accounts elsewhere are not linked
// any more, and its owner is told. Errors:
// ErrInvalidToken, a WeakPasswordError, after which the token is still good, ErrBusy,
// user.ErrUnavailable, those of end; with one of end after the change, the account is
// returned as well.
func (s *Service) ResetPassword(ctx context.Context, token, password string, from Origin, end EndSessions) (user.User, error) {
	kind, id, err := readToken(token)
	if err != nil || kind != user.ResetTicket {
		return user.User{}, ErrInvalidToken
	}
	u, _, err := s.users.ByTicket(ctx, id, kind, ticketHash(token))
	if err != nil {
		return user.User{}, invalidIfGone(err)
	}
	hash, err := s.newHash(ctx, u, password)
	if err != nil {
		return user.User{}, err
	}
	// Whoever else has a way into the account loses it: this is how its owner gets it back.
	u, err = s.around(ctx, id, s.endAndUnlink(end), func() (user.User, error) {
		return s.users.ResetPassword(ctx, id, ticketHash(token), hash)
	}, func(u user.User) { s.tell(ctx, mail.PasswordChanged, u, from) })
	return u, invalidIfGone(err)
}

// invalidIfGone makes a ticket that is not found an ErrInvalidToken.
func invalidIfGone(err error) error {
	if errors.Is(err, user.ErrNotFound) {
		return ErrInvalidToken
	}
	return err
}
