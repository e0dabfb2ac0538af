package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"latchkey/internal/session"
)

// Cookie holds the attributes of the session cookie (RFC 6265bis).
type Cookie struct {
	Name     string
	Domain   string // empty for a cookie of this host only
	Secure   bool
	SameSite http.SameSite
}

// companion returns a cookie of this host that accompanies the session cookie and grants no access to the
// routes of a session. It is never SameSite=Strict, because browsers do not send such cookies when they
// return from another site, such as a provider.
func (c Cookie) companion(name string) Cookie {
	other := Cookie{Name: name, Secure: c.Secure, SameSite: c.SameSite}
	if c.Secure {
		other.Name = "__Host-" + name
	}
	if c.SameSite == http.SameSiteStrictMode {
		other.SameSite = http.SameSiteLaxMode
	}

	return other
}

// values returns the different values of the cookie in a request. A browser sends several if it has
// cookies of the name with different domains or paths.
func (c Cookie) values(r *http.Request) []string {
	var values []string
	for _, cookie := range r.CookiesNamed(c.Name) {
		if !slices.Contains(values, cookie.Value) {
			values = append(values, cookie.Value)
		}
	}

	return values
}

// value returns the value of the cookie in a request, or "" if there is none. If there are several
// values, all are ignored: some were planted from a subdomain or another path, and nothing shows
// which.
func (c Cookie) value(r *http.Request) string {
	values := c.values(r)
	if len(values) != 1 {
		return ""
	}

	return values[0]
}

// plainValue returns the value of the cookie if the request obviously has exactly one, and otherwise
// "". If it returns a value that is a token, that is what values returns, too.
func (c Cookie) plainValue(r *http.Request) string {
	lines := r.Header["Cookie"]
	if len(lines) != 1 {
		return ""
	}

	before, value, _ := strings.Cut(lines[0], c.Name)
	isFirst := before == "" || strings.HasSuffix(before, "; ")
	value, hasValue := strings.CutPrefix(value, "=")
	if !isFirst || !hasValue || strings.Contains(value, c.Name) {
		return ""
	}
	value, _, _ = strings.Cut(value, ";")

	return value
}

// set sends the token of a session. Call it only when a token was created: any other response
// could arrive after a rotation or a logout, and its cookie would replace a live token by a dead
// one. For the same reason the cookie lasts until the absolute timeout, and only the server
// enforces the idle timeout. The cookie of a session that is not persistent ends with the browser
// session.
func (c Cookie) set(w http.ResponseWriter, s *session.Session, token string) {
	maxAge := 0
	if s.Persistent {
		// Tokens are created while the session is in use, so LastSeenAt is now.
		maxAge = max(1, int(s.ExpiresAt.Sub(s.LastSeenAt)/time.Second))
	}

	c.clearHostOnly(w)
	c.write(w, token, maxAge)
}

// clear makes the browser delete the cookie.
func (c Cookie) clear(w http.ResponseWriter) {
	c.clearHostOnly(w)
	c.write(w, "", -1)
}

// clearHostOnly makes the browser delete a cookie without a Domain, from the time before the setting
// was changed. Call it before write: if the Domain is the host itself, both are the same cookie.
func (c Cookie) clearHostOnly(w http.ResponseWriter) {
	if c.Domain == "" {
		return
	}

	c.Domain = ""
	c.write(w, "", -1)
}

func (c Cookie) write(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name:     c.Name,
		Value:    value,
		Path:     "/",
		Domain:   c.Domain,
		MaxAge:   maxAge,
		HttpOnly: true,
		Secure:   c.Secure,
		SameSite: c.SameSite,
	})
}
