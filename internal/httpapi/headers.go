package httpapi

import (
	"crypto/rand"
	"maps"
	"net/http"
	"strings"
)

// requestIDHeader carries the name of a request, for the log and for who asks
// about an answer.
const requestIDHeader = "X-Request-Id"

// identify names each request. A name that a client sends is not taken over: it
// would let anyone write into the log and pass as another request.
func identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(requestIDHeader, rand.Text())
		next.ServeHTTP(w, r)
	})
}

// An answer of the API is data. Should a browser be made to show one as a page,
// it gets no scripts, no frames and no origin (OWASP ASVS 5.0 3.2.1, 3.4.3, 3.4.6).
const apiPolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"

// secureHeaders puts on every answer, errors included, what keeps browsers from
// reading more into it than it says.
func secureHeaders(https bool) func(http.Handler) http.Handler {
	// All answers share the values: a header may be set anew or added to, which makes a
	// slice of its own, but a value is never changed in place.
	every := http.Header{}
	every.Set("Cache-Control", "no-store")
	every.Set("Content-Security-Policy", apiPolicy)
	every.Set("Cross-Origin-Resource-Policy", "same-origin")
	every.Set("Referrer-Policy", "no-referrer")
	every.Set("X-Content-Type-Options", "nosniff")
	if https {
		// Two years, as the browsers' preload lists ask (ASVS 3.4.1). Not without a
		// Secure cookie: it would lock http://localhost out.
		every.Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			maps.Copy(w.Header(), every)
			next.ServeHTTP(w, r)
		})
	}
}

const (
	// maxHeaders is how many header lines a request may have; net/http would take as
	// many as fit into its limit of bytes.
	maxHeaders = 100
	// maxCookies is how many cookies. Browsers keep up to about 180 for a site.
	maxCookies = 200
)

// modest refuses requests that are built to be expensive or ambiguous.
func (s *Server) modest(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lines, cookies := 0, 0
		for _, values := range r.Header {
			lines += len(values)
		}
		for _, line := range r.Header["Cookie"] {
			cookies += strings.Count(line, ";") + 1
		}
		switch {
		case lines > maxHeaders || cookies > maxCookies:
			w.Header().Set("Connection", "close")
			s.fail(w, r, errTooManyHeaders)
		case len(r.TransferEncoding) > 0:
			// net/http hides a Content-Length beside it, by which a proxy may have cut the
			// connection into other requests than we would (RFC 9112 section 11.2). No client
			// of a JSON API needs chunks.
			w.Header().Set("Connection", "close")
			s.fail(w, r, errLengthRequired)
		default:
			next.ServeHTTP(w, r)
		}
	})
}
