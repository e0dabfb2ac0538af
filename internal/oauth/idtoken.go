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
	"github.com/go-json-experiment/json"
	"golang.org/x/oauth2"
)

const (
	// clockSkew is how far the clock of a provider may be off.
	clockSkew = 5 * time.Minute
	// maxSubject is of OpenID Connect Core section 2.
	maxSubject = 255
)

// idToken are the claims of an ID token that we read (OpenID Connect Core section 2).
type idToken struct {
	Issuer          string   `json:"iss"`
	Subject         string   `json:"sub"`
	Audience        audience `json:"aud"`
	AuthorizedParty *string  `json:"azp"`
	Expiry          *float64 `json:"exp"`
	IssuedAt        *float64 `json:"iat"`
	AuthTime        *float64 `json:"auth_time"`
	Nonce           string   `json:"nonce"`
	AccessTokenHash *string  `json:"at_hash"`
	profile
}

// audience is one name, or several.
type audience []string

// UnmarshalJSON reads a string or an array of strings.
func (a *audience) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(a))
}

// verify makes sure that the ID token in the answer to a code is by this provider, for
// us, of this flow, and of now (OpenID Connect Core section 3.1.3.7; OWASP ASVS 5.0
// 9.1, 9.2 and 10.5). Package oidc judges signature, issuer, audience, expiry and nbf.
func (p *openID) verify(ctx context.Context, m *metadata, answer *oauth2.Token, nonce string, startedAt time.Time) (idToken, error) {
	raw, _ := answer.Extra("id_token").(string)
	if err := judgeHeader(raw, m.Algorithms); err != nil {
		return idToken{}, err
	}
	keys := &watchedKeys{KeySet: m.keySet}
	verifier := oidc.NewVerifier(p.settings.Issuer, keys, &oidc.Config{
		ClientID: p.settings.ClientID, SupportedSigningAlgs: m.Algorithms, Now: p.now,
	})
	verified, err := verifier.Verify(ctx, raw)
	if err != nil {
		return idToken{}, keys.why(ctx, err)
	}
	var t idToken
	if verified.Claims(&rawClaims{into: &t}) != nil {
		return idToken{}, refused("the ID token has claims that cannot be read, or has one twice")
	}
	if !t.sameAs(verified) {
		return idToken{}, refused("the ID token can be read in two ways")
	}
	if err := t.judge(p.settings.ClientID, nonce); err != nil {
		return idToken{}, err
	}
	if t.AccessTokenHash != nil && verified.VerifyAccessToken(answer.AccessToken) != nil {
		return idToken{}, refused("the ID token came with another access token")
	}
	if _, ok := moment(t.AuthTime); t.AuthTime != nil && !ok {
		return idToken{}, refused("the ID token has a time of proof that is none")
	}
	issued, ok := moment(t.IssuedAt)
	if !ok || issued.After(p.now().Add(clockSkew)) || issued.Before(startedAt.Add(-clockSkew)) {
		return idToken{}, refused("the ID token was not issued in this flow")
	}
	return t, nil
}

// judgeHeader refuses what is not one plainly signed ID token. Keys that a header brings
// or points to are not looked at.
func judgeHeader(raw string, algorithms []string) error {
	var accepted []jose.SignatureAlgorithm
	for _, a := range algorithms {
		accepted = append(accepted, jose.SignatureAlgorithm(a))
	}
	signed, err := jose.ParseSignedCompact(raw, accepted)
	// Line breaks are none of the token's (RFC 7515 section 2), and its decoder passes over
	// them.
	if err != nil || strings.ContainsAny(raw, "\r\n") {
		return refused("there is no ID token, or none that is signed as the provider says")
	}
	// Another kind of token by the same key, as an access token, is none (RFC 8725
	// section 3.11).
	typ, given := signed.Signatures[0].Header.ExtraHeaders[jose.HeaderType]
	if name, _ := typ.(string); given && !strings.EqualFold(name, "JWT") {
		return refused("the ID token is a token of another type")
	}
	return nil
}

// judge refuses a token that is of another flow or for another client.
func (t *idToken) judge(clientID, nonce string) error {
	switch {
	case !hmac.Equal([]byte(t.Nonce), []byte(nonce)):
		// A token that was stolen from another flow, of whoever's browser.
		return refused("the ID token has another nonce")
	case t.AuthorizedParty == nil && len(t.Audience) > 1:
		return refused("the ID token is for several, and does not say for whom it was issued")
	case t.AuthorizedParty != nil && *t.AuthorizedParty != clientID:
		return refused("the ID token was issued for another client")
	case t.Subject == "" || len(t.Subject) > maxSubject || strings.ContainsFunc(t.Subject, func(r rune) bool { return r < ' ' || r > '~' }):
		return refused("the ID token has no subject as the standard has it")
	}
	return nil
}

// rawClaims reads the claims by their exact names, none of them twice. encoding/json,
// by which package oidc reads them, takes the last of several, in any letter case.
type rawClaims struct{ into *idToken }

// UnmarshalJSON reads the whole payload.
func (r *rawClaims) UnmarshalJSON(payload []byte) error { return json.Unmarshal(payload, r.into) }

// sameAs tells whether what was verified is what we have read.
func (t *idToken) sameAs(verified *oidc.IDToken) bool {
	expiry, ok := moment(t.Expiry)
	return ok && expiry.Equal(verified.Expiry) && t.Issuer == verified.Issuer && t.Subject == verified.Subject &&
		t.Nonce == verified.Nonce && slices.Equal(t.Audience, audience(verified.Audience)) &&
		(t.AccessTokenHash == nil || *t.AccessTokenHash == verified.AccessTokenHash)
}

// moment is a NumericDate of RFC 7519, to the second. It is not ok where there is none,
// or one beyond the whole numbers of JSON.
func moment(seconds *float64) (at time.Time, ok bool) {
	if seconds == nil || *seconds < 0 || *seconds > 1<<53 {
		return time.Time{}, false
	}
	return time.Unix(int64(*seconds), 0).UTC(), true
}

// watchedKeys keeps why the keys of the provider could not be asked: package oidc
// forgets what the error was.
type watchedKeys struct {
	oidc.KeySet
	err error
}

// VerifySignature is that of oidc.KeySet.
func (k *watchedKeys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := k.KeySet.VerifySignature(ctx, token)
	k.err = err
	return payload, err
}

// why is why a token was not verified.
func (k *watchedKeys) why(ctx context.Context, err error) error {
	var expired *oidc.TokenExpiredError
	var failed *callError
	switch {
	case errors.As(k.err, &failed) || k.err != nil && ctx.Err() != nil:
		return asked(ctx, "the key set", k.err)
	case k.err != nil:
		return refused("the ID token is not signed by a key of the provider's, or its keys cannot be read")
	case errors.As(err, &expired):
		return refused("the ID token has expired: is one of the clocks wrong?")
	}
	return refused("the ID token is of another issuer, for another client, not valid yet, or malformed")
}
