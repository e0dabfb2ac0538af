package httpapi

import (
	"net/http"
	"net/url"
	"strings"
)

// signInHeader is the header with which GET /auth/verify gives a proxy the URL of the sign-in page.
const signInHeader = "X-Auth-Sign-In-Url"

type verifyParams struct {
	Min    string `query:"min" enum:"aal1,aal2" description:"The lowest level of authentication that is accepted."`
	SignIn string `query:"signin" enum:"redirect" description:"For proxies that pass on the response of a failed check, such as Traefik and Caddy: redirects a signed-out browser to the sign-in page."`
}

// offerSignIn handles GET /auth/verify without a session. If a browser opens a page, it sets the URL
// of the sign-in page, from which the browser returns to that page. With signin=redirect it also
// redirects, and reports true. Other requests, such as those of scripts, get the usual 401.
func (s *Server) offerSignIn(w http.ResponseWriter, r *http.Request) bool {
	if s.signInPage == "" || !s.clientIPs.isProxy(r) || !opensPage(r) {
		return false
	}

	opened := forwardedURL(r)
	if host := hostOf(opened); !s.cookieReaches(host) {
		s.warnUnreachable.Do(func() {
			s.log.WarnContext(r.Context(), "signed-out browsers get no sign-in page, because this host does not get the session cookie; set COOKIE_DOMAIN", "host", host)
		})
		return false
	}

	target := s.signInPage
	if back, ok := s.origins.returnTo(opened); ok {
		target += "?return_to=" + url.QueryEscape(back)
	}

	w.Header().Set(signInHeader, target)
	if r.URL.Query().Get("signin") != "redirect" {
		return false
	}
	redirect(w, target)

	return true
}

// cookieReaches reports whether browsers send the session cookie to a host. Otherwise the sign-in page
// and the host would send a signed-in user to each other endlessly.
func (s *Server) cookieReaches(host string) bool {
	if s.cookie.Domain != "" {
		return host == s.cookie.Domain || strings.HasSuffix(host, "."+s.cookie.Domain)
	}

	return host == hostOf(s.signInPage)
}

// hostOf returns the host of a URL, without the port. It returns "" if the URL is invalid.
func hostOf(given string) string {
	u, err := url.Parse(given)
	if err != nil {
		return ""
	}

	return u.Hostname()
}

// forwardedURL returns the URL of the request that a proxy asks about. It is not trusted: returnTo
// decides whether a browser may be sent there.
func forwardedURL(r *http.Request) string {
	return r.Header.Get("X-Forwarded-Proto") + "://" + r.Header.Get("X-Forwarded-Host") + r.Header.Get("X-Forwarded-Uri")
}

// opensPage reports whether a browser navigates to the URL that a proxy asks about. The response to a
// script must not be a redirect: the script would get the sign-in page instead of its data. A form
// would lose its content.
func opensPage(r *http.Request) bool {
	method := r.Header.Get("X-Forwarded-Method")
	if method != http.MethodGet && method != http.MethodHead {
		return false
	}

	// Browsers send Sec-Fetch-Dest with https and on localhost.
	if destination := r.Header.Get("Sec-Fetch-Dest"); destination != "" {
		return destination == "document"
	}

	return strings.Contains(r.Header.Get("Accept"), "text/html")
}
