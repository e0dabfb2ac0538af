package config

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"
)

// minSecretBytes is the shortest SESSION_SECRET or DATA_KEY that production accepts: an HMAC key as
// long as its hash (RFC 2104 section 3).
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
	const name = "SESSION_SECRET"

	s := &l.Session
	if len(s.Secrets) == 0 {
		l.report(name, "required%s", howToGenerate)
	}
	l.checkSecrets(name, s.Secrets)

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

// howToGenerate ends the problems of a missing or unsafe secret.
const howToGenerate = "; generate one with: openssl rand -base64 32"

// checkSecrets trims the secrets of a list, and reports those that protect nothing.
func (l *loader) checkSecrets(name string, secrets []Secret) {
	for i, given := range secrets {
		secret := strings.TrimSpace(string(given))
		isRepeated := slices.Contains(secrets[:i], Secret(secret))
		secrets[i] = Secret(secret)

		switch {
		case secret == "":
			l.report(name, "contains an empty secret between two commas")
		case isRepeated:
			l.report(name, "contains the same secret twice; to rotate it, put a new one in front")
		case l.AppEnv != Production:
		case len(secret) < minSecretBytes:
			l.report(name, "must have at least %d characters%s", minSecretBytes, howToGenerate)
		case isPublished(secret):
			l.report(name, "a published example, not a secret%s", howToGenerate)
		case isGuessable(secret):
			l.report(name, "too regular to be secret%s", howToGenerate)
		}
	}
}

// isGuessable reports whether a secret is not random: it has few different characters, repeats a part
// of itself, or is a sequence such as 0123456789abcdef.
func isGuessable(secret string) bool {
	distinct := map[byte]bool{}
	neighbors := 0
	for i := range len(secret) {
		distinct[secret[i]] = true
		if i > 0 && (secret[i] == secret[i-1]+1 || secret[i] == secret[i-1]-1) {
			neighbors++
		}
	}

	return len(distinct) < minSecretDistinct || neighbors > len(secret)/2 || isRepetition(secret)
}

// isRepetition reports whether a string only repeats a part that is at most half as long.
func isRepetition(s string) bool {
	for length := 1; length <= len(s)/2; length++ {
		if s[length:] == s[:len(s)-length] {
			return true
		}
	}

	return false
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
		k.Name = l.defaultCookieName()
	}

	l.checkCookieName()
}

// defaultCookieName returns the name with the strictest prefix that browsers accept for the cookie.
// No http page can set a cookie with such a prefix. With __Host-, no other host can set it either
// (OWASP ASVS 5.0 3.3.1).
func (l *loader) defaultCookieName() string {
	switch {
	case !l.Cookie.Secure:
		return "sid"
	case l.Cookie.Domain != "":
		return securePrefix + "sid"
	}

	return hostPrefix + "sid"
}

// Prefixes of cookie names that browsers know (RFC 6265bis section 4.1.3).
const (
	hostPrefix   = "__Host-"
	securePrefix = "__Secure-"
)

// hasPrefix reports whether a browser treats a cookie with this name as one with the prefix.
func hasPrefix(name, prefix string) bool {
	return len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
}

// isOtherCookie reports whether the name is that of another cookie of this server: that of a device, of
// a login that waits for its second factor, of a trusted device, or of a sign-in with a provider. Two
// cookies with one name would overwrite each other.
func isOtherCookie(name string) bool {
	name = strings.TrimPrefix(name, hostPrefix)

	return name == "device" || name == "mfa" || strings.HasPrefix(name, "trust-") || strings.HasPrefix(name, "oauth-")
}

// isDomain reports whether the domain has the form that cookies need.
func isDomain(domain string) bool {
	valid := (&http.Cookie{Name: "x", Domain: domain}).Valid() == nil

	return valid && net.ParseIP(domain) == nil && !strings.HasSuffix(domain, ".")
}

// checkCookieName checks the name of the cookie, including the rules that browsers enforce for
// two prefixes.
func (l *loader) checkCookieName() {
	const name = "SESSION_NAME"

	k := l.Cookie
	if (&http.Cookie{Name: k.Name}).Valid() != nil {
		l.report(name, "must consist of letters, digits and -._")
	}

	if isOtherCookie(k.Name) {
		l.report(name, "is the name of another cookie of this server; choose a different name")
	}

	isHost := hasPrefix(k.Name, hostPrefix)
	if isHost && k.Domain != "" {
		l.report(name, "browsers drop a __Host- cookie with a domain; unset COOKIE_DOMAIN or choose another name")
	}
	if (isHost || hasPrefix(k.Name, securePrefix)) && !k.Secure {
		l.report(name, "browsers drop a __Host- or __Secure- cookie that is not Secure; set COOKIE_SECURE=true or choose another name")
	}
}
