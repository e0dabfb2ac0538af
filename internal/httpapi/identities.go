package httpapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/oauth"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// providerOf returns the name of the provider in the path of a request.
func providerOf(r *http.Request) string { return chi.URLParam(r, "provider") }

// linkedAccount is an external account as its owner sees it.
type linkedAccount struct {
	Provider  string     `json:"provider"`
	Email     user.Email `json:"email,omitempty" description:"The email that the provider reported when the account was linked."`
	CreatedAt time.Time  `json:"createdAt"`
	LastLogin time.Time  `json:"lastLogin,omitzero"`
}

type identitiesResult struct {
	Identities  []linkedAccount `json:"identities"`
	HasPassword bool            `json:"hasPassword"`
}

var listIdentitiesOperation = operation{
	id:      "listIdentities",
	tag:     tagExternal,
	summary: "List the ways to log in to the account",
	response: response{
		status: http.StatusOK,
		result: "The linked external accounts, oldest first, and whether the account has a password",
		body: identitiesResult{
			Identities: []linkedAccount{{
				Provider:  "google",
				Email:     exampleUser.Email,
				CreatedAt: exampleUser.CreatedAt,
				LastLogin: exampleTime,
			}},
			HasPassword: true,
		},
	},
}

// listIdentities handles GET /auth/identities: the ways to log in to the account.
func (s *Server) listIdentities(w http.ResponseWriter, r *http.Request) error {
	u, err := s.account(r)
	if err != nil {
		return err
	}
	identities, err := s.users.Identities(r.Context(), u.ID)
	if err != nil {
		return err
	}

	linked := make([]linkedAccount, len(identities))
	for i, of := range identities {
		linked[i] = linkedAccount{
			Provider:  of.Provider,
			Email:     of.Email,
			CreatedAt: of.CreatedAt,
			LastLogin: of.LastLogin,
		}
	}

	return writeJSON(w, http.StatusOK, identitiesResult{
		Identities:  linked,
		HasPassword: u.PasswordHash != "",
	})
}

type providerParams struct {
	Provider string `path:"provider" pattern:"^[a-z0-9-]+$" description:"The name of a provider from GET /auth/providers."`
}

var unlinkIdentityOperation = operation{
	id:          "unlinkIdentity",
	tag:         tagExternal,
	summary:     "Unlink an external account",
	description: "All other sessions end, since they may have begun with that account, and other devices become unknown. The owner is notified by email.",
	params:      providerParams{},
	response: response{
		status:  http.StatusNoContent,
		result:  "The external account can no longer log in to this account",
		headers: []string{"Set-Cookie"},
	},
}

// unlink handles DELETE /auth/identities/{provider}. All other sessions of the account end.
func (s *Server) unlink(w http.ResponseWriter, r *http.Request) error {
	if err := s.requireRecentAuth(r); err != nil {
		return err
	}

	caller := s.caller(r)
	provider := providerOf(r)
	changed, err := s.auth.Unlink(r.Context(), caller, provider)
	if changed.User.ID != "" {
		s.record(w, r, activity.Event{Name: activity.IdentityUnlinked, UserID: caller.UserID, SessionID: caller.SessionID, Provider: provider})
	}
	if err != nil {
		return s.endIfAccountGone(r, err)
	}

	s.devices.renew(w, r, s.current(r), changed.User)
	w.WriteHeader(http.StatusNoContent)

	return nil
}

type linkRequest struct {
	ReturnTo string `json:"returnTo" validate:"max=2048" description:"Where the browser returns: a URL under an origin of FRONTEND_URL, or a path under the first origin (the default)."`
}

type linkResult struct {
	URL string `json:"url" format:"uri"`
}

var linkIdentityOperation = operation{
	id:      "linkIdentity",
	tag:     tagExternal,
	summary: "Link an external account",
	description: "Navigate the page to the `url` of the response. The browser comes back to `returnTo`. " +
		"Linking adds a way to log in, so it requires a recent login, and the owner is notified by email.",
	params:  providerParams{},
	request: linkRequest{ReturnTo: "/settings"},
	response: response{
		status:  http.StatusOK,
		result:  "Where to go",
		body:    linkResult{"https://accounts.example.com/authorize?client_id=..."},
		headers: []string{"Set-Cookie"},
	},
}

// startLink handles POST /auth/identities/{provider} with the URL that the page must open to
// link an external account. A GET would let a page on another site link a stranger's account.
// It requires a recent login, because linking adds a way to log in.
func (s *Server) startLink(w http.ResponseWriter, r *http.Request, in linkRequest) error {
	if err := s.requireRecentAuth(r); err != nil {
		return err
	}

	back, ok := s.origins.returnTo(in.ReturnTo)
	if !ok {
		return invalidFields(fieldError{"returnTo", "invalid", msgInvalidReturnTo})
	}

	current := s.current(r)
	to, id, secret, err := s.providers.Start(r.Context(), providerOf(r), oauth.Flow{
		ReturnTo:  back,
		UserID:    current.UserID,
		SessionID: current.ID,
		Link:      true,
		// On a shared computer, someone else may be signed in at the provider.
		Reauthenticate: true,
	})
	if err != nil {
		return err
	}

	s.flows.keep(w, r, id, secret)
	return writeJSON(w, http.StatusOK, linkResult{to})
}

// link links an external account to the account of the user who requested it. That user must
// still be signed in. The email at the provider is only shown to the user, so linking works
// without it.
func (s *Server) link(w http.ResponseWriter, r *http.Request, finished oauth.Finished) error {
	flow := finished.Flow
	claims, err := finished.Complete(r.Context())
	if err != nil {
		s.log.WarnContext(r.Context(), "linking an external account without its email",
			"requestId", w.Header().Get(requestIDHeader), "error", err)
		claims = finished.Claims
	}

	caller := auth.Caller{
		UserID:    flow.UserID,
		SessionID: s.linkingSession(r, flow),
		Client:    s.clientOf(r),
	}
	err = s.auth.Link(r.Context(), caller, claims)
	if errors.Is(err, session.ErrNotFound) || errors.Is(err, user.ErrNotFound) {
		return errSessionEnded // accounts that are deleted or disabled have no sessions
	}
	if err != nil {
		return err
	}

	s.record(w, r, activity.Event{Name: activity.IdentityLinked, UserID: caller.UserID, SessionID: caller.SessionID, Provider: claims.Provider})
	return nil
}

// linkingSession returns the ID of the session that requested the link. If the browser still
// has a session of that user, this is its ID, which a rotation may have changed. With
// SameSite=Strict the browser returns without its session cookie, so the ID comes from the flow.
func (s *Server) linkingSession(r *http.Request, flow oauth.Flow) string {
	if loaded, err := s.sessions.Load(r.Context(), s.cookie.values(r)...); err == nil {
		if current, _ := s.sessions.FromContext(loaded); current.UserID == flow.UserID {
			return current.ID
		}
	}
	return flow.SessionID
}
