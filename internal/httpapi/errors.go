package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/go-chi/chi/v5"

	"latchkey/internal/auth"
	"latchkey/internal/oauth"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// wrongPassword returns the failure for a wrong password in a field.
func wrongPassword(field string) *failure {
	return newFailure(http.StatusUnauthorized, "wrong_password", "Incorrect password.").
		explain("The session stays valid: unlike with `not_authenticated`, the user does not have to log in.").
		about(field, "Incorrect password.")
}

// Failures that arise in this package.

var errNoRoute = newFailure(http.StatusNotFound, "not_found", "There is nothing at this URL. The API reference is at /docs.")

var errNoSession = newFailure(http.StatusNotFound, "not_found", "Session not found.").
	explain("No live session of the user has this ID.")

var errMethodNotAllowed = newFailure(http.StatusMethodNotAllowed, "method_not_allowed", "This URL does not support that method.").
	explain("The `Allow` header lists the methods of this URL.")

var errNotJSON = newFailure(http.StatusUnsupportedMediaType, "unsupported_media_type", "Send the request body as application/json in UTF-8.")

var errTooManyHeaders = newFailure(http.StatusRequestHeaderFieldsTooLarge, "too_many_headers", "The request has too many headers or cookies.").
	explain("More than 100 headers or 200 cookies.")

var errCrossOrigin = newFailure(http.StatusForbidden, "cross_origin_denied", "Pages from this origin may not make this request. To allow it, add the origin to FRONTEND_URL.")

var errTooMany = newFailure(http.StatusTooManyRequests, "too_many_requests", "Too many attempts. Try again later.").
	explain("A rate limit applied: for the client's IP or its network, the account or the device. Nothing was done.")

var errDraining = newFailure(http.StatusServiceUnavailable, "not_ready", "The server is shutting down.")

var errStepUp = newFailure(http.StatusForbidden, "step_up_required", "Confirm your identity first.").
	demand([]string{session.Password}, 600).
	explain("`methods` lists everything that the user has to confirm: the password (`pwd`) and a second factor (`otp`) with `POST /auth/step-up`, or a login (`fed`) with `GET /auth/{provider}?prompt=login`.")

var errSecondFactorRequired = newFailure(http.StatusForbidden, "second_factor_required", "This requires a second factor.").
	explain("With `REQUIRE_MFA=all`: the session has no second factor. Add one with `POST /auth/totp`, or confirm it with `POST /auth/step-up`. Also the `error` with which a provider returns if the account has a second factor: continue with `POST /auth/login/factor`.")

var errWrongCode = newFailure(http.StatusUnauthorized, "wrong_code", "Incorrect code.").
	explain("The code of a second factor is wrong, expired or used. A session stays valid. `serverTime` helps users whose clock is wrong.").
	about("code", "Incorrect code.")

var errWrongRecoveryCode = newFailure(http.StatusUnauthorized, "wrong_code", "Incorrect recovery code.").
	about("recoveryCode", "Incorrect recovery code.")

var errWrongEnrolmentCode = newFailure(http.StatusBadRequest, "wrong_code", "Incorrect code.").
	explain("The code is wrong. If it is right for another time, the field error is `wrong_clock`, and `serverTime` is the time of the server.").
	about("code", "Incorrect code.")

var errEmailNotVerified = newFailure(http.StatusForbidden, "email_not_verified", "Verify your email first. You can request a new link.").
	explain("With `REQUIRE_VERIFIED_EMAIL=true` only: the email is not verified yet. Request a link with `POST /auth/email/resend`, or correct the email with `POST /auth/email/change`.")

// errSessionEnded is not session.ErrNone, after which the cookie is cleared: the cookie may
// belong to another session, which is live.
var errSessionEnded = newFailure(http.StatusUnauthorized, "not_authenticated", "Your session has ended. Log in and try again.")

// errWrongCurrentPassword replaces the failure of auth.ErrWrongPassword in a request with two passwords.
var errWrongCurrentPassword = wrongPassword("currentPassword")

var errWrongAccount = newFailure(http.StatusConflict, "wrong_account", "You signed in with a different account. Use the one linked to your profile.")

var errNotNavigation = newFailure(http.StatusBadRequest, "not_a_navigation", "Open this URL in the browser. Scripts cannot fetch it.")

var errUserStore = newFailure(http.StatusServiceUnavailable, "user_store_unavailable", "Accounts are temporarily unavailable. Try again shortly.").
	explain("MongoDB does not respond or refuses a command. With a `Retry-After` of an hour, the stored account cannot be read, and only the operator can help.")

// errUnreadable has the status and the code of errUserStore, but retrying does not help until the
// operator has repaired the account.
var errUnreadable = newFailure(http.StatusServiceUnavailable, "user_store_unavailable", "Your account cannot be read. Contact the operator of this service.")

// errMailNotConfigured has no Retry-After, unlike other responses with status 503: it lasts until an
// operator sets SMTP_URL.
var errMailNotConfigured = newFailure(http.StatusServiceUnavailable, "mail_not_configured", "This service cannot send emails. Contact the operator of this service.").
	explain("`SMTP_URL` is not set. There is no `Retry-After`, because retrying does not help.")

var errInternal = newFailure(http.StatusInternalServerError, "internal", "Something went wrong on our side.")

var notAuthenticated = newFailure(http.StatusUnauthorized, "not_authenticated", "Please login to continue").
	explain("There is no session cookie, or its session has ended. In that case the cookie is cleared, and `reason` is set if it is known. " +
		"With the `reason` `several_sessions` the request has the cookies of several live sessions, of which none is used. A login or a logout ends them all.")

// failures maps the errors of other packages. An error without a row becomes errInternal,
// and its text appears only in the log.
var failures = []struct {
	is error
	*failure
}{
	{session.ErrNone, notAuthenticated},
	{session.ErrReplaced, notAuthenticated},
	{session.ErrUntrusted, notAuthenticated},
	{session.ErrAmbiguous, notAuthenticated},
	{
		session.ErrUnavailable,
		newFailure(http.StatusServiceUnavailable, "session_store_unavailable", "Sessions are temporarily unavailable. Try again shortly.").
			explain("Redis does not respond, or refuses a command. The session and its cookie are unchanged."),
	},

	{user.ErrUnavailable, errUserStore},
	{user.ErrUnreadable, errUnreadable},
	{
		user.ErrEmailTaken,
		newFailure(http.StatusConflict, "email_taken", "Email already registered").
			about("email", "This email is already registered."),
	},
	{user.ErrNoIdentity, newFailure(http.StatusNotFound, "not_found", "No account of this provider is linked to yours.")},
	{user.ErrLastMethod, newFailure(http.StatusConflict, "last_login_method", "This is your only way to log in. Set a password or link another account first.")},
	{user.ErrIdentityTaken, newFailure(http.StatusConflict, "identity_taken", "That account is linked to another user.")},
	{user.ErrAlreadyLinked, newFailure(http.StatusConflict, "already_linked", "You have already linked an account of this provider. Unlink it first.")},

	{context.Canceled, newFailure(http.StatusServiceUnavailable, "overloaded", "The request was cancelled.")},

	{
		auth.ErrBadCredentials,
		newFailure(http.StatusUnauthorized, "invalid_credentials", "Invalid credentials").
			explain("The email is unknown, the password is wrong or restricted, or the account is disabled. The responses are the same."),
	},
	{
		auth.ErrBusy,
		newFailure(http.StatusServiceUnavailable, "overloaded", "Too many logins at the moment. Try again shortly.").
			explain("Too many passwords are waiting to be checked."),
	},
	{
		auth.ErrMailBusy,
		newFailure(http.StatusServiceUnavailable, "overloaded", "Too many requests at the moment. Try again shortly.").
			explain("Too many requests for emails are waiting."),
	},
	{
		auth.ErrRegistrationClosed,
		newFailure(http.StatusForbidden, "registration_closed", "Registration is closed.").
			explain("Nobody can create an account: `REGISTRATION=closed`."),
	},
	{
		auth.ErrInvitationRequired,
		newFailure(http.StatusForbidden, "invitation_required", "You need an invitation to register.").
			explain("Only invited users can create an account: `REGISTRATION=invite`. The response does not reveal whether the email is invited or has an account."),
	},
	{
		auth.ErrEmailDomain,
		newFailure(http.StatusForbidden, "email_domain_not_allowed", "Email addresses from this domain are not allowed.").
			explain("The domain of the email is not in `REGISTRATION_DOMAINS`."),
	},
	{auth.ErrMailNotConfigured, errMailNotConfigured},
	{auth.ErrWrongPassword, wrongPassword("password")},
	{
		auth.ErrPasswordRestricted,
		newFailure(http.StatusForbidden, "password_restricted", "Too many incorrect passwords were entered. Reset your password by email, or log in on a device that you have used before.").
			explain("After 100 wrong passwords in a row, the password is accepted from known devices only. A login on a known device or with a provider lifts the restriction, and so does a new password."),
	},
	{auth.ErrInvalidToken, newFailure(http.StatusBadRequest, "invalid_token", "This link is no longer valid. Request a new one.")},
	{
		auth.ErrNoPassword,
		newFailure(http.StatusConflict, "no_password", "Your account has no password.").
			explain("Log in again with a provider to confirm the identity, and set a password with `POST /auth/password/set`."),
	},
	{
		auth.ErrHasPassword,
		newFailure(http.StatusConflict, "password_exists", "Your account already has a password. Change it instead.").
			explain("Use `POST /auth/password/change`."),
	},
	{auth.ErrLinkRequired, newFailure(http.StatusConflict, "link_required", "An account with this email already exists. Log in to it first, then link this provider from your profile.")},
	{auth.ErrNoEmail, newFailure(http.StatusConflict, "email_missing", "The provider did not report a usable email address.")},
	{
		auth.ErrNoPendingLogin,
		newFailure(http.StatusUnauthorized, "no_pending_login", "Your login has expired. Log in again.").
			explain("No login waits for a second factor: it has expired, was cancelled, or ended after five wrong codes. The cookie is cleared."),
	},
	{auth.ErrWrongCode, errWrongCode},
	{
		auth.ErrFactorsNotConfigured,
		newFailure(http.StatusServiceUnavailable, "factors_not_configured", "Authenticator apps are not available.").
			explain("The server has no `DATA_KEY`."),
	},
	{
		auth.ErrFactorsUnavailable,
		newFailure(http.StatusServiceUnavailable, "factors_unavailable", "Codes cannot be checked at the moment. Use a recovery code.").
			explain("The server has lost the key in `DATA_KEY` that encrypts the seed of the app. Only the operator can help."),
	},
	{auth.ErrNoEnrolment, newFailure(http.StatusNotFound, "not_found", "This setup has expired. Start again.")},
	{auth.ErrUnknownFactor, newFailure(http.StatusNotFound, "not_found", "Second factor not found.")},
	{
		auth.ErrNoFactor,
		newFailure(http.StatusConflict, "no_factor", "Your account has no second factor.").
			explain("Add one with `POST /auth/totp`."),
	},
	{auth.ErrTooManyFactors, newFailure(http.StatusConflict, "too_many_factors", "Your account has the maximum number of authenticator apps. Remove one first.")},
	{auth.ErrNoDevice, newFailure(http.StatusNotFound, "not_found", "Trusted device not found.")},
	{auth.ErrDisabled, newFailure(http.StatusForbidden, "account_disabled", "This account is disabled.")},

	{oauth.ErrUnknownProvider, newFailure(http.StatusNotFound, "not_found", "This provider is not configured.")},
	{oauth.ErrNoFlow, newFailure(http.StatusBadRequest, "sign_in_expired", "This login has expired or was started in another browser. Start again.")},
	{oauth.ErrDenied, newFailure(http.StatusForbidden, "access_denied", "The login was cancelled at the provider.")},
	{oauth.ErrRefused, newFailure(http.StatusBadGateway, "provider_error", "The provider sent an invalid response.")},
	{oauth.ErrUnavailable, newFailure(http.StatusServiceUnavailable, "provider_unavailable", "The provider is temporarily unavailable. Try again shortly.")},
}

// worthLogging reports whether a failure of the server is logged. During a flood, ErrBusy,
// ErrMailBusy and errSlowBody occur many times a second and are logged once a minute.
func (s *Server) worthLogging(err error) bool {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, auth.ErrMailNotConfigured), errors.Is(err, auth.ErrFactorsNotConfigured): // logged at startup
		return false
	case errors.Is(err, auth.ErrBusy), errors.Is(err, auth.ErrMailBusy), errors.Is(err, errSlowBody):
		minute := s.now().Unix() / 60
		return s.busyLogged.Swap(minute) != minute
	}

	return true
}

// failureOf returns what the client learns about an error.
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

// weakPassword returns the failure for a new password in a field that is refused.
func weakPassword(field string, weak *auth.WeakPasswordError) *failure {
	message := labelOf(field) + " " + weak.Error() + "."

	return &failure{
		status:      http.StatusBadRequest,
		code:        "weak_password",
		detail:      message,
		description: "The new password is refused. The `errors` have the reason.",
		fields:      []fieldError{{field, string(weak.Why), message}},
	}
}

// prepareFailure returns what the client learns about err. It removes the cookies that a
// handler set before it failed, and logs err if the server is to blame. It is the only place
// that logs the errors of requests.
func (s *Server) prepareFailure(w http.ResponseWriter, r *http.Request, err error) *failure {
	f := failureOf(err)

	w.Header().Del("Set-Cookie")
	switch {
	case f == errMailNotConfigured:
	case f == errUnreadable:
		w.Header().Set("Retry-After", "3600")
	case f.status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}

	if f.status >= http.StatusInternalServerError && s.worthLogging(err) {
		s.log.LogAttrs(r.Context(), slog.LevelError, "request failed",
			slog.String("requestId", w.Header().Get(requestIDHeader)),
			slog.String("method", r.Method),
			slog.String("route", chi.RouteContext(r.Context()).RoutePattern()),
			slog.Int("status", f.status),
			slog.String("error", err.Error()))
	}

	return f
}

// authenticatedMember returns the "authenticated" member of a 401. Only GET /auth/session has
// one.
func authenticatedMember(path string) *bool {
	if path != "/auth/session" {
		return nil
	}

	return new(bool)
}

// fail responds to an error.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	f := s.prepareFailure(w, r, err)
	p := newProblem(f, w.Header().Get(requestIDHeader))

	if f.status == http.StatusUnauthorized {
		p.Authenticated = authenticatedMember(chi.RouteContext(r.Context()).RoutePattern())
		p.Reason = reasonOf(err)

		if errors.Is(err, auth.ErrNoPendingLogin) && s.pendingCookie.value(r) != "" {
			s.pendingCookie.clear(w)
		}
		isDead := errors.Is(err, session.ErrNone) && len(s.cookie.values(r)) > 0
		if isDead {
			s.cookie.clear(w)
		}
	}

	body, err := encodeJSON(p)
	if err != nil {
		// Only a bug gets here, since every member is valid UTF-8.
		http.Error(w, errInternal.detail, http.StatusInternalServerError)
		return
	}

	writeBody(w, f.status, "application/problem+json; charset=utf-8", body)
}
