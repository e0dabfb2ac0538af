package oauthtest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// Account is one of GitHub's.
type Account struct {
	ID          int64
	Login, Name string // Name is empty where its owner has given none
	AvatarURL   string
	Emails      []Address
}

// Address is one of an Account's.
type Address struct {
	Email    string `json:"email"`
	Primary  bool   `json:"primary"`
	Verified bool   `json:"verified"`
}

// GitHubBehaviour is what a look-alike of GitHub does that GitHub does not. The zero
// value is GitHub.
type GitHubBehaviour struct {
	// User changes the answer to GET /user, Callback the query that the browser is sent
	// back with.
	User     func(user map[string]any)
	Callback func(query url.Values)
	// TokenError is what the token endpoint says, with status 200, if it is not empty.
	TokenError string
}

// GitHubServer is a look-alike of GitHub, on 127.0.0.1: the web application flow of
// "Authorizing OAuth apps", and two endpoints of the REST API as a GitHub Enterprise
// Server has them.
type GitHubServer struct {
	*server
	// APIURL is where the API is, and URL where users sign in.
	APIURL string

	client    client
	behaviour GitHubBehaviour
	signedIn  *Account
	codes     map[string]grant
	tokens    map[string]grant
	granted   string // the scope that was asked for last
	secrets   []string
}

// NewGitHub starts a look-alike that knows one app, for the time of a test.
func NewGitHub(t testing.TB, clientID, clientSecret string) *GitHubServer {
	t.Helper()
	g := &GitHubServer{
		server: newServer(), client: client{clientID, clientSecret},
		codes: map[string]grant{}, tokens: map[string]grant{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login/oauth/authorize", g.authorizeEndpoint)
	mux.HandleFunc("POST /login/oauth/access_token", g.serve(Token, g.token))
	mux.HandleFunc("GET "+string(User), g.serve(User, g.user))
	mux.HandleFunc("GET "+string(Emails), g.serve(Emails, g.emails))
	mux.HandleFunc("GET /api/v3/rate_limit", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"message":"Rate limiting is not enabled."}`, http.StatusNotFound)
	})
	g.start(t, mux, false)
	g.APIURL = g.URL + "/api/v3"
	return g
}

// Behave sets what the server does from now on.
func (g *GitHubServer) Behave(b GitHubBehaviour) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.behaviour = b
}

// Secrets are all codes and tokens that were given: what must stand in no log.
func (g *GitHubServer) Secrets() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.secrets)
}

// SignIn makes a user for browsers: whoever comes with one has signed in.
func (g *GitHubServer) SignIn(a Account) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.signedIn = &a
}

// Authorize plays a browser that is sent to address and whose user signs in with an
// account. It returns the URL that the browser is sent back to.
func (g *GitHubServer) Authorize(t testing.TB, address string, a Account) (callbackURL string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	rest, ok := strings.CutPrefix(address, g.URL+"/login/oauth/authorize?")
	if !ok {
		t.Fatalf("the browser is sent to %.80s", address)
	}
	q, err := url.ParseQuery(rest)
	if err != nil {
		t.Fatal(err)
	}
	callbackURL, err = g.authorize(q, a)
	if err != nil {
		t.Fatalf("the browser was sent with a bad %v", err)
	}
	return callbackURL
}

func (g *GitHubServer) authorize(q url.Values, a Account) (string, error) {
	allowed, err := g.client.asked(q)
	if err != nil {
		return "", err
	}
	allowed.account = a
	g.granted = q.Get("scope")
	code := keep(g.codes, allowed)
	g.secrets = append(g.secrets, code, q.Get("state"))
	back := url.Values{"code": {code}, "state": {q.Get("state")}}
	if f := g.behaviour.Callback; f != nil {
		f(back)
	}
	return callback(allowed.redirectURI, back), nil
}

func (g *GitHubServer) authorizeEndpoint(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.signedIn == nil {
		http.Error(w, "nobody is signed in", http.StatusForbidden)
		return
	}
	back, err := g.authorize(r.URL.Query(), *g.signedIn)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	http.Redirect(w, r, back, http.StatusFound) //nolint:gosec // that is what it is for
}

func (g *GitHubServer) token(r *http.Request) answer {
	values, ok := form(r)
	g.mu.Lock()
	defer g.mu.Unlock()
	allowed, known := g.codes[values.Get("code")]
	values.Set("grant_type", "authorization_code") // GitHub does not look at it
	switch {
	case g.behaviour.TokenError != "":
		return said(r, map[string]any{"error": g.behaviour.TokenError, "error_description": "for " + values.Encode()})
	case !ok || client{values.Get("client_id"), values.Get("client_secret")} != g.client:
		return said(r, map[string]any{"error": "incorrect_client_credentials"})
	case !known || !allowed.redeems(values):
		return said(r, map[string]any{"error": "bad_verification_code"})
	}
	delete(g.codes, values.Get("code"))
	access := keep(g.tokens, allowed)
	g.secrets = append(g.secrets, access, values.Get("code_verifier"))
	return said(r, map[string]any{
		"access_token": access, "token_type": "bearer", "scope": strings.ReplaceAll(g.granted, " ", ","),
	})
}

// said is an answer of the token endpoint: always of status 200, and a form unless the
// client accepts JSON.
func said(r *http.Request, values map[string]any) answer {
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		return jsonAnswer(http.StatusOK, values)
	}
	form := url.Values{}
	for name, value := range values {
		form.Set(name, value.(string))
	}
	return answer{http.StatusOK, "application/x-www-form-urlencoded; charset=utf-8", []byte(form.Encode())}
}

// caller is whose access token a question comes with. GitHub refuses a question without
// a user agent.
func (g *GitHubServer) caller(r *http.Request) (Account, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	allowed, ok := bearer(g.tokens, r)
	ok = ok && r.Header.Get("User-Agent") != "" && r.Header.Get("Accept") == "application/vnd.github+json" &&
		r.Header.Get("X-Github-Api-Version") == "2022-11-28"
	return allowed.account, ok
}

var badCredentials = map[string]any{"message": "Bad credentials", "status": "401"}

func (g *GitHubServer) user(r *http.Request) answer {
	a, ok := g.caller(r)
	if !ok {
		return jsonAnswer(http.StatusUnauthorized, badCredentials)
	}
	user := map[string]any{
		"id": a.ID, "login": a.Login, "name": nil, "avatar_url": a.AvatarURL, "type": "User",
		"email": "public-" + a.Login + "@example.org", "node_id": "MDQ6VXNlcjE=", "site_admin": false,
	}
	if a.Name != "" {
		user["name"] = a.Name
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.behaviour.User; f != nil {
		f(user)
	}
	return jsonAnswer(http.StatusOK, user)
}

func (g *GitHubServer) emails(r *http.Request) answer {
	a, ok := g.caller(r)
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !ok:
		return jsonAnswer(http.StatusUnauthorized, badCredentials)
	case !slices.Contains(strings.Fields(g.granted), "user:email"):
		return jsonAnswer(http.StatusNotFound, map[string]any{"message": "Not Found"})
	case a.Emails == nil:
		return jsonAnswer(http.StatusOK, []Address{})
	}
	return jsonAnswer(http.StatusOK, a.Emails)
}
