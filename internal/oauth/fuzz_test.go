package oauth

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"latchkey/internal/oauth/oauthtest"
)

const (
	fuzzIssuer = "https://id.example.com"
	fuzzNonce  = "the nonce of this flow"
	// fuzzClaims are valid claims at the time of newClock.
	fuzzClaims = `{"iss":"https://id.example.com","sub":"u-1","aud":"latchkey at home","nonce":"the nonce of this flow","iat":1772366400,"exp":1772370000,"email":"ann@example.com","email_verified":true}`
)

// newVerifier returns a function that verifies ID tokens, and the key to sign them with. The
// key is the same in every process, so that findings can be reproduced.
func newVerifier() (verify func(token string) (idToken, error), key oauthtest.Key) {
	private := ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", ed25519.SeedSize)))
	key = oauthtest.Key{ID: "k1", Algorithm: jose.EdDSA, Private: private}
	c := newClock()
	p := newOpenID(Settings{Kind: OIDC, Name: "home", Issuer: fuzzIssuer, ClientID: clientID, ClientSecret: clientSecret}, nil, Options{Now: c.now})
	m := &metadata{Algorithms: []string{oidc.EdDSA}, keySet: &oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{private.Public()}}}

	return func(token string) (idToken, error) {
		response := (&oauth2.Token{AccessToken: "access"}).WithExtra(map[string]any{"id_token": token})
		return p.verify(context.Background(), m, response, fuzzNonce, c.now())
	}, key
}

// A modified token is rejected: every character of the signed part counts.
func FuzzIDToken(f *testing.F) {
	verify, key := newVerifier()
	good := key.Sign([]byte(fuzzClaims), nil)
	if _, err := verify(good); err != nil {
		f.Fatal(err)
	}

	parts := strings.Split(good, ".")
	for _, token := range []string{
		good, "", "..", good + ".", good + "=", " " + good, strings.ToUpper(good), parts[0] + "." + parts[1] + ".",
		segment(`{"alg":"none"}`) + "." + parts[1] + ".", parts[0] + "." + segment(strings.Replace(fuzzClaims, "u-1", "u-2", 1)) + "." + parts[2],
		parts[0] + ".\n" + parts[1] + "." + parts[2], `{"payload":"` + parts[1] + `","signatures":[{"protected":"` + parts[0] + `","signature":"` + parts[2] + `"}]}`,
	} {
		f.Add(token)
	}

	f.Fuzz(func(t *testing.T, token string) {
		got, err := verify(token)
		if err != nil {
			return
		}

		// Only the signature has several encodings: the last character has unused bits.
		if !strings.HasPrefix(token, parts[0]+"."+parts[1]+".") || got.Subject != "u-1" {
			t.Errorf("got subject %q for token %q, want it to be rejected", got.Subject, token)
		}
	})
}

// Signed claims are accepted only if another JSON decoder also reads that they are for this
// client, this flow and the current time.
func FuzzIDTokenClaims(f *testing.F) {
	verify, key := newVerifier()
	for _, claims := range []string{
		fuzzClaims, "null", "{}", strings.Replace(fuzzClaims, `"sub"`, `"Sub":"u-2","sub"`, 1), strings.Replace(fuzzClaims, `"latchkey at home"`, `["latchkey at home","x"],"azp":"latchkey at home"`, 1),
		strings.Replace(fuzzClaims, "1772370000", "1.77237e9", 1), strings.Replace(fuzzClaims, "1772370000", "1e300", 1), strings.Replace(fuzzClaims, `"u-1"`, `"\u0075-1"`, 1),
	} {
		f.Add([]byte(claims))
	}

	f.Fuzz(func(t *testing.T, claims []byte) {
		got, err := verify(key.Sign(claims, nil))
		if err != nil {
			return
		}

		var read struct {
			Iss, Sub, Nonce string
			Aud             any
			Exp, Iat        float64
		}

		if err := json.Unmarshal(claims, &read); err != nil {
			t.Fatalf("got a sign-in with claims %q, which are not valid JSON: %v", claims, err)
		}

		audience, _ := read.Aud.([]any)
		now := float64(newClock().now().Unix())

		switch {
		case read.Iss != fuzzIssuer, read.Nonce != fuzzNonce, read.Sub == "", read.Sub != got.Subject:
			t.Errorf("got subject %q for claims %q, want them to be rejected", got.Subject, claims)
		case read.Aud != clientID && !slices.Contains(audience, any(clientID)):
			t.Errorf("got a sign-in with claims %q for another client", claims)
		case read.Exp < now-1, read.Iat > now+clockSkew.Seconds()+1, read.Iat < now-clockSkew.Seconds()-1:
			t.Errorf("got a sign-in with claims %q of another time", claims)
		}

		if strings.ContainsFunc(got.Subject, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("got subject %q for claims %q, want them to be rejected", got.Subject, claims)
		}
	})
}

// A callback is accepted only with the state that was derived from the secret of the browser,
// and a flow ID contains only characters that are allowed in the name of a cookie.
func FuzzState(f *testing.F) {
	secret := strings.Repeat("A", 43)
	keys, _ := keysOf(secret)
	f.Add(secret, keys.state, "")
	f.Add(secret, keys.state, keys.state)
	f.Add(secret, keys.state+"A", "")
	f.Add(secret+"\n", keys.state, "")
	f.Add(secret[:42]+"B", keys.state, "")
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, secret, state, second string) {
		query := url.Values{"state": {state}}
		if second != "" {
			query.Add("state", second)
		}

		keys, err := matchingKeys(secret, query["state"])
		if mine, ok := keysOf(secret); (err == nil) != (ok && second == "" && state == mine.state) {
			t.Errorf("got error %v for state %q, second state %q and secret %q", err, state, second, secret)
		}
		if err == nil && slices.Contains([]string{keys.nonce, keys.verifier, keys.name, secret}, state) {
			t.Errorf("got state %q, which is also another key of the flow", state)
		}

		if id := FlowID(state); id != "" && (len(id) != FlowIDLength || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "") {
			t.Errorf("got ID %q for state %q, want %d characters of base64url", id, state, FlowIDLength)
		}
	})
}

// Metadata is accepted only if it belongs to the issuer, every endpoint is an https URL without
// a user, and all algorithms are asymmetric.
func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{"issuer":"https://id.example.com","authorization_endpoint":"https://id.example.com/a","token_endpoint":"https://id.example.com/t","jwks_uri":"https://id.example.com/k","id_token_signing_alg_values_supported":["HS256","none","ES256"]}`))
	f.Add([]byte(`{"issuer":"https://id.example.com","authorization_endpoint":"javascript:alert(1)","token_endpoint":"https://u@id.example.com","jwks_uri":"http://id.example.com/k"}`))
	f.Add([]byte(`{"issuer":"https://id.example.com/","token_endpoint_auth_methods_supported":["none"]}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		var m metadata
		if json.Unmarshal(document, &m) != nil || m.validate(fuzzIssuer) != nil {
			return
		}

		for _, endpoint := range []string{m.Authorization, m.Token, m.Keys} {
			u, err := url.Parse(endpoint)
			if err != nil || !strings.EqualFold(u.Scheme, "https") || u.Host == "" || u.User != nil || strings.ContainsAny(endpoint, "\x00\r\n") {
				t.Errorf("got endpoint %q, want an https URL", endpoint)
			}
		}

		if len(m.Algorithms) == 0 || slices.ContainsFunc(m.Algorithms, func(a string) bool { return strings.HasPrefix(a, "HS") || strings.EqualFold(a, "none") }) || m.Issuer != fuzzIssuer {
			t.Errorf("got issuer %q and algorithms %q, want %q and asymmetric ones", m.Issuer, m.Algorithms, fuzzIssuer)
		}
	})
}
