package oauthtest

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Behaviour is what an Issuer does that is not as it should be, or not as it is by
// default. The zero value keeps to the standard. What is called here must not ask the
// issuer itself.
type Behaviour struct {
	// Document changes the discovery document; IDToken the claims of an ID token, UserInfo
	// those of the userinfo endpoint, Answer that of the token endpoint, Callback the
	// query that the browser is sent back with.
	Document func(document map[string]any)
	IDToken  func(claims map[string]any)
	UserInfo func(claims map[string]any)
	Answer   func(answer map[string]any)
	Callback func(query url.Values)
	// Sign makes an ID token of its claims. By default that is Key().Sign.
	Sign func(claims []byte) string
}

// Issuer is a provider of OpenID Connect on 127.0.0.1. Its fields may be set before it is
// first used.
type Issuer struct {
	*server
	// Now is its clock: time.Now if it is nil.
	Now func() time.Time

	client    client
	key       Key
	behaviour Behaviour
	signedIn  map[string]any
	codes     map[string]grant
	tokens    map[string]grant
	secrets   []string
}

// NewIssuer starts an issuer that knows one client, for the time of a test. Its URL is
// the issuer identifier.
func NewIssuer(t testing.TB, clientID, clientSecret string) *Issuer {
	return newIssuer(t, clientID, clientSecret, false)
}

// NewTLSIssuer starts one at an https URL. Who asks it must trust its Certificate.
func NewTLSIssuer(t testing.TB, clientID, clientSecret string) *Issuer {
	return newIssuer(t, clientID, clientSecret, true)
}

func newIssuer(t testing.TB, clientID, clientSecret string, secure bool) *Issuer {
	t.Helper()
	i := &Issuer{
		server: newServer(), client: client{clientID, clientSecret}, key: NewKey(t, jose.ES256),
		codes: map[string]grant{}, tokens: map[string]grant{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", i.authorizeEndpoint)
	mux.HandleFunc("GET "+string(Discovery), i.serve(Discovery, i.discovery))
	mux.HandleFunc("GET "+string(Keys), i.serve(Keys, i.keys))
	mux.HandleFunc("POST "+string(Token), i.serve(Token, i.token))
	mux.HandleFunc("GET "+string(UserInfo), i.serve(UserInfo, i.userInfo))
	i.start(t, mux, secure)
	return i
}

// Behave sets what the issuer does from now on.
func (i *Issuer) Behave(b Behaviour) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.behaviour = b
}

// Key is what the issuer signs with.
func (i *Issuer) Key() Key {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.key
}

// UseKey makes it sign with another key, and forget the last one.
func (i *Issuer) UseKey(k Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key = k
}

// Secrets are all codes and tokens that were given: what must stand in no log.
func (i *Issuer) Secrets() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.secrets)
}

// SignIn makes a user of the issuer for browsers: whoever comes with one has signed in.
func (i *Issuer) SignIn(claims map[string]any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.signedIn = claims
}

// Authorize plays a browser that is sent to address and whose user signs in with claims,
// of which sub is one. It returns the URL that the browser is sent back to.
func (i *Issuer) Authorize(t testing.TB, address string, claims map[string]any) (callbackURL string) {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	rest, ok := strings.CutPrefix(address, i.URL+"/authorize?")
	if !ok {
		t.Fatalf("the browser is sent to %.80s", address)
	}
	q, err := url.ParseQuery(rest)
	if err != nil {
		t.Fatal(err)
	}
	callbackURL, err = i.authorize(q, claims)
	if err != nil {
		t.Fatalf("the browser was sent with a bad %v", err)
	}
	return callbackURL
}

// Deny plays a user who does not want to, or another error: "access_denied".
func (i *Issuer) Deny(t testing.TB, address, code string) (callbackURL string) {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	back := url.Values{"error": {code}, "error_description": {"said " + code}, "state": {q.Get("state")}, "iss": {i.URL}}
	if f := i.behaviour.Callback; f != nil {
		f(back)
	}
	return callback(q.Get("redirect_uri"), back)
}

// authorize is under the lock.
func (i *Issuer) authorize(q url.Values, claims map[string]any) (string, error) {
	g, err := i.client.asked(q)
	if err != nil {
		return "", err
	}
	if !slices.Contains(strings.Fields(q.Get("scope")), "openid") || len(g.nonce) < 22 {
		return "", errNotOpenID
	}
	g.claims = maps.Clone(claims)
	if q.Has("max_age") {
		if _, given := g.claims["auth_time"]; !given {
			g.claims["auth_time"] = i.now().Unix()
		}
	}
	code := keep(i.codes, g)
	i.secrets = append(i.secrets, code, g.nonce, q.Get("state"))
	back := url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {i.URL}}
	if f := i.behaviour.Callback; f != nil {
		f(back)
	}
	return callback(g.redirectURI, back), nil
}

func (i *Issuer) now() time.Time {
	if i.Now != nil {
		return i.Now()
	}
	return time.Now()
}

// idToken is under the lock.
func (i *Issuer) idToken(g grant, accessToken string) string {
	now := i.now()
	claims := map[string]any{
		"iss": i.URL, "aud": i.client.id, "exp": now.Add(5 * time.Minute).Unix(), "iat": now.Unix(),
		"nonce": g.nonce, "at_hash": i.key.hash(accessToken),
	}
	maps.Copy(claims, g.claims)
	if f := i.behaviour.IDToken; f != nil {
		f(claims)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err) // a mistake of the test's
	}
	if f := i.behaviour.Sign; f != nil {
		return f(payload)
	}
	return i.key.Sign(payload, map[jose.HeaderKey]any{"typ": "JWT"})
}
