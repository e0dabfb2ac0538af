package token

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
)

// Size is the length of a token in bytes: 256 bits, twice what OWASP ASVS 5.0 7.2.3
// requires.
const Size = 32

// encoding rejects alternative encodings of the same bytes, which differ only in the unused
// bits of the last character. It still ignores line breaks: see decode.
var encoding = base64.RawURLEncoding.Strict()

// New returns a random token: 256 bits in 43 characters of unpadded base64url.
func New() string {
	raw := make([]byte, Size)
	_, _ = rand.Read(raw) // never fails: crypto/rand would crash the program instead
	return Encode(raw)
}

// Valid reports whether s has the form of a token from New.
func Valid(s string) bool {
	var raw [Size]byte
	return decode(raw[:], s)
}

// Hash returns the SHA-256 of a token in 43 characters of unpadded base64url. Store it
// instead of the token, so that a leaked database reveals no valid tokens. Tokens are random
// enough to need neither a salt nor a slow hash.
func Hash(s string) string { return string(AppendHash(nil, s)) }

// AppendHash appends the hash of a token to b: see Hash.
func AppendHash(b []byte, s string) []byte {
	var text [2 * Size]byte // tokens fit, so that copying one needs no allocation
	sum := sha256.Sum256(append(text[:0], s...))

	return encoding.AppendEncode(b, sum[:])
}

// Encode returns raw in unpadded base64url.
func Encode(raw []byte) string { return encoding.EncodeToString(raw) }

// Decode returns the bytes that s encodes. It returns false unless s is exactly what Encode
// returns for size bytes.
func Decode(s string, size int) (raw []byte, ok bool) {
	raw = make([]byte, size)
	if !decode(raw, s) {
		return nil, false
	}
	return raw, true
}

// decode decodes s into raw. It checks both lengths, because the decoder ignores line
// breaks: s could be too long, or have the right length but encode too few bytes.
func decode(raw []byte, s string) bool {
	if len(s) != encoding.EncodedLen(len(raw)) {
		return false
	}

	n, err := encoding.Decode(raw, []byte(s))
	return err == nil && n == len(raw)
}
