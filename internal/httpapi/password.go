package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// done is the answer of what has no more to say than that it was done.
type done struct {
	Message string `json:"message"`
}

// renewed is the answer of what has given the session a new token.
type renewed struct {
	Message         string    `json:"message"`
	SessionID       string    `json:"sessionId"`
	AuthenticatedAt time.Time `json:"authenticatedAt"`
}

type stepUpRequest struct {
	Password string `json:"password" validate:"required,any_password"`
}

// stepUp answers POST /auth/step-up: the user proves again who they are, for what
// fresh asks for.
func (s *Server) stepUp(w http.ResponseWriter, r *http.Request, in stepUpRequest) error {
	if _, err := s.auth.Prove(r.Context(), s.current(r).UserID, in.Password); err != nil {
		if errors.Is(err, auth.ErrWrongPassword) {
			s.recordOf(w, r, activity.StepUpFailed)
		}
		return s.orphaned(r, err)
	}
	next, token, err := s.sessions.Reauthenticate(r.Context())
	if err != nil {
		return err
	}
	s.cookie.set(w, next, token)
	s.record(w, r, activity.Event{Name: activity.StepUp, UserID: next.UserID, SessionID: next.Handle})
	return writeJSON(w, http.StatusOK, renewed{"Identity confirmed", next.Handle, next.AuthenticatedAt})
}

// fresh makes sure that the user has proved who they are a short while ago: a session
// that someone found open must not be enough to take the account away (OWASP ASVS 5.0
// 7.5.1, 7.5.3).
func (s *Server) fresh(r *http.Request) error {
	if s.now().Sub(s.current(r).AuthenticatedAt) > s.stepUpMaxAge {
		return errStepUp
	}
	return nil
}

type changePasswordRequest struct {
	CurrentPassword string `json:"currentPassword" validate:"required,any_password"`
	NewPassword     string `json:"newPassword" validate:"required,new_password"`
}

// changePassword answers POST /auth/password/change. The session goes on with a new
// token, all others end.
func (s *Server) changePassword(w http.ResponseWriter, r *http.Request, in changePasswordRequest) error {
	current := s.current(r)
	_, err := s.auth.ChangePassword(r.Context(), current.UserID, in.CurrentPassword, in.NewPassword, originOf(r),
		s.ending(session.PasswordChanged, current.Handle))
	if err != nil {
		if errors.Is(err, auth.ErrWrongPassword) {
			s.recordOf(w, r, activity.PasswordChangeFailed)
		}
		var weak *auth.WeakPasswordError
		if errors.As(err, &weak) {
			return weakPassword("newPassword", weak)
		}
		return s.orphaned(r, err)
	}
	next, token, err := s.sessions.Reauthenticate(r.Context())
	switch {
	case errors.Is(err, session.ErrReplaced):
		// Another request has rotated the session or ended it meanwhile. What was asked
		// for is done all the same, and the cookie is that one's business.
		next = current
	case err != nil:
		return err
	default:
		s.cookie.set(w, next, token)
	}
	s.record(w, r, activity.Event{Name: activity.PasswordChanged, UserID: current.UserID, SessionID: next.Handle})
	return writeJSON(w, http.StatusOK, renewed{"Password changed", next.Handle, next.AuthenticatedAt})
}

// ending ends the sessions of an account but for one.
func (s *Server) ending(why session.Reason, keep string) auth.EndSessions {
	return func(ctx context.Context, userID string) error {
		_, err := s.sessions.RevokeAll(ctx, userID, keep, why)
		return err
	}
}

type forgotRequest struct {
	Email string `json:"email" validate:"required,address"`
}

func (in forgotRequest) account() string { return canonical(in.Email) }

// forgotPassword answers POST /auth/password/forgot. Whether there is such an account
// is found out later, when the mail is sent.
func (s *Server) forgotPassword(w http.ResponseWriter, r *http.Request, in forgotRequest) error {
	email, err := user.ParseEmail(in.Email)
	if err != nil {
		return err
	}
	if err := s.auth.Forgot(r.Context(), email, originOf(r)); err != nil {
		return err
	}
	s.record(w, r, activity.Event{Name: activity.PasswordResetAsked})
	return writeJSON(w, http.StatusAccepted, done{"If there is an account with this address, a link to reset its password is on its way"})
}

type resetRequest struct {
	Token    string `json:"token" validate:"required"`
	Password string `json:"password" validate:"required,new_password"`
}

// resetPassword answers POST /auth/password/reset. It begins no session: who reads
// someone's mail is not signed in by that alone (OWASP ASVS 5.0 6.3.6).
func (s *Server) resetPassword(w http.ResponseWriter, r *http.Request, in resetRequest) error {
	u, err := s.auth.ResetPassword(r.Context(), in.Token, in.Password, originOf(r), s.ending(session.PasswordChanged, ""))
	if errors.Is(err, auth.ErrInvalidToken) {
		s.record(w, r, activity.Event{Name: activity.PasswordResetFailed})
	}
	if err != nil {
		return err
	}
	s.record(w, r, activity.Event{Name: activity.PasswordReset, UserID: u.ID})
	return writeJSON(w, http.StatusOK, done{"Password reset; please login with the new one"})
}
