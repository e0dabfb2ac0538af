package oauth

import (
	"strings"
	"testing"

	"latchkey/internal/testkit"
	"latchkey/internal/token"
)

// Every bit of a sign-in's secret is random, and so is every bit of the values derived from it.
func TestFlowsAreRandom(t *testing.T) {
	t.Parallel()

	testkit.CheckRandom(t, "secret, state, nonce, code verifier and name", 5*token.Size, func() []byte {
		secret, keys := newKeys()

		var all []byte
		for _, text := range []string{secret, keys.state, keys.nonce, keys.verifier, strings.TrimPrefix(keys.name, KeyPrefix)} {
			raw, ok := token.Decode(text, token.Size)
			if !ok {
				t.Fatalf("got %q, want %d bytes in base64url", text, token.Size)
			}
			all = append(all, raw...)
		}

		return all
	})
}
