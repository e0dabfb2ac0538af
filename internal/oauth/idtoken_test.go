package oauth

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"latchkey/internal/oauth/oauthtest"
	"latchkey/internal/testkit"
)

// forge creates the tokens of the tables.
type forge struct {
	w             *fixture
	issuer        *oauthtest.Issuer
	key           oauthtest.Key // of issuer
	foreign       *oauthtest.Issuer
	foreignServer string // a URL of a key set with foreignKey
	foreignKey    oauthtest.Key
}

func segment(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// changed changes claims. The value nil removes a claim.
func changed(changes map[string]any) oauthtest.Behaviour {
	return oauthtest.Behaviour{IDToken: func(claims map[string]any) {
		for name, value := range changes {
			if claims[name] = value; value == nil {
				delete(claims, name)
			}
		}
	}}
}

// signed replaces the function that signs the claims.
func signed(sign func(claims []byte) string) oauthtest.Behaviour {
	return oauthtest.Behaviour{Sign: sign}
}

func (f forge) headers(headers map[jose.HeaderKey]any) oauthtest.Behaviour {
	return signed(func(claims []byte) string { return f.key.Sign(claims, headers) })
}

// by signs with the given key.
func by(k oauthtest.Key, headers map[jose.HeaderKey]any) oauthtest.Behaviour {
	return signed(func(claims []byte) string { return k.Sign(claims, headers) })
}

func (f forge) unix(d time.Duration) int64 { return f.w.clock.now().Add(d).Unix() }

// secretKey returns an HMAC key with the ID of the issuer's key.
func (f forge) secretKey(secret []byte) oauthtest.Key {
	return oauthtest.Key{ID: f.key.ID, Algorithm: jose.HS256, Private: secret}
}

func (f forge) publicPEM(t *testing.T) []byte {
	der, err := x509.MarshalPKIXPublicKey(f.key.Public())
	testkit.NoError(t, err)

	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// goodTokens returns unusual tokens that must be accepted.
func (f forge) goodTokens() map[string]oauthtest.Behaviour {
	nameless := f.key
	nameless.ID = ""

	return map[string]oauthtest.Behaviour{
		"default":                    {},
		"no type":                    f.headers(nil),
		"type in lower case":         f.headers(map[jose.HeaderKey]any{"typ": "jwt"}),
		"no kid":                     by(nameless, nil),
		"ignored keys in the header": f.headers(map[jose.HeaderKey]any{"jwk": f.foreignKey.JWK(), "jku": f.foreignServer}),
		"azp":                        changed(map[string]any{"azp": clientID}),
		"several audiences with azp": changed(map[string]any{"aud": []string{"other", clientID}, "azp": clientID}),
		"audience is a list":         changed(map[string]any{"aud": []string{clientID}}),
		"no at_hash":                 changed(map[string]any{"at_hash": nil}),
		"expires now":                changed(map[string]any{"exp": f.unix(0)}),
		"nbf within the clock skew":  changed(map[string]any{"nbf": f.unix(clockSkew)}),
		"clock ahead":                changed(map[string]any{"iat": f.unix(clockSkew)}),
		"clock behind":               changed(map[string]any{"iat": f.unix(-clockSkew)}),
		"fractional seconds":         changed(map[string]any{"iat": float64(f.unix(0)) + 0.5, "exp": float64(f.unix(time.Minute)) + 0.5}),
		"subject of maximum length":  changed(map[string]any{"sub": strings.Repeat("x", maxSubject)}),
		"unknown claims":             changed(map[string]any{"groups": []string{"a"}, "x": map[string]any{"iss": "y"}}),
	}
}

// earlier returns the token of a finished flow.
func (f forge) earlier(t *testing.T) (token string) {
	f.issuer.Behave(signed(func(claims []byte) string {
		token = f.key.Sign(claims, nil)
		return token
	}))

	testkit.NoError(t, f.w.signIn(t, f.issuer))

	return token
}

func TestIDToken(t *testing.T) {
	t.Parallel()

	w, issuer, foreign := newTwoProviderFixture(t)
	foreignKey := oauthtest.NewKey(t, jose.ES256)
	var hits atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		_ = json.NewEncoder(rw).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{foreignKey.JWK()}})
	}))
	t.Cleanup(server.Close)

	f := forge{
		w:             w,
		issuer:        issuer,
		key:           issuer.Key(),
		foreign:       foreign,
		foreignServer: server.URL,
		foreignKey:    foreignKey,
	}
	try := func(t *testing.T, b oauthtest.Behaviour) error {
		t.Helper()

		f.issuer.Behave(b)
		began := f.w.begin(t, "home", Flow{ReturnTo: "/after"})
		claims, flow, err := f.w.end(t, "home", began.secret, f.issuer.Authorize(t, began.redirect, ann))
		if flow.ReturnTo != "/after" || (err == nil && claims.Subject == "") {
			t.Errorf("got flow %+v, claims %+v, want the started flow and a subject", flow, claims)
		}

		return err
	}

	for _, row := range f.badTokens(t) {
		t.Run(row.name, func(t *testing.T) {
			err := try(t, row.b)
			wantError(t, err, ErrRefused)
			if err != nil && !strings.Contains(err.Error(), row.reason) {
				t.Errorf("got error %v, want it to contain %q", err, row.reason)
			}
		})
	}

	for name, b := range f.goodTokens() {
		t.Run(name, func(t *testing.T) { wantError(t, try(t, b), nil) })
	}

	if hits.Load() != 0 {
		t.Errorf("got %d requests to the URL in a header, want 0", hits.Load())
	}
	if n := w.pendingFlows(t); n != 0 {
		t.Errorf("got %d flows in Redis, want 0", n)
	}
}

// Every asymmetric algorithm is accepted if the provider announces it.
func TestAlgorithms(t *testing.T) {
	t.Parallel()

	w, i := oneIssuer(t)
	rsa := oauthtest.NewKey(t, jose.RS256)

	for _, a := range asymmetric {
		w.clock.move(metadataTTL)
		i.Behave(oauthtest.Behaviour{})
		key := rsa
		if key.Algorithm = jose.SignatureAlgorithm(a); a[1] != 'S' || a[0] == 'E' {
			key = oauthtest.NewKey(t, key.Algorithm)
		}

		i.UseKey(key)
		if err := w.signIn(t, i); err != nil {
			t.Errorf("%s: got error %v, want none", a, err)
		}

		// If no announced algorithm is accepted, only RS256 is: every provider must support it.
		w.clock.move(metadataTTL)
		i.Behave(oauthtest.Behaviour{Document: func(d map[string]any) {
			d["id_token_signing_alg_values_supported"] = []string{"none", "HS256", "ES256K"}
		}})

		var want error
		if a != "RS256" {
			want = ErrRefused
		}
		wantError(t, w.signIn(t, i), want)
	}
}

// A token must have been issued after the flow began, up to the clock skew.
func TestIssuedAt(t *testing.T) {
	t.Parallel()

	w, i := oneIssuer(t)
	i.Behave(changed(map[string]any{"iat": w.clock.now().Add(-4 * time.Minute).Unix(), "exp": w.clock.now().Add(time.Hour).Unix()}))
	f := w.begin(t, "home", Flow{})
	w.clock.move(9 * time.Minute) // the token is old, but belongs to this flow
	_, _, err := w.end(t, "home", f.secret, i.Authorize(t, f.redirect, ann))
	wantError(t, err, nil)

	wantError(t, w.signIn(t, i), ErrRefused) // now it belongs to an earlier flow
}
