package auth

import (
	"context"
	"errors"
	"time"

	"latchkey/internal/mail"
	"latchkey/internal/ratelimit"
	"latchkey/internal/user"
)

// Origin is where a request came from, for the mail about what it did.
type Origin struct {
	IP     string
	Device string // for example "Firefox on Linux"
}

// sameClient is how long a client is not told of again as a new device.
const sameClient = 24 * time.Hour

// TellNewDevice tells the owner of an account of a login from a device that they have
// not used before. A client without cookies, a script for example, is told of once a
// day.
func (s *Service) TellNewDevice(ctx context.Context, u user.User, from Origin) {
	if s.options.Sender == nil {
		return
	}
	key := "new-device:" + u.ID + ":" + ratelimit.AccountKey(from.IP+" "+from.Device)
	budget, err := s.options.Limiter.Take(ctx, key, ratelimit.Rule{Events: 1, Window: sameClient})
	if err != nil || budget.Allowed { // rather twice than never
		s.tell(ctx, mail.NewDevice, u, from)
	}
}

// tell mails the owner of an account about what was done. It has been done: what goes
// wrong here is logged.
func (s *Service) tell(ctx context.Context, kind mail.Kind, u user.User, from Origin) {
	s.tellOf(ctx, mail.Job{Kind: kind}, u, from)
}

func (s *Service) tellOf(ctx context.Context, job mail.Job, u user.User, from Origin) {
	job.UserID, job.Email, job.Name, job.IP, job.Device = u.ID, string(u.Email), u.Name, from.IP, from.Device
	if err := s.push(ctx, job); err != nil {
		s.log.ErrorContext(ctx, "the owner of an account is not told by mail", "kind", job.Kind, "userId", u.ID, "error", err)
	}
}

// post is push for mails with a link, of which an address gets one in a while. What is
// too many is not sent, and the caller is not told: the answer must not say whether
// there is such an account.
func (s *Service) post(ctx context.Context, job mail.Job) error {
	if s.options.Sender == nil {
		return nil
	}
	key := "link:" + string(job.Kind) + ":" + ratelimit.AccountKey(job.Email)
	budget, err := s.options.Limiter.Take(ctx, key, ratelimit.Rule{Events: 1, Window: s.options.MailInterval})
	if err != nil || !budget.Allowed {
		return err
	}
	return s.push(ctx, job)
}

func (s *Service) push(ctx context.Context, job mail.Job) error {
	if s.options.Sender == nil {
		return nil
	}
	job.At = s.options.Now()
	return s.options.Queue.Push(ctx, job)
}

// RunMail sends what waits in the queue until ctx ends. Several processes may do so.
func (s *Service) RunMail(ctx context.Context) {
	if s.options.Sender != nil {
		s.options.Queue.Run(ctx, s.deliver)
	}
}

// deliver sends one mail. A link is made now and not before: what waits in the queue
// holds no secret, and the time of the link begins when it can arrive. Who is not
// there gets none.
func (s *Service) deliver(ctx context.Context, job mail.Job) error {
	letter := mail.Letter{
		Kind: job.Kind, JobID: job.ID, To: job.Email, Name: job.Name,
		NewEmail: job.NewEmail, OldEmail: job.OldEmail, Device: job.Device, IP: job.IP, At: job.At,
	}
	var err error
	switch job.Kind {
	case mail.ResetPassword:
		var u user.User
		if u, err = s.users.ByEmail(ctx, user.Email(job.Email)); err == nil {
			// To the address as it is kept, whatever was typed.
			letter.To, letter.Name = string(u.Email), u.Name
			err = s.addLink(ctx, &letter, u, user.ResetTicket, "")
		}
	case mail.VerifyEmail:
		var u user.User
		if u, err = s.users.ByID(ctx, job.UserID); err == nil && (u.EmailVerified || string(u.Email) != job.Email) {
			return nil
		}
		if err == nil {
			err = s.addLink(ctx, &letter, u, user.VerifyTicket, "")
		}
	case mail.ConfirmEmail:
		err = s.addConfirmation(ctx, &letter, job)
	}
	switch {
	case errors.Is(err, user.ErrNotFound):
		return nil
	case errors.Is(err, user.ErrUnreadable):
		s.log.ErrorContext(ctx, "an account cannot be mailed", "kind", job.Kind, "error", err)
		return nil
	case err != nil:
		return err
	}
	message, err := mail.Compose(letter)
	if err != nil {
		return err
	}
	return s.options.Sender.Send(ctx, message)
}

// addConfirmation adds the link that makes another address the account's, unless
// someone has that address, or the account has another one than when it was asked for.
func (s *Service) addConfirmation(ctx context.Context, letter *mail.Letter, job mail.Job) error {
	u, err := s.users.ByID(ctx, job.UserID)
	if err != nil {
		return err
	}
	if string(u.Email) != job.OldEmail {
		return user.ErrNotFound
	}
	if other, err := s.users.ByEmail(ctx, user.Email(job.Email)); err == nil && other.ID != u.ID {
		return user.ErrNotFound
	} else if err != nil && !errors.Is(err, user.ErrNotFound) {
		return err
	}
	return s.addLink(ctx, letter, u, user.ChangeTicket, user.Email(job.Email))
}

// addLink gives an account a ticket and a letter the link to use it. The token stands
// in the fragment, which no server is sent and no Referer holds, and a program that
// opens the links of a mail to look for malware does not spend it (ASVS 5.0 14.2.1).
func (s *Service) addLink(ctx context.Context, letter *mail.Letter, u user.User, kind user.TicketKind, email user.Email) error {
	token, err := newToken(kind, u.ID)
	if err != nil {
		return err
	}
	path := "/verify-email"
	letter.ExpiresIn = s.options.VerifyMaxAge
	if kind == user.ResetTicket {
		path, letter.ExpiresIn = "/reset-password", s.options.ResetMaxAge
	}
	ticket := user.Ticket{Hash: ticketHash(token), Email: email, Expires: s.options.Now().Add(letter.ExpiresIn)}
	if err := s.users.PutTicket(ctx, u.ID, u.Email, kind, ticket); err != nil {
		return err
	}
	letter.Link = s.options.Link + path + "#token=" + token
	return nil
}
