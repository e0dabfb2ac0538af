package httpapi

import (
	"context"
	"errors"
	"net/http"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

type verifyEmailRequest struct {
	Token string `json:"token" validate:"required"`
}

// verifyEmail answers POST /auth/email/verify, for the link that confirms an address
// and for the one that makes another address the account's. The latter ends the
// sessions of the account: they speak in the name of the old address. That of the
// browser which brings the link, where it has one, goes on with a new token.
func (s *Server) verifyEmail(w http.ResponseWriter, r *http.Request, in verifyEmailRequest) error {
	var kept context.Context
	u, changed, err := s.auth.ConfirmEmail(r.Context(), in.Token, originOf(r), func(ctx context.Context, userID string) error {
		var keep string
		loaded, err := s.sessions.Load(ctx, s.cookie.token(r))
		switch {
		case err == nil:
			if current, _ := s.sessions.FromContext(loaded); current.UserID == userID {
				kept, keep = loaded, s.cookie.token(r)
			}
		case !errors.Is(err, session.ErrNone) && !errors.Is(err, session.ErrReplaced):
			return err
		}
		return s.ending(session.EmailChanged, keep)(ctx, userID)
	})
	if errors.Is(err, auth.ErrInvalidToken) {
		s.record(w, r, activity.Event{Name: activity.EmailVerifyFailed})
	}
	event := activity.Event{Name: activity.EmailChanged, UserID: u.ID}
	if err != nil {
		if u.ID != "" {
			s.record(w, r, event)
		}
		return err
	}
	if !changed {
		s.record(w, r, activity.Event{Name: activity.EmailVerified, UserID: u.ID})
		return writeJSON(w, http.StatusOK, done{"Email verified"})
	}
	if kept == nil {
		s.record(w, r, event)
		return writeJSON(w, http.StatusOK, done{"Email changed"})
	}
	next, token, err := s.sessions.Readdress(kept, string(u.Email))
	if err == nil {
		event.SessionID = next.Handle
	}
	s.record(w, r, event)
	if errors.Is(err, session.ErrReplaced) {
		return s.overtaken(w, r, session.EmailChanged, "Email changed; please login with it")
	}
	if err != nil {
		return err
	}
	s.cookie.set(w, next, token)
	if next.Persistent {
		s.devices.remember(w, r, canonical(string(u.Email)))
	}
	return writeJSON(w, http.StatusOK, done{"Email changed"})
}

// resendVerification answers POST /auth/email/resend. An address that is verified
// gets no mail, and the answer is the same.
func (s *Server) resendVerification(w http.ResponseWriter, r *http.Request) error {
	u, err := s.account(r)
	if err != nil {
		return err
	}
	if err := s.auth.AskVerification(r.Context(), u, originOf(r)); err != nil {
		return err
	}
	s.recordOf(w, r, activity.EmailVerifyAsked)
	return writeJSON(w, http.StatusAccepted, done{"If the address is not verified yet, a link to verify it is on its way"})
}

type changeEmailRequest struct {
	Email string `json:"email" validate:"required,address"`
}

// changeEmail answers POST /auth/email/change. Nothing changes before the new address
// has confirmed. Whether another account has it is not said.
func (s *Server) changeEmail(w http.ResponseWriter, r *http.Request, in changeEmailRequest) error {
	if err := s.fresh(r); err != nil {
		return err
	}
	email, err := user.ParseEmail(in.Email)
	if err != nil {
		return err
	}
	u, err := s.account(r)
	if err != nil {
		return err
	}
	if email == u.Email {
		return invalidFields(fieldError{"email", "unchanged", "is the address of the account already"})
	}
	err = s.auth.AskEmailChange(r.Context(), u, email, originOf(r), func() error { return s.sessions.Still(r.Context()) })
	if err != nil {
		return s.orphaned(r, err)
	}
	s.recordOf(w, r, activity.EmailChangeAsked)
	return writeJSON(w, http.StatusAccepted, done{"A link to confirm the new address is on its way to it"})
}
