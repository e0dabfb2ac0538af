package auth

import (
	"strings"
	"testing"
	"time"

	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/token"
	"latchkey/internal/user"
)

// Every bit of a token in an email is random, except for the kind and the account ID.
func TestLinksAreRandom(t *testing.T) {
	t.Parallel()

	userID := strings.Repeat("ab", tokenIDBytes)
	for _, kind := range []user.TokenKind{user.ResetToken, user.VerifyToken, user.EmailChangeToken} {
		testkit.CheckRandom(t, string(kind), token.Size, func() []byte {
			link, err := newToken(kind, userID)
			testkit.NoError(t, err)
			raw, ok := token.Decode(link, tokenBytes)
			if !ok {
				t.Fatalf("newToken: got the malformed token %s", link)
			}

			return raw[1+tokenIDBytes:]
		})
	}
}

// Every bit of the secret of a trusted device is random.
func TestTrustIsRandom(t *testing.T) {
	t.Parallel()

	s := &Service{options: Options{Now: time.Now}}
	testkit.CheckRandom(t, "trusted device", token.Size, func() []byte {
		_, proof := s.newTrust(user.User{}, session.Client{})
		_, secret, _ := strings.Cut(proof, ".")
		raw, ok := token.Decode(secret, token.Size)
		if !ok {
			t.Fatalf("newTrust: got the malformed proof %s", proof)
		}

		return raw
	})
}
