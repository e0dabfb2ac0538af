package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/go-json-experiment/json"

	"latchkey/internal/auth"
	"latchkey/internal/oauth"
	"latchkey/internal/redisconn"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// problem is how every failure looks from outside: RFC 9457, with a code for
// programs and message beside detail, so that a client reads one member on
// success and on failure.
type problem struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail"`
	Code      string       `json:"code"`
	Message   string       `json:"message"`
	RequestID string       `json:"requestId"`
	Errors    []fieldError `json:"errors,omitempty"`
	// Reason stands in a 401 for a session of which it is known why it ended.
	Reason session.Reason `json:"reason,omitempty"`
	// Authenticated stands in a 401 of GET /auth/session, as it does in its 200.
	Authenticated *bool `json:"authenticated,omitempty"`
	// Stores stands in a 503 of GET /readyz.
	Stores map[string]string `json:"stores,omitempty"`
}

// fieldError is one thing wrong with a request's body. Field is empty where it
// is the body as a whole.
type fieldError struct {
	Field   string `json:"field"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// failure is how an error looks from outside.
type failure struct {
	status int
	code   string
	detail string
	fields []fieldError
	stores map[string]string
}

// Error implements error, for failures that are HTTP's own.
func (f *failure) Error() string { return f.code }

var (
	errNoRoute          = &failure{status: http.StatusNotFound, code: "not_found", detail: "There is nothing at this address"}
	errNoSession        = &failure{status: http.StatusNotFound, code: "not_found", detail: "You have no such session"}
	errMethodNotAllowed = &failure{status: http.StatusMethodNotAllowed, code: "method_not_allowed", detail: "This address does not take that method; the Allow header lists those it takes"}
	errTooLarge         = &failure{status: http.StatusRequestEntityTooLarge, code: "body_too_large", detail: "The body is larger than 64 KiB"}
	errNotJSON          = &failure{status: http.StatusUnsupportedMediaType, code: "unsupported_media_type", detail: "Send the body as application/json in UTF-8"}
	errCrossOrigin      = &failure{status: http.StatusForbidden, code: "cross_origin_denied", detail: "A page of another origin may not do this; FRONTEND_URL lists those that may"}
	errLengthRequired   = &failure{status: http.StatusLengthRequired, code: "length_required", detail: "Send the body with a Content-Length"}
	errTooManyHeaders   = &failure{status: http.StatusRequestHeaderFieldsTooLarge, code: "too_many_headers", detail: "The request has too many headers or cookies"}
	errTooMany          = &failure{status: http.StatusTooManyRequests, code: "too_many_requests", detail: "Too many attempts; try again later, Retry-After says when"}
	errStepUp           = &failure{status: http.StatusForbidden, code: "step_up_required", detail: "Confirm who you are first: with POST /auth/step-up, or without a password by signing in again"}
	// errNotAsker is not session.ErrNone, after which the cookie is dropped: that may be of
	// another session, which lives.
	errNotAsker      = &failure{status: http.StatusUnauthorized, code: "not_authenticated", detail: "The session that has asked for it is over"}
	errWrongAccount  = &failure{status: http.StatusConflict, code: "wrong_account", detail: "That is not the account that you are signed in with; take the one that is linked to it"}
	errNotNavigation = &failure{status: http.StatusBadRequest, code: "not_a_navigation", detail: "A browser has to go to this address itself, by a link; it cannot be fetched"}
	errInternal      = &failure{status: http.StatusInternalServerError, code: "internal", detail: "Something went wrong on our side"}
)

// failures says how the errors of the packages below look from outside. An error
// without a row is errInternal, and its text stays in the log.
var failures = []struct {
	is error
	*failure
}{
	{session.ErrNone, &failure{status: http.StatusUnauthorized, code: "not_authenticated", detail: "Please login to continue"}},
	{session.ErrReplaced, &failure{status: http.StatusUnauthorized, code: "not_authenticated", detail: "Please login to continue"}},
	{session.ErrUnavailable, &failure{status: http.StatusServiceUnavailable, code: "session_store_unavailable", detail: "Sessions cannot be read right now; try again shortly"}},
	{user.ErrUnavailable, &failure{status: http.StatusServiceUnavailable, code: "user_store_unavailable", detail: "Accounts cannot be read right now; try again shortly"}},
	{user.ErrEmailTaken, &failure{status: http.StatusConflict, code: "email_taken", detail: "Email already registered"}},
	{redisconn.ErrUnavailable, &failure{status: http.StatusServiceUnavailable, code: "session_store_unavailable", detail: "Redis cannot be reached right now; try again shortly"}},
	{context.Canceled, &failure{status: http.StatusServiceUnavailable, code: "overloaded", detail: "The client went away"}},
	{auth.ErrBusy, &failure{status: http.StatusServiceUnavailable, code: "overloaded", detail: "Too many logins at once; try again shortly"}},
	{auth.ErrWrongPassword, &failure{status: http.StatusUnauthorized, code: "wrong_password", detail: "The password is not right"}},
	{auth.ErrInvalidToken, &failure{status: http.StatusBadRequest, code: "invalid_token", detail: "The link is not valid any more; ask for another one"}},
	{auth.ErrNoPassword, &failure{status: http.StatusConflict, code: "no_password", detail: "The account has no password; sign in again to confirm who you are, and set one with POST /auth/password/set"}},
	{auth.ErrHasPassword, &failure{status: http.StatusConflict, code: "password_exists", detail: "The account has a password; change it with POST /auth/password/change"}},
	{user.ErrNoIdentity, &failure{status: http.StatusNotFound, code: "not_found", detail: "No account of this provider is linked to yours"}},
	{user.ErrLastMethod, &failure{status: http.StatusConflict, code: "last_login_method", detail: "You could not log in any more; set a password or link another account first"}},
	{user.ErrIdentityTaken, &failure{status: http.StatusConflict, code: "identity_taken", detail: "That account belongs to another user here"}},
	{user.ErrAlreadyLinked, &failure{status: http.StatusConflict, code: "already_linked", detail: "Another account of this provider is linked to yours; remove it first"}},
	{auth.ErrLinkRequired, &failure{status: http.StatusConflict, code: "link_required", detail: "An account has this address; login to it and link the two from there"}},
	{auth.ErrNoEmail, &failure{status: http.StatusConflict, code: "email_missing", detail: "The provider gave no email address, or none that an account can have"}},
	{auth.ErrDisabled, &failure{status: http.StatusForbidden, code: "account_disabled", detail: "The account is disabled"}},
	{oauth.ErrUnknown, &failure{status: http.StatusNotFound, code: "not_found", detail: "There is no such provider"}},
	{oauth.ErrNoFlow, &failure{status: http.StatusBadRequest, code: "sign_in_expired", detail: "The sign-in has expired, or was begun elsewhere; begin it again"}},
	{oauth.ErrDenied, &failure{status: http.StatusForbidden, code: "access_denied", detail: "The sign-in was cancelled at the provider"}},
	{oauth.ErrRefused, &failure{status: http.StatusBadGateway, code: "provider_error", detail: "The provider's answer cannot be relied on"}},
	{oauth.ErrUnavailable, &failure{status: http.StatusServiceUnavailable, code: "provider_unavailable", detail: "The provider cannot be reached right now; try again shortly"}},
	{auth.ErrBadCredentials, &failure{status: http.StatusUnauthorized, code: "invalid_credentials", detail: "Invalid credentials"}},
}

// worthALine tells whether a failure of the server is logged. A flood of logins is
// refused many times a second: it has a line a minute.
func (s *Server) worthALine(err error) bool {
	switch minute := s.now().Unix() / 60; {
	case errors.Is(err, context.Canceled):
		return false
	case errors.Is(err, auth.ErrBusy):
		return s.busyLogged.Swap(minute) != minute
	}
	return true
}

func failureOf(err error) *failure {
	var own *failure
	if errors.As(err, &own) {
		return own
	}
	var weak *auth.WeakPasswordError
	if errors.As(err, &weak) {
		return weakPassword("password", weak)
	}
	for _, row := range failures {
		if errors.Is(err, row.is) {
			return row.failure
		}
	}
	return errInternal
}

// weakPassword says why the new password in a field is refused.
func weakPassword(field string, weak *auth.WeakPasswordError) *failure {
	return &failure{
		status: http.StatusBadRequest, code: "weak_password", detail: "The password " + weak.Error(),
		fields: []fieldError{{field, string(weak.Why), weak.Error()}},
	}
}

// fail answers for an error, and is the one place that logs it.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	f := failureOf(err)
	p := problem{
		Type: "about:blank", Title: http.StatusText(f.status), Status: f.status,
		Detail: f.detail, Code: f.code, Message: f.detail,
		RequestID: w.Header().Get(requestIDHeader),
		Errors:    f.fields, Stores: f.stores,
	}
	h := w.Header()
	h.Del("Set-Cookie") // a failure hands out nothing, whatever came before it
	route := chi.RouteContext(r.Context()).RoutePattern()
	switch f.status {
	case http.StatusUnauthorized:
		if route == "/auth/session" {
			p.Authenticated = new(bool)
		}
		if errors.Is(err, session.ErrNone) {
			s.clearDeadCookie(w, r)
		}
		var ended *session.EndedError
		if errors.As(err, &ended) {
			p.Reason = ended.Reason
		}
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	}
	if f.status >= http.StatusInternalServerError && s.worthALine(err) {
		s.log.LogAttrs(r.Context(), slog.LevelError, "request failed",
			slog.String("requestId", p.RequestID), slog.String("method", r.Method), slog.String("route", route),
			slog.Int("status", f.status), slog.String("error", err.Error()))
	}
	var back *sentBack
	if errors.As(err, &back) {
		s.flows.forget(w, r, back.state)
		redirect(w, withError(back.to, f.code))
		return
	}
	body, err := json.Marshal(p)
	if err != nil {
		// Only a bug gets here: every member above is valid UTF-8.
		http.Error(w, errInternal.detail, http.StatusInternalServerError)
		return
	}
	writeBody(w, f.status, "application/problem+json; charset=utf-8", body)
}
