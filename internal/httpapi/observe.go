package httpapi

import (
	"errors"
	"net/http"

	"github.com/go-chi/chi/v5"

	"latchkey/internal/auth"
	"latchkey/internal/oauth"
	"latchkey/internal/telemetry"
)

// observe counts, traces and logs every request.
func (s *Server) observe(next http.Handler) http.Handler {
	return telemetry.HTTP{
		Metrics:  s.metrics,
		Tracing:  s.tracing,
		Log:      s.log,
		Quiet:    []string{"/healthz", "/readyz", "/auth/session", "/auth/me", "/auth/verify", "/profile"},
		Route:    func(r *http.Request) string { return chi.RouteContext(r.Context()).RoutePattern() },
		ClientIP: s.clientIPs.of,
		Trusted:  s.clientIPs.isProxy,
	}.Middleware(next)
}

// countLogin counts a login by its result. Logins that never reached a decision (store or
// provider down, cancelled, rate-limited) are not counted as failures.
func (s *Server) countLogin(err error) {
	switch {
	case err == nil:
		s.metrics.Login(telemetry.LoginSuccess)
	case errors.Is(err, auth.ErrBusy):
		s.metrics.Login(telemetry.LoginBusy)
	case undecided(err):
	default:
		s.metrics.Login(telemetry.LoginFailed)
	}
}

// countCode counts a check of the code of a second factor by its result. Codes that were never judged
// (store down, no pending login) are not counted.
func (s *Server) countCode(code auth.Code, err error) {
	switch {
	case err == nil:
		s.metrics.FactorChecked(string(code.Kind()), telemetry.FactorSuccess)
	case errors.Is(err, auth.ErrWrongCode):
		s.metrics.FactorChecked(string(code.Kind()), telemetry.FactorFailure)
	}
}

// undecided reports whether a login failed before the credentials were checked.
func undecided(err error) bool {
	return errors.Is(err, oauth.ErrDenied) || errors.Is(err, errTooMany) || failureOf(err).status >= http.StatusInternalServerError
}
