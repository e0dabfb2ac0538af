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
	"github.com/go-json-experiment/json/jsontext"
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
		return idToken{}, p.verificationError(ctx, keys, err)
	}

	// 3. Parse the claims strictly, and check that package oidc has parsed the same values.
	t, err := parseClaims(keys.payload)
	if err != nil {
		return idToken{}, err
	}
	if claim := t.mismatch(verified); claim != "" {
		return idToken{}, refused("ID token: ambiguous claim " + claim)
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
		return idToken{}, refused("ID token: not issued during this sign-in (iat)")
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
		return refused("ID token: several audiences (aud), but no azp")
	case t.AuthorizedParty != nil && *t.AuthorizedParty != clientID:
		return refused("ID token: issued to another client (azp)")
	case t.Subject == "" || len(t.Subject) > maxSubject || strings.ContainsFunc(t.Subject, isNotPrintable):
		return refused("ID token: invalid sub")
	}

	return nil
}

// parseClaims decodes claims with exact names and without repetitions. Package oidc uses
// encoding/json, which ignores case and uses the last of several values. Errors: ErrRefused.
func parseClaims(payload []byte) (idToken, error) {
	var t idToken
	if err := json.Unmarshal(payload, &t); err != nil {
		return idToken{}, refused("ID token: malformed or repeated " + claimIn(err))
	}

	return t, nil
}

// loggableClaims are the names that may be logged. Other names come from the provider.
var loggableClaims = []string{
	"iss", "sub", "aud", "azp", "exp", "iat", "auth_time", "nonce", "at_hash",
	"email", "email_verified", "name", "picture", "hd",
}

// claimIn returns "claim" and the name of the claim that could not be decoded, or "claims".
func claimIn(err error) string {
	var pointer jsontext.Pointer
	var semantic *json.SemanticError
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.As(err, &semantic):
		pointer = semantic.JSONPointer
	case errors.As(err, &syntactic):
		pointer = syntactic.JSONPointer
	}

	name, _, _ := strings.Cut(strings.TrimPrefix(string(pointer), "/"), "/")
	if !slices.Contains(loggableClaims, name) {
		return "claims"
	}

	return "claim " + name
}

// mismatch returns the name of a claim that package oidc has parsed differently, or "".
func (t *idToken) mismatch(verified *oidc.IDToken) string {
	expiry, ok := numericDate(t.Expiry)

	switch {
	case !ok || !expiry.Equal(verified.Expiry):
		return "exp"
	case t.Issuer != verified.Issuer:
		return "iss"
	case t.Subject != verified.Subject:
		return "sub"
	case t.Nonce != verified.Nonce:
		return "nonce"
	case !slices.Equal(t.Audience, jwt.Audience(verified.Audience)):
		return "aud"
	case t.AccessTokenHash != nil && *t.AccessTokenHash != verified.AccessTokenHash:
		return "at_hash"
	}

	return ""
}

// numericDate converts a NumericDate (RFC 7519) to a time with a precision of seconds. It
// returns false if the date is missing, negative or too large for a JSON integer.
func numericDate(seconds *float64) (at time.Time, ok bool) {
	if seconds == nil || *seconds < 0 || *seconds > 1<<53 {
		return time.Time{}, false
	}

	return time.Unix(int64(*seconds), 0).UTC(), true
}

// recordingKeySet records the result of a key set, which package oidc drops.
type recordingKeySet struct {
	oidc.KeySet
	payload []byte
	err     error
}

// VerifySignature implements oidc.KeySet.
func (k *recordingKeySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := k.KeySet.VerifySignature(ctx, token)
	k.payload = payload
	k.err = err

	return payload, err
}

// verificationError converts the error with which package oidc rejected a token to one with a reason
// that can be logged.
func (p *openID) verificationError(ctx context.Context, keys *recordingKeySet, err error) error {
	var expired *oidc.TokenExpiredError
	var failed *callError
	switch {
	case errors.As(keys.err, &failed) || keys.err != nil && ctx.Err() != nil:
		return callFailed(ctx, "key set", keys.err)
	case keys.err != nil:
		return refused("ID token: invalid signature, or signed with an unknown key")
	case errors.As(err, &expired):
		return refused("ID token: expired (exp); check the clocks of both servers")
	}

	t, err := parseClaims(keys.payload)
	switch {
	case err != nil:
		return err
	case t.Issuer != p.settings.Issuer:
		return refused("ID token: wrong issuer (iss)")
	case !slices.Contains(t.Audience, p.settings.ClientID):
		return refused("ID token: wrong audience (aud)")
	}

	return refused("ID token: not yet valid (nbf), or malformed (_claim_names)")
}
