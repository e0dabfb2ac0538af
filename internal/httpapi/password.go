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
	changed, err := s.auth.ChangePassword(r.Context(), current.UserID, in.CurrentPassword, in.NewPassword, originOf(r),
		s.endingAs(r, session.PasswordChanged, s.cookie.token(r)))
	if changed.ID != "" {
		s.recordOf(w, r, activity.PasswordChanged)
	}
	if errors.Is(err, auth.ErrWrongPassword) {
		s.recordOf(w, r, activity.PasswordChangeFailed)
	}
	if err != nil {
		return s.passwordRefused(r, err)
	}
	return s.passwordChanged(w, r, "Password changed")
}

type setPasswordRequest struct {
	NewPassword string `json:"newPassword" validate:"required,new_password"`
}

// setPassword answers POST /auth/password/set, for an account that has none. What the
// password proves elsewhere, a fresh login proves here. As after a change, all other
// sessions end.
func (s *Server) setPassword(w http.ResponseWriter, r *http.Request, in setPasswordRequest) error {
	if err := s.fresh(r); err != nil {
		return err
	}
	current := s.current(r)
	changed, err := s.auth.AddPassword(r.Context(), current.UserID, in.NewPassword, originOf(r),
		s.endingAs(r, session.PasswordChanged, s.cookie.token(r)))
	if changed.ID != "" {
		s.recordOf(w, r, activity.PasswordChanged)
	}
	if err != nil {
		return s.passwordRefused(r, err)
	}
	return s.passwordChanged(w, r, "Password set")
}

func (s *Server) passwordRefused(r *http.Request, err error) error {
	var weak *auth.WeakPasswordError
	if errors.As(err, &weak) {
		return weakPassword("newPassword", weak)
	}
	return s.orphaned(r, err)
}

// passwordChanged gives the session that has changed the password a new token.
func (s *Server) passwordChanged(w http.ResponseWriter, r *http.Request, message string) error {
	next, token, err := s.sessions.Reauthenticate(r.Context())
	if errors.Is(err, session.ErrReplaced) {
		return s.overtaken(w, r, session.PasswordChanged, message+"; please login with it")
	}
	if err != nil {
		return err
	}
	s.cookie.set(w, next, token)
	return writeJSON(w, http.StatusOK, renewed{message, next.Handle, next.AuthenticatedAt})
}

// overtaken answers for a change after which only the session that made it may live
// on, where another request has given that session another token meanwhile: it ends,
// too. Whoever has the other token is not known to be who knew the password.
func (s *Server) overtaken(w http.ResponseWriter, r *http.Request, why session.Reason, message string) error {
	if _, err := s.sessions.EndToken(r.Context(), s.cookie.token(r), why); err != nil {
		return err
	}
	s.cookie.clear(w)
	return writeJSON(w, http.StatusOK, done{message})
}

// endingAs is ending for who is signed in: before the change only if they still are. A
// request may have waited for a password to be hashed, and its session have ended
// meanwhile.
func (s *Server) endingAs(r *http.Request, why session.Reason, keep string) auth.EndSessions {
	end, before := s.ending(why, keep), true
	return func(ctx context.Context, userID string) error {
		if before {
			if err := s.sessions.Still(r.Context()); err != nil {
				return err
			}
		}
		before = !before
		return end(ctx, userID)
	}
}

// ending ends the sessions of an account but for that of the token keep.
func (s *Server) ending(why session.Reason, keep string) auth.EndSessions {
	return func(ctx context.Context, userID string) error {
		_, err := s.sessions.RevokeAll(ctx, userID, keep, why)
		return err
	}
}

// forgotRequest is not counted by its account: a stranger could keep the owner from
// getting a link. There is one in a while anyway.
type forgotRequest struct {
	Email string `json:"email" validate:"required,address"`
}

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
	if u.ID != "" {
		s.record(w, r, activity.Event{Name: activity.PasswordReset, UserID: u.ID})
	}
	if err != nil {
		return err
	}
	// Who has reset the password gets in, however many strangers try.
	s.devices.remember(w, r, canonical(string(u.Email)))
	return writeJSON(w, http.StatusOK, done{"Password reset; please login with the new one"})
}
