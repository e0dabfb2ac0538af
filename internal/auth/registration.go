package auth

import (
	"errors"
	"slices"

	"latchkey/internal/user"
)

var (
	// ErrRegistrationClosed is returned if nobody may register.
	ErrRegistrationClosed = errors.New("registration is closed")

	// ErrInvitationRequired is returned if only invited users may register. It is the same whether or
	// not the email is invited or has an account.
	ErrInvitationRequired = errors.New("registration requires an invitation")

	// ErrEmailDomain is returned for an email whose domain is not in RegistrationPolicy.Domains.
	ErrEmailDomain = errors.New("email domain is not allowed")
)

// RegistrationMode determines which users may create an account.
type RegistrationMode string

// The registration modes.
const (
	OpenRegistration   RegistrationMode = "open"   // anyone
	InviteRegistration RegistrationMode = "invite" // users with an invitation
	ClosedRegistration RegistrationMode = "closed" // nobody
)

// RegistrationPolicy decides who may create an account, with a password or with a provider. It does
// not apply to operators, nor to users who already have an account. The zero value lets anyone register.
type RegistrationPolicy struct {
	Mode RegistrationMode // "" means OpenRegistration
	// Domains are the domains that an email may have, as user.Email.Domain returns them. None means any.
	Domains []string
}

// check returns an error unless someone without an invitation may register with an email. It depends
// on nothing but the settings and the email, so that the response does not reveal which emails have an
// account or an invitation. Errors: ErrRegistrationClosed, ErrInvitationRequired, ErrEmailDomain.
func (p RegistrationPolicy) check(email user.Email) error {
	switch p.Mode {
	case "", OpenRegistration:
		return p.checkDomain(email)
	case InviteRegistration:
		return ErrInvitationRequired
	case ClosedRegistration:
	}

	return ErrRegistrationClosed
}

// acceptsInvitations reports whether a user with an invitation may register, whatever the domain of the
// email is.
func (p RegistrationPolicy) acceptsInvitations() bool {
	return !errors.Is(p.check(""), ErrRegistrationClosed)
}

// checkDomain checks that an account may have an email. Errors: ErrEmailDomain.
func (p RegistrationPolicy) checkDomain(email user.Email) error {
	if len(p.Domains) > 0 && !slices.Contains(p.Domains, email.Domain()) {
		return ErrEmailDomain
	}

	return nil
}

// Rules returns the rules for new passwords.
func (s *Service) Rules() Rules { return s.options.Rules }

// Registration returns the rules for new accounts.
func (s *Service) Registration() RegistrationPolicy { return s.options.Registration }
