package httpapi

import (
	"net/http"
	"net/url"

	"github.com/rs/cors"

	"latchkey/internal/activity"
	"latchkey/internal/loopback"
	"latchkey/internal/origin"
)

// origins are the origins of the pages that may call the API from a browser: this server's own
// origin and Options.Origins. Both may change something (requireSameOrigin), and CORS lets the
// trusted ones read responses.
type origins struct {
	trusted origin.Trusted
	pages   string // the origin of the built-in pages; empty if they are off
	prefix  string // the path of the API on that origin, without a slash at its end
	https   bool   // whether this server's own origin is https
	check   *http.CrossOriginProtection
	cors    func(http.Handler) http.Handler
}

func newOrigins(trusted origin.Trusted, https bool) (*origins, error) {
	o := &origins{
		trusted: trusted,
		https:   https,
		check:   http.NewCrossOriginProtection(),
		cors:    func(h http.Handler) http.Handler { return h },
	}
	if trusted.IsEmpty() {
		return o, nil
	}

	// Refuse origins that no browser sends. The method allows compares requests with the others.
	for _, origin := range trusted.Listed {
		if err := http.NewCrossOriginProtection().AddTrustedOrigin(origin); err != nil {
			return nil, err
		}
	}

	o.cors = cors.New(cors.Options{
		// The whole origin is compared, because the package would ignore case and expand "*".
		AllowOriginFunc:  trusted.Contains,
		AllowCredentials: true,
		// A page that may read everything gains nothing by another method, which the router refuses,
		// or by another header. Tools such as Sentry and OpenTelemetry add headers of their own.
		AllowedMethods: methods,
		AllowedHeaders: []string{"*"},
		// The response headers that a page may read.
		ExposedHeaders: []string{requestIDHeader, "Retry-After", "RateLimit", "RateLimit-Policy"},
		MaxAge:         600,
	}).Handler

	return o, nil
}

// refusePreflight refuses the preflight requests of pages whose origin is not trusted. The CORS
// package would answer 204 without permissions, which explains nothing.
func (s *Server) refusePreflight(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		isPreflight := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
		origin := r.Header.Get("Origin")

		if isPreflight && origin != "" && !s.origins.trusted.Contains(origin) {
			s.logRefusedPage(r, origin)
			s.fail(w, r, errCrossOrigin)
			return
		}

		next.ServeHTTP(w, r)
	})
}

// requireSameOrigin keeps pages on other origins from changing anything, which includes logging
// in and out (OWASP ASVS 5.0 3.5.1, 3.5.3). It does not depend on the cookie, so it also keeps a
// page from logging a victim in to the attacker's account.
func (s *Server) requireSameOrigin(w http.ResponseWriter, r *http.Request) error {
	if s.origins.allows(r) {
		return nil
	}

	origin := r.Header.Get("Origin")
	if origin != "" {
		s.logRefusedPage(r, origin)
	}
	s.record(w, r, activity.Event{
		Name:   activity.CrossOriginDenied,
		Origin: origin,
	})

	return errCrossOrigin
}

// allows reports whether a request may change something. Browsers identify the page with
// Sec-Fetch-Site and Origin, and all of them send at least one. A trusted origin is enough;
// otherwise both must be allowed.
func (o *origins) allows(r *http.Request) bool {
	if safe(r.Method) {
		return true
	}

	given := r.Header["Origin"]
	if len(given) > 1 {
		return false
	}
	if len(given) == 1 && o.trusted.Contains(given[0]) {
		return true
	}
	if len(given) == 1 && !o.isOwn(given[0], r.Host) {
		return false
	}

	return o.check.Check(r) == nil
}

// safe reports whether a method changes nothing (RFC 9110 section 9.2.1).
func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// isForeign reports whether a page on another site that is not trusted navigates the browser to
// the URL. It returns false for browsers without Fetch Metadata.
func (o *origins) isForeign(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Site") == "cross-site" && !o.trusted.Contains(pageOrigin(r))
}

// pageOrigin returns the origin of the page that navigates the browser to the URL, or "" if the
// page hides it.
func pageOrigin(r *http.Request) string {
	if given := r.Header.Get("Origin"); given != "" {
		return given
	}

	u, err := url.Parse(r.Referer())
	if err != nil {
		return ""
	}
	written, _ := origin.Of(u)

	return written
}

// isOwn reports whether an origin is this server's own. If this server uses https, a page of the
// same host over plain http is not trusted, because anyone on the network could have changed it.
// Loopback hosts are an exception.
func (o *origins) isOwn(origin, host string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host != host || origin != u.Scheme+"://"+u.Host {
		return false
	}

	return u.Scheme == "https" || u.Scheme == "http" && (!o.https || loopback.Host(u.Hostname()))
}
