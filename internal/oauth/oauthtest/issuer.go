package oauthtest

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Behaviour changes how an Issuer behaves. The zero value follows the standard. The functions
// must not call methods of the issuer.
type Behaviour struct {
	// Document changes the discovery document.
	Document func(document map[string]any)
	// IDToken changes the claims of an ID token.
	IDToken func(claims map[string]any)
	// UserInfo changes the claims of the userinfo endpoint.
	UserInfo func(claims map[string]any)
	// TokenResponse changes the response of the token endpoint.
	TokenResponse func(response map[string]any)
	// Callback changes the query of the callback.
	Callback func(query url.Values)
	// Sign returns an ID token with the given claims. The default is Key().Sign.
	Sign func(claims []byte) string
}

// claims are the claims about a user.
type claims = map[string]any

// Issuer is a fake OpenID Connect provider on 127.0.0.1. Its fields must not change after the
// first use.
type Issuer struct {
	provider[Behaviour, claims]
	// Now is the clock. The default is time.Now.
	Now func() time.Time

	key Key
}

// NewIssuer starts an issuer with one registered client. It stops at the end of the test. Its
// URL is the issuer identifier.
func NewIssuer(t testing.TB, clientID, clientSecret string) *Issuer {
	return newIssuer(t, clientID, clientSecret, false)
}

// NewTLSIssuer starts an issuer with an https URL. Clients must trust its Certificate.
func NewTLSIssuer(t testing.TB, clientID, clientSecret string) *Issuer {
	return newIssuer(t, clientID, clientSecret, true)
}

func newIssuer(t testing.TB, clientID, clientSecret string, secure bool) *Issuer {
	t.Helper()
	i := &Issuer{provider: newProvider[Behaviour, claims](clientID, clientSecret), key: NewKey(t, jose.ES256)}

	mux := http.NewServeMux()
	mux.HandleFunc("GET "+string(Discovery), i.serve(Discovery, i.discovery))
	mux.HandleFunc("GET "+string(Keys), i.serve(Keys, i.keys))
	mux.HandleFunc("POST "+string(Token), i.serve(Token, i.token))
	mux.HandleFunc("GET "+string(UserInfo), i.serve(UserInfo, i.userInfo))
	i.start(t, mux, secure)

	i.authorizeURL = i.URL + "/authorize"
	i.allow = i.allowOpenID
	i.editCallback = func(query url.Values) {
		query.Set("iss", i.URL)
		if f := i.behaviour.Callback; f != nil {
			f(query)
		}
	}

	return i
}

// Key returns the key that the issuer signs with.
func (i *Issuer) Key() Key {
	i.mu.Lock()
	defer i.mu.Unlock()

	return i.key
}

// UseKey replaces the key of the issuer.
func (i *Issuer) UseKey(k Key) {
	i.mu.Lock()
	defer i.mu.Unlock()

	i.key = k
}

func (i *Issuer) allowOpenID(q url.Values, user claims) (claims, error) {
	switch {
	case !slices.Contains(strings.Fields(q.Get("scope")), "openid"):
		return nil, errors.New("scope (openid is missing)")
	case len(q.Get("nonce")) < 22:
		return nil, errors.New("nonce (shorter than 22 characters)")
	}
	i.secrets = append(i.secrets, q.Get("nonce"))

	user = maps.Clone(user)
	if _, given := user["auth_time"]; q.Has("max_age") && !given {
		user["auth_time"] = i.now().Unix()
	}

	return user, nil
}

func (i *Issuer) now() time.Time {
	if i.Now != nil {
		return i.Now()
	}

	return time.Now()
}

// idToken returns a signed ID token. The caller must hold mu.
func (i *Issuer) idToken(g grant[claims], accessToken string) string {
	now := i.now()
	token := claims{
		"iss":     i.URL,
		"aud":     i.client.id,
		"exp":     now.Add(5 * time.Minute).Unix(),
		"iat":     now.Unix(),
		"nonce":   g.nonce,
		"at_hash": i.key.hash(accessToken),
	}
	maps.Copy(token, g.user)
	if f := i.behaviour.IDToken; f != nil {
		f(token)
	}

	payload, err := json.Marshal(token)
	if err != nil {
		panic(err) // a bug in the test
	}
	if f := i.behaviour.Sign; f != nil {
		return f(payload)
	}

	return i.key.Sign(payload, map[jose.HeaderKey]any{"typ": "JWT"})
}

// document returns the discovery document. The caller must hold mu.
func (i *Issuer) document() map[string]any {
	document := map[string]any{
		"issuer":                                         i.URL,
		"authorization_endpoint":                         i.URL + "/authorize",
		"token_endpoint":                                 i.URL + string(Token),
		"userinfo_endpoint":                              i.URL + string(UserInfo),
		"jwks_uri":                                       i.URL + string(Keys),
		"response_types_supported":                       []string{"code"},
		"subject_types_supported":                        []string{"public"},
		"id_token_signing_alg_values_supported":          []string{"none", "HS256", string(i.key.Algorithm)},
		"token_endpoint_auth_methods_supported":          []string{"client_secret_basic", "client_secret_post"},
		"code_challenge_methods_supported":               []string{"S256"},
		"authorization_response_iss_parameter_supported": true,
	}
	if f := i.behaviour.Document; f != nil {
		f(document)
	}

	return document
}

func (i *Issuer) discovery(*http.Request) response {
	i.mu.Lock()
	defer i.mu.Unlock()

	return jsonResponse(http.StatusOK, i.document())
}

func (i *Issuer) keys(*http.Request) response {
	return jsonResponse(http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{i.Key().JWK()}})
}

// isClient checks the client ID and secret in a token request. The client must use a method
// that the discovery document offers.
func (i *Issuer) isClient(r *http.Request, values url.Values) bool {
	methods, _ := i.document()["token_endpoint_auth_methods_supported"].([]string)
	id, secret, basic := r.BasicAuth()

	if basic && values.Has("client_secret") {
		return false
	}

	if basic && (methods == nil || slices.Contains(methods, "client_secret_basic")) {
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)

		return client{id, secret} == i.client
	}

	return slices.Contains(methods, "client_secret_post") && client{values.Get("client_id"), values.Get("client_secret")} == i.client
}

// token handles the token endpoint.
func (i *Issuer) token(r *http.Request) response {
	values, ok := form(r)
	i.mu.Lock()
	defer i.mu.Unlock()
	if !ok {
		return jsonResponse(http.StatusBadRequest, map[string]any{"error": "invalid_request"})
	}
	if !i.isClient(r, values) {
		return jsonResponse(http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
	}

	g, known := i.codes[values.Get("code")]
	delete(i.codes, values.Get("code")) // a code works only once
	if !known || !g.redeems(values) {
		return jsonResponse(http.StatusBadRequest, map[string]any{
			"error": "invalid_grant", "error_description": "not for " + values.Encode(),
		})
	}

	access := keep(i.tokens, g)
	id := i.idToken(g, access)
	i.secrets = append(i.secrets, access, values.Get("code_verifier"))
	if id != "" {
		i.secrets = append(i.secrets, id)
	}

	tokens := map[string]any{
		"access_token": access,
		"token_type":   "Bearer",
		"expires_in":   300,
		"id_token":     id,
	}
	if f := i.behaviour.TokenResponse; f != nil {
		f(tokens)
	}

	return jsonResponse(http.StatusOK, tokens)
}

func (i *Issuer) userInfo(r *http.Request) response {
	i.mu.Lock()
	defer i.mu.Unlock()
	g, ok := i.bearer(r)
	if !ok {
		return jsonResponse(http.StatusUnauthorized, map[string]any{"error": "invalid_token"})
	}

	user := maps.Clone(g.user)
	delete(user, "auth_time")
	if f := i.behaviour.UserInfo; f != nil {
		f(user)
	}

	return jsonResponse(http.StatusOK, user)
}
