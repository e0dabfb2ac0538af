package session

import (
	"strconv"
	"testing"

	"latchkey/internal/testkit"
	"latchkey/internal/token"
)

// Every bit of a session token is random, except for the shard, which depends on the user.
func TestTokensAreRandom(t *testing.T) {
	t.Parallel()

	n := 0
	testkit.CheckRandom(t, "newToken", token.Size, func() []byte {
		n++
		raw, ok := token.Decode(newToken(shardOf(strconv.Itoa(n))), token.Size)
		if !ok {
			t.Fatal("newToken: got a malformed token")
		}

		return raw
	})
}
