package oauthtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// Key signs tokens. Fields may be changed in a copy, for a token that lies.
type Key struct {
	ID        string // kid; none in the header if it is empty
	Algorithm jose.SignatureAlgorithm
	Private   any // a private key, or the bytes of a secret
}

// NewKey makes a key for an algorithm. Those for ES256 are made fastest.
func NewKey(t testing.TB, algorithm jose.SignatureAlgorithm) Key {
	t.Helper()
	var private any
	var err error
	switch algorithm {
	case jose.ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.ES384:
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case jose.ES512:
		private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case jose.EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return Key{ID: rand.Text(), Algorithm: algorithm, Private: private}
}

// Public is the public half.
func (k Key) Public() crypto.PublicKey { return k.Private.(crypto.Signer).Public() }

// JWK is the public half as it stands in a key set.
func (k Key) JWK() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.Public(), KeyID: k.ID, Algorithm: string(k.Algorithm), Use: "sig"}
}

// Sign makes a token of a payload. headers are added to alg and kid.
func (k Key) Sign(payload []byte, headers map[jose.HeaderKey]any) string {
	options := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{}}
	if k.ID != "" {
		options.ExtraHeaders["kid"] = k.ID
	}
	for name, value := range headers {
		options.ExtraHeaders[name] = value
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: k.Algorithm, Key: k.Private}, options)
	if err != nil {
		panic(fmt.Sprintf("signer: %v", err)) // a mistake of the test's
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		panic(fmt.Sprintf("sign: %v", err))
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		panic(fmt.Sprintf("serialize: %v", err))
	}
	return token
}

// hash is at_hash for a token that is signed by the key (OpenID Connect Core section
// 3.1.3.6).
func (k Key) hash(accessToken string) string {
	var sum []byte
	switch {
	case strings.HasSuffix(string(k.Algorithm), "256"):
		s := sha256.Sum256([]byte(accessToken))
		sum = s[:]
	case strings.HasSuffix(string(k.Algorithm), "384"):
		s := sha512.Sum384([]byte(accessToken))
		sum = s[:]
	default:
		s := sha512.Sum512([]byte(accessToken))
		sum = s[:]
	}
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}
