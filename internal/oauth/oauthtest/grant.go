package oauthtest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
)

// grant is what a user has allowed, by the code or the access token that stands for it.
type grant struct {
	redirectURI, challenge string
	nonce                  string
	claims                 map[string]any
	account                Account // GitHub's
}

// client is the one that is registered at a provider.
type client struct{ id, secret string }

// asked reads an authorization request and says what is wrong with it.
func (c client) asked(q url.Values) (grant, error) {
	for name, values := range q {
		if len(values) != 1 {
			return grant{}, errors.New("several of " + name)
		}
	}
	switch {
	case q.Get("client_id") != c.id:
		return grant{}, errors.New("client_id")
	case q.Get("response_type") != "code":
		return grant{}, errors.New("response_type")
	case q.Get("redirect_uri") == "":
		return grant{}, errors.New("redirect_uri")
	case len(q.Get("state")) < 22:
		return grant{}, errors.New("state")
	case q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43:
		return grant{}, errors.New("code_challenge")
	case q.Has("access_type") || q.Get("client_secret") != "" || q.Get("code_verifier") != "":
		return grant{}, errors.New("more than is needed")
	}
	return grant{redirectURI: q.Get("redirect_uri"), challenge: q.Get("code_challenge"), nonce: q.Get("nonce")}, nil
}

// redeems tells whether a token request is for a grant.
func (g grant) redeems(values url.Values) bool {
	sum := sha256.Sum256([]byte(values.Get("code_verifier")))
	return values.Get("grant_type") == "authorization_code" && values.Get("redirect_uri") == g.redirectURI &&
		base64.RawURLEncoding.EncodeToString(sum[:]) == g.challenge
}

// keep notes a grant under a new random name.
func keep(grants map[string]grant, g grant) string {
	name := rand.Text()
	grants[name] = g
	return name
}

// bearer is the grant of an access token.
func bearer(grants map[string]grant, r *http.Request) (grant, bool) {
	const scheme = "Bearer "
	header := r.Header.Get("Authorization")
	if len(header) <= len(scheme) || header[:len(scheme)] != scheme {
		return grant{}, false
	}
	g, ok := grants[header[len(scheme):]]
	return g, ok
}

// callback is where the browser goes back to.
func callback(redirectURI string, query url.Values) string { return redirectURI + "?" + query.Encode() }
