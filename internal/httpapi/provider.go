package httpapi

import (
	"errors"
	"net/http"
	"strings"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/oauth"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// shownProvider is a provider as a page shows it.
type shownProvider struct {
	Name  string `json:"name"`
	Title string `json:"title"`
}

// listProviders answers GET /auth/providers, for the buttons of a page.
func (s *Server) listProviders(w http.ResponseWriter, _ *http.Request) error {
	shown := []shownProvider{}
	for _, p := range s.providers.Providers() {
		shown = append(shown, shownProvider{p.Name, p.Title})
	}
	return writeJSON(w, http.StatusOK, struct {
		Providers []shownProvider `json:"providers"`
	}{shown})
}

// sentBack is an error that is shown by a page and not by us: the browser is sent there
// with its code.
type sentBack struct {
	to    string
	state string // of the sign-in that has ended with it
	error
}

func (e *sentBack) Unwrap() error { return e.error }

// visited is bare for what a browser goes to, where an answer of ours would be the end of
// the way: what is too much sends it back to a page.
func (s *Server) visited(h handler) endpoint {
	return func(admit admission) handler {
		return bare(h)(func(w http.ResponseWriter, r *http.Request, account string) error {
			if err := admit(w, r, account); err != nil {
				return &sentBack{to: s.origins.home(), error: err}
			}
			return nil
		})
	}
}

// returning is visited for a browser that comes back. One that has begun was counted then,
// and ends once: what is counted is who has not.
func (s *Server) returning(h func(admission) handler) endpoint {
	return func(admit admission) handler {
		return bare(h(admit))(func(http.ResponseWriter, *http.Request, string) error { return nil })
	}
}

// startSignIn answers GET /auth/{provider}: on to the provider. With prompt=login that
// asks for its proof again, also who is signed in there.
func (s *Server) startSignIn(provider string) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		query := r.URL.Query()
		back, ok := s.origins.returnTo(query.Get("return_to"))
		if !ok || len(query["return_to"]) > 1 {
			return invalidFields(fieldError{"return_to", "invalid", "must be a path, or an address under an origin of FRONTEND_URL"})
		}
		prompt := query.Get("prompt")
		if prompt != "" && prompt != "login" {
			return invalidFields(fieldError{"prompt", "invalid", "must be login, or left out"})
		}
		if !navigates(r) {
			return errNotNavigation
		}
		flow := oauth.Flow{ReturnTo: back, Reauthenticate: prompt == "login"}
		loaded, err := s.sessions.Load(r.Context(), s.cookie.token(r))
		if err == nil {
			current, _ := s.sessions.FromContext(loaded)
			flow.UserID, flow.SessionID = current.UserID, current.Handle
		} else if !errors.Is(err, session.ErrNone) && !errors.Is(err, session.ErrReplaced) {
			return &sentBack{to: back, error: err}
		}
		to, id, secret, err := s.providers.Start(r.Context(), provider, flow)
		if err != nil {
			return &sentBack{to: back, error: err}
		}
		s.flows.keep(w, r, id, secret)
		redirect(w, to)
		return nil
	}
}

// navigates tells whether a browser goes to an address itself, and neither a page of
// whatever site has it fetched, nor the browser does so in advance.
func navigates(r *http.Request) bool {
	mode, dest := r.Header.Get("Sec-Fetch-Mode"), r.Header.Get("Sec-Fetch-Dest")
	return r.Method == http.MethodGet && (mode == "" || mode == "navigate") && (dest == "" || dest == "document") && !strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch")
}

// finishSignIn answers GET /auth/{provider}/callback: back to the page, signed in or with
// another way to sign in, or with why not.
func (s *Server) finishSignIn(provider string) func(admission) handler {
	return func(admit admission) handler {
		return func(w http.ResponseWriter, r *http.Request) error { return s.finish(w, r, provider, admit) }
	}
}

func (s *Server) finish(w http.ResponseWriter, r *http.Request, provider string, admit admission) error {
	query := r.URL.Query()
	state := query.Get("state")
	claims, flow, err := s.providers.Finish(r.Context(), provider, s.flows.secret(r, state), query)
	if errors.Is(err, oauth.ErrNoFlow) {
		if err := admit(w, r, ""); err != nil {
			return &sentBack{to: s.origins.home(), error: err}
		}
	}
	// Judged again: what is listed may be another by now, and this stood in Redis.
	back, ok := s.origins.returnTo(flow.ReturnTo)
	if !ok {
		back = s.origins.home()
	}
	switch {
	case err == nil && flow.Link:
		err = s.link(w, r, flow, claims)
	case err == nil:
		err = s.enter(w, r, flow, claims)
	}
	if !flow.Link {
		s.countLogin(err)
	}
	if err != nil {
		if !flow.Link && !errors.Is(err, oauth.ErrDenied) && failureOf(err).status != http.StatusServiceUnavailable {
			s.record(w, r, activity.Event{Name: activity.LoginFailed, Provider: provider})
		}
		return &sentBack{to: back, state: state, error: err}
	}
	s.flows.forget(w, r, state)
	redirect(w, back)
	return nil
}

// enter signs in who has signed in elsewhere. The epoch is noted before the account is
// asked whether they still may, see login.
func (s *Server) enter(w http.ResponseWriter, r *http.Request, flow oauth.Flow, claims user.Claims) error {
	if flow.Reauthenticate && flow.UserID != "" {
		// Who confirms who they are, and takes another account at the provider by mistake,
		// must not find themselves in another account here.
		known, err := s.users.ByIdentity(r.Context(), claims.Issuer, claims.Subject)
		if err == nil && known.ID != flow.UserID || errors.Is(err, user.ErrNotFound) {
			err = errWrongAccount
		}
		if err != nil {
			return err
		}
	}
	u, how, err := s.auth.Enter(r.Context(), claims, originOf(r), s.ending(session.Revoked, ""), func() error {
		return s.admit(w, r, attempt{budget: registrations})
	})
	if err != nil {
		return err
	}
	switch how {
	case auth.Linked:
		s.record(w, r, activity.Event{Name: activity.IdentityLinked, UserID: u.ID, Provider: claims.Provider})
	case auth.Claimed:
		s.record(w, r, activity.Event{Name: activity.AccountClaimed, UserID: u.ID, Provider: claims.Provider})
	case auth.Created, auth.Returned:
	}
	epoch, err := s.sessions.Epoch(r.Context(), u.ID)
	if err != nil {
		return err
	}
	if u, err = s.auth.RecordEntry(r.Context(), u.ID, claims); err != nil {
		return err
	}
	begun, token, err := s.begin(r, u, session.SignIn{
		Method: claims.Provider, AuthenticatedAt: claims.AuthenticatedAt, Persistent: true, Epoch: epoch,
	})
	if err != nil {
		return err
	}
	if s.cookie.token(r) == "" && flow.SessionID != "" {
		// With SameSite=Strict the browser comes back without the session that it had, which
		// begin would have ended.
		err := s.sessions.Revoke(r.Context(), flow.UserID, flow.SessionID, session.Revoked)
		if err != nil && !errors.Is(err, session.ErrNotFound) {
			s.sessions.Undo(r.Context(), begun)
			return err
		}
	}
	event := activity.Event{Name: activity.Login, UserID: u.ID, SessionID: begun.Handle, Provider: claims.Provider}
	if how == auth.Created {
		event.Name = activity.Registered
	}
	s.arrive(w, r, u, begun, token, event)
	return nil
}

// redirect sends a browser on.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusFound)
}
