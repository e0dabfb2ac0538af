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

// samePlace is how long an owner is not told again of new devices at one address.
const samePlace = 24 * time.Hour

// TellNewDevice tells the owner of an account of a login from a device that they have
// not used before. A client without cookies, a script for example, is told of once a
// day.
func (s *Service) TellNewDevice(ctx context.Context, u user.User, from Origin) {
	job := about(mail.Job{Kind: mail.NewDevice}, u, from)
	if _, err := s.pushPaced(ctx, job, "new-device:"+u.ID+":"+ratelimit.AddressKey(from.IP), samePlace); err != nil {
		s.untold(ctx, job, err)
	}
}

// tell mails the owner of an account about what was done. It has been done: what goes
// wrong here is logged.
func (s *Service) tell(ctx context.Context, kind mail.Kind, u user.User, from Origin) {
	s.tellOf(ctx, mail.Job{Kind: kind}, u, from)
}

func (s *Service) tellOf(ctx context.Context, job mail.Job, u user.User, from Origin) {
	job = about(job, u, from)
	if taken, err := s.pushNotice(ctx, job); err != nil || !taken && s.options.Sender != nil {
		s.untold(ctx, job, err)
	}
}

// pushNotice is for mails about what was done. There may be several in a moment;
// but who registers with the address of a stranger can make as many as they like.
func (s *Service) pushNotice(ctx context.Context, job mail.Job) (bool, error) {
	return s.pushPaced(ctx, job, "notice:"+string(job.Kind)+":"+job.Email, 0)
}

func about(job mail.Job, u user.User, from Origin) mail.Job {
	job.UserID, job.Email, job.Name, job.IP, job.Device = u.ID, string(u.Email), u.Name, from.IP, from.Device
	return job
}

func (s *Service) untold(ctx context.Context, job mail.Job, err error) {
	s.log.ErrorContext(ctx, "the owner of an account is not told by mail", "kind", job.Kind, "userId", job.UserID, "error", err)
}

// pushLink is for mails with a link, of which an address gets one in a while. What
// is too many is not sent, and the caller is not told: the answer must not say whether
// there is such an account.
func (s *Service) pushLink(ctx context.Context, job mail.Job) error {
	_, err := s.pushPaced(ctx, job, "link:"+string(job.Kind)+":"+job.Email, s.options.MailInterval)
	return err
}

func (s *Service) pushPaced(ctx context.Context, job mail.Job, pace string, interval time.Duration) (bool, error) {
	if s.options.Sender == nil {
		return false, nil
	}
	job.At = s.options.Now()
	return s.options.Queue.PushPaced(ctx, job, pace, interval)
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
		NewEmail: job.NewEmail, OldEmail: job.OldEmail, Provider: job.Provider, Device: job.Device, IP: job.IP, At: job.At,
	}
	var err error
	switch job.Kind {
	case mail.ResetPassword:
		var u user.User
		if u, err = s.users.ByEmail(ctx, user.Email(job.Email)); err == nil {
			// To the address as it is kept, whatever was typed.
			letter.To, letter.Name = string(u.Email), u.Name
			err = s.addLink(&letter, u, user.ResetTicket, s.putting(ctx, u, user.ResetTicket))
		}
	case mail.VerifyEmail:
		var u user.User
		if u, err = s.users.ByID(ctx, job.UserID); err == nil && (u.EmailVerified || string(u.Email) != job.Email) {
			return nil
		}
		if err == nil {
			err = s.addLink(&letter, u, user.VerifyTicket, s.putting(ctx, u, user.VerifyTicket))
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

// putting gives an account a ticket as long as it has the address of u.
func (s *Service) putting(ctx context.Context, u user.User, kind user.TicketKind) func(user.Ticket) error {
	return func(t user.Ticket) error { return s.users.PutTicket(ctx, u.ID, u.Email, kind, t) }
}

// addConfirmation adds the link that makes another address the account's, unless
// someone has that address, or it is not asked for any more.
func (s *Service) addConfirmation(ctx context.Context, letter *mail.Letter, job mail.Job) error {
	u, err := s.users.ByID(ctx, job.UserID)
	if err != nil {
		return err
	}
	if other, err := s.users.ByEmail(ctx, user.Email(job.Email)); err == nil && other.ID != u.ID {
		return user.ErrNotFound
	} else if err != nil && !errors.Is(err, user.ErrNotFound) {
		return err
	}
	return s.addLink(letter, u, user.ChangeTicket, func(t user.Ticket) error {
		return s.users.FillTicket(ctx, u.ID, user.ChangeTicket, job.Ask, t)
	})
}

// addLink gives an account a ticket and a letter the link to use it. The token stands
// in the fragment, which no server is sent and no Referer holds, and a program that
// opens the links of a mail to look for malware does not spend it (ASVS 5.0 14.2.1).
func (s *Service) addLink(letter *mail.Letter, u user.User, kind user.TicketKind, put func(user.Ticket) error) error {
	token, err := newToken(kind, u.ID)
	if err != nil {
		return err
	}
	path := "/verify-email"
	letter.ExpiresIn = s.options.VerifyMaxAge
	if kind == user.ResetTicket {
		path, letter.ExpiresIn = "/reset-password", s.options.ResetMaxAge
	}
	hash := ticketHash(token)
	if err := put(user.Ticket{Hash: hash, Expires: s.options.Now().Add(letter.ExpiresIn)}); err != nil {
		return err
	}
	letter.Link = s.options.Link + path + "#token=" + token
	// A letter that is tried again has another link, so it is another message: a server
	// that drops what it has seen would keep the one that is void.
	letter.JobID += "-" + hash[:8]
	return nil
}
