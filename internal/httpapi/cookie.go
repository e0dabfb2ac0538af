package httpapi

import (
	"net/http"
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

// token returns the session token of a request, or "" if there is none. If there are several
// cookies of the name, all are ignored: some were planted from a subdomain or another path, and
// nothing shows which.
func (c Cookie) token(r *http.Request) string {
	cookies := r.CookiesNamed(c.Name)
	if len(cookies) != 1 {
		return ""
	}

	return cookies[0].Value
}

// clearDeadCookie makes the browser delete a cookie whose session has ended. It does nothing if
// there are several: it could only delete the cookie that this server set, and the next request
// would use a planted one.
func (s *Server) clearDeadCookie(w http.ResponseWriter, r *http.Request) {
	count := len(r.CookiesNamed(s.cookie.Name))

	switch count {
	case 0:
	case 1:
		s.cookie.clear(w)
	default:
		s.log.WarnContext(r.Context(), "request has several session cookies; one may be planted",
			"requestId", w.Header().Get(requestIDHeader), "cookies", count)
	}
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

	c.write(w, token, maxAge)
}

// clear makes the browser delete the cookie.
func (c Cookie) clear(w http.ResponseWriter) { c.write(w, "", -1) }

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
