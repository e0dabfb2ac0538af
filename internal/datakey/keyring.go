package datakey

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"latchkey/internal/token"
)

// Errors of Seal and Open.
var (
	// ErrNoKey is returned if the keyring has no keys.
	ErrNoKey = errors.New("no data key is configured")
	// ErrUnknownKey is returned for a value that was encrypted with a key that the keyring does not
	// have: it was removed from the configuration too early, or never was in it.
	ErrUnknownKey = errors.New("encrypted with an unknown data key")
	// ErrCorrupt is returned for a value that is malformed, was changed, or belongs to another
	// context.
	ErrCorrupt = errors.New("corrupt encrypted value")
)

const (
	// version is the first part of a value. Another form of values must get another version.
	version = "v1"
	// keyInfo separates these keys from those that other code derives from the same secret.
	keyInfo = "latchkey data key v1"
	// keySize selects AES-256.
	keySize = 32
	// idSize is the length of a key ID in bytes.
	idSize = 4
)

// Keyring encrypts and decrypts values with AES-256-GCM (NIST SP 800-38D, OWASP ASVS 5.0 11.3.2).
// An encrypted value is text:
//
//	v1.<key ID>.<nonce, ciphertext and tag in unpadded base64url>
//
// The zero value and nil have no keys. A Keyring is safe for concurrent use. Each of its keys may
// encrypt 2^32 values: with more, a repeated random nonce would no longer be negligibly rare.
type Keyring struct {
	keys []key // the first key encrypts; all keys decrypt
}

// key is a key with its ID.
type key struct {
	id   string
	aead cipher.AEAD // with random nonces
}

// New returns a keyring for a list of secrets. The first secret encrypts; all secrets decrypt.
// Secrets must be random: New does not make a guessable secret safe.
func New(secrets [][]byte) *Keyring {
	k := &Keyring{}
	for _, secret := range secrets {
		k.keys = append(k.keys, newKey(secret))
	}

	return k
}

// newKey derives a key from a secret.
func newKey(secret []byte) key {
	raw, err := hkdf.Key(sha256.New, secret, nil, keyInfo, keySize)
	if err != nil {
		panic(err) // only for an invalid key length, which is constant here
	}

	block, err := aes.NewCipher(raw)
	if err != nil {
		panic(err) // as above
	}

	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // only for a cipher other than AES
	}

	// The key is random, so four bytes of its hash do not help to find it.
	sum := sha256.Sum256(raw)

	return key{id: hex.EncodeToString(sum[:idSize]), aead: aead}
}

// Format hides the keys from package fmt, whatever the verb.
func (Keyring) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "[hidden]") }

// Available reports whether the keyring has a key.
func (k *Keyring) Available() bool { return k != nil && len(k.keys) > 0 }

// Seal encrypts plain with the first key. Only Open with the same context decrypts the value.
// Seal returns ErrNoKey if the keyring has no keys.
func (k *Keyring) Seal(plain []byte, context string) (string, error) {
	if !k.Available() {
		return "", ErrNoKey
	}

	first := k.keys[0]
	sealed := first.aead.Seal(nil, nil, plain, []byte(context)) //nolint:gosec // the cipher generates the nonce

	return version + "." + first.id + "." + token.Encode(sealed), nil
}

// Open decrypts a value from Seal. outdated reports whether the value was encrypted with a key
// other than the first one: the caller should encrypt it again and store the result.
//
// Open returns ErrNoKey, ErrUnknownKey or ErrCorrupt.
func (k *Keyring) Open(value, context string) (plain []byte, outdated bool, err error) {
	if !k.Available() {
		return nil, false, ErrNoKey
	}

	id, sealed, ok := parse(value)
	if !ok {
		return nil, false, ErrCorrupt
	}

	err = ErrUnknownKey
	for i, candidate := range k.keys {
		if candidate.id != id {
			continue
		}

		plain, openErr := candidate.aead.Open(nil, nil, sealed, []byte(context))
		if openErr == nil {
			return plain, i > 0, nil
		}

		err = ErrCorrupt // unless another key with the same ID fits
	}

	return nil, false, err
}

// KeyID returns the ID of the key that a value from Seal was encrypted with: 8 hexadecimal digits. It returns
// "" for a malformed value. The ID is not a secret.
func KeyID(value string) string {
	id, _, ok := parse(value)
	if !ok {
		return ""
	}

	return id
}

// IDs returns the IDs of the keys in their order.
func (k *Keyring) IDs() []string {
	if k == nil {
		return nil
	}

	ids := make([]string, len(k.keys))
	for i, key := range k.keys {
		ids[i] = key.id
	}

	return ids
}

// parse splits a value into the ID of its key and its decoded last part.
func parse(value string) (id string, sealed []byte, ok bool) {
	parts := strings.Split(value, ".")
	if len(parts) != 3 || parts[0] != version {
		return "", nil, false
	}
	if rawID, err := hex.DecodeString(parts[1]); err != nil || len(rawID) != idSize {
		return "", nil, false
	}

	size := base64.RawURLEncoding.DecodedLen(len(parts[2]))
	sealed, ok = token.Decode(parts[2], size)

	return parts[1], sealed, ok
}
