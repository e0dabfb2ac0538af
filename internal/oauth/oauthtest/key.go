package oauthtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // for hash
	_ "crypto/sha512" // for hash
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"latchkey/internal/testkit"
)

// Key is a key that signs tokens. To forge a token, change the fields of a copy.
type Key struct {
	ID        string // the kid in the header; omitted if empty
	Algorithm jose.SignatureAlgorithm
	Private   any // a private key, or a secret as []byte
}

// NewKey generates a key for an algorithm. ES256 is the fastest.
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
	testkit.NoError(t, err)

	return Key{ID: rand.Text(), Algorithm: algorithm, Private: private}
}

// Public returns the public key.
func (k Key) Public() crypto.PublicKey { return k.Private.(crypto.Signer).Public() }

// JWK returns the public key as a member of a key set.
func (k Key) JWK() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.Public(), KeyID: k.ID, Algorithm: string(k.Algorithm), Use: "sig"}
}

// Sign returns a token with a payload. headers are added to alg and kid.
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
		panic(fmt.Sprintf("signer: %v", err)) // a bug in the test
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

// hash returns the at_hash of an access token for ID tokens signed with this key (OpenID Connect
// Core section 3.1.3.6).
func (k Key) hash(accessToken string) string {
	algorithm := crypto.SHA512
	switch {
	case strings.HasSuffix(string(k.Algorithm), "256"):
		algorithm = crypto.SHA256
	case strings.HasSuffix(string(k.Algorithm), "384"):
		algorithm = crypto.SHA384
	}

	h := algorithm.New()
	_, _ = h.Write([]byte(accessToken))

	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:h.Size()/2])
}
