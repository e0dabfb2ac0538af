package auth

import (
	"crypto/rand"
	"encoding/hex"
	"slices"

	"latchkey/internal/token"
	"latchkey/internal/user"
)

// A one-time token is unpadded base64url. It contains the ID of its account, so that it can
// be looked up without an index:
//
//	kind (1 byte) | account ID (12 bytes) | random (32 bytes)
//
// Only its hash is stored, as part of the account (OWASP ASVS 5.0 6.5.2; see user.OneTimeToken).
const (
	tokenIDBytes = 12
	tokenBytes   = 1 + tokenIDBytes + token.Size
)

// tokenKinds lists the kinds of tokens. The index is the first byte of the token.
var tokenKinds = []user.TokenKind{1: user.ResetToken, 2: user.VerifyToken, 3: user.EmailChangeToken}

// newToken returns a new token of the given kind for an account.
func newToken(kind user.TokenKind, userID string) (string, error) {
	id, err := hex.DecodeString(userID)
	if err != nil || len(id) != tokenIDBytes {
		return "", user.ErrNotFound
	}

	raw := make([]byte, tokenBytes)
	raw[0] = byte(slices.Index(tokenKinds, kind)) //nolint:gosec // the index is at most 3
	copy(raw[1:], id)
	_, _ = rand.Read(raw[1+tokenIDBytes:]) // never fails: crypto/rand crashes the program instead

	return token.Encode(raw), nil
}

// readToken returns the kind and the account ID that a token contains. It does not check
// that the token was issued. Errors: ErrInvalidToken.
func readToken(oneTime string) (kind user.TokenKind, userID string, err error) {
	raw, ok := token.Decode(oneTime, tokenBytes)
	if !ok || raw[0] == 0 || int(raw[0]) >= len(tokenKinds) {
		return "", "", ErrInvalidToken
	}

	return tokenKinds[raw[0]], hex.EncodeToString(raw[1 : 1+tokenIDBytes]), nil
}

// tokenHash returns the hash that is stored for a token.
func tokenHash(oneTime string) string { return token.Hash(oneTime) }
