package httpapi

import (
	"crypto/rand"
	"net/http"
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
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Cache-Control", "no-store")
			h.Set("Content-Security-Policy", apiPolicy)
			h.Set("Cross-Origin-Resource-Policy", "same-origin")
			h.Set("Referrer-Policy", "no-referrer")
			h.Set("X-Content-Type-Options", "nosniff")
			if https {
				// Two years, as the browsers' preload lists ask (ASVS 3.4.1). Not
				// without a Secure cookie: it would lock http://localhost out.
				h.Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
			}
			next.ServeHTTP(w, r)
		})
	}
}
