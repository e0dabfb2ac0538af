package telemetry

import (
	"context"
	"net/http"
	"time"
)

// HTTP observes the requests of a router: it counts them, gives each a span, and writes
// a line about each. What is nil is left out.
type HTTP struct {
	Metrics *Metrics
	Tracing *Tracing
	// Log writes the line about a request, see AccessLog.
	Log func(context.Context, Answered)

	// Route returns the router's pattern that a request was answered by, "" for none. It
	// is asked after the answer.
	Route func(*http.Request) string
	// RequestID returns the id of a request, by the headers of its answer.
	RequestID func(http.Header) string
	// ClientIP returns whose request it is.
	ClientIP func(*http.Request) string
	// Trusted tells whether the traceparent of a request is believed, see Tracing.Request.
	Trusted func(*http.Request) bool
}

// Middleware observes what next answers. It stands where ClientIP is known already, and
// before all that may refuse a request.
func (h HTTP) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		h.Metrics.InFlight(1)
		r, span := h.Tracing.Request(r, h.Trusted != nil && h.Trusted(r))
		a := &answer{ResponseWriter: w}
		returned := false
		// Also where it panics: an answer that was broken off is one that must be seen.
		defer func() {
			took, route := time.Since(began), ask(h.Route, r)
			status := a.status
			if status == 0 {
				status = http.StatusOK // net/http's, where nothing is written
				if !returned {
					status = http.StatusInternalServerError
				}
			}
			h.Metrics.InFlight(-1)
			h.Metrics.Request(r.Method, route, status, took)
			if h.Log != nil {
				h.Log(r.Context(), Answered{
					Method: r.Method, Route: route, Status: status, Took: took, Bytes: a.bytes,
					ID: ask(h.RequestID, w.Header()), IP: ask(h.ClientIP, r),
				})
			}
			span.End(route, status)
		}()
		next.ServeHTTP(a, r)
		returned = true
	})
}

// ask calls f, unless there is none.
func ask[T any](f func(T) string, about T) string {
	if f == nil {
		return ""
	}
	return f(about)
}

// answer notes what is answered.
type answer struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	// Those below 200 come before the answer (RFC 9110 section 15.2).
	if a.status == 0 && (status >= http.StatusOK || status == http.StatusSwitchingProtocols) {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	n, err := a.ResponseWriter.Write(b)
	a.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
