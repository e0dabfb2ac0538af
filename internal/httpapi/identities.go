package httpapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"latchkey/internal/activity"
	"latchkey/internal/oauth"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// providerOf is the name of the provider in the path of a request.
func providerOf(r *http.Request) string { return chi.URLParam(r, "provider") }

// shownIdentity is an account elsewhere as its owner sees it.
type shownIdentity struct {
	Provider  string     `json:"provider"`
	Email     user.Email `json:"email,omitempty"`
	CreatedAt time.Time  `json:"createdAt"`
	LastLogin time.Time  `json:"lastLogin,omitzero"`
}

// listIdentities answers GET /auth/identities: the ways to log in to the account.
func (s *Server) listIdentities(w http.ResponseWriter, r *http.Request) error {
	u, err := s.account(r)
	if err != nil {
		return err
	}
	identities, err := s.users.Identities(r.Context(), u.ID)
	if err != nil {
		return err
	}
	shown := make([]shownIdentity, len(identities))
	for i, of := range identities {
		shown[i] = shownIdentity{of.Provider, of.Email, of.CreatedAt, of.LastLogin}
	}
	return writeJSON(w, http.StatusOK, struct {
		Identities  []shownIdentity `json:"identities"`
		HasPassword bool            `json:"hasPassword"`
	}{shown, u.PasswordHash != ""})
}

// unlink answers DELETE /auth/identities/{provider}. All other sessions end: they may
// have begun with it.
func (s *Server) unlink(w http.ResponseWriter, r *http.Request) error {
	if err := s.fresh(r); err != nil {
		return err
	}
	current, provider := s.current(r), providerOf(r)
	u, err := s.auth.Unlink(r.Context(), current.UserID, provider, originOf(r), s.endingAs(r, session.Revoked, s.cookie.token(r)))
	if u.ID != "" {
		s.record(w, r, activity.Event{Name: activity.IdentityUnlinked, UserID: u.ID, SessionID: current.Handle, Provider: provider})
	}
	if err != nil {
		return s.orphaned(r, err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type linkRequest struct {
	ReturnTo string `json:"returnTo" validate:"max=2048"`
}

// startLink answers POST /auth/identities/{provider}: where the page has to go to add an
// account elsewhere to its user's. Not a GET, by which another site's page could have a
// stranger's account added; and not without a fresh proof, since it is another key to the
// account.
func (s *Server) startLink(w http.ResponseWriter, r *http.Request, in linkRequest) error {
	if err := s.fresh(r); err != nil {
		return err
	}
	back, ok := s.origins.returnTo(in.ReturnTo)
	if !ok {
		return invalidFields(fieldError{"returnTo", "invalid", "must be a path, or an address under an origin of FRONTEND_URL"})
	}
	current := s.current(r)
	to, id, secret, err := s.providers.Start(r.Context(), providerOf(r), oauth.Flow{
		ReturnTo: back, UserID: current.UserID, SessionID: current.Handle, Link: true,
		// Another may be signed in there, on a computer that they share.
		Reauthenticate: true,
	})
	if err != nil {
		return err
	}
	s.flows.keep(w, r, id, secret)
	return writeJSON(w, http.StatusOK, struct {
		URL string `json:"url"`
	}{to})
}

// link adds an account elsewhere to that of who asked for it. They must be signed in
// still.
func (s *Server) link(w http.ResponseWriter, r *http.Request, flow oauth.Flow, claims user.Claims) error {
	handle := s.asker(r, flow)
	still := func() error {
		current, err := s.sessions.Show(r.Context(), handle)
		if errors.Is(err, session.ErrNotFound) || err == nil && current.UserID != flow.UserID {
			err = errNotAsker
		}
		return err
	}
	if err := still(); err != nil {
		return err
	}
	err := s.auth.Link(r.Context(), flow.UserID, claims, originOf(r), still)
	if errors.Is(err, user.ErrNotFound) {
		return errNotAsker // the account is gone or disabled, and so is the session soon
	}
	if err != nil {
		return err
	}
	s.record(w, r, activity.Event{Name: activity.IdentityLinked, UserID: flow.UserID, SessionID: handle, Provider: claims.Provider})
	return nil
}

// asker is the session of who asked for a link: the one that the browser has, which may
// have another token by now, or the one that it had. With SameSite=Strict it brings none
// on its way back from the provider; what it does bring is the cookie of the flow.
func (s *Server) asker(r *http.Request, flow oauth.Flow) (handle string) {
	if loaded, err := s.sessions.Load(r.Context(), s.cookie.token(r)); err == nil {
		if current, _ := s.sessions.FromContext(loaded); current.UserID == flow.UserID {
			return current.Handle
		}
	}
	return flow.SessionID
}
