package oauthtest

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

var errNotOpenID = errors.New("no request of OpenID Connect with a nonce")

// authorizeEndpoint is for browsers, see SignIn.
func (i *Issuer) authorizeEndpoint(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.signedIn == nil {
		http.Error(w, "nobody is signed in", http.StatusForbidden)
		return
	}
	back, err := i.authorize(r.URL.Query(), i.signedIn)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	http.Redirect(w, r, back, http.StatusFound) //nolint:gosec // that is what it is for
}

// document is under the lock.
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

func (i *Issuer) discovery(*http.Request) answer {
	i.mu.Lock()
	defer i.mu.Unlock()
	return jsonAnswer(http.StatusOK, i.document())
}

func (i *Issuer) keys(*http.Request) answer {
	return jsonAnswer(http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{i.Key().JWK()}})
}

// isClient judges the client's proof, in one of the ways that the document names.
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

func (i *Issuer) token(r *http.Request) answer {
	values, ok := form(r)
	i.mu.Lock()
	defer i.mu.Unlock()
	if !ok {
		return jsonAnswer(http.StatusBadRequest, map[string]any{"error": "invalid_request"})
	}
	if !i.isClient(r, values) {
		return jsonAnswer(http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
	}
	g, known := i.codes[values.Get("code")]
	delete(i.codes, values.Get("code")) // it is good for one try
	if !known || !g.redeems(values) {
		return jsonAnswer(http.StatusBadRequest, map[string]any{
			"error": "invalid_grant", "error_description": "not for " + values.Encode(),
		})
	}
	access := keep(i.tokens, g)
	id := i.idToken(g, access)
	i.secrets = append(i.secrets, access, values.Get("code_verifier"))
	if id != "" {
		i.secrets = append(i.secrets, id)
	}
	said := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": id}
	if f := i.behaviour.Answer; f != nil {
		f(said)
	}
	return jsonAnswer(http.StatusOK, said)
}

func (i *Issuer) userInfo(r *http.Request) answer {
	i.mu.Lock()
	defer i.mu.Unlock()
	g, ok := bearer(i.tokens, r)
	if !ok {
		return jsonAnswer(http.StatusUnauthorized, map[string]any{"error": "invalid_token"})
	}
	claims := maps.Clone(g.claims)
	delete(claims, "auth_time")
	if f := i.behaviour.UserInfo; f != nil {
		f(claims)
	}
	return jsonAnswer(http.StatusOK, claims)
}
