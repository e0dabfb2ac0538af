package oauthtest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/testkit"
)

// provider is the common part of Issuer and GitHubServer. B is the type of the behaviour, U is
// the type of a user.
type provider[B, U any] struct {
	*server

	client       client
	authorizeURL string
	// allow checks the parameters of an authorization request that are specific to the provider,
	// and returns the user to sign in. It is called with mu held.
	allow func(q url.Values, user U) (U, error)
	// editCallback completes the query of a callback. It is called with mu held.
	editCallback func(query url.Values)

	behaviour B
	codes     map[string]grant[U]
	tokens    map[string]grant[U]
	secrets   []string
}

func newProvider[B, U any](clientID, clientSecret string) provider[B, U] {
	return provider[B, U]{
		server: newServer(),
		client: client{clientID, clientSecret},
		codes:  map[string]grant[U]{},
		tokens: map[string]grant[U]{},
	}
}

// Behave sets how the provider behaves from now on.
func (p *provider[B, U]) Behave(b B) {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.behaviour = b
}

// Secrets returns all issued codes and tokens. None of them may appear in a log.
func (p *provider[B, U]) Secrets() []string {
	p.mu.Lock()
	defer p.mu.Unlock()

	return slices.Clone(p.secrets)
}

// Authorize plays a browser that is redirected to the provider, where the user signs in. It
// returns the URL of the callback. The user of an Issuer is a set of claims, including sub.
func (p *provider[B, U]) Authorize(t testing.TB, redirect string, user U) (callbackURL string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()

	rest, ok := strings.CutPrefix(redirect, p.authorizeURL+"?")
	if !ok {
		t.Fatalf("got redirect to %.80s, want %s", redirect, p.authorizeURL)
	}
	q, err := url.ParseQuery(rest)
	testkit.NoError(t, err)

	err = p.client.check(q)
	if err == nil {
		user, err = p.allow(q, user)
	}
	if err != nil {
		t.Fatalf("got an authorization request with invalid %v", err)
	}

	code := keep(p.codes, grant[U]{
		redirectURI: q.Get("redirect_uri"),
		challenge:   q.Get("code_challenge"),
		nonce:       q.Get("nonce"),
		user:        user,
	})
	p.secrets = append(p.secrets, code, q.Get("state"))

	query := url.Values{"code": {code}, "state": {q.Get("state")}}
	p.editCallback(query)

	return q.Get("redirect_uri") + "?" + query.Encode()
}

// bearer returns the grant of the access token in a request. The caller must hold mu.
func (p *provider[B, U]) bearer(r *http.Request) (grant[U], bool) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	g, known := p.tokens[token]

	return g, ok && known
}

// client is the registered client of a provider.
type client struct{ id, secret string }

// check returns an error that names the invalid parameter of an authorization request.
func (c client) check(q url.Values) error {
	for name, values := range q {
		if len(values) != 1 {
			return errors.New(name + " (repeated)")
		}
	}

	switch {
	case q.Get("client_id") != c.id:
		return errors.New("client_id")
	case q.Get("response_type") != "code":
		return errors.New("response_type")
	case q.Get("redirect_uri") == "":
		return errors.New("redirect_uri")
	case len(q.Get("state")) < 22:
		return errors.New("state")
	case q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43:
		return errors.New("code_challenge")
	case q.Has("access_type") || q.Get("client_secret") != "" || q.Get("code_verifier") != "":
		return errors.New("access_type, client_secret or code_verifier (unexpected)")
	}

	return nil
}

// grant is what a code or an access token stands for.
type grant[U any] struct {
	redirectURI string
	challenge   string // PKCE
	nonce       string
	user        U
}

// redeems reports whether a token request may redeem this grant.
func (g grant[U]) redeems(values url.Values) bool {
	sum := sha256.Sum256([]byte(values.Get("code_verifier")))

	return values.Get("grant_type") == "authorization_code" && values.Get("redirect_uri") == g.redirectURI &&
		base64.RawURLEncoding.EncodeToString(sum[:]) == g.challenge
}

// keep stores a grant under a new random name.
func keep[U any](grants map[string]grant[U], g grant[U]) string {
	name := rand.Text()
	grants[name] = g

	return name
}
