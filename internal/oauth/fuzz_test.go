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
	// fuzzClaims are good ones, on the clock of newClock.
	fuzzClaims = `{"iss":"https://id.example.com","sub":"u-1","aud":"latchkey at home","nonce":"the nonce of this flow","iat":1772366400,"exp":1772370000,"email":"ann@example.com","email_verified":true}`
)

// judgeTokens returns a way to verify ID tokens, and the key to sign them with. It is the
// same in every process, so that what was found in one can be tried in another.
func judgeTokens() (verify func(token string) (idToken, error), key oauthtest.Key) {
	private := ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", ed25519.SeedSize)))
	key = oauthtest.Key{ID: "k1", Algorithm: jose.EdDSA, Private: private}
	c := newClock()
	p := newOpenID(Settings{Kind: OIDC, Name: "home", Issuer: fuzzIssuer, ClientID: clientID, ClientSecret: clientSecret}, nil, Options{Now: c.now})
	m := &metadata{Algorithms: []string{oidc.EdDSA}, keySet: &oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{private.Public()}}}
	return func(token string) (idToken, error) {
		answer := (&oauth2.Token{AccessToken: "access"}).WithExtra(map[string]any{"id_token": token})
		return p.verify(context.Background(), m, answer, fuzzNonce, c.now())
	}, key
}

// Whatever is made of a good token signs nobody in: not one character of what is signed
// may be another.
func FuzzIDToken(f *testing.F) {
	verify, key := judgeTokens()
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
		// The signature alone can be written in more than one way: its last character has
		// bits that mean nothing.
		if !strings.HasPrefix(token, parts[0]+"."+parts[1]+".") || got.Subject != "u-1" {
			t.Errorf("%q signs in %q", token, got.Subject)
		}
	})
}

// Claims that the provider itself has signed are taken only where they say, read by
// another decoder as well, that they are for us, of this flow and of now; and where no
// name is there twice, in any letter case.
func FuzzIDTokenClaims(f *testing.F) {
	verify, key := judgeTokens()
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
			t.Fatalf("%q signs somebody in: %v", claims, err)
		}
		audience, _ := read.Aud.([]any)
		now := float64(newClock().now().Unix())
		switch {
		case read.Iss != fuzzIssuer, read.Nonce != fuzzNonce, read.Sub == "", read.Sub != got.Subject:
			t.Errorf("%q signs in %q", claims, got.Subject)
		case read.Aud != clientID && !slices.Contains(audience, any(clientID)):
			t.Errorf("%q is not for us", claims)
		case read.Exp < now-1, read.Iat > now+clockSkew.Seconds()+1, read.Iat < now-clockSkew.Seconds()-1:
			t.Errorf("%q is not of now", claims)
		}
		if strings.ContainsFunc(got.Subject, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q signs in %q", claims, got.Subject)
		}
	})
}

// A callback is of the browser that began only with the one state that was made of its
// secret, letter by letter, and no state makes a cookie's name of anything but letters.
func FuzzState(f *testing.F) {
	secret := strings.Repeat("A", 43)
	keys, _ := keysOf(secret)
	f.Add(secret, keys.state, "")
	f.Add(secret, keys.state, keys.state)
	f.Add(secret+"\n", keys.state, "")
	f.Add(secret[:42]+"B", keys.state, "")
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, secret, state, second string) {
		query := url.Values{"state": {state}}
		if second != "" {
			query.Add("state", second)
		}
		keys, err := ownKeys(secret, query["state"])
		if mine, ok := keysOf(secret); (err == nil) != (ok && second == "" && state == mine.state) {
			t.Errorf("the state %q (and %q) with the secret %q: %v", state, second, secret, err)
		}
		if err == nil && slices.Contains([]string{keys.nonce, keys.verifier, keys.name, secret}, state) {
			t.Errorf("%q stands for two things", state)
		}
		if id := FlowID(state); id != "" && (len(id) != idLength || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "") {
			t.Errorf("the id of the state %q is %q", state, id)
		}
	})
}

// Metadata are used only where they are those of the issuer, every endpoint is an https
// URL without a user in it, and no algorithm is one of a shared secret.
func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{"issuer":"https://id.example.com","authorization_endpoint":"https://id.example.com/a","token_endpoint":"https://id.example.com/t","jwks_uri":"https://id.example.com/k","id_token_signing_alg_values_supported":["HS256","none","ES256"]}`))
	f.Add([]byte(`{"issuer":"https://id.example.com","authorization_endpoint":"javascript:alert(1)","token_endpoint":"https://u@id.example.com","jwks_uri":"http://id.example.com/k"}`))
	f.Add([]byte(`{"issuer":"https://id.example.com/","token_endpoint_auth_methods_supported":["none"]}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		var m metadata
		if json.Unmarshal(document, &m) != nil || m.judge(fuzzIssuer) != nil {
			return
		}
		for _, endpoint := range []string{m.Authorization, m.Token, m.Keys} {
			u, err := url.Parse(endpoint)
			if err != nil || !strings.EqualFold(u.Scheme, "https") || u.Host == "" || u.User != nil || strings.ContainsAny(endpoint, "\x00\r\n") {
				t.Errorf("an endpoint is %q", endpoint)
			}
		}
		if len(m.Algorithms) == 0 || slices.ContainsFunc(m.Algorithms, func(a string) bool { return strings.HasPrefix(a, "HS") || strings.EqualFold(a, "none") }) || m.Issuer != fuzzIssuer {
			t.Errorf("issuer %q, algorithms %q", m.Issuer, m.Algorithms)
		}
	})
}
