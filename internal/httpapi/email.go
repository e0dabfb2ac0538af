package httpapi

import (
	"errors"
	"net/http"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

const (
	msgVerificationSent = "If your email is not verified yet, you will receive a link to verify it."
	msgEmailChangeSent  = "We sent a link to the new email. Use it to confirm the change."
)

type verifyEmailRequest struct {
	Token string `json:"token" validate:"required" description:"The part after #token= of the link in the email."`
}

var verifyEmailOperation = operation{
	id:      "verifyEmail",
	tag:     tagAccount,
	summary: "Verify an email with the token of a link",
	description: "The token works once. If it belongs to a change of email, the account gets the new email and its sessions end. " +
		"The session of this request continues with a new token.\n\n" +
		"The token verifies the email even without a session of the account, on a device that has never logged in to it. But then somebody else may have created the account, " +
		"so the first sign-in with a provider and this email takes over the account, instead of linking the provider to it.",
	request: verifyEmailRequest{Token: "Ag..."},
	response: response{
		status:  http.StatusOK,
		result:  "The email is verified",
		body:    messageResult{"Email verified"},
		headers: []string{"Set-Cookie"},
	},
}

// verifyEmail handles POST /auth/email/verify. Its token comes from a link that either verifies
// the email of an account or changes it.
func (s *Server) verifyEmail(w http.ResponseWriter, r *http.Request, in verifyEmailRequest) error {
	// A browser that is signed in to the account stays signed in.
	caller := auth.Caller{Client: s.clientOf(r), Proofs: s.devices.proofs(r)}
	loaded, err := s.sessions.Load(r.Context(), s.cookie.values(r)...)
	switch {
	case err == nil:
		r = r.WithContext(loaded)
		caller = s.caller(r)
	case !session.IsGone(err):
		return err
	}

	changed, isChange, err := s.auth.ConfirmEmail(r.Context(), in.Token, caller)
	if errors.Is(err, auth.ErrInvalidToken) {
		s.record(w, r, activity.Event{Name: activity.EmailVerifyFailed})
	}
	if isChange {
		return s.emailChanged(w, r, caller, changed, err)
	}
	if err != nil {
		return err
	}

	event := activity.Event{Name: activity.EmailVerified, UserID: changed.User.ID}
	if caller.UserID == changed.User.ID {
		event.SessionID = caller.SessionID
	}
	s.record(w, r, event)

	return writeJSON(w, http.StatusOK, messageResult{"Email verified"})
}

// emailChanged responds after a link that changes the email of an account.
func (s *Server) emailChanged(w http.ResponseWriter, r *http.Request, caller auth.Caller, changed auth.Changed, err error) error {
	if changed.User.ID != "" {
		event := activity.Event{Name: activity.EmailChanged, UserID: changed.User.ID}
		if changed.Session != nil {
			event.SessionID = changed.Session.ID
		}
		s.record(w, r, event)
	}

	switch {
	case err != nil:
		return err
	case caller.UserID != changed.User.ID:
		return writeJSON(w, http.StatusOK, messageResult{"Email changed"})
	case changed.Session == nil:
		return s.signedOut(w, "Email changed. Please log in again.")
	}

	s.cookie.set(w, changed.Session, changed.Token)
	s.devices.renew(w, r, changed.Session, changed.User)

	return writeJSON(w, http.StatusOK, messageResult{"Email changed"})
}

var resendVerificationOperation = operation{
	id:          "resendVerification",
	tag:         tagAccount,
	summary:     "Send the verification email again",
	description: "Sends at most one email per `MAIL_INTERVAL` (a minute by default). If the email is verified already, nothing is sent and the response is the same.",
	response: response{
		status: http.StatusAccepted,
		result: "The email will be sent if it is needed",
		body:   messageResult{msgVerificationSent},
	},
}

// resendVerification handles POST /auth/email/resend. If the email is verified already, it
// sends nothing and responds in the same way.
func (s *Server) resendVerification(w http.ResponseWriter, r *http.Request) error {
	u, err := s.account(r)
	if err != nil {
		return err
	}
	if err := s.auth.RequestVerification(r.Context(), u, s.clientOf(r)); err != nil {
		return err
	}

	s.recordForSession(w, r, activity.EmailVerifyRequested)
	return writeJSON(w, http.StatusAccepted, messageResult{msgVerificationSent})
}

type changeEmailRequest struct {
	Email user.Email `json:"email" validate:"required,canonical_email"`
}

var changeEmailOperation = operation{
	id:      "changeEmail",
	tag:     tagAccount,
	summary: "Request a change of email",
	description: "The email changes when the link sent to the new email is used. The current email is notified. " +
		"The response does not reveal whether another account has the new email.",
	request: changeEmailRequest{Email: "john.doe@example.com"},
	response: response{
		status: http.StatusAccepted,
		result: "A confirmation link will be sent to the new email",
		body:   messageResult{msgEmailChangeSent},
	},
}

// changeEmail handles POST /auth/email/change. Nothing changes until the owner of the new email
// confirms it. The response does not reveal whether another account has that email.
func (s *Server) changeEmail(w http.ResponseWriter, r *http.Request, in changeEmailRequest) error {
	// Check this before the step-up, so that users do not enter their password for nothing.
	if !s.auth.SendsEmail() {
		return auth.ErrMailNotConfigured
	}
	if err := s.requireRecentAuth(r); err != nil {
		return err
	}

	u, err := s.account(r)
	if err != nil {
		return err
	}
	if in.Email == u.Email {
		return invalidFields(fieldError{"email", "unchanged", "This is already your email."})
	}
	if err := s.auth.RequestEmailChange(r.Context(), s.caller(r), u, in.Email); err != nil {
		return s.endIfAccountGone(r, err)
	}

	s.recordForSession(w, r, activity.EmailChangeRequested)
	return writeJSON(w, http.StatusAccepted, messageResult{msgEmailChangeSent})
}
