package oauthtest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Account is a GitHub account.
type Account struct {
	ID        int64
	Login     string
	Name      string // may be empty
	AvatarURL string
	Emails    []Email
}

// Email is an email of an Account.
type Email struct {
	Email    string `json:"email"`
	Primary  bool   `json:"primary"`
	Verified bool   `json:"verified"`
}

// GitHubBehaviour changes how a GitHubServer behaves. The zero value behaves like GitHub.
type GitHubBehaviour struct {
	// User changes the response to GET /user.
	User func(user map[string]any)
	// Callback changes the query of the callback.
	Callback func(query url.Values)
	// TokenError, if not empty, is the error code of the token endpoint, with status 200.
	TokenError string
}

// GitHubServer is a fake GitHub on 127.0.0.1. It has the web application flow ("Authorizing
// OAuth apps") and the endpoints of the REST API of a GitHub Enterprise Server that clients
// need.
type GitHubServer struct {
	provider[GitHubBehaviour, Account]
	// APIURL is the URL of the API. URL is where users sign in.
	APIURL string
}

// NewGitHub starts a fake GitHub with one registered app. It stops at the end of the test.
func NewGitHub(t testing.TB, clientID, clientSecret string) *GitHubServer {
	t.Helper()
	g := &GitHubServer{provider: newProvider[GitHubBehaviour, Account](clientID, clientSecret)}

	mux := http.NewServeMux()
	mux.HandleFunc("POST /login/oauth/access_token", g.serve(Token, g.token))
	mux.HandleFunc("GET "+string(User), g.serve(User, g.user))
	mux.HandleFunc("GET "+string(Emails), g.serve(Emails, g.emails))
	mux.HandleFunc("GET /api/v3/rate_limit", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"message":"Rate limiting is not enabled."}`, http.StatusNotFound)
	})
	g.start(t, mux, false)

	g.APIURL = g.URL + "/api/v3"
	g.authorizeURL = g.URL + "/login/oauth/authorize"
	g.allow = func(_ url.Values, a Account) (Account, error) { return a, nil }
	g.editCallback = func(query url.Values) {
		if f := g.behaviour.Callback; f != nil {
			f(query)
		}
	}

	return g
}

// token handles the token endpoint.
func (g *GitHubServer) token(r *http.Request) response {
	values, ok := form(r)
	g.mu.Lock()
	defer g.mu.Unlock()
	allowed, known := g.codes[values.Get("code")]
	values.Set("grant_type", "authorization_code") // GitHub ignores it
	switch {
	case g.behaviour.TokenError != "":
		return tokenResponse(r, map[string]any{"error": g.behaviour.TokenError, "error_description": "for " + values.Encode()})
	case !ok || client{values.Get("client_id"), values.Get("client_secret")} != g.client:
		return tokenResponse(r, map[string]any{"error": "incorrect_client_credentials"})
	case !known || !allowed.redeems(values):
		return tokenResponse(r, map[string]any{"error": "bad_verification_code"})
	}

	delete(g.codes, values.Get("code"))
	access := keep(g.tokens, allowed)
	g.secrets = append(g.secrets, access, values.Get("code_verifier"))

	return tokenResponse(r, map[string]any{
		"access_token": access,
		"token_type":   "bearer",
		"scope":        "user:email",
	})
}

// tokenResponse returns a response of the token endpoint. The status is always 200, and JSON
// is only returned to clients that accept it.
func tokenResponse(r *http.Request, values map[string]any) response {
	if !strings.Contains(r.Header.Get("Accept"), "application/json") {
		return response{http.StatusOK, "application/x-www-form-urlencoded; charset=utf-8", []byte("error=not_acceptable")}
	}

	return jsonResponse(http.StatusOK, values)
}

// caller returns the account of the access token in a request. Like GitHub, it rejects requests
// without a User-Agent.
func (g *GitHubServer) caller(r *http.Request) (Account, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()

	allowed, ok := g.bearer(r)
	ok = ok && r.Header.Get("User-Agent") != "" && r.Header.Get("Accept") == "application/vnd.github+json" &&
		r.Header.Get("X-Github-Api-Version") == "2022-11-28"

	return allowed.user, ok
}

var badCredentials = map[string]any{"message": "Bad credentials", "status": "401"}

func (g *GitHubServer) user(r *http.Request) response {
	a, ok := g.caller(r)
	if !ok {
		return jsonResponse(http.StatusUnauthorized, badCredentials)
	}

	user := map[string]any{
		"id":         a.ID,
		"login":      a.Login,
		"name":       a.Name,
		"avatar_url": a.AvatarURL,
		"type":       "User",
		"email":      "public-" + a.Login + "@example.org",
		"node_id":    "MDQ6VXNlcjE=",
		"site_admin": false,
	}

	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.behaviour.User; f != nil {
		f(user)
	}

	return jsonResponse(http.StatusOK, user)
}

func (g *GitHubServer) emails(r *http.Request) response {
	a, ok := g.caller(r)
	if !ok {
		return jsonResponse(http.StatusUnauthorized, badCredentials)
	}

	return jsonResponse(http.StatusOK, a.Emails)
}
