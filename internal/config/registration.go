package config

import (
	"strings"

	"golang.org/x/net/idna"
)

// RegistrationMode is who may create an account.
type RegistrationMode string

// The values of REGISTRATION.
const (
	OpenRegistration   RegistrationMode = "open"   // anyone
	InviteRegistration RegistrationMode = "invite" // whoever has an invitation
	ClosedRegistration RegistrationMode = "closed" // nobody
)

// Registration holds the rules for new accounts.
type Registration struct {
	Mode RegistrationMode `env:"REGISTRATION" envDefault:"open"`
	// Domains lists the domains that emails may have, in lower-case Unicode. None means any.
	Domains []string `env:"REGISTRATION_DOMAINS"`
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
