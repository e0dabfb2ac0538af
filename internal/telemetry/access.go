package telemetry

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"
)

// Answered is a request that was answered.
type Answered struct {
	Method string
	// Route is the router's pattern, as "/auth/sessions/{id}", and "" where none fits. The
	// path itself is not for a log: it may hold a value that a user was given.
	Route  string
	Status int
	Took   time.Duration // from the head of the request to the end of the answer
	Bytes  int64         // of the body of the answer
	ID     string        // X-Request-Id
	IP     string        // of the client
}

// AccessLog returns what writes one line for each request that was answered. The line
// has what it takes to find a request and nothing that it said (OWASP ASVS 5.0 16.2.5):
// no query, no cookie, no value of the path.
//
// quiet are the patterns of routes that probes ask all the time. Of their successes there
// is a line at level debug only.
func AccessLog(log *slog.Logger, quiet ...string) func(context.Context, Answered) {
	return func(ctx context.Context, a Answered) {
		level := slog.LevelInfo
		if a.Status < http.StatusBadRequest && slices.Contains(quiet, a.Route) {
			level = slog.LevelDebug
		}
		log.LogAttrs(ctx, level, "request",
			slog.String("method", httpMethods.of(a.Method)), slog.String("route", a.Route), slog.Int("status", a.Status),
			slog.Float64("durationMs", float64(a.Took.Microseconds())/1000), slog.Int64("bytes", a.Bytes),
			slog.String("requestId", a.ID), slog.String("ip", a.IP))
	}
}
