package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	"latchkey/internal/user"
)

// A one-time token says what it is for and whose it is, so that it is found without
// an index, and has 256 random bits that nobody else knows:
//
//	kind (1 byte)  id of the account (12)  random (32)   as unpadded base64url
//
// Only its hash is kept (OWASP ASVS 5.0 6.5.2), in the account: see user.Ticket.
const (
	tokenIDBytes     = 12
	tokenRandomBytes = 32
	tokenBytes       = 1 + tokenIDBytes + tokenRandomBytes
)

// tokenKinds are the first bytes of tokens.
var tokenKinds = map[byte]user.TicketKind{1: user.ResetTicket, 2: user.VerifyTicket, 3: user.ChangeTicket}

// tokenEncoding refuses what a lenient decoder lets pass: line breaks, and several
// spellings of one token.
var tokenEncoding = base64.RawURLEncoding.Strict()

// newToken makes a token for an account.
func newToken(kind user.TicketKind, userID string) (token string, err error) {
	id, err := hex.DecodeString(userID)
	if err != nil || len(id) != tokenIDBytes {
		return "", user.ErrNotFound
	}
	raw := make([]byte, 0, tokenBytes)
	for b, k := range tokenKinds {
		if k == kind {
			raw = append(raw, b)
		}
	}
	raw = append(raw, id...)
	random := make([]byte, tokenRandomBytes)
	_, _ = rand.Read(random) // never fails: crypto/rand ends the program instead
	return tokenEncoding.EncodeToString(append(raw, random...)), nil
}

// readToken says what a token is for and whose it would be. Errors: ErrInvalidToken.
func readToken(token string) (kind user.TicketKind, userID string, err error) {
	if len(token) != tokenEncoding.EncodedLen(tokenBytes) {
		return "", "", ErrInvalidToken
	}
	raw, err := tokenEncoding.DecodeString(token)
	if err != nil || len(raw) != tokenBytes {
		return "", "", ErrInvalidToken
	}
	kind, ok := tokenKinds[raw[0]]
	if !ok {
		return "", "", ErrInvalidToken
	}
	return kind, hex.EncodeToString(raw[1 : 1+tokenIDBytes]), nil
}

// ticketHash is what is kept of a token. It is random enough to need no more than a
// plain hash.
func ticketHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
