package auth

import (
	"strings"
	"testing"

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
