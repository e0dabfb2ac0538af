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

type loginProvider struct {
	Name  string `json:"name" description:"The name in URLs."`
	Title string `json:"title" description:"The name for people."`
}

type providersResult struct {
	Providers []loginProvider `json:"providers"`
}

var listProvidersOperation = operation{
	id:          "listProviders",
	tag:         tagExternal,
	summary:     "List the configured providers",
	description: "For the login buttons of a page. A button is a link to `/auth/{provider}`: the browser has to navigate there, fetching it does not work.",
	response: response{
		status: http.StatusOK,
		result: "The providers",
		body:   providersResult{[]loginProvider{{"google", "Google"}, {"github", "GitHub"}}},
	},
}

// listProviders handles GET /auth/providers.
func (s *Server) listProviders(w http.ResponseWriter, _ *http.Request) error {
	shown := []loginProvider{}
	for _, p := range s.providers.Providers() {
		shown = append(shown, loginProvider{p.Name, p.Title})
	}

	return writeJSON(w, http.StatusOK, providersResult{shown})
}

type startSignInParams struct {
	providerParams
	ReturnTo string `query:"return_to" maxLength:"2048" description:"Where the browser returns: a URL under an origin of FRONTEND_URL, or a path under the first origin (the default)."`
	Prompt   string `query:"prompt" enum:"login" description:"Authenticates the user again, even if they are signed in at the provider. For step_up_required if the account has no password."`
}

var startSignInOperation = operation{
	id:      "startSignIn",
	tag:     tagExternal,
	summary: "Log in with a provider",
	description: "Navigate the browser here. The user is redirected to the provider (authorization code flow with PKCE) and has 10 minutes to return. " +
		"If the login cannot start, the browser is redirected to `return_to` with an `error` parameter: see `SignInError`.\n\n" +
		"A page on a site that is not in `FRONTEND_URL` needs a click on a link (otherwise `cross_origin_denied`), and cannot replace the session of another account (`wrong_account`). " +
		"A session that ends with the browser still does after the login.",
	params: startSignInParams{},
	response: response{
		status:  http.StatusFound,
		result:  "A redirect to the provider, or to `return_to` with an `error`",
		headers: []string{"Location", "Set-Cookie", "RateLimit", "RateLimit-Policy", "Retry-After"},
	},
}

// startSignIn handles GET /auth/{provider} with a redirect to the provider. With prompt=login
// the provider authenticates the user again, even if they are signed in there.
func (s *Server) startSignIn(provider string) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if _, err := s.checkRateLimit(w, r, attempt{limit: limitOAuth}); err != nil {
			return s.redirectFailure(w, r, s.origins.home(), err)
		}

		query := r.URL.Query()

		back, ok := s.origins.returnTo(query.Get("return_to"))
		if !ok || len(query["return_to"]) > 1 {
			return invalidFields(fieldError{"return_to", "invalid", msgInvalidReturnTo})
		}

		prompt := query.Get("prompt")
		if prompt != "" && prompt != "login" {
			return invalidFields(fieldError{"prompt", "invalid", "The prompt must be login or left out."})
		}

		if !navigates(r) {
			return errNotNavigation
		}

		// A page on another site must not sign the browser in without a click (OWASP ASVS 5.0
		// 7.6.2), and not replace the session of another account even with one.
		isForeign := s.origins.isForeign(r)
		if isForeign && r.Header.Get("Sec-Fetch-User") != "?1" {
			s.record(w, r, activity.Event{Name: activity.CrossOriginDenied, Origin: pageOrigin(r)})
			return s.redirectFailure(w, r, back, errCrossOrigin)
		}

		flow := oauth.Flow{ReturnTo: back, Reauthenticate: prompt == "login", KeepAccount: isForeign}
		loaded, err := s.sessions.Load(r.Context(), s.cookie.values(r)...)
		switch {
		case err == nil:
			current, _ := s.sessions.FromContext(loaded)
			flow.UserID = current.UserID
			flow.SessionID = current.ID
			flow.Temporary = !current.Persistent
		case isForeign && errors.Is(err, session.ErrAmbiguous):
			return s.redirectFailure(w, r, back, errCrossOrigin) // nothing shows which account to keep
		case !session.IsGone(err):
			return s.redirectFailure(w, r, back, err)
		}

		to, id, secret, err := s.providers.Start(r.Context(), provider, flow)
		if err != nil {
			return s.redirectFailure(w, r, back, err)
		}

		s.flows.keep(w, r, id, secret)
		redirect(w, to)

		return nil
	}
}

// navigates reports whether the browser navigates to the URL, as opposed to a script that
// fetches it or a browser that prefetches it.
func navigates(r *http.Request) bool {
	mode := r.Header.Get("Sec-Fetch-Mode")
	dest := r.Header.Get("Sec-Fetch-Dest")
	isNavigation := (mode == "" || mode == "navigate") && (dest == "" || dest == "document")
	isPrefetch := strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch")

	return r.Method == http.MethodGet && isNavigation && !isPrefetch
}

type finishSignInParams struct {
	providerParams
	Code  string `query:"code" description:"The authorization code."`
	State string `query:"state" description:"The state that was sent to the provider."`
	Iss   string `query:"iss" description:"The issuer (RFC 9207)."`
	Error string `query:"error" description:"Why there is no code."`
}

var finishSignInOperation = operation{
	id:      "finishSignIn",
	tag:     tagExternal,
	summary: "Return from a provider",
	description: "The provider redirects the browser here, and this redirects it to `return_to`: logged in with a new session, or with an external account linked. " +
		"After a failure, `return_to` has an `error` parameter: see `SignInError`.\n\n" +
		"Users are identified by issuer and subject, never by email. A first login creates an account. If an account already has the email and the provider has not verified it, its owner has to log in first and link the accounts. " +
		"If the provider has verified it, the accounts are linked, provided that the user of the account has proved to own the email: with a link opened while signed in, a password reset or an earlier sign-in. " +
		"Otherwise the user takes over the account, and its password and sessions are removed.",
	params: finishSignInParams{},
	response: response{
		status:  http.StatusFound,
		result:  "A redirect to `return_to`, after a failure with an `error`",
		headers: []string{"Location", "Set-Cookie", "RateLimit", "RateLimit-Policy", "Retry-After"},
	},
}

// finishSignIn handles GET /auth/{provider}/callback with a redirect to the page. By then the
// user is logged in or has linked an account, or the URL has the code of a failure.
func (s *Server) finishSignIn(provider string) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		query := r.URL.Query()
		state := query.Get("state")

		finished, err := s.providers.Finish(r.Context(), provider, s.flows.secret(r, state), query)
		flow := finished.Flow

		// Every sign-in was counted when it started and can end only once. Count the other requests.
		if errors.Is(err, oauth.ErrNoFlow) {
			if _, limited := s.checkRateLimit(w, r, attempt{limit: limitCallback}); limited != nil {
				return s.redirectFailure(w, r, s.origins.home(), limited)
			}
		}

		switch {
		case err == nil && flow.Link:
			err = s.link(w, r, finished)
		case err == nil:
			err = s.signInWithProvider(w, r, finished)
		}

		if !flow.Link {
			s.countLogin(err)

			refused := err != nil && !errors.Is(err, oauth.ErrDenied) && failureOf(err).status != http.StatusServiceUnavailable
			if refused {
				s.record(w, r, activity.Event{Name: activity.LoginFailed, Provider: provider})
			}
		}

		// Check the URL again. It comes from Redis, and the allowed origins may have changed.
		back, ok := s.origins.returnTo(flow.ReturnTo)
		if !ok {
			back = s.origins.home()
		}
		if err != nil {
			back = withError(back, s.prepareFailure(w, r, err).code)
		}

		s.flows.forget(w, r, state)
		redirect(w, back)

		return nil
	}
}

// signInWithProvider signs in a user authenticated by an external provider.
func (s *Server) signInWithProvider(w http.ResponseWriter, r *http.Request, finished oauth.Finished) error {
	flow := finished.Flow
	if err := s.requireSameAccount(r, flow, finished.Claims); err != nil {
		return err
	}

	claims, err := s.neededClaims(r, finished)
	if err != nil {
		return err
	}

	client := s.signInClient(r)
	if len(client.SessionIDs) == 0 && flow.SessionID != "" {
		// With SameSite=Strict the browser returns without its session cookie.
		client.SessionIDs = []string{flow.SessionID}
	}

	in := auth.ProviderSignIn{Claims: claims, Persistent: !flow.Temporary}
	signedIn, err := s.auth.SignInWithProvider(r.Context(), in, client)
	if errors.Is(err, auth.ErrNoAccount) {
		// Apply the limit of registrations before an account is created.
		if _, err := s.checkRateLimit(w, r, attempt{limit: limitRegister}); err != nil {
			return err
		}
		signedIn, err = s.auth.RegisterWithProvider(r.Context(), in, client)
	}

	event := activity.Event{Name: activity.Login, Provider: claims.Provider}
	switch signedIn.Outcome {
	case auth.Linked:
		s.record(w, r, activity.Event{Name: activity.IdentityLinked, UserID: signedIn.User.ID, Provider: claims.Provider})
	case auth.Claimed:
		s.record(w, r, activity.Event{Name: activity.AccountClaimed, UserID: signedIn.User.ID, Provider: claims.Provider})
	case auth.Created:
		event.Name = activity.Registered
	case auth.Existing:
	}
	if err != nil {
		return err
	}

	s.completeSignIn(w, r, signedIn, event)
	return nil
}

// neededClaims returns the claims, and completes them only if the external account is not linked
// yet: a user who returns needs no email from the provider.
func (s *Server) neededClaims(r *http.Request, finished oauth.Finished) (user.Claims, error) {
	claims := finished.Claims
	if finished.IsComplete() {
		return claims, nil
	}

	_, err := s.users.ByIdentity(r.Context(), claims.Issuer, claims.Subject)
	if errors.Is(err, user.ErrNotFound) {
		return finished.Complete(r.Context())
	}

	return claims, err
}

// requireSameAccount checks that a user who confirms their identity, or comes from a page of
// another site, uses an external account that is linked to their current account. Otherwise
// choosing the wrong account at the provider would log them in to another account here.
func (s *Server) requireSameAccount(r *http.Request, flow oauth.Flow, claims user.Claims) error {
	isRequired := flow.Reauthenticate || flow.KeepAccount
	if !isRequired || flow.UserID == "" {
		return nil
	}

	known, err := s.users.ByIdentity(r.Context(), claims.Issuer, claims.Subject)
	if err == nil && known.ID != flow.UserID || errors.Is(err, user.ErrNotFound) {
		return errWrongAccount
	}

	return err
}

// redirectFailure redirects the browser to a page with the code of a failure. The user would be
// stuck on a problem document.
func (s *Server) redirectFailure(w http.ResponseWriter, r *http.Request, to string, err error) error {
	redirect(w, withError(to, s.prepareFailure(w, r, err).code))

	return nil
}

// redirect sends a browser to a URL.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusFound)
}
