package httpapi

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"latchkey/internal/auth"
	"latchkey/internal/session"
)

// fromMemory answers a session check with what is in memory. It returns the body of a response with
// status 200 and sets the headers of the route, or returns nil and sets none if it cannot answer.
type fromMemory func(h http.Header, r *http.Request, current *session.Session) []byte

// memoryChecks answers session checks from memory, before the router. Applications send more of these
// than of all other requests together, and the router and its middleware take several times as long as
// the check. Anything that is unusual about a request or its session is left to the router.
type memoryChecks struct {
	byPath  map[string]memoryCheck
	headers http.Header // of every response, as in routes
	cors    http.Handler
}

type memoryCheck struct {
	answer        fromMemory
	count         func(took time.Duration)
	forUnverified bool // as in route
	forUnenrolled bool // as in route
}

// newMemoryChecks returns the checks of the routes that have one. There are none if requests are
// traced or if successful ones are logged, which only the router does.
func (s *Server) newMemoryChecks() memoryChecks {
	c := memoryChecks{
		byPath:  map[string]memoryCheck{},
		headers: securityHeaders(s.cookie.Secure),
		cors:    s.origins.cors(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})),
	}
	c.headers.Set("Content-Type", jsonType)
	if s.tracing != nil || s.log.Enabled(context.Background(), slog.LevelDebug) {
		return c
	}

	for _, rt := range s.table() {
		if path, ok := strings.CutPrefix(rt.pattern, "GET "); ok && rt.fromMemory != nil {
			c.byPath[path] = memoryCheck{
				answer:        rt.fromMemory,
				count:         s.metrics.RequestCounter(http.MethodGet, path, http.StatusOK),
				forUnverified: rt.forUnverified,
				forUnenrolled: rt.forUnenrolled,
			}
		}
	}

	return c
}

// answerFromMemory answers a session check, and reports whether it did. The response is the same as
// that of the router: see TestAnswersFromMemory.
func (s *Server) answerFromMemory(w http.ResponseWriter, r *http.Request) bool {
	check, ok := s.checks.byPath[r.URL.Path]
	if !ok || !isPlain(r) || s.draining.Load() {
		return false
	}

	start := time.Now()
	current := s.sessions.InMemory(s.cookie.plainValue(r))
	if current == nil {
		return false
	}
	if s.verifiedOnly && !check.forUnverified && !current.EmailVerified {
		return false // the router decides
	}
	if s.auth.MFA() == auth.MFAAll && !check.forUnenrolled && !hasSecondFactor(current) {
		return false
	}

	h := w.Header()
	body := check.answer(h, r, current)
	if body == nil {
		return false
	}

	maps.Copy(h, s.checks.headers)
	h[requestIDHeader] = []string{newRequestID()}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	s.checks.cors.ServeHTTP(w, r)
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body) // an error means that the client has closed the connection

	check.count(time.Since(start))

	return true
}

// isPlain reports whether a request is like those of most clients: nothing about it needs a decision
// other than that about the session.
func isPlain(r *http.Request) bool {
	isPlain := r.Method == http.MethodGet && r.ProtoAtLeast(1, 1) && r.URL.RawPath == "" &&
		r.ContentLength == 0 && len(r.TransferEncoding) == 0

	return isPlain && !hasTooManyHeaders(r)
}
