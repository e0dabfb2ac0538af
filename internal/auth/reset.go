package auth

import (
	"context"
	"errors"

	"latchkey/internal/hashpool"
	"latchkey/internal/mail"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

var (
	// ErrMailBusy is returned when requests for emails arrive faster than they can be handled.
	ErrMailBusy = mail.ErrFull

	// ErrMailNotConfigured is returned if a request needs an email but Options.Sender is nil. Without it,
	// the user would wait for an email that never arrives.
	ErrMailNotConfigured = errors.New("email is not configured")
)

// SendsEmail reports whether emails are sent.
func (s *Service) SendsEmail() bool { return s.options.Sender != nil }

// RequestPasswordReset emails a link to reset the password, if an account has this email.
// The account is looked up only later, so neither the response nor its timing reveals whether the
// account exists (OWASP ASVS 5.0 6.3.8). Errors: ErrMailNotConfigured, ErrMailBusy,
// redisconn.ErrUnavailable.
func (s *Service) RequestPasswordReset(ctx context.Context, email user.Email, client session.Client) error {
	if !s.SendsEmail() {
		return ErrMailNotConfigured
	}

	return s.options.Queue.PushLookup(ctx, mail.Job{
		Kind:   mail.ResetPassword,
		To:     string(email),
		IP:     client.IP,
		Device: client.Device,
		At:     s.options.Now(),
	})
}

// lookUp queues the requested emails to those recipients who have an account. Errors:
// user.ErrUnavailable, redisconn.ErrUnavailable.
func (s *Service) lookUp(ctx context.Context, requested []mail.Job) error {
	var emails []user.Email
	for _, job := range requested {
		emails = append(emails, user.Email(job.To))
	}

	accounts, err := s.users.ByEmails(ctx, emails)
	if err != nil {
		return err
	}

	for _, job := range requested {
		u, exists := accounts[user.Email(job.To)]
		if !exists {
			continue
		}

		job.UserID = u.ID
		throttle := "link:" + string(job.Kind) + ":" + u.ID // the same for all spellings of the email
		if _, err := s.push(ctx, job, throttle, s.options.MailInterval); err != nil {
			return err
		}
	}

	return nil
}

// ResetPassword sets a new password with the token of a reset link. It marks the email
// address as verified, voids the account's one-time tokens, unlinks its external accounts,
// ends its sessions and notifies the owner. Errors: ErrInvalidToken, ErrBusy,
// user.ErrUnavailable, session.ErrUnavailable, and a WeakPasswordError, after which the
// token is still valid.
func (s *Service) ResetPassword(ctx context.Context, token, password string, client session.Client) (Changed, error) {
	kind, id, err := readToken(token)
	if err != nil || kind != user.ResetToken {
		return Changed{}, ErrInvalidToken
	}

	u, _, err := s.users.ByToken(ctx, id, kind, tokenHash(token))
	if err != nil {
		return Changed{}, invalidIfGone(err)
	}

	hash, err := s.newHash(ctx, hashpool.Owners, u, password)
	if err != nil {
		return Changed{}, err
	}

	changed, err := s.withSessionsEnded(ctx, Caller{UserID: id, Client: client}, change{
		why:    session.PasswordChanged,
		unlink: true, // an attacker may have linked one, and a reset is how owners lock them out
		apply: func() (user.User, error) {
			return s.users.ResetPassword(ctx, id, tokenHash(token), hash)
		},
		notify: func(u user.User) {
			s.notify(ctx, mail.Job{Kind: mail.PasswordChanged}, u, client)
		},
	})

	return changed, invalidIfGone(err)
}

// invalidIfGone returns ErrInvalidToken if the account or the token was not found, and
// other errors unchanged.
func invalidIfGone(err error) error {
	if errors.Is(err, user.ErrNotFound) {
		return ErrInvalidToken
	}

	return err
}
