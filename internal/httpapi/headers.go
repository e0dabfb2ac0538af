package httpapi

import (
	"crypto/rand"
	"maps"
	"net/http"
	"strings"
)

// requestIDHeader is the header with the ID of a request, which is also in the log.
const requestIDHeader = "X-Request-Id"

func newRequestID() string { return rand.Text() }

// setRequestID gives every request an ID. It ignores IDs from clients, which could forge log
// entries or imitate other requests.
func setRequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(requestIDHeader, newRequestID())
		next.ServeHTTP(w, r)
	})
}

// apiPolicy is the Content-Security-Policy of the API, whose responses are data. If someone
// tricks a browser into showing one as a page, that page has no scripts, no frames and no origin
// (OWASP ASVS 5.0 3.2.1, 3.4.3, 3.4.6).
const apiPolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"

// setSecurityHeaders sets security headers on every response, errors included.
func setSecurityHeaders(https bool) func(http.Handler) http.Handler {
	every := securityHeaders(https)

	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			maps.Copy(w.Header(), every)
			next.ServeHTTP(w, r)
		})
	}
}

// securityHeaders returns the security headers of every response.
func securityHeaders(https bool) http.Header {
	// All responses share these slices. This is safe, because Set and Add replace a slice and
	// nothing changes one in place.
	every := http.Header{}
	every.Set("Cache-Control", "no-store")
	every.Set("Content-Security-Policy", apiPolicy)
	every.Set("Cross-Origin-Resource-Policy", "same-origin")
	every.Set("Referrer-Policy", "no-referrer")
	every.Set("X-Content-Type-Options", "nosniff")
	if https {
		// Two years, as the preload lists of browsers require (ASVS 3.4.1). Over plain http this
		// would make http://localhost unreachable.
		every.Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
	}

	return every
}

const (
	// maxHeaders is the maximum number of header lines in a request. net/http only limits bytes.
	maxHeaders = 100
	// maxCookies is the maximum number of cookies. Browsers keep up to about 180 per site.
	maxCookies = 200
)

// limitHeaders rejects requests with too many headers or cookies.
func (s *Server) limitHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hasTooManyHeaders(r) {
			w.Header().Set("Connection", "close")
			s.fail(w, r, errTooManyHeaders)
			return
		}

		next.ServeHTTP(w, r)
	})
}

func hasTooManyHeaders(r *http.Request) bool {
	lines := 0
	cookies := 0

	for _, values := range r.Header {
		lines += len(values)
	}
	for _, line := range r.Header["Cookie"] {
		cookies += strings.Count(line, ";") + 1
	}

	return lines > maxHeaders || cookies > maxCookies
}
