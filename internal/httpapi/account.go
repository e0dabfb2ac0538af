package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"latchkey/internal/activity"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// account is a user as the API shows one. It is a type of its own, so that a
// member added to user.User, its hash above all, is not shown by accident.
type account struct {
	ID            string     `json:"id"`
	Name          string     `json:"name"`
	Email         user.Email `json:"email"`
	EmailVerified bool       `json:"emailVerified"`
	Picture       string     `json:"picture,omitempty"`
	IsActive      bool       `json:"isActive"`
	LastLogin     time.Time  `json:"lastLogin,omitzero"`
	CreatedAt     time.Time  `json:"createdAt"`
	UpdatedAt     time.Time  `json:"updatedAt"`
}

// accountAnswer is the answer about an account. Message is empty where nothing
// was done.
type accountAnswer struct {
	Message string  `json:"message,omitempty"`
	User    account `json:"user"`
}

func answerFor(message string, u user.User) accountAnswer {
	return accountAnswer{message, account{
		ID: u.ID, Name: u.Name, Email: u.Email, EmailVerified: u.EmailVerified, Picture: u.Picture,
		IsActive: u.Active, LastLogin: u.LastLogin, CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt,
	}}
}

// me answers GET /auth/me and GET /profile.
func (s *Server) me(w http.ResponseWriter, r *http.Request) error {
	u, err := s.account(r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, answerFor("", u))
}

// account returns the account of who is signed in.
func (s *Server) account(r *http.Request) (user.User, error) {
	u, err := s.users.ByID(r.Context(), s.current(r).UserID)
	if err == nil && !u.Active {
		err = user.ErrNotFound
	}
	if err != nil {
		return user.User{}, s.orphaned(r, err)
	}
	return u, nil
}

type profileRequest struct {
	Name string `json:"name" validate:"required,person_name"`
}

// updateProfile answers PUT /profile. The name is all that it changes: whatever
// else a client sends is refused by the decoder.
func (s *Server) updateProfile(w http.ResponseWriter, r *http.Request, in profileRequest) error {
	name, err := user.ParseName(in.Name)
	if err != nil {
		return err
	}
	u, err := s.users.Rename(r.Context(), s.current(r).UserID, name)
	if err != nil {
		return s.orphaned(r, err)
	}
	s.recordOf(w, r, activity.ProfileUpdated)
	return writeJSON(w, http.StatusOK, answerFor("Profile updated", u))
}

// deleteProfile answers DELETE /profile: the account and its sessions are gone.
func (s *Server) deleteProfile(w http.ResponseWriter, r *http.Request) error {
	if err := s.fresh(r); err != nil {
		return err
	}
	deleted, err := s.auth.Delete(r.Context(), s.current(r).UserID, originOf(r), s.endingAs(r, session.AccountDeleted, ""))
	if deleted.ID != "" {
		s.recordOf(w, r, activity.AccountDeleted)
	}
	if err != nil {
		return s.orphaned(r, err)
	}
	s.forget(w)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// orphaned ends the session of an account that is gone or disabled, and passes
// every other error on. Where the account is there all the same, it was changed while it
// was looked at: that is to be tried again.
func (s *Server) orphaned(r *http.Request, err error) error {
	if !errors.Is(err, user.ErrNotFound) {
		return err
	}
	why := session.AccountDisabled
	if u, err := s.users.ByID(r.Context(), s.current(r).UserID); errors.Is(err, user.ErrNotFound) {
		why = session.AccountDeleted
	} else if err != nil {
		return err
	} else if u.Active {
		return fmt.Errorf("%w: the account has changed meanwhile", user.ErrUnavailable)
	}
	if err := s.sessions.End(r.Context(), why); err != nil {
		return err
	}
	return &session.EndedError{Reason: why}
}
