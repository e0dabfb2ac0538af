package oauth

import (
	"context"
	"crypto/hmac"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/go-json-experiment/json"
	"golang.org/x/oauth2"
)

const (
	// clockSkew is the tolerated difference between our clock and the clock of a provider.
	clockSkew = 5 * time.Minute
	// maxSubject is the maximum length of a subject (OpenID Connect Core section 2).
	maxSubject = 255
)

// idToken contains the claims of an ID token that we use (OpenID Connect Core section 2).
type idToken struct {
	Issuer          string       `json:"iss"`
	Subject         string       `json:"sub"`
	Audience        jwt.Audience `json:"aud"`
	AuthorizedParty *string      `json:"azp"`
	Expiry          *float64     `json:"exp"`
	IssuedAt        *float64     `json:"iat"`
	AuthTime        *float64     `json:"auth_time"`
	Nonce           string       `json:"nonce"`
	AccessTokenHash *string      `json:"at_hash"`
	profile
}

// verify checks that the ID token in a response of the token endpoint was issued by this
// provider for this client in this flow, and is still valid (OpenID Connect Core section
// 3.1.3.7; OWASP ASVS 5.0 9.1, 9.2 and 10.5).
func (p *openID) verify(ctx context.Context, m *metadata, response *oauth2.Token, nonce string, startedAt time.Time) (idToken, error) {
	// 1. Check the form and the type of the token.
	raw, _ := response.Extra("id_token").(string)
	if err := checkHeader(raw, m.Algorithms); err != nil {
		return idToken{}, err
	}

	// 2. Package oidc checks signature, issuer, audience, exp and nbf.
	keys := &recordingKeySet{KeySet: m.keySet}
	verifier := oidc.NewVerifier(p.settings.Issuer, keys, &oidc.Config{
		ClientID:             p.settings.ClientID,
		SupportedSigningAlgs: m.Algorithms,
		Now:                  p.now,
	})
	verified, err := verifier.Verify(ctx, raw)
	if err != nil {
		return idToken{}, keys.verificationError(ctx, err)
	}

	// 3. Parse the claims strictly, and check that package oidc has parsed the same values.
	var t idToken
	if verified.Claims(&strictClaims{into: &t}) != nil {
		return idToken{}, refused("ID token: malformed or repeated claims")
	}
	if !t.matches(verified) {
		return idToken{}, refused("ID token: ambiguous claims")
	}

	// 4. Check what package oidc does not check.
	if err := t.validate(p.settings.ClientID, nonce); err != nil {
		return idToken{}, err
	}
	if t.AccessTokenHash != nil && verified.VerifyAccessToken(response.AccessToken) != nil {
		return idToken{}, refused("ID token: at_hash does not match the access token")
	}
	if _, ok := numericDate(t.AuthTime); t.AuthTime != nil && !ok {
		return idToken{}, refused("ID token: invalid auth_time")
	}

	issuedAt, ok := numericDate(t.IssuedAt)
	earliest := startedAt.Add(-clockSkew)
	latest := p.now().Add(clockSkew)
	if !ok || issuedAt.Before(earliest) || issuedAt.After(latest) {
		return idToken{}, refused("ID token: not issued during this sign-in")
	}

	return t, nil
}

// checkHeader rejects anything but a compact JWS with a single signature and type JWT. Keys
// in the header are ignored.
func checkHeader(raw string, algorithms []string) error {
	var accepted []jose.SignatureAlgorithm
	for _, a := range algorithms {
		accepted = append(accepted, jose.SignatureAlgorithm(a))
	}

	signed, err := jose.ParseSignedCompact(raw, accepted)
	// Base64 decoders skip line breaks, which are not allowed in a token (RFC 7515 section 2).
	if err != nil || strings.ContainsAny(raw, "\r\n") {
		return refused("ID token: missing, malformed, or signed with an unsupported algorithm")
	}

	// Reject other tokens signed with the same key, such as access tokens (RFC 8725 section
	// 3.11).
	typ, present := signed.Signatures[0].Header.ExtraHeaders[jose.HeaderType]
	if name, _ := typ.(string); present && !strings.EqualFold(name, "JWT") {
		return refused("ID token: wrong token type")
	}

	return nil
}

// validate rejects a token that was issued in another flow or for another client.
func (t *idToken) validate(clientID, nonce string) error {
	isNotPrintable := func(r rune) bool { return r < ' ' || r > '~' }

	switch {
	case !hmac.Equal([]byte(t.Nonce), []byte(nonce)):
		// The token may have been stolen from the flow of another browser.
		return refused("ID token: wrong nonce")
	case t.AuthorizedParty == nil && len(t.Audience) > 1:
		return refused("ID token: several audiences, but no azp")
	case t.AuthorizedParty != nil && *t.AuthorizedParty != clientID:
		return refused("ID token: issued to another client")
	case t.Subject == "" || len(t.Subject) > maxSubject || strings.ContainsFunc(t.Subject, isNotPrintable):
		return refused("ID token: invalid subject")
	}

	return nil
}

// strictClaims decodes claims with exact names and without repetitions. Package oidc uses
// encoding/json, which ignores case and uses the last of several values.
type strictClaims struct{ into *idToken }

// UnmarshalJSON implements json.Unmarshaler.
func (c *strictClaims) UnmarshalJSON(payload []byte) error { return json.Unmarshal(payload, c.into) }

// matches reports whether package oidc has parsed the same values.
func (t *idToken) matches(verified *oidc.IDToken) bool {
	expiry, ok := numericDate(t.Expiry)
	hashMatches := t.AccessTokenHash == nil || *t.AccessTokenHash == verified.AccessTokenHash

	return ok && expiry.Equal(verified.Expiry) &&
		t.Issuer == verified.Issuer &&
		t.Subject == verified.Subject &&
		t.Nonce == verified.Nonce &&
		slices.Equal(t.Audience, jwt.Audience(verified.Audience)) &&
		hashMatches
}

// numericDate converts a NumericDate (RFC 7519) to a time with a precision of seconds. It
// returns false if the date is missing, negative or too large for a JSON integer.
func numericDate(seconds *float64) (at time.Time, ok bool) {
	if seconds == nil || *seconds < 0 || *seconds > 1<<53 {
		return time.Time{}, false
	}

	return time.Unix(int64(*seconds), 0).UTC(), true
}

// recordingKeySet records the error of a key set, which package oidc drops.
type recordingKeySet struct {
	oidc.KeySet
	err error
}

// VerifySignature implements oidc.KeySet.
func (k *recordingKeySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := k.KeySet.VerifySignature(ctx, token)
	k.err = err

	return payload, err
}

// verificationError returns the reason why a token was not verified.
func (k *recordingKeySet) verificationError(ctx context.Context, err error) error {
	var expired *oidc.TokenExpiredError
	var failed *callError
	switch {
	case errors.As(k.err, &failed) || k.err != nil && ctx.Err() != nil:
		return callFailed(ctx, "key set", k.err)
	case k.err != nil:
		return refused("ID token: invalid signature: no usable key of the provider verifies it")
	case errors.As(err, &expired):
		return refused("ID token: expired; check the clocks of both servers")
	}

	return refused("ID token: wrong issuer or audience, not valid yet, or malformed")
}
