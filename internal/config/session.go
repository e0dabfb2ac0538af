package config

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"
)

// minSecretBytes is the shortest SESSION_SECRET that production accepts: an HMAC key as long
// as its hash (RFC 2104 section 3).
const minSecretBytes = 32

// minSecretDistinct is the minimum number of different characters in a secret. Only one in ten
// billion strings of 32 random hex digits has fewer than 8.
const minSecretDistinct = 8

// publishedSecrets are fragments of the example secrets in guides and in this repository. Anyone
// can read those, so they protect nothing.
var publishedSecrets = []string{"change-this", "change-me", "changeme", "your-secret", "your-super-secret", "your-session-secret"}

// maxSessionsPerUser bounds the cost of listing the sessions of a user.
const maxSessionsPerUser = 1000

func (l *loader) checkSession() {
	s := &l.Session
	l.checkSecrets()

	l.atLeastSecond("SESSION_MAX_AGE", s.MaxAge)
	if s.AbsoluteMaxAge < s.MaxAge {
		l.report("SESSION_ABSOLUTE_MAX_AGE", "must be at least SESSION_MAX_AGE (%v)", s.MaxAge)
	}
	l.between("SESSION_MAX_PER_USER", s.MaxPerUser, 0, maxSessionsPerUser)

	if s.TouchInterval == 0 {
		s.TouchInterval = min(time.Minute, s.MaxAge/10)
	}
	if s.TouchInterval < 0 || s.TouchInterval > s.MaxAge/2 {
		// With a longer interval, a session in constant use would time out as idle.
		l.report("SESSION_TOUCH_INTERVAL", "must be at most half of SESSION_MAX_AGE (%v)", s.MaxAge)
	}
}

func (l *loader) checkSecrets() {
	const name, generate = "SESSION_SECRET", "; generate one with: openssl rand -base64 32"

	if len(l.Session.Secrets) == 0 {
		l.report(name, "required%s", generate)
	}

	for i, given := range l.Session.Secrets {
		secret := strings.TrimSpace(string(given))
		l.Session.Secrets[i] = Secret(secret)

		switch {
		case secret == "":
			l.report(name, "contains an empty secret between two commas")
		case l.AppEnv != Production:
		case len(secret) < minSecretBytes:
			l.report(name, "must have at least %d characters%s", minSecretBytes, generate)
		case distinctBytes(secret) < minSecretDistinct:
			l.report(name, "too repetitive to be secret%s", generate)
		case isPublished(secret):
			l.report(name, "a published example, not a secret%s", generate)
		}
	}
}

func distinctBytes(secret string) int {
	sorted := []byte(secret)
	slices.Sort(sorted)

	return len(slices.Compact(sorted))
}

func isPublished(secret string) bool {
	normalized := strings.ToLower(strings.NewReplacer("_", "-", " ", "-").Replace(secret))

	return slices.ContainsFunc(publishedSecrets, func(part string) bool {
		return strings.Contains(normalized, part)
	})
}

func (l *loader) checkCookie() {
	k := &l.Cookie
	if !k.Secure && l.AppEnv == Production {
		l.report("COOKIE_SECURE", "must be true in production, or the cookie is sent unencrypted")
	}
	if !k.Secure && k.SameSite == http.SameSiteNoneMode {
		l.report("COOKIE_SAME_SITE", "none requires COOKIE_SECURE=true, or browsers drop the cookie")
	}

	k.Domain = strings.TrimPrefix(strings.ToLower(k.Domain), ".")
	if k.Domain == "localhost" {
		k.Domain = "" // the guides set localhost, which not every client accepts
	}

	suffix, _ := publicsuffix.PublicSuffix(k.Domain)
	switch {
	case k.Domain == "":
	case !isDomain(k.Domain):
		l.report("COOKIE_DOMAIN", "must be a domain like example.com, without a scheme, port or path")
	case k.Domain == suffix:
		l.report("COOKIE_DOMAIN", "must be a domain like example.com: browsers drop cookies of a public suffix")
	}

	if k.Name == "" {
		k.Name = "sid"
		if k.Secure && k.Domain == "" {
			k.Name = "__Host-sid"
		}
	}

	l.checkCookieName()
}

// isDomain reports whether the domain has the form that cookies need.
func isDomain(domain string) bool {
	valid := (&http.Cookie{Name: "x", Domain: domain}).Valid() == nil

	return valid && net.ParseIP(domain) == nil && !strings.HasSuffix(domain, ".")
}

// checkCookieName checks the name of the cookie, including the rules that browsers enforce for
// two prefixes (RFC 6265bis section 4.1.3).
func (l *loader) checkCookieName() {
	const name = "SESSION_NAME"

	k := l.Cookie
	if (&http.Cookie{Name: k.Name}).Valid() != nil {
		l.report(name, "must consist of letters, digits and -._")
	}

	lower := strings.ToLower(k.Name)
	isHost := strings.HasPrefix(lower, "__host-")
	if isHost && k.Domain != "" {
		l.report(name, "browsers drop a __Host- cookie with a domain; unset COOKIE_DOMAIN or choose another name")
	}
	if (isHost || strings.HasPrefix(lower, "__secure-")) && !k.Secure {
		l.report(name, "browsers drop a __Host- or __Secure- cookie that is not Secure; set COOKIE_SECURE=true or choose another name")
	}
}
