package httpapi

import (
	"net/http"
	"time"

	"latchkey/internal/session"
)

// Cookie is how the session cookie is sent (RFC 6265bis).
type Cookie struct {
	Name     string
	Domain   string // empty: only the host that set it gets it back
	Secure   bool
	SameSite http.SameSite
}

// token returns the session token of a request, or "" where it has none. Of
// several cookies of the name none counts: one of them was planted, from a
// subdomain or another path, and nobody can tell which.
func (c Cookie) token(r *http.Request) string {
	cookies := r.CookiesNamed(c.Name)
	if len(cookies) != 1 {
		return ""
	}
	return cookies[0].Value
}

// clearDeadCookie has the browser drop a cookie whose session has ended. Of
// several it drops none: it can only drop the one that we set, and what was
// planted beside it would be the session of the next request.
func (s *Server) clearDeadCookie(w http.ResponseWriter, r *http.Request) {
	switch n := len(r.CookiesNamed(s.cookie.Name)); n {
	case 0:
	case 1:
		s.cookie.clear(w)
	default:
		s.log.WarnContext(r.Context(), "several session cookies in one request; one may have been planted",
			"requestId", w.Header().Get(requestIDHeader), "cookies", n)
	}
}

// set sends the token of a session. It is called where a token is made, and
// nowhere else: a cookie on any other answer could arrive after a rotation or a
// logout that overtook it, and put a dead token in the place of a live one. So
// the cookie lasts as long as the session can, and the server alone keeps the
// idle time. A session that is not persistent ends with the browser's run.
func (c Cookie) set(w http.ResponseWriter, s *session.Session, token string) {
	maxAge := 0
	if s.Persistent {
		// A token is made while the session is in use, so LastSeenAt is now.
		maxAge = max(1, int(s.ExpiresAt.Sub(s.LastSeenAt)/time.Second))
	}
	c.write(w, token, maxAge)
}

// clear has the browser drop the cookie.
func (c Cookie) clear(w http.ResponseWriter) { c.write(w, "", -1) }

func (c Cookie) write(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: c.Name, Value: value, Path: "/", Domain: c.Domain, MaxAge: maxAge,
		HttpOnly: true, Secure: c.Secure, SameSite: c.SameSite,
	})
}
