package config

import (
	"strings"
	"time"

	"golang.org/x/net/idna"
)

// RegistrationMode determines which users may create an account.
type RegistrationMode string

// The values of REGISTRATION.
const (
	OpenRegistration   RegistrationMode = "open"   // anyone
	InviteRegistration RegistrationMode = "invite" // users with an invitation
	ClosedRegistration RegistrationMode = "closed" // nobody
)

// Registration holds the rules for new accounts.
type Registration struct {
	Mode RegistrationMode `env:"REGISTRATION" envDefault:"open"`
	// Domains lists the domains that emails may have, in lower-case Unicode. None means any.
	Domains []string `env:"REGISTRATION_DOMAINS"`
	// InvitationMaxAge is the lifetime of invitations.
	InvitationMaxAge time.Duration `env:"INVITATION_MAX_AGE" envDefault:"168h"`
	// RequireVerifiedEmail closes most routes to users whose email is not verified.
	RequireVerifiedEmail bool `env:"REQUIRE_VERIFIED_EMAIL" envDefault:"false"`
	// UnverifiedMaxAge is the age at which accounts whose email is not verified are deleted. Zero keeps
	// them.
	UnverifiedMaxAge time.Duration `env:"UNVERIFIED_MAX_AGE" envDefault:"0s"`
}

func (l *loader) checkRegistration() {
	const name = "REGISTRATION_DOMAINS"

	r := &l.Registration
	r.Domains = entries(r.Domains)
	for i, given := range r.Domains {
		domain, ok := emailDomain(given)
		if !ok {
			l.reportItem(name, given, "must be domains like example.com, separated by commas")
		}
		r.Domains[i] = domain
	}
	l.atLeastSecond("INVITATION_MAX_AGE", r.InvitationMaxAge)
	if len(r.Domains) > 0 && r.Mode == OpenRegistration && !r.RequireVerifiedEmail {
		l.warn("REGISTRATION_DOMAINS is set without REQUIRE_VERIFIED_EMAIL=true: " +
			"anyone can register with somebody else's email in these domains")
	}

	if r.RequireVerifiedEmail && l.Mail.URL == "" && l.AppEnv == Production {
		l.report("REQUIRE_VERIFIED_EMAIL", "requires SMTP_URL, or nobody can verify an email")
	}
	l.checkUnverifiedMaxAge()
}

func (l *loader) checkUnverifiedMaxAge() {
	const name = "UNVERIFIED_MAX_AGE"

	maxAge := l.Registration.UnverifiedMaxAge
	switch {
	case maxAge == 0:
	case maxAge < l.Accounts.VerifyMaxAge:
		l.report(name, "must be at least VERIFY_LINK_MAX_AGE (%v), or 0s to keep unverified accounts", l.Accounts.VerifyMaxAge)
	case l.Mail.URL == "" && l.AppEnv == Production:
		l.report(name, "requires SMTP_URL, or nobody can verify an email")
	}
}

// emailDomain returns a domain as package user stores it in an email: in lower-case Unicode. It reports
// whether an email can have the domain.
func emailDomain(given string) (string, bool) {
	ascii, err := idna.Lookup.ToASCII(given)
	if err != nil || !isDomain(ascii) || !strings.Contains(ascii, ".") {
		return "", false
	}

	unicode, err := idna.Lookup.ToUnicode(ascii)

	return unicode, err == nil
}
