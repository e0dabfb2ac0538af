package oauth

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"latchkey/internal/oauth/oauthtest"
)

// why the tokens below are refused.
const (
	malformed = "there is no ID token"
	unkeyed   = "not signed by a key of the provider's"
	misread   = "claims that cannot be read"
	twoWays   = "read in two ways"
	oidcs     = "is of another issuer, for another client, not valid yet, or malformed"
	nonceErr  = "another nonce"
	typeErr   = "a token of another type"
	several   = "for several"
	partyErr  = "issued for another client"
	subjErr   = "has no subject"
	timeErr   = "not issued in this flow"
	expired   = "has expired"
	hashErr   = "another access token"
)

// badToken must not sign anybody in. The reason is the one check that it is for: a row
// that another check refuses shows nothing.
type badToken struct {
	name, reason string
	b            oauthtest.Behaviour
}

func (f forge) badTokens(t *testing.T) []badToken {
	return slices.Concat(f.badSignatures(t), f.badForms(t), f.badTypes(), f.badParties(), f.badFlows(t), f.badTimes(), f.badSubjects())
}

// payload signs something else than claims.
func (f forge) payload(change func(claims string) string) oauthtest.Behaviour {
	return signed(func(claims []byte) string { return f.key.Sign([]byte(change(string(claims))), nil) })
}

func raw(token string) oauthtest.Behaviour { return signed(func([]byte) string { return token }) }

func (f forge) badSignatures(t *testing.T) []badToken {
	k, other := f.key, f.foreignKey
	impostor, nameless := other, k
	impostor.ID, nameless.ID = k.ID, other.ID
	// A key of HMAC is filled up with zeros; go-jose wants them there.
	secret := []byte(clientSecret + strings.Repeat("\x00", 32))
	unsigned := func(header string) oauthtest.Behaviour {
		return signed(func(claims []byte) string { return segment(header) + "." + segment(string(claims)) + "." })
	}
	return []badToken{
		{"alg none", malformed, unsigned(`{"alg":"none","typ":"JWT"}`)},
		{"alg none with a signature", malformed, signed(func(claims []byte) string {
			parts := strings.Split(k.Sign(claims, nil), ".")
			return segment(`{"alg":"none","kid":"`+k.ID+`"}`) + "." + parts[1] + "." + parts[2]
		})},
		{"alg None", malformed, unsigned(`{"alg":"None"}`)},
		{"no alg", malformed, unsigned(`{}`)},
		{"HS256 by the public key", malformed, by(f.secretKey(f.publicPEM(t)), nil)},
		{"HS256 by the client secret", malformed, by(f.secretKey(secret), nil)},
		{"another key by the same kid", unkeyed, by(impostor, nil)},
		{"an unknown kid", unkeyed, by(other, nil)},
		{"the right key by another kid", unkeyed, by(nameless, nil)},
		{"another key without a kid", unkeyed, by(oauthtest.Key{Algorithm: jose.ES256, Private: other.Private}, nil)},
		{"a key in the header", unkeyed, by(other, map[jose.HeaderKey]any{"jwk": other.JWK()})},
		{"a key in the header, same kid", unkeyed, by(impostor, map[jose.HeaderKey]any{"jwk": impostor.JWK()})},
		{"a key set in the header", unkeyed, by(other, map[jose.HeaderKey]any{"jku": f.foreignServer, "x5u": f.foreignServer})},
		{"an algorithm that is not announced", malformed, by(oauthtest.Key{ID: k.ID, Algorithm: jose.EdDSA, Private: oauthtest.NewKey(t, jose.EdDSA).Private}, nil)},
		{"other claims than were signed", unkeyed, signed(func(claims []byte) string {
			parts := strings.Split(k.Sign(claims, nil), ".")
			return parts[0] + "." + segment(strings.Replace(string(claims), `"u-1"`, `"u-2"`, 1)) + "." + parts[2]
		})},
		{"no signature", unkeyed, signed(func(claims []byte) string {
			token := k.Sign(claims, nil)
			return token[:strings.LastIndex(token, ".")+1]
		})},
		{"a critical header", unkeyed, f.headers(map[jose.HeaderKey]any{"crit": []string{"exp"}, "exp": 1})},
	}
}

func (f forge) badForms(t *testing.T) []badToken {
	k, payload := f.key, f.payload
	return []badToken{
		{"nothing", malformed, raw("")},
		{"garbage", malformed, raw("garbage")},
		{"garbage in three parts", malformed, raw("a.b.c")},
		{"dots", malformed, raw("..")},
		{"a line break", malformed, signed(func(claims []byte) string { return strings.Replace(k.Sign(claims, nil), ".", ".\n", 1) })},
		{"encrypted", malformed, signed(func(claims []byte) string { return encrypted(t, claims) })},
		{"two signatures", malformed, signed(func(claims []byte) string { return inJSON(t, claims, k, f.foreignKey) })},
		{"one signature in JSON", malformed, signed(func(claims []byte) string { return inJSON(t, claims, k) })},
		{"not a string", malformed, oauthtest.Behaviour{Answer: func(a map[string]any) { a["id_token"] = 42 }}},
		{"none at all", malformed, oauthtest.Behaviour{Answer: func(a map[string]any) { delete(a, "id_token") }}},
		{"claims of null", oidcs, payload(func(string) string { return "null" })},
		{"claims of a list", oidcs, payload(func(c string) string { return "[" + c + "]" })},
		{"claims with more behind them", oidcs, payload(func(c string) string { return c + c })},
		{"a claim twice", misread, payload(func(c string) string { return strings.Replace(c, `"sub":"u-1"`, `"sub":"u-2","sub":"u-1"`, 1) })},
		{"an unknown claim twice", misread, payload(func(c string) string { return strings.Replace(c, `{`, `{"x":1,"x":2,`, 1) })},
		{"a nonce in two cases", twoWays, payload(func(c string) string {
			return strings.Replace(strings.Replace(c, `"nonce"`, `"NONCE"`, 1), `{`, `{"nonce":"other",`, 1)
		})},
		{"a subject in two cases", twoWays, payload(func(c string) string { return strings.Replace(c, `}`, `,"Sub":"u-2"}`, 1) })},
		{"an issuer in other letters", twoWays, payload(func(c string) string { return strings.Replace(c, `"iss"`, `"Iss"`, 1) })},
		{"an audience in other letters", twoWays, payload(func(c string) string { return strings.Replace(c, `"aud"`, `"AUD"`, 1) })},
		{"an expiry in other letters", twoWays, payload(func(c string) string { return strings.Replace(c, `"exp"`, `"Exp"`, 1) })},
		{"an address that is a number", misread, changed(map[string]any{"email": 42})},
	}
}

func (f forge) badTypes() []badToken {
	return []badToken{
		{"an access token", typeErr, f.headers(map[jose.HeaderKey]any{"typ": "at+jwt"})},
		{"an access token, in full", typeErr, f.headers(map[jose.HeaderKey]any{"typ": "application/at+jwt"})},
		{"a logout token", typeErr, f.headers(map[jose.HeaderKey]any{"typ": "logout+jwt"})},
		{"an empty type", typeErr, f.headers(map[jose.HeaderKey]any{"typ": ""})},
		{"a type that is a number", typeErr, f.headers(map[jose.HeaderKey]any{"typ": 1})},
	}
}

func (f forge) badParties() []badToken {
	return []badToken{
		{"no issuer", oidcs, changed(map[string]any{"iss": nil})},
		{"another issuer", oidcs, changed(map[string]any{"iss": "https://evil.example"})},
		{"the issuer of another provider of ours", oidcs, changed(map[string]any{"iss": f.foreign.URL})},
		{"the issuer with a slash", oidcs, changed(map[string]any{"iss": f.issuer.URL + "/"})},
		{"another provider's token", unkeyed, signed(func(claims []byte) string {
			return f.foreign.Key().Sign([]byte(strings.ReplaceAll(string(claims), f.issuer.URL, f.foreign.URL)), nil)
		})},
		{"no audience", oidcs, changed(map[string]any{"aud": nil})},
		{"another audience", oidcs, changed(map[string]any{"aud": "other"})},
		{"an empty audience", oidcs, changed(map[string]any{"aud": []string{}})},
		{"several others", oidcs, changed(map[string]any{"aud": []string{"a", "b"}, "azp": clientID})},
		{"several, for nobody", several, changed(map[string]any{"aud": []string{clientID, "other"}})},
		{"several, for another", partyErr, changed(map[string]any{"aud": []string{clientID, "other"}, "azp": "other"})},
		{"for another", partyErr, changed(map[string]any{"azp": "other"})},
		{"for an empty one", partyErr, changed(map[string]any{"azp": ""})},
	}
}

func (f forge) badFlows(t *testing.T) []badToken {
	return []badToken{
		{"no nonce", nonceErr, changed(map[string]any{"nonce": nil})},
		{"another nonce", nonceErr, changed(map[string]any{"nonce": strings.Repeat("A", 43)})},
		{"an empty nonce", nonceErr, changed(map[string]any{"nonce": ""})},
		{"the token of an earlier flow", nonceErr, raw(f.earlier(t))},
		{"another access token's", hashErr, changed(map[string]any{"at_hash": "c2hhMjU2IG9mIGFub3RoZQ"})},
		{"of an empty access token", hashErr, changed(map[string]any{"at_hash": ""})},
	}
}

func (f forge) badTimes() []badToken {
	return []badToken{
		{"no expiry", expired, changed(map[string]any{"exp": nil})},
		{"an expiry that is text", oidcs, changed(map[string]any{"exp": "soon"})},
		{"an expiry in quotes", misread, changed(map[string]any{"exp": "99999999999"})},
		{"expired", expired, changed(map[string]any{"exp": f.unix(-time.Second)})},
		{"not valid yet", oidcs, changed(map[string]any{"nbf": f.unix(clockSkew + time.Second)})},
		{"no time of issue", timeErr, changed(map[string]any{"iat": nil})},
		{"issued in the future", timeErr, changed(map[string]any{"iat": f.unix(clockSkew + time.Second)})},
		{"issued before the flow", timeErr, changed(map[string]any{"iat": f.unix(-clockSkew - time.Second)})},
		{"issued before time", timeErr, changed(map[string]any{"iat": -1})},
		{"issued after all time", timeErr, changed(map[string]any{"iat": 1e300})},
	}
}

func (f forge) badSubjects() []badToken {
	payload := f.payload
	return []badToken{
		{"no subject", subjErr, changed(map[string]any{"sub": nil})},
		{"an empty subject", subjErr, changed(map[string]any{"sub": ""})},
		{"a subject that is a number", oidcs, changed(map[string]any{"sub": 42})},
		{"a subject that is null", subjErr, payload(func(c string) string { return strings.Replace(c, `"sub":"u-1"`, `"sub":null`, 1) })},
		{"a long subject", subjErr, changed(map[string]any{"sub": strings.Repeat("x", maxSubject+1)})},
		{"a subject beyond ASCII", subjErr, changed(map[string]any{"sub": "ü"})},
		{"a subject with a control character", subjErr, changed(map[string]any{"sub": "u-1\x00"})},
	}
}

func encrypted(t *testing.T, claims []byte) string {
	t.Helper()
	e, err := jose.NewEncrypter(jose.A128GCM, jose.Recipient{Algorithm: jose.DIRECT, Key: []byte("0123456789abcdef")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := e.Encrypt(claims)
	if err != nil {
		t.Fatal(err)
	}
	token, err := sealed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// inJSON is a token in the JSON serialisation, signed by each key.
func inJSON(t *testing.T, claims []byte, keys ...oauthtest.Key) string {
	t.Helper()
	var signers []jose.SigningKey
	for _, k := range keys {
		signers = append(signers, jose.SigningKey{Algorithm: k.Algorithm, Key: jose.JSONWebKey{Key: k.Private, KeyID: k.ID}})
	}
	signer, err := jose.NewMultiSigner(signers, nil)
	if err != nil {
		t.Fatal(err)
	}
	both, err := signer.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	return both.FullSerialize()
}
