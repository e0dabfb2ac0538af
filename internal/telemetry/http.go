package telemetry

import (
	"cmp"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/go-chi/chi/v5/middleware"
)

// HTTP observes the requests to a router: it counts, traces and logs them. Metrics and Tracing
// may be nil.
type HTTP struct {
	Metrics *Metrics
	Tracing *Tracing

	// Log gets a line for each request. The line identifies the request but contains none of its
	// data (OWASP ASVS 5.0 16.2.5): no query, no cookie and no value of a path parameter.
	Log *slog.Logger
	// Quiet lists the patterns of routes that clients poll. Successful reads (GET, HEAD) are logged at
	// level debug.
	Quiet []string

	// Route returns the pattern that the router has matched, such as "/auth/sessions/{id}", or
	// "". It is called after the response.
	Route func(*http.Request) string
	// ClientIP returns the client's IP.
	ClientIP func(*http.Request) string
	// Trusted reports whether a request's traceparent header is trusted. See Tracing.Request.
	Trusted func(*http.Request) bool
}

// Middleware observes the requests that next handles. It must run before any middleware that may
// reject a request.
func (h HTTP) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		h.Metrics.InFlight(1)
		r, span := h.Tracing.Request(r, h.Trusted)
		response := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		statusIfUnwritten := http.StatusInternalServerError

		// Deferred, so that a request that panics is observed as well.
		defer func() {
			took := time.Since(start)
			route := h.Route(r)
			status := cmp.Or(response.Status(), statusIfUnwritten)

			h.Metrics.InFlight(-1)
			h.Metrics.Request(r.Method, route, status, took)

			h.log(r, route, status, took, response.BytesWritten(), w.Header().Get("X-Request-Id"))
			span.End(route, status)
		}()

		next.ServeHTTP(response, r)
		statusIfUnwritten = http.StatusOK // what net/http sends if the handler has written nothing
	})
}

// log logs a request.
func (h HTTP) log(r *http.Request, route string, status int, took time.Duration, bytes int, requestID string) {
	isRead := r.Method == http.MethodGet || r.Method == http.MethodHead
	level := slog.LevelInfo
	if isRead && status < http.StatusBadRequest && slices.Contains(h.Quiet, route) {
		level = slog.LevelDebug
	}
	if !h.Log.Enabled(r.Context(), level) {
		return
	}

	h.Log.LogAttrs(r.Context(), level, "request",
		slog.String("method", httpMethods.label(r.Method)),
		slog.String("route", route),
		slog.Int("status", status),
		slog.Float64("durationMs", float64(took.Microseconds())/1000),
		slog.Int("bytes", bytes),
		slog.String("requestId", requestID),
		slog.String("ip", h.ClientIP(r)))
}
