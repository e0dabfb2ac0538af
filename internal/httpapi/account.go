package httpapi

import (
	"errors"
	"fmt"
	"net/http"

	"latchkey/internal/activity"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

type userResult struct {
	User user.View `json:"user"`
}

var (
	meOperation = operation{
		id:      "me",
		tag:     tagSession,
		summary: "Get the signed-in user",
		response: response{
			status: http.StatusOK,
			result: "The user",
			body:   userResult{exampleUser},
		},
	}
	profileOperation = operation{
		id:       "profile",
		tag:      tagAccount,
		summary:  "Get the profile",
		response: meOperation.response,
	}
)

// me handles GET /auth/me and GET /profile.
func (s *Server) me(w http.ResponseWriter, r *http.Request) error {
	shown, err := s.users.Snapshot(r.Context(), s.current(r).UserID)
	if err == nil && !shown.IsActive {
		err = user.ErrNotFound
	}
	if err != nil {
		return s.endIfAccountGone(r, err)
	}

	body, err := shown.Response(encodeUser)
	if err != nil {
		return err
	}
	writeBody(w, http.StatusOK, jsonType, body)

	return nil
}

// meFromMemory is me for an account in memory.
func (s *Server) meFromMemory(_ http.Header, _ *http.Request, current *session.Session) []byte {
	shown := s.users.SnapshotInMemory(current.UserID)
	if shown == nil || !shown.IsActive {
		return nil
	}

	body, err := shown.Response(encodeUser)
	if err != nil {
		return nil // me returns the error
	}

	return body
}

func encodeUser(shown user.View) ([]byte, error) { return encodeJSON(userResult{shown}) }

// account returns the account of the signed-in user.
func (s *Server) account(r *http.Request) (user.User, error) {
	u, err := s.users.ByID(r.Context(), s.current(r).UserID)
	if err == nil && !u.Active {
		err = user.ErrNotFound
	}
	if err != nil {
		return user.User{}, s.endIfAccountGone(r, err)
	}

	return u, nil
}

// profileRequest is the body of PUT /profile. A missing member is not changed.
type profileRequest struct {
	Name   *string `json:"name,omitempty" validate:"required_without=Locale,omitnil,canonical_name" description:"Leading and trailing spaces are removed. Control characters are not allowed."`
	Locale *string `json:"locale,omitempty" validate:"omitnil,canonical_locale" description:"A BCP 47 tag such as de or pt-BR, in one of the languages of the server. Stored and returned in its canonical form."`
}

type profileUpdatedResult struct {
	Message string    `json:"message" const:"Profile updated"`
	User    user.View `json:"user"`
}

var updateProfileOperation = operation{
	id:          "updateProfile",
	tag:         tagAccount,
	summary:     "Change the user's name or language",
	description: "Changes only the members in the request, which must have at least one. Other fields cannot be changed here.",
	request:     profileRequest{Name: &exampleUser.Name, Locale: &exampleUser.Locale},
	response: response{
		status: http.StatusOK,
		result: "The updated user",
		body:   profileUpdatedResult{"Profile updated", exampleUser},
	},
}

// updateProfile handles PUT /profile. It can change the name and the locale only, because the
// decoder rejects all other members.
func (s *Server) updateProfile(w http.ResponseWriter, r *http.Request, in profileRequest) error {
	var changes user.Profile
	if in.Name != nil {
		changes.Name = *in.Name
	}
	if in.Locale != nil {
		changes.Locale = *in.Locale
	}

	u, err := s.users.UpdateProfile(r.Context(), s.current(r).UserID, changes)
	if err != nil {
		return s.endIfAccountGone(r, err)
	}

	s.recordForSession(w, r, activity.ProfileUpdated)

	return writeJSON(w, http.StatusOK, profileUpdatedResult{"Profile updated", u.View()})
}

var deleteProfileOperation = operation{
	id:          "deleteProfile",
	tag:         tagAccount,
	summary:     "Delete the account",
	description: "Deletes the account and ends all of its sessions. This cannot be undone.",
	response: response{
		status:  http.StatusNoContent,
		result:  "The account is deleted and the session cookie cleared",
		headers: []string{"Set-Cookie", "Clear-Site-Data"},
	},
}

// deleteProfile handles DELETE /profile. It deletes the account and ends its sessions.
func (s *Server) deleteProfile(w http.ResponseWriter, r *http.Request) error {
	if err := s.requireRecentAuth(r); err != nil {
		return err
	}

	changed, err := s.auth.Delete(r.Context(), s.caller(r))
	if changed.User.ID != "" {
		s.recordForSession(w, r, activity.AccountDeleted)
	}
	if err != nil {
		return s.endIfAccountGone(r, err)
	}

	s.forget(w)
	w.WriteHeader(http.StatusNoContent)

	return nil
}

// endIfAccountGone ends the current session if err is user.ErrNotFound because the account was
// deleted or disabled, and returns every other error unchanged. If the account exists after all,
// it changed at the same time, and the client should try again.
func (s *Server) endIfAccountGone(r *http.Request, err error) error {
	if !errors.Is(err, user.ErrNotFound) {
		return err
	}

	var why session.Reason
	u, err := s.users.ByIDOnPrimary(r.Context(), s.current(r).UserID)
	switch {
	case errors.Is(err, user.ErrNotFound):
		why = session.AccountDeleted
	case err != nil:
		return err
	case u.Active:
		return fmt.Errorf("%w: the account changed at the same time", user.ErrUnavailable)
	default:
		why = session.AccountDisabled
	}

	if err := s.sessions.End(r.Context(), why); err != nil {
		return err
	}

	return &session.EndedError{Reason: why}
}
