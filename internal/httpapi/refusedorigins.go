package httpapi

import (
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"

	"latchkey/internal/origin"
)

const (
	// refusedInterval is the time after which a refused origin is logged again.
	refusedInterval = time.Minute
	// maxRefusedOrigins bounds refusedOrigins, because an attacker can send any origin. No more than
	// this are logged per refusedInterval.
	maxRefusedOrigins = 50
	// maxLoggedOrigin is the maximum length of an origin in the log, in bytes. Host names have up to
	// 253 characters.
	maxLoggedOrigin = 300
)

// logRefusedPage logs that pages on an origin may not call the API, and what to do about it. The
// browser shows its user no more than a CORS error.
func (s *Server) logRefusedPage(r *http.Request, origin string) {
	if !s.refused.add(origin, s.now()) {
		return
	}

	s.log.LogAttrs(r.Context(), slog.LevelWarn, "refused a page on another origin",
		slog.String("origin", loggableOrigin(origin)),
		slog.String("fix", refusedFix(origin)))
}

// loggableOrigin returns an origin without characters that could hide parts of it in a log.
func loggableOrigin(given string) string {
	given = strings.ToValidUTF8(given[:min(len(given), maxLoggedOrigin)], "")

	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, given)
}

// refusedFix returns what an operator can do so that pages on an origin may call the API.
func refusedFix(given string) string {
	switch {
	case given == "null":
		return "serve the page over http or https: files, sandboxed frames and some redirects have no origin"
	case len(given) > maxLoggedOrigin || !origin.IsCanonical(given):
		return "none: no browser sends this origin"
	}

	return "if the page is yours, add " + given + " to FRONTEND_URL"
}

// refusedOrigins remembers which origins were logged, and when.
type refusedOrigins struct {
	mu     sync.Mutex
	logged map[string]time.Time
}

// add reports whether a refused origin should be logged now.
func (o *refusedOrigins) add(origin string, now time.Time) bool {
	origin = origin[:min(len(origin), maxLoggedOrigin+1)] // so that the memory in use is bounded, too

	o.mu.Lock()
	defer o.mu.Unlock()

	if last, found := o.logged[origin]; found && now.Sub(last) < refusedInterval {
		return false
	}

	if len(o.logged) >= maxRefusedOrigins {
		o.forget(now)
	}
	if len(o.logged) >= maxRefusedOrigins {
		return false
	}

	if o.logged == nil {
		o.logged = map[string]time.Time{}
	}
	o.logged[strings.Clone(origin)] = now

	return true
}

// forget removes the origins that may be logged again.
func (o *refusedOrigins) forget(now time.Time) {
	for origin, last := range o.logged {
		if now.Sub(last) >= refusedInterval {
			delete(o.logged, origin)
		}
	}
}
