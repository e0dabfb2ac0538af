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
)

// forge is what a row of the tables below makes tokens with.
type forge struct {
	w             *world
	issuer        *oauthtest.Issuer
	key           oauthtest.Key // the issuer's
	foreign       *oauthtest.Issuer
	foreignServer string // has a key set of another key
	foreignKey    oauthtest.Key
}

func segment(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// changed changes claims; a value of nil takes the claim away.
func changed(changes map[string]any) oauthtest.Behaviour {
	return oauthtest.Behaviour{IDToken: func(claims map[string]any) {
		for name, value := range changes {
			if claims[name] = value; value == nil {
				delete(claims, name)
			}
		}
	}}
}

// signed makes the whole token.
func signed(sign func(claims []byte) string) oauthtest.Behaviour {
	return oauthtest.Behaviour{Sign: sign}
}

func (f forge) headers(headers map[jose.HeaderKey]any) oauthtest.Behaviour {
	return signed(func(claims []byte) string { return f.key.Sign(claims, headers) })
}

// by signs with another key.
func by(k oauthtest.Key, headers map[jose.HeaderKey]any) oauthtest.Behaviour {
	return signed(func(claims []byte) string { return k.Sign(claims, headers) })
}

func (f forge) unix(d time.Duration) int64 { return f.w.clock.now().Add(d).Unix() }

// secretKey is the key of another algorithm by the name of the issuer's.
func (f forge) secretKey(secret []byte) oauthtest.Key {
	return oauthtest.Key{ID: f.key.ID, Algorithm: jose.HS256, Private: secret}
}

func (f forge) publicPEM(t *testing.T) []byte {
	der, err := x509.MarshalPKIXPublicKey(f.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// goodTokens differ from the usual ones in what they may.
func (f forge) goodTokens() map[string]oauthtest.Behaviour {
	nameless := f.key
	nameless.ID = ""
	return map[string]oauthtest.Behaviour{
		"as usual":            {},
		"without a type":      f.headers(nil),
		"type in small":       f.headers(map[jose.HeaderKey]any{"typ": "jwt"}),
		"without a kid":       by(nameless, nil),
		"keys not looked at":  f.headers(map[jose.HeaderKey]any{"jwk": f.foreignKey.JWK(), "jku": f.foreignServer}),
		"party":               changed(map[string]any{"azp": clientID}),
		"several, for us":     changed(map[string]any{"aud": []string{"other", clientID}, "azp": clientID}),
		"audience in a list":  changed(map[string]any{"aud": []string{clientID}}),
		"without a hash":      changed(map[string]any{"at_hash": nil}),
		"expires at once":     changed(map[string]any{"exp": f.unix(0)}),
		"valid soon":          changed(map[string]any{"nbf": f.unix(clockSkew)}),
		"a clock ahead":       changed(map[string]any{"iat": f.unix(clockSkew)}),
		"a clock behind":      changed(map[string]any{"iat": f.unix(-clockSkew)}),
		"with half a second":  changed(map[string]any{"iat": float64(f.unix(0)) + 0.5, "exp": float64(f.unix(time.Minute)) + 0.5}),
		"the longest subject": changed(map[string]any{"sub": strings.Repeat("x", maxSubject)}),
		"claims of others":    changed(map[string]any{"groups": []string{"a"}, "x": map[string]any{"iss": "y"}}),
	}
}

// earlier is the token of a flow that has ended well.
func (f forge) earlier(t *testing.T) (token string) {
	f.issuer.Behave(signed(func(claims []byte) string {
		token = f.key.Sign(claims, nil)
		return token
	}))
	b := f.w.begin(t, "home", Flow{})
	if _, _, err := f.w.end(t, "home", b.secret, f.issuer.Authorize(t, b.address, ann)); err != nil {
		t.Fatal(err)
	}
	return token
}

func TestIDToken(t *testing.T) {
	t.Parallel()
	var w *world
	f := forge{issuer: newIssuer(t, &w), foreign: newIssuer(t, &w), foreignKey: oauthtest.NewKey(t, jose.ES256)}
	w = newWorld(t, settingsOf(OIDC, "home", f.issuer.URL), settingsOf(OIDC, "other", f.foreign.URL))
	w.known = []secretive{f.issuer, f.foreign}
	var hits atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		_ = json.NewEncoder(rw).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{f.foreignKey.JWK()}})
	}))
	t.Cleanup(server.Close)
	f.w, f.key, f.foreignServer = w, f.issuer.Key(), server.URL
	try := func(t *testing.T, b oauthtest.Behaviour) error {
		t.Helper()
		f.issuer.Behave(b)
		began := f.w.begin(t, "home", Flow{ReturnTo: "/after"})
		claims, flow, err := f.w.end(t, "home", began.secret, f.issuer.Authorize(t, began.address, ann))
		if flow.ReturnTo != "/after" {
			t.Errorf("the flow is %+v", flow)
		}
		if err == nil && claims.Subject == "" {
			t.Errorf("nobody has signed in: %+v", claims)
		}
		return err
	}
	bad := f.badTokens(t)
	if len(bad) < 60 {
		t.Errorf("%d bad tokens", len(bad))
	}
	for _, row := range bad {
		t.Run(row.name, func(t *testing.T) {
			err := try(t, row.b)
			if only(t, err, ErrRefused); err != nil && !strings.Contains(err.Error(), row.reason) {
				t.Errorf("got %v, want %q", err, row.reason)
			}
		})
	}
	for name, b := range f.goodTokens() {
		t.Run(name, func(t *testing.T) { only(t, try(t, b), nil) })
	}
	if hits.Load() != 0 {
		t.Errorf("the server that a header names was asked %d times", hits.Load())
	}
	if n := w.flowsIn(t); n != 0 {
		t.Errorf("%d flows are left in Redis", n)
	}
}

// Every algorithm that is none of a shared secret signs somebody in, where the provider
// announces it.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	w, i := oneIssuer(t)
	rsa := oauthtest.NewKey(t, jose.RS256)
	for _, a := range asymmetric {
		w.clock.move(metadataLife)
		i.Behave(oauthtest.Behaviour{})
		key := rsa
		if key.Algorithm = jose.SignatureAlgorithm(a); a[1] != 'S' || a[0] == 'E' {
			key = oauthtest.NewKey(t, key.Algorithm)
		}
		i.UseKey(key)
		f := w.begin(t, "home", Flow{})
		if _, _, err := w.end(t, "home", f.secret, i.Authorize(t, f.address, ann)); err != nil {
			t.Errorf("%s: %v", a, err)
		}
		// One that announces nothing that we accept is held to what all must support.
		w.clock.move(metadataLife)
		i.Behave(oauthtest.Behaviour{Document: func(d map[string]any) {
			d["id_token_signing_alg_values_supported"] = []string{"none", "HS256", "ES256K"}
		}})
		f = w.begin(t, "home", Flow{})
		_, _, err := w.end(t, "home", f.secret, i.Authorize(t, f.address, ann))
		if a == "RS256" {
			only(t, err, nil)
		} else {
			only(t, err, ErrRefused)
		}
	}
}

// A secret signs nobody in, whatever the provider announces and has in its key set.
func TestNoSharedSecrets(t *testing.T) {
	t.Parallel()
	w, i := oneIssuer(t)
	secret := oauthtest.Key{ID: "shared", Algorithm: jose.HS256, Private: []byte(strings.Repeat("s", 32))}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: secret.Private, KeyID: secret.ID, Algorithm: "HS256"}}})
	if err != nil {
		t.Fatal(err)
	}
	i.Break(oauthtest.Keys, oauthtest.Fault{Body: string(set)})
	b := by(secret, nil)
	b.Document = func(d map[string]any) { d["id_token_signing_alg_values_supported"] = []string{"HS256"} }
	i.Behave(b)
	f := w.begin(t, "home", Flow{})
	_, _, err = w.end(t, "home", f.secret, i.Authorize(t, f.address, ann))
	only(t, err, ErrRefused)
}

// A token is judged by the moment at which it comes, and when the flow began.
func TestTimeOfIssue(t *testing.T) {
	t.Parallel()
	w, i := oneIssuer(t)
	i.Behave(changed(map[string]any{"iat": w.clock.now().Add(-4 * time.Minute).Unix(), "exp": w.clock.now().Add(time.Hour).Unix()}))
	f := w.begin(t, "home", Flow{})
	w.clock.move(9 * time.Minute) // old by now, and of this flow
	_, _, err := w.end(t, "home", f.secret, i.Authorize(t, f.address, ann))
	only(t, err, nil)
	f = w.begin(t, "home", Flow{}) // of an earlier one
	_, _, err = w.end(t, "home", f.secret, i.Authorize(t, f.address, ann))
	only(t, err, ErrRefused)
}
