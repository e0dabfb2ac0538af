package httpapi

import (
	"errors"
	"net/http"
	"time"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// messageResult is the response if there is nothing else to return.
type messageResult struct {
	Message string `json:"message"`
}

// renewedResult is the response if the session has a new token.
type renewedResult struct {
	Message         string    `json:"message"`
	SessionID       string    `json:"sessionId" pattern:"^[A-Za-z0-9_-]{45}$"`
	AuthenticatedAt time.Time `json:"authenticatedAt"`
}

// passwordChangedResult is the response to a change of the password. Without a session
// the user has to log in again.
type passwordChangedResult struct {
	Message         string    `json:"message"`
	SessionID       string    `json:"sessionId,omitempty" pattern:"^[A-Za-z0-9_-]{45}$" description:"Missing if the session has ended."`
	AuthenticatedAt time.Time `json:"authenticatedAt,omitzero"`
}

// recordWrongPassword records the named event if err is auth.ErrWrongPassword, and that the
// password was restricted if err is auth.ErrTooManyFailures.
func (s *Server) recordWrongPassword(w http.ResponseWriter, r *http.Request, err error, name activity.Name) {
	if errors.Is(err, auth.ErrWrongPassword) {
		s.recordForSession(w, r, name)
	}
	if errors.Is(err, auth.ErrTooManyFailures) {
		s.recordForSession(w, r, activity.PasswordRestricted)
	}
}

// writeRenewed responds with a session that has a new token.
func (s *Server) writeRenewed(w http.ResponseWriter, message string, next *session.Session, token string) error {
	s.cookie.set(w, next, token)
	return writeJSON(w, http.StatusOK, renewedResult{message, next.ID, next.AuthenticatedAt})
}

type changePasswordRequest struct {
	CurrentPassword string `json:"currentPassword" validate:"required,any_password"`
	NewPassword     string `json:"newPassword" validate:"required,new_password"`
}

var changePasswordOperation = operation{
	id:      "changePassword",
	tag:     tagAccount,
	summary: "Change the password",
	description: "If the account has a second factor, it must be confirmed first. The session continues with a new token, all other sessions of the account end, and other devices become unknown to it. Links in earlier emails no longer work. " +
		"The owner is notified by email. If another request rotates this session at the same time, this session ends, too: the response has no `sessionId`, and the cookie is cleared.",
	request: changePasswordRequest{
		CurrentPassword: examplePassword,
		NewPassword:     exampleNewPassword,
	},
	response: response{
		status:  http.StatusOK,
		result:  "The password was changed, and the session has a new cookie",
		body:    passwordChangedResult{"Password changed", exampleSessionID, exampleTime},
		headers: []string{"Set-Cookie"},
	},
}

// changePassword handles POST /auth/password/change. The session gets a new token and all other
// sessions of the account end.
func (s *Server) changePassword(w http.ResponseWriter, r *http.Request, in changePasswordRequest) error {
	if err := s.requireRecentAuth(r, session.Password); err != nil {
		return err
	}

	changed, err := s.auth.ChangePassword(r.Context(), s.caller(r), in.CurrentPassword, in.NewPassword)
	s.recordWrongPassword(w, r, err, activity.PasswordChangeFailed)
	if errors.Is(err, auth.ErrWrongPassword) {
		return errWrongCurrentPassword
	}

	return s.passwordChanged(w, r, changed, err, "Password changed")
}

type setPasswordRequest struct {
	NewPassword string `json:"newPassword" validate:"required,new_password"`
}

var setPasswordOperation = operation{
	id:      "setPassword",
	tag:     tagAccount,
	summary: "Set a first password",
	description: "For accounts created by signing in with an external provider. Requires a recent login: `GET /auth/{provider}?prompt=login`. " +
		"The session continues with a new token, and all other sessions end.",
	request: setPasswordRequest{NewPassword: exampleNewPassword},
	response: response{
		status:  http.StatusOK,
		result:  "Password set; the session has a new cookie",
		body:    passwordChangedResult{"Password set", exampleSessionID, exampleTime},
		headers: []string{"Set-Cookie"},
	},
}

// setPassword handles POST /auth/password/set, for an account without a password. It requires a
// recent login instead of the current password.
func (s *Server) setPassword(w http.ResponseWriter, r *http.Request, in setPasswordRequest) error {
	if err := s.requireRecentAuth(r); err != nil {
		return err
	}

	changed, err := s.auth.AddPassword(r.Context(), s.caller(r), in.NewPassword)
	return s.passwordChanged(w, r, changed, err, "Password set")
}

// passwordChanged responds to a request that changes the password.
func (s *Server) passwordChanged(w http.ResponseWriter, r *http.Request, changed auth.Changed, err error, message string) error {
	if changed.User.ID != "" {
		s.recordForSession(w, r, activity.PasswordChanged)
	}

	var weak *auth.WeakPasswordError
	switch {
	case errors.As(err, &weak):
		return weakPassword("newPassword", weak)
	case err != nil:
		return s.endIfAccountGone(r, err)
	case changed.Session == nil:
		return s.signedOut(w, message+". Please log in again.")
	}

	// Unlike after other changes, the user has just proved to be the owner.
	if changed.Session.Persistent {
		s.devices.remember(w, r, changed.User)
	}

	return s.writeRenewed(w, message, changed.Session, changed.Token)
}

// signedOut responds to a change that ended the caller's session, too.
func (s *Server) signedOut(w http.ResponseWriter, message string) error {
	s.cookie.clear(w)
	return writeJSON(w, http.StatusOK, messageResult{message})
}

// forgotRequest has no account method, so attempts are not limited by account. Otherwise a
// stranger could keep the owner from getting a link. Emails to one recipient are limited anyway.
type forgotRequest struct {
	Email user.Email `json:"email" validate:"required,canonical_email"`
}

const (
	msgResetSent     = "If an account with this email exists, you will receive a link to reset your password."
	msgPasswordReset = "Password changed. Please log in with your new password."
)

var forgotPasswordOperation = operation{
	id:      "forgotPassword",
	tag:     tagLogin,
	summary: "Request a password reset link",
	description: "The response does not reveal whether the account exists. At most one email is sent per `MAIL_INTERVAL` (a minute by default). " +
		"A new link invalidates earlier ones.",
	request: forgotRequest{Email: exampleUser.Email},
	response: response{
		status: http.StatusAccepted,
		result: "The email will be sent if the account exists",
		body:   messageResult{msgResetSent},
	},
}

// forgotPassword handles POST /auth/password/forgot. The account is only looked up later, so that
// the response time reveals nothing.
func (s *Server) forgotPassword(w http.ResponseWriter, r *http.Request, in forgotRequest) error {
	if err := s.auth.RequestPasswordReset(r.Context(), in.Email, s.clientOf(r)); err != nil {
		return err
	}

	s.record(w, r, activity.Event{Name: activity.PasswordResetRequested})
	return writeJSON(w, http.StatusAccepted, messageResult{msgResetSent})
}

type resetRequest struct {
	Token    string `json:"token" validate:"required" description:"The part after #token= of the link in the email."`
	Password string `json:"password" validate:"required,new_password"`
}

var resetPasswordOperation = operation{
	id:          "resetPassword",
	tag:         tagLogin,
	summary:     "Set a new password with the token of a link",
	description: "The token works once, but a rejected password does not use it up. All sessions of the account end, and the user has to log in. Other devices become unknown to the account. This device is known until the browser is closed, or for longer if it was known before. If it is known to other accounts only, it stays unknown to this one.",
	request: resetRequest{
		Token:    "AQ...",
		Password: exampleNewPassword,
	},
	response: response{
		status:  http.StatusOK,
		result:  "The password was changed",
		body:    messageResult{msgPasswordReset},
		headers: []string{"Set-Cookie"},
	},
}

// resetPassword handles POST /auth/password/reset. It does not begin a session: access to a
// mailbox alone must not be enough to log in (OWASP ASVS 5.0 6.3.6).
func (s *Server) resetPassword(w http.ResponseWriter, r *http.Request, in resetRequest) error {
	changed, err := s.auth.ResetPassword(r.Context(), in.Token, in.Password, s.clientOf(r))
	if errors.Is(err, auth.ErrInvalidToken) {
		s.record(w, r, activity.Event{Name: activity.PasswordResetFailed})
	}
	if changed.User.ID != "" {
		s.record(w, r, activity.Event{Name: activity.PasswordReset, UserID: changed.User.ID})
	}
	if err != nil {
		return err
	}

	// The owner can now log in on this device even if strangers use up the account's rate limit.
	// A device that was unknown may be a shared computer, so it is remembered only until the browser is
	// closed.
	if s.devices.proofs(r).WasKnown(changed.User.ID) {
		s.devices.remember(w, r, changed.User)
	} else {
		s.devices.rememberUntilClosed(w, r, changed.User)
	}

	return writeJSON(w, http.StatusOK, messageResult{msgPasswordReset})
}
