package config

import (
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Rate is a budget: so many events in so long a time, written as 10/60s.
type Rate struct {
	Events int
	Window time.Duration
}

// UnmarshalText parses it.
func (r *Rate) UnmarshalText(b []byte) error {
	events, window, _ := strings.Cut(string(b), "/")
	var err error
	if r.Events, err = strconv.Atoi(events); err == nil {
		r.Window, err = time.ParseDuration(window)
	}
	if err != nil || r.Events < 1 || r.Events > maxRateEvents || r.Window < time.Second || r.Window > maxRateWindow {
		return errors.New("not a rate")
	}
	return nil
}

// Bounds of a Rate, which keep the time between two events a number that Redis can
// count with.
const (
	maxRateEvents = 1_000_000
	maxRateWindow = 24 * time.Hour
)

// accountShare is how many client addresses may use up their budgets on one account.
const accountShare = 3

// signInShare is how many people at one address may go to a provider in the time in which
// one may try passwords: nobody tries anything there.
const signInShare = 6

// Limits say how often something may be asked for. RATE_LIMIT is what those are that
// are not set; "off" is none at all.
type Limits struct {
	Flag string `env:"RATE_LIMIT" envDefault:"10/60s"`
	Off  bool
	// By the address of the client.
	Register Rate `env:"RATE_LIMIT_REGISTER"`
	Login    Rate `env:"RATE_LIMIT_LOGIN"`
	Mail     Rate `env:"RATE_LIMIT_MAIL"`     // what sends a mail with a link
	Token    Rate `env:"RATE_LIMIT_TOKEN"`    // what uses such a link
	Password Rate `env:"RATE_LIMIT_PASSWORD"` // what a session proves a password for
	OAuth    Rate `env:"RATE_LIMIT_OAUTH"`    // sign-ins with a provider; six times as many unless set
	// By the account that is tried, whoever tries (three times Login unless set), and
	// by the device that its owner has used before, which comes before the other two.
	Account Rate `env:"RATE_LIMIT_ACCOUNT"`
	Device  Rate `env:"RATE_LIMIT_DEVICE"`
}

// Mail is how mail is sent, and about what.
type Mail struct {
	// URL is the SMTP server, smtp:// or smtps://. Empty: no mail is sent.
	URL  Secret `env:"SMTP_URL"`
	From string `env:"MAIL_FROM"`
	// Interval is the least time between two mails with a link to one address.
	Interval Duration `env:"MAIL_INTERVAL" envDefault:"1m"`
}

// Accounts are the rules for what proves who someone is.
type Accounts struct {
	// PublicURL is where the pages are that the links in mails lead to; the first
	// FRONTEND_URL unless it is set.
	PublicURL string `env:"PUBLIC_URL"`
	// CommonFlag is the text of PASSWORD_COMMON; RefuseCommon is what it comes to: on,
	// but in development.
	CommonFlag   string `env:"PASSWORD_COMMON"`
	RefuseCommon bool
	// BreachURL is a server of the range protocol of Have I Been Pwned. Empty: nothing is
	// asked.
	BreachURL string `env:"PASSWORD_BREACH_URL"`
	// StepUpMaxAge is how long a proof of who someone is counts for what needs a new one.
	StepUpMaxAge Duration `env:"STEP_UP_MAX_AGE" envDefault:"10m"`
	// ResetMaxAge and VerifyMaxAge are how long the links in mails are good.
	ResetMaxAge  Duration `env:"RESET_LINK_MAX_AGE" envDefault:"30m"`
	VerifyMaxAge Duration `env:"VERIFY_LINK_MAX_AGE" envDefault:"24h"`
	// ActivityRetention is how long security events are kept.
	ActivityRetention Duration `env:"ACTIVITY_RETENTION" envDefault:"2160h"`
}

func (c *Config) validateAccounts() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	a := &c.Accounts
	switch strings.ToLower(a.CommonFlag) {
	case "":
		// In development off, because the example of the guides has such a password.
		a.RefuseCommon = c.AppEnv != Development
	case "refuse":
		a.RefuseCommon = true
	case "accept":
	default:
		fault("PASSWORD_COMMON: must be refuse or accept")
	}
	for name, given := range map[string]*string{"PUBLIC_URL": &a.PublicURL, "PASSWORD_BREACH_URL": &a.BreachURL} {
		*given = strings.TrimRight(*given, "/")
		u, err := url.Parse(*given)
		if *given != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
			fault("%s: must look like https://app.example.com", name)
			continue
		}
		if strings.ContainsFunc(*given, func(r rune) bool { return r <= ' ' || r > '~' }) {
			fault("%s: must be in ASCII, the host as in xn--bcher-kva.example", name)
		}
		if *given != "" && u.Scheme == "http" && c.AppEnv == Production && !isLoopback(u.Hostname()) {
			fault("%s: must be https", name)
		}
	}
	for name, d := range map[string]Duration{
		"STEP_UP_MAX_AGE": a.StepUpMaxAge, "RESET_LINK_MAX_AGE": a.ResetMaxAge, "VERIFY_LINK_MAX_AGE": a.VerifyMaxAge,
		"MAIL_INTERVAL": c.Mail.Interval, "ACTIVITY_RETENTION": a.ActivityRetention,
	} {
		if time.Duration(d) < time.Second {
			fault("%s: must be at least a second", name)
		}
	}
	if a.PublicURL == "" && len(c.FrontendURL) > 0 {
		a.PublicURL = c.FrontendURL[0]
	}
	faults = append(faults, c.validateMail()...)
	return append(faults, c.Limits.fill(&c.Warnings)...)
}

func (c *Config) validateMail() []error {
	var faults []error
	m := &c.Mail
	if m.URL == "" {
		if c.AppEnv == Production {
			c.Warnings = append(c.Warnings, "SMTP_URL is missing: no mail is sent, so that nobody can reset a password")
		}
		return nil
	}
	u, err := url.Parse(string(m.URL))
	if err != nil || u.Hostname() == "" || u.Scheme != "smtp" && u.Scheme != "smtps" {
		// The parser's text may quote the password.
		faults = append(faults, errors.New("SMTP_URL: must look like smtp://user:password@host:587 or smtps://user:password@host:465"))
	}
	if _, err := mail.ParseAddress(m.From); err != nil {
		faults = append(faults, errors.New("MAIL_FROM: must be the sender of the mails, like Latchkey <no-reply@example.com>"))
	}
	if c.Accounts.PublicURL == "" {
		faults = append(faults, errors.New("PUBLIC_URL: say where the pages are that the links in mails lead to, here or in FRONTEND_URL"))
	}
	return faults
}

// fill gives the limits that are not set the value of RATE_LIMIT.
func (l *Limits) fill(warnings *[]string) []error {
	if strings.EqualFold(l.Flag, "off") {
		l.Off = true
		*warnings = append(*warnings, "RATE_LIMIT is off: anyone may try passwords as fast as this machine can hash them")
		return nil
	}
	var all Rate
	if err := all.UnmarshalText([]byte(l.Flag)); err != nil {
		return []error{errors.New("RATE_LIMIT: must be a rate like 10/60s, or off")}
	}
	for _, rate := range []*Rate{&l.Register, &l.Login, &l.Mail, &l.Token, &l.Password, &l.Device} {
		if *rate == (Rate{}) {
			*rate = all
		}
	}
	if l.OAuth == (Rate{}) {
		l.OAuth = Rate{min(signInShare*all.Events, maxRateEvents), all.Window}
	}
	if l.Account == (Rate{}) {
		// More than one client may have, or any one could keep the owner out on a device
		// that they have not used before.
		l.Account = Rate{accountShare * l.Login.Events, l.Login.Window}
	}
	return nil
}
