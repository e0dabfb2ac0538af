package oauth

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"latchkey/internal/oauth/oauthtest"
	"latchkey/internal/testkit"
)

// jwkWith returns the public part of a key as JSON, with changed members.
func jwkWith(t *testing.T, k oauthtest.Key, changes map[string]any) string {
	t.Helper()

	encoded, err := json.Marshal(k.JWK())
	testkit.NoError(t, err)
	var members map[string]any
	testkit.NoError(t, json.Unmarshal(encoded, &members))
	changed(changes).IDToken(members)
	encoded, err = json.Marshal(members)
	testkit.NoError(t, err)

	return string(encoded)
}

// serveKeys makes an issuer publish these keys.
func serveKeys(i *oauthtest.Issuer, keys ...string) {
	i.Break(oauthtest.Keys, oauthtest.Fault{Body: `{"keys":[` + strings.Join(keys, ",") + `]}`})
}

// One key that cannot be used does not keep the others from being used. Malformed keys are
// reported, keys of unsupported types are not.
func TestMalformedKeyInKeySet(t *testing.T) {
	t.Parallel()

	const modulus = `"n":"u1SU1LfVLPHCozMxH2Mo4lgOEePzNm0tRgeLezV6ffAt0gunVTLw7onLRnrq0_IzW7yWR7QkrmBL7jTKEn5u-qKhbwKfBstIs-bMY2Zkp18gnTxKLxoS2tFczGkPLPgizskuemMghRniWaoLcyehkd3qqGElvW_VDL5AaWTg0nLVkjRo9z-40RQzuVaE8AkAFmxZzow3x-VJYKdjykkJ0iT9wCS0DRTXu269V264Vf_3jvredZiKRkgwlL9xNAwxXFg0x_XFw005UWVRIkdgcKWTjpBP2dPwVZ4WWC-9aGVd-Gyn1o0CLelf4rEjGoXbAAEgAqeGUxrcIlbjXfbc_w","e":"AQAB"`
	for name, tc := range map[string]struct {
		key       string
		malformed int
	}{
		"another good key":          {`{"kty":"RSA","kid":"x",` + modulus + `}`, 0},
		"x5c is not Base64":         {`{"kty":"RSA","kid":"x",` + modulus + `,"x5c":["!!notbase64"]}`, 0},
		"x5t of the wrong length":   {`{"kty":"RSA","kid":"x",` + modulus + `,"x5t":"AAAA","x5t#S256":1}`, 0},
		"x5u is not a URL":          {`{"kty":"RSA","kid":"x",` + modulus + `,"x5u":"://"}`, 0},
		"modulus is not Base64":     {`{"kty":"RSA","kid":"x","n":"!","e":"AQAB"}`, 1},
		"no modulus":                {`{"kty":"RSA","kid":"x","e":"AQAB"}`, 1},
		"512-bit modulus":           {`{"kty":"RSA","kid":"x","n":"3GX17llQTadGzsllxnPSsLAJvNCU6FHmHP9s6yXmUt3h7yzcI2Gbn8dpqhiBmYWUFVibTe1-f_s0edZ6d9nPOQ","e":"AQAB"}`, 1},
		"tiny modulus":              {`{"kty":"RSA","kid":"x","n":"AQAB","e":"AQAB"}`, 1},
		"even exponent":             {`{"kty":"RSA","kid":"x",` + strings.Replace(modulus, "AQAB", "AQAA", 1) + `}`, 1},
		"OKP without a curve":       {`{"kty":"OKP","x":"AAAA"}`, 1},
		"point not on the curve":    {`{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}`, 1},
		"unknown curve":             {`{"kty":"EC","crv":"P-1","x":"AAAA","y":"AAAA"}`, 1},
		"kid is a number":           {`{"kty":"RSA","kid":1,` + modulus + `}`, 1},
		"alg is a list":             {`{"kty":"RSA","alg":["RS256"],` + modulus + `}`, 1},
		"no type":                   {`{"kid":"x"}`, 1},
		"null":                      {`null`, 1},
		"text":                      {`"key"`, 1},
		"a published private key":   {`{"kty":"RSA",` + modulus + `,"d":"AQAB"}`, 1},
		"repeated member":           {`{"kid":"a","kid":"b","kty":"RSA",` + modulus + `}`, 0},
		"unknown type":              {`{"kty":"FOO"}`, 0},
		"post-quantum key":          {`{"kty":"AKP","alg":"ML-DSA-65","pub":"AAAA"}`, 0},
		"secret key":                {`{"kty":"oct","k":"AAAA"}`, 0},
		"key for encryption":        {`{"kty":"RSA","alg":"RSA-OAEP","use":"enc",` + modulus + `}`, 0},
		"Ed448":                     {`{"kty":"OKP","crv":"Ed448","x":"AAAA"}`, 0},
		"secp256k1":                 {`{"kty":"EC","crv":"secp256k1","alg":"ES256K","x":"AAAA","y":"AAAA"}`, 0},
		"secp256k1 without its alg": {`{"kty":"EC","crv":"secp256k1","x":"AAAA","y":"AAAA"}`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w, i := oneIssuer(t)
			serveKeys(i, tc.key, jwkWith(t, i.Key(), nil))
			wantError(t, w.signIn(t, i), nil)

			wantLog := fmt.Sprintf("keys=%d", tc.malformed)
			if logged := strings.Contains(w.log.String(), wantLog); logged != (tc.malformed > 0) {
				t.Errorf("got log %q, want it to contain %q only if keys are malformed", w.log, wantLog)
			}

			got, err := w.Check(context.Background(), "home")
			wantError(t, err, nil)
			if got.MalformedKeys != tc.malformed {
				t.Errorf("got %d malformed keys, want %d", got.MalformedKeys, tc.malformed)
			}
		})
	}
}

// A key is used whatever its optional members contain. Without a usable key nobody signs in,
// and the error gives the reason.
func TestSigningKeyMembers(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		changes map[string]any
		want    error
	}{
		"unchanged":        {nil, nil},
		"no alg":           {map[string]any{"alg": nil}, nil},
		"no use":           {map[string]any{"use": nil}, nil},
		"wrong x5t":        {map[string]any{"x5t": "!", "x5t#S256": 5}, nil},
		"wrong x5c":        {map[string]any{"x5c": "not a list"}, nil},
		"no coordinate":    {map[string]any{"y": nil}, ErrRefused},
		"its private part": {map[string]any{"d": "AAAA"}, ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w, i := oneIssuer(t)
			serveKeys(i, jwkWith(t, i.Key(), tc.changes))
			err := w.signIn(t, i)
			_, checked := w.Check(context.Background(), "home")
			for _, err := range []error{err, checked} {
				wantError(t, err, tc.want)
				if err != nil && !strings.Contains(err.Error(), "key set: no key can be used") {
					t.Errorf("got error %v, want the reason", err)
				}
			}
		})
	}

	w, i := oneIssuer(t)
	serveKeys(i, jwkWith(t, i.Key(), map[string]any{"y": nil}), jwkWith(t, oauthtest.NewKey(t, jose.ES256), nil))
	if err := w.signIn(t, i); err == nil || !strings.Contains(err.Error(), "signed with an unknown key") {
		t.Errorf("got error %v, want the reason", err)
	}
}
