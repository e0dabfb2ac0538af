package oauth

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"latchkey/internal/oauth/oauthtest"
)

// The errors for the tokens below.
const (
	malformed     = "missing, malformed, or signed with an unsupported algorithm"
	badSignature  = "invalid signature"
	badClaims     = "malformed or repeated claims"
	badClaim      = "malformed or repeated claim "
	ambiguous     = "ambiguous claim "
	wrongIssuer   = "wrong issuer (iss)"
	wrongAudience = "wrong audience (aud)"
	notYet        = "not yet valid (nbf)"
	nonceErr      = "wrong nonce"
	typeErr       = "wrong token type"
	several       = "several audiences"
	partyErr      = "issued to another client (azp)"
	subjErr       = "invalid sub"
	timeErr       = "not issued during this sign-in (iat)"
	expired       = "expired (exp); check the clocks"
	hashErr       = "at_hash does not match"
)

// badToken is a token that must be rejected. The reason identifies the check that must reject
// it: if another check does, the row does not test anything.
type badToken struct {
	name, reason string
	b            oauthtest.Behaviour
}

func (f forge) badTokens(t *testing.T) []badToken {
	return slices.Concat(f.badSignatures(t), f.badForms(), f.badContents(t))
}

// payload signs a modified payload.
func (f forge) payload(change func(claims string) string) oauthtest.Behaviour {
	return signed(func(claims []byte) string { return f.key.Sign([]byte(change(string(claims))), nil) })
}

func raw(token string) oauthtest.Behaviour { return signed(func([]byte) string { return token }) }

func (f forge) badSignatures(t *testing.T) []badToken {
	k := f.key
	other := f.foreignKey
	impostor := other
	nameless := k
	impostor.ID = k.ID
	nameless.ID = other.ID

	// go-jose requires HMAC keys of at least 32 bytes. Zeros at the end do not change the key.
	secret := []byte(clientSecret + strings.Repeat("\x00", 32))
	return []badToken{
		{"alg none", malformed, signed(func(claims []byte) string {
			return segment(`{"alg":"none","typ":"JWT"}`) + "." + segment(string(claims)) + "."
		})},
		{"alg none with a signature", malformed, signed(func(claims []byte) string {
			parts := strings.Split(k.Sign(claims, nil), ".")
			return segment(`{"alg":"none","kid":"`+k.ID+`"}`) + "." + parts[1] + "." + parts[2]
		})},
		{"HS256 with the public key", malformed, by(f.secretKey(f.publicPEM(t)), nil)},
		{"HS256 with the client secret", malformed, by(f.secretKey(secret), nil)},
		{"wrong key, same kid", badSignature, by(impostor, nil)},
		{"unknown kid", badSignature, by(other, nil)},
		{"right key, wrong kid", badSignature, by(nameless, nil)},
		{"wrong key, no kid", badSignature, by(oauthtest.Key{Algorithm: jose.ES256, Private: other.Private}, nil)},
		{"wrong key, same kid, jwk header", badSignature, by(impostor, map[jose.HeaderKey]any{"jwk": impostor.JWK()})},
		{"wrong key, jku header", badSignature, by(other, map[jose.HeaderKey]any{"jku": f.foreignServer, "x5u": f.foreignServer})},
		{"unannounced algorithm", malformed, by(oauthtest.Key{ID: k.ID, Algorithm: jose.EdDSA, Private: oauthtest.NewKey(t, jose.EdDSA).Private}, nil)},
		{"modified claims", badSignature, signed(func(claims []byte) string {
			parts := strings.Split(k.Sign(claims, nil), ".")
			return parts[0] + "." + segment(strings.Replace(string(claims), `"u-1"`, `"u-2"`, 1)) + "." + parts[2]
		})},
		{"no signature", badSignature, signed(func(claims []byte) string {
			token := k.Sign(claims, nil)
			return token[:strings.LastIndex(token, ".")+1]
		})},
		{"critical header", badSignature, f.headers(map[jose.HeaderKey]any{"crit": []string{"exp"}, "exp": 1})},
	}
}

func (f forge) badForms() []badToken {
	k := f.key
	payload := f.payload

	return []badToken{
		{"empty", malformed, raw("")},
		{"garbage", malformed, raw("a.b.c")},
		{"line break", malformed, signed(func(claims []byte) string { return strings.Replace(k.Sign(claims, nil), ".", ".\n", 1) })},
		{"JSON serialization", malformed, signed(func(claims []byte) string {
			parts := strings.Split(k.Sign(claims, nil), ".")
			return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2])
		})},
		{"not a string", malformed, oauthtest.Behaviour{TokenResponse: func(a map[string]any) { a["id_token"] = 42 }}},
		{"missing", malformed, oauthtest.Behaviour{TokenResponse: func(a map[string]any) { delete(a, "id_token") }}},
		{"null payload", wrongIssuer, payload(func(string) string { return "null" })},
		{"list payload", badClaims, payload(func(c string) string { return "[" + c + "]" })},
		{"trailing data", badClaims, payload(func(c string) string { return c + c })},
		{"repeated claim", badClaim + "sub", payload(func(c string) string { return strings.Replace(c, `"sub":"u-1"`, `"sub":"u-2","sub":"u-1"`, 1) })},
		{"nonce in two spellings", ambiguous + "nonce", payload(func(c string) string {
			return strings.Replace(strings.Replace(c, `"nonce"`, `"NONCE"`, 1), `{`, `{"nonce":"other",`, 1)
		})},
		{"subject in two spellings", ambiguous + "sub", payload(func(c string) string { return strings.Replace(c, `}`, `,"Sub":"u-2"}`, 1) })},
		{"issuer in wrong case", ambiguous + "iss", payload(func(c string) string { return strings.Replace(c, `"iss"`, `"Iss"`, 1) })},
		{"audience in wrong case", ambiguous + "aud", payload(func(c string) string { return strings.Replace(c, `"aud"`, `"AUD"`, 1) })},
		{"expiry in wrong case", ambiguous + "exp", payload(func(c string) string { return strings.Replace(c, `"exp"`, `"Exp"`, 1) })},
		{"repeated claim of the provider", badClaims, payload(func(c string) string { return strings.Replace(c, `{`, `{"s3cret":1,"s3cret":2,`, 1) })},
	}
}

func (f forge) badContents(t *testing.T) []badToken {
	return []badToken{
		// The type.
		{"access token", typeErr, f.headers(map[jose.HeaderKey]any{"typ": "at+jwt"})},
		{"empty type", typeErr, f.headers(map[jose.HeaderKey]any{"typ": ""})},
		{"type is a number", typeErr, f.headers(map[jose.HeaderKey]any{"typ": 1})},

		// The parties.
		{"wrong issuer", wrongIssuer, changed(map[string]any{"iss": "https://evil.example"})},
		{"issuer with trailing slash", wrongIssuer, changed(map[string]any{"iss": f.issuer.URL + "/"})},
		{"token of another provider", badSignature, signed(func(claims []byte) string {
			return f.foreign.Key().Sign([]byte(strings.ReplaceAll(string(claims), f.issuer.URL, f.foreign.URL)), nil)
		})},
		{"no audience", wrongAudience, changed(map[string]any{"aud": nil})},
		{"wrong audience", wrongAudience, changed(map[string]any{"aud": "other"})},
		{"several audiences without us", wrongAudience, changed(map[string]any{"aud": []string{"a", "b"}, "azp": clientID})},
		{"several audiences, no azp", several, changed(map[string]any{"aud": []string{clientID, "other"}})},
		{"wrong azp", partyErr, changed(map[string]any{"azp": "other"})},
		{"empty azp", partyErr, changed(map[string]any{"azp": ""})},

		// The flow.
		{"no nonce", nonceErr, changed(map[string]any{"nonce": nil})},
		{"wrong nonce", nonceErr, changed(map[string]any{"nonce": strings.Repeat("A", 43)})},
		{"token of an earlier flow", nonceErr, raw(f.earlier(t))},
		{"wrong at_hash", hashErr, changed(map[string]any{"at_hash": "c2hhMjU2IG9mIGFub3RoZQ"})},
		{"empty at_hash", hashErr, changed(map[string]any{"at_hash": ""})},

		// The time.
		{"no expiry", expired, changed(map[string]any{"exp": nil})},
		{"expiry is text", badClaim + "exp", changed(map[string]any{"exp": "soon"})},
		{"expiry is a quoted number", badClaim + "exp", changed(map[string]any{"exp": "99999999999"})},
		{"expired", expired, changed(map[string]any{"exp": f.unix(-time.Second)})},
		{"not yet valid", notYet, changed(map[string]any{"nbf": f.unix(clockSkew + time.Second)})},
		{"no iat", timeErr, changed(map[string]any{"iat": nil})},
		{"issued in the future", timeErr, changed(map[string]any{"iat": f.unix(clockSkew + time.Second)})},
		{"issued before the flow", timeErr, changed(map[string]any{"iat": f.unix(-clockSkew - time.Second)})},

		// The subject.
		{"no subject", subjErr, changed(map[string]any{"sub": nil})},
		{"empty subject", subjErr, changed(map[string]any{"sub": ""})},
		{"subject is a number", badClaim + "sub", changed(map[string]any{"sub": 42})},
		{"subject too long", subjErr, changed(map[string]any{"sub": strings.Repeat("x", maxSubject+1)})},
		{"non-ASCII subject", subjErr, changed(map[string]any{"sub": "ü"})},
		{"control character in subject", subjErr, changed(map[string]any{"sub": "u-1\x00"})},
	}
}
