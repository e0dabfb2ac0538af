package httpapi

import (
	"errors"
	"net/http"
	"net/netip"

	"github.com/go-chi/chi/v5"

	"latchkey/internal/auth"
	"latchkey/internal/oauth"
	"latchkey/internal/telemetry"
)

// observed has every request counted, traced and written to the log.
func (s *Server) observed(next http.Handler) http.Handler {
	return telemetry.HTTP{
		Metrics: s.metrics, Tracing: s.tracing, Log: telemetry.AccessLog(s.log, "/healthz", "/readyz"),
		Route:     func(r *http.Request) string { return chi.RouteContext(r.Context()).RoutePattern() },
		RequestID: func(h http.Header) string { return h.Get(requestIDHeader) },
		ClientIP:  clientIP,
		Trusted:   s.fromProxy(),
	}.Middleware(next)
}

// fromProxy tells whether a proxy of ours has sent a request.
func (s *Server) fromProxy() func(*http.Request) bool {
	var proxies []netip.Prefix
	for _, p := range s.proxies {
		proxies = append(proxies, netip.MustParsePrefix(p)) // chi would have panicked before
	}
	return func(r *http.Request) bool {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil {
			return false
		}
		for _, p := range proxies {
			if p.Contains(from.Addr().Unmap()) {
				return true
			}
		}
		return false
	}
}

// countLogin counts a login by what came of it. One that nobody has judged, because a
// store or a provider was away, the user turned back or a limit was used up, is not one
// that failed.
func (s *Server) countLogin(err error) {
	switch {
	case err == nil:
		s.metrics.Login(telemetry.LoginSuccess)
	case errors.Is(err, auth.ErrBusy):
		s.metrics.Login(telemetry.LoginBusy)
	case errors.Is(err, oauth.ErrDenied), errors.Is(err, errTooMany), failureOf(err).status >= http.StatusInternalServerError:
	default:
		s.metrics.Login(telemetry.LoginFailed)
	}
}
