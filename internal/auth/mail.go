package auth

import (
	"context"
	"errors"
	"sync"
	"time"

	"latchkey/internal/mail"
	"latchkey/internal/ratelimit"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// newDeviceInterval is the minimum time between two emails about new devices on one account
// from one IP.
const newDeviceInterval = 24 * time.Hour

// NotifyNewDevice emails the owner of an account about a login from a new device. A client
// that does not keep cookies, such as a script, triggers at most one email a day.
func (s *Service) NotifyNewDevice(ctx context.Context, u user.User, client session.Client) {
	job := addressed(mail.Job{Kind: mail.NewDevice}, u, client)
	throttle := "new-device:" + u.ID + ":" + ratelimit.IPKey(client.IP)

	if _, err := s.push(ctx, job, throttle, newDeviceInterval); err != nil {
		s.logNotNotified(ctx, job, err)
	}
}

// notify emails the owner of an account about a change. A failure is only logged, because
// the change has already been made.
func (s *Service) notify(ctx context.Context, job mail.Job, u user.User, client session.Client) {
	job = addressed(job, u, client)

	queued, err := s.pushNotice(ctx, job)
	throttled := !queued && s.options.Sender != nil
	if err != nil || throttled {
		s.logNotNotified(ctx, job, err)
	}
}

// pushNotice queues an email about something that happened. Several may be sent in a row, but
// there is a daily limit: anyone can register with a stranger's email and trigger notices.
func (s *Service) pushNotice(ctx context.Context, job mail.Job) (queued bool, err error) {
	return s.push(ctx, job, "notice:"+string(job.Kind)+":"+job.To, 0)
}

// addressed returns the job with its recipient and the client that it mentions.
func addressed(job mail.Job, u user.User, client session.Client) mail.Job {
	job.UserID = u.ID
	job.To = string(u.Email)
	job.Locale = u.Locale
	job.IP = client.IP
	job.Device = client.Device

	return job
}

func (s *Service) logNotNotified(ctx context.Context, job mail.Job, err error) {
	s.log.ErrorContext(ctx, "cannot notify the account owner by email", "kind", job.Kind, "userId", job.UserID, "error", err)
}

// pushLink queues an email that contains a link. Emails beyond the limit per recipient are
// dropped silently, so that the response does not reveal whether the account exists.
func (s *Service) pushLink(ctx context.Context, job mail.Job) error {
	_, err := s.push(ctx, job, "link:"+string(job.Kind)+":"+job.To, s.options.MailInterval)

	return err
}

// push queues an email, and reports whether it was accepted. Without a Sender it does nothing.
func (s *Service) push(ctx context.Context, job mail.Job, throttle string, interval time.Duration) (queued bool, err error) {
	if s.options.Sender == nil {
		return false, nil
	}

	if job.At.IsZero() {
		job.At = s.options.Now()
	}

	return s.options.Queue.PushThrottled(ctx, job, throttle, interval)
}

// RunMail sends the queued emails until ctx ends. Any number of processes may run it.
func (s *Service) RunMail(ctx context.Context) {
	if s.options.Sender == nil {
		return
	}

	var lookups sync.WaitGroup
	defer lookups.Wait()
	lookups.Go(func() { s.options.Queue.RunLookups(ctx, s.lookUp) })

	s.options.Queue.Run(ctx, s.deliver)
}

// deliver sends one email. If the recipient has no account, or the email is no longer
// needed, it does nothing.
func (s *Service) deliver(ctx context.Context, job mail.Job) error {
	email, err := s.prepare(ctx, job)
	switch {
	case errors.Is(err, user.ErrNotFound):
		return nil
	case errors.Is(err, user.ErrUnreadable):
		s.log.ErrorContext(ctx, "account is unreadable; email not sent", "kind", job.Kind, "error", err)

		return nil
	case err != nil:
		return err
	}

	message, err := s.options.Composer.Compose(email)
	if err != nil {
		return err
	}

	return s.options.Sender.Send(ctx, message)
}

// prepare returns the email for a job. Links are created here and not when the job is queued,
// so that the queue contains no secrets and a link does not expire while it waits. Errors:
// user.ErrNotFound if there is nothing to send, user.ErrUnreadable, user.ErrUnavailable.
func (s *Service) prepare(ctx context.Context, job mail.Job) (mail.Email, error) {
	email := mail.Email{Job: job}

	switch job.Kind {
	case mail.ResetPassword:
		u, err := s.users.ByEmail(ctx, user.Email(job.To))
		if err != nil {
			return email, err
		}

		err = s.addLink(ctx, &email, u, user.ResetToken)

		return email, err
	case mail.VerifyEmail:
		u, err := s.users.ByID(ctx, job.UserID)
		if err != nil {
			return email, err
		}
		if u.EmailVerified || string(u.Email) != job.To {
			return email, user.ErrNotFound
		}

		err = s.addLink(ctx, &email, u, user.VerifyToken)

		return email, err
	case mail.Invitation:
		err := s.addInvitationLink(ctx, &email)

		return email, err
	case mail.ConfirmEmail:
		err := s.addConfirmation(ctx, &email)

		return email, err
	}

	return email, nil
}

// addConfirmation adds the link that confirms a change of the email address. It returns
// user.ErrNotFound if the new email is taken or the request was cancelled.
func (s *Service) addConfirmation(ctx context.Context, email *mail.Email) error {
	u, err := s.users.ByID(ctx, email.UserID)
	if err != nil {
		return err
	}
	if err := s.addLink(ctx, email, u, user.EmailChangeToken); err != nil {
		return err
	}

	other, err := s.users.ByEmail(ctx, user.Email(email.To))
	if err == nil && other.ID != u.ID {
		return user.ErrNotFound
	}
	if err != nil && !errors.Is(err, user.ErrNotFound) {
		return err
	}

	return nil
}

// addLink stores a new one-time token in an account and adds the link that contains it. The
// token is in the URL fragment, which browsers send neither to servers nor in the Referer
// header, and malware scanners that open links cannot use it up (OWASP ASVS 5.0 14.2.1).
//
// The recipient is the email stored in the account. The email in the job may have been entered by
// anyone, or changed in Redis: write access to Redis must not be enough to get a link.
func (s *Service) addLink(ctx context.Context, email *mail.Email, u user.User, kind user.TokenKind) error {
	email.Locale = u.Locale // as it is now

	token, err := newToken(kind, u.ID)
	if err != nil {
		return err
	}

	path := "/verify-email"
	email.ExpiresIn = s.options.VerifyMaxAge
	if kind == user.ResetToken {
		path = "/reset-password"
		email.ExpiresIn = s.options.ResetMaxAge
	}

	stored := user.OneTimeToken{
		Hash:    tokenHash(token),
		Expires: s.options.Now().Add(email.ExpiresIn),
	}
	to := u.Email
	if kind == user.EmailChangeToken {
		to, err = s.users.IssueToken(ctx, u.ID, email.RequestID, stored)
		email.NewEmail = string(to)
	} else {
		err = s.users.PutToken(ctx, u.ID, u.Email, kind, stored)
	}
	if err != nil {
		return err
	}
	email.To = string(to)

	email.Link = s.options.BaseURL + path + "#token=" + token
	// A retried email contains a new link, so it needs a new Message-ID: a mail server that
	// drops duplicates would otherwise keep the email whose link is void.
	email.ID += "-" + stored.Hash[:8]

	return nil
}
