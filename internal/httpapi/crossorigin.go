package httpapi

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"

	"github.com/go-chi/chi/v5/middleware"
	"github.com/jub0bs/cors"

	"latchkey/internal/activity"
)

// origins is the one list of who may call the API from a browser: the pages of this
// server's own origin, and those of Options.Origins. CORS lets the latter read the
// answers, and crossOrigin lets both change something.
type origins struct {
	listed []string
	https  bool // this server's own origin is https
	check  *http.CrossOriginProtection
	cors   func(http.Handler) http.Handler
}

func newOrigins(listed []string, https bool) (*origins, error) {
	o := &origins{listed: listed, https: https, check: http.NewCrossOriginProtection(), cors: func(h http.Handler) http.Handler { return h }}
	if len(listed) == 0 {
		return o, nil
	}
	for _, origin := range listed {
		if err := o.check.AddTrustedOrigin(origin); err != nil {
			return nil, err
		}
	}
	config := cors.Config{
		Origins: listed, Credentialed: true,
		Methods:        []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete},
		RequestHeaders: []string{"Content-Type"},
		// What a page may read of an answer beside its body.
		ResponseHeaders: []string{requestIDHeader, "Retry-After", "RateLimit", "RateLimit-Policy"},
		MaxAgeInSeconds: 600,
	}
	// Which origins are safe is for the settings to say; here it would be a second list.
	config.DangerouslyTolerateInsecureOrigins = true
	m, err := cors.NewMiddleware(config)
	if err != nil {
		return nil, err
	}
	o.cors = m.Wrap
	return o, nil
}

// guarded keeps pages of other origins from changing anything, logging in and out
// included (OWASP ASVS 5.0 3.5.1, 3.5.3). It does not depend on the cookie, so that
// nobody is logged in to an attacker's account either.
func (s *Server) guarded(next handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if !s.origins.allows(r) {
			s.record(w, r, activity.Event{Name: activity.CrossOriginDenied, Origin: r.Header.Get("Origin")})
			return errCrossOrigin
		}
		return next(w, r)
	}
}

// allows tells whether a request may change something. A browser says who asks by
// Sec-Fetch-Site and by Origin, and both have to be right; who sends neither is no
// browser of these years.
func (o *origins) allows(r *http.Request) bool {
	if safe(r.Method) {
		return true
	}
	switch given := r.Header["Origin"]; {
	case len(given) > 1:
		return false
	case len(given) == 1 && !slices.Contains(o.listed, given[0]) && !o.own(given[0], r.Host):
		return false
	}
	return o.check.Check(r) == nil
}

func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// own tells whether an origin is that of this server. A page that came over plain http
// may have been put there by anyone on the way, so it is none of ours where we are
// https (browsers without Sec-Fetch-Site leave that to us); on the loopback there is no
// way.
func (o *origins) own(origin, host string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host != host || origin != u.Scheme+"://"+u.Host {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && (!o.https || loopback(u.Hostname()))
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// clientIP is the address of the client: the peer, or what proxies that are trusted say
// in X-Forwarded-For, see Options.TrustedProxies.
func clientIP(r *http.Request) string {
	if ip := middleware.GetClientIP(r.Context()); ip != "" {
		return ip
	}
	// The proxy said nothing, or nonsense, or named trusted ones only: then it is all that
	// is known.
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
