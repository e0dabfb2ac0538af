package session

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
)

// tokenBytes is the entropy of a token: 256 bits, twice what OWASP ASVS 5.0
// 7.2.3 asks.
const tokenBytes = 32

// strict refuses what the lenient decoder lets pass: line breaks, and several
// spellings of one token that differ in their unused last bits.
var strict = base64.RawURLEncoding.Strict()

// newToken makes the value of a session cookie.
func newToken() string {
	b := make([]byte, tokenBytes)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return strict.EncodeToString(b)
}

// WellFormed tells whether token could be one of ours. Anything else never
// reaches Redis: scs uses the cookie's value as part of a key unchecked, so that
// a cookie can name any key under the prefix.
func WellFormed(token string) bool {
	var b [tokenBytes + 1]byte
	if len(token) != strict.EncodedLen(tokenBytes) {
		return false
	}
	n, err := strict.Decode(b[:], []byte(token))
	return err == nil && n == tokenBytes
}

// handleOf names the session of token in Redis and towards the API. Who reads
// Redis learns handles, and a handle cannot be turned back into a token; who
// knows the secret as well still lacks the token.
func handleOf(secret []byte, token string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(token))
	return strict.EncodeToString(mac.Sum(nil))
}
