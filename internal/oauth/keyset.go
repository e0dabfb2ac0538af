package oauth

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// errUnsupportedKey is returned for a key that ID tokens cannot be signed with.
var errUnsupportedKey = errors.New("unsupported key")

// publicKey contains the members of a JWK that are needed to verify a signature (RFC 7517,
// RFC 7518 section 6 and RFC 8037 section 2). Others, such as certificates, are optional and
// must not decide whether a key can be used.
type publicKey struct {
	Type      string `json:"kty"`
	ID        string `json:"kid,omitempty"`
	Algorithm string `json:"alg,omitempty"`
	Curve     string `json:"crv,omitempty"`
	Modulus   string `json:"n,omitempty"`
	Exponent  string `json:"e,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
	// Private is set if the private key was published, too, so that anyone can sign with it.
	Private json.RawMessage `json:"d,omitempty"`
}

// parseKey parses one key of a key set. Errors: errUnsupportedKey; others if the key is
// malformed.
func parseKey(raw []byte) (jose.JSONWebKey, error) {
	var members publicKey
	if err := json.Unmarshal(raw, &members); err != nil {
		return jose.JSONWebKey{}, err
	}

	isSupported := slices.Contains([]string{"RSA", "EC", "OKP"}, members.Type) &&
		(members.Algorithm == "" || slices.Contains(asymmetric, members.Algorithm))
	switch {
	case members.Type == "":
		return jose.JSONWebKey{}, errors.New("no key type")
	case !isSupported:
		return jose.JSONWebKey{}, errUnsupportedKey
	case members.Private != nil:
		return jose.JSONWebKey{}, errors.New("private key")
	case members.Type == "OKP" && members.Curve == "":
		return jose.JSONWebKey{}, errors.New("no curve")
	}

	needed, err := json.Marshal(members)
	if err != nil {
		return jose.JSONWebKey{}, err
	}

	var key jose.JSONWebKey
	err = json.Unmarshal(needed, &key)
	switch {
	case errors.Is(err, jose.ErrUnsupportedKeyType):
		err = errUnsupportedKey
	case err == nil:
		err = checkRSA(key.Key)
	}

	return key, err
}

// checkRSA returns an error for an RSA key with which crypto/rsa verifies nothing, for example because
// it is too short. Package jose accepts such a key.
func checkRSA(key any) error {
	public, isRSA := key.(*rsa.PublicKey)
	if !isRSA {
		return nil
	}

	// Verify a wrong signature. crypto/rsa checks the key first.
	err := rsa.VerifyPKCS1v15(public, crypto.SHA256, make([]byte, sha256.Size), make([]byte, public.Size()))
	if errors.Is(err, rsa.ErrVerification) {
		return nil
	}

	return err
}

// readKeys reads a key set and returns the keys that can be used, and the number of malformed
// ones (RFC 7517 section 5: ignore keys that are not understood). Errors: a callError if no
// key can be used.
func readKeys(r io.Reader) (usable jose.JSONWebKeySet, malformed int, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.NewDecoder(r).Decode(&set); err != nil {
		return usable, 0, &callError{kind: ErrRefused, reason: "malformed response"}
	}

	for _, raw := range set.Keys {
		key, err := parseKey(raw)
		switch {
		case err == nil:
			usable.Keys = append(usable.Keys, key)
		case !errors.Is(err, errUnsupportedKey):
			malformed++
		}
	}
	if len(usable.Keys) == 0 {
		return usable, malformed, &callError{kind: ErrRefused, reason: "no key can be used"}
	}

	return usable, malformed, nil
}

// usableKeys is an HTTP transport for key sets. It leaves out keys that cannot be used, since
// package oidc rejects the whole set if one key is malformed.
type usableKeys struct {
	client *client
	issuer string
	log    *slog.Logger
}

// RoundTrip implements http.RoundTripper.
func (k usableKeys) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := k.client.RoundTrip(req)
	if err != nil {
		return nil, err
	}

	keys, malformed, err := readKeys(res.Body)
	if err != nil {
		return nil, err
	}
	if malformed > 0 {
		k.log.WarnContext(req.Context(), "ignoring malformed keys of a provider", "issuer", k.issuer, "keys", malformed)
	}

	content, err := json.Marshal(keys)
	if err != nil {
		return nil, &callError{kind: ErrRefused, reason: "malformed response"}
	}
	res.Body = io.NopCloser(bytes.NewReader(content))

	return res, nil
}

// malformedKeys requests the key set of the issuer and returns the number of malformed keys.
// Errors: ErrRefused if no key can be used; ErrUnavailable.
func (d *discovery) malformedKeys(ctx context.Context, m *metadata) (int, error) {
	const endpoint = "key set"

	res, err := d.client.fetch(ctx, endpoint, m.Keys, "", nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()

	_, malformed, err := readKeys(res.Body)
	if err != nil {
		err = callFailed(ctx, endpoint, err)
	}

	return malformed, err
}
