package httpapi

import (
	"errors"
	"net/http"
	"strings"

	"latchkey/internal/activity"
	"latchkey/internal/oauth"
	"latchkey/internal/returnto"
	"latchkey/internal/session"
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
	return writeJSON(w, http.StatusOK, providersResult{s.loginProviders()})
}

// loginProviders returns the providers for the login buttons of a page.
func (s *Server) loginProviders() []loginProvider {
	shown := []loginProvider{}
	for _, p := range s.providers.Providers() {
		shown = append(shown, loginProvider{p.Name, p.Title})
	}

	return shown
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
		"With `COOKIE_SAME_SITE=strict` it cannot start a login at all. " +
		"A session that ends with the browser still does after the login.",
	params:   startSignInParams{},
	response: redirectResponse("A redirect to the provider, or to `return_to` with an `error`"),
}

// startSignIn handles GET /auth/{provider} with a redirect to the provider. With prompt=login
// the provider authenticates the user again, even if they are signed in there.
func (s *Server) startSignIn(provider string) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if _, err := s.checkRateLimit(w, r, attempt{limit: limitOAuth}); err != nil {
			return s.redirectFailure(w, r, s.failurePage(), err)
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
		isClick := r.Header.Get("Sec-Fetch-User") == "?1"
		// Browsers send no SameSite=Strict cookie from such a page, so nothing would show which
		// account to keep.
		hidesSession := s.cookie.SameSite == http.SameSiteStrictMode
		if isForeign && (!isClick || hidesSession) {
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

// redirectFailure redirects the browser to a page with the code of a failure. The user would be
// stuck on a problem document.
func (s *Server) redirectFailure(w http.ResponseWriter, r *http.Request, to string, err error) error {
	redirect(w, returnto.WithError(to, s.prepareFailure(w, r, err).code))

	return nil
}

// redirectResponse describes a redirect. result describes where it leads.
func redirectResponse(result string) response {
	return response{
		status:  http.StatusFound,
		result:  result,
		headers: []string{"Location", "Set-Cookie", "RateLimit", "RateLimit-Policy", "Retry-After"},
	}
}

// redirect sends a browser to a URL.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusFound)
}
