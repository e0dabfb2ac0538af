package config

import (
	"cmp"
	"net/mail"
	"strings"
	"time"
)

// accountShare is the ratio of the limit per account to the limit per IP. With 1, a single client
// could use up the limit of an account and keep its owner from logging in on a new device.
const accountShare = 3

// signInShare is the ratio of the limit for provider sign-ins to the default limit. Many people
// may share an IP, and nobody can guess passwords there.
const signInShare = 6

// The range of the minimum length of new passwords. OWASP ASVS 5.0 6.2.1 requires at least 8
// characters, and NIST SP 800-63B-4 section 3.1.1.2 at least 15 where a password is the only factor.
// OWASP ASVS 5.0 6.2.9 forbids rejecting passwords of 64 characters.
const (
	minPasswordLength = 8
	maxPasswordLength = 64
)

func (l *loader) checkAccounts() {
	const example = "https://app.example.com"

	parse := l.webURL
	if l.AppEnv == Production {
		parse = l.secureURL
	}

	a := &l.Accounts
	a.PublicURL = strings.TrimRight(a.PublicURL, "/")
	a.BreachURL = strings.TrimRight(a.BreachURL, "/")

	switch {
	case a.PublicURL != "":
		parse("PUBLIC_URL", a.PublicURL, example)
	case bool(a.Pages):
		l.report("PUBLIC_URL", "required with PAGES=on: the URL of this server as browsers see it, since links in emails open its pages")
	case len(l.FrontendURL) > 0:
		a.PublicURL = l.FrontendURL[0]
	}
	if a.BreachURL != "" {
		parse("PASSWORD_BREACH_URL", a.BreachURL, example)
	}

	l.between("PASSWORD_MIN_LENGTH", a.PasswordMinLength, minPasswordLength, maxPasswordLength)
	l.atLeastSecond("STEP_UP_MAX_AGE", a.StepUpMaxAge)
	l.atLeastSecond("RESET_LINK_MAX_AGE", a.ResetMaxAge)
	l.atLeastSecond("VERIFY_LINK_MAX_AGE", a.VerifyMaxAge)
	if a.CacheMaxAge < 0 || a.CacheMaxAge > time.Minute {
		l.report("USER_CACHE_MAX_AGE", "must be from 0s to 1m")
	}
	if a.ActivityRetention < minRetention {
		l.report("ACTIVITY_RETENTION", "must be at least 24h, so that users can read security events before they are deleted")
	}
}

// minRetention is the shortest retention that still lets a user or an operator notice a security
// event.
const minRetention = 24 * time.Hour

func (l *loader) checkMail() {
	l.atLeastSecond("MAIL_INTERVAL", l.Mail.Interval)
	isFullName := isDomain(l.Mail.HeloName) && strings.Index(l.Mail.HeloName, ".") > 0
	if l.Mail.HeloName != "" && !isFullName {
		l.report("SMTP_HELO_NAME", "must be a full host name like latchkey.example.com")
	}

	if l.Mail.URL == "" {
		if l.AppEnv == Production {
			l.warn("SMTP_URL is not set: no email is sent, and nobody can reset a password. " +
				"Therefore, 100 wrong passwords in a row only limit further attempts to 10 an hour from each IP")
		}

		return
	}

	if l.Mail.Interval > min(l.Accounts.ResetMaxAge, l.Accounts.VerifyMaxAge) {
		// Otherwise a stranger who requests a link could keep the owner from getting one that
		// works.
		l.report("MAIL_INTERVAL", "must be at most RESET_LINK_MAX_AGE and VERIFY_LINK_MAX_AGE")
	}

	if _, ok := parseURL(string(l.Mail.URL), "smtp", "smtps"); !ok {
		l.report("SMTP_URL", "must look like smtp://user:password@host:587 or smtps://user:password@host:465; %s", percentEncoding)
	}
	if from, err := mail.ParseAddress(l.Mail.From); err != nil {
		l.report("MAIL_FROM", "must be the sender of emails, like Acme <no-reply@example.com>")
	} else {
		l.nameSender(from)
	}
	if l.AppEnv == Production && l.vars["APP_NAME"] == "" {
		l.warn("APP_NAME is not set: emails call your product Latchkey")
	}
	if l.Accounts.PublicURL == "" {
		l.report("PUBLIC_URL", "required for links in emails, unless FRONTEND_URL is set")
	}
}

// fillLimits fills in the limits that are not set.
func (l *loader) fillLimits() {
	all := l.Limits.Default.Rate
	if all == (Rate{}) {
		l.Limits = Limits{}

		return
	}

	limits := &l.Limits
	for _, rate := range []*Rate{&limits.Register, &limits.Login, &limits.Mail, &limits.Token, &limits.Password, &limits.Device} {
		*rate = cmp.Or(*rate, all)
	}

	signIns := Rate{Events: min(signInShare*all.Events, maxRateEvents), Window: all.Window}
	limits.OAuth = cmp.Or(limits.OAuth, signIns)

	perAccount := Rate{Events: accountShare * limits.Login.Events, Window: limits.Login.Window}
	limits.Account = cmp.Or(limits.Account, perAccount)
}

func (l *loader) warn(text string) { l.Warnings = append(l.Warnings, text) }
