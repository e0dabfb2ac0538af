package device

import (
	"strings"
	"testing"

	"latchkey/internal/testkit"
)

// Every bit of the name of a device is random, and of the proof as well.
func TestNamesAreRandom(t *testing.T) {
	t.Parallel()

	p := proofsOf("one")
	part := func(i, size int) func() []byte {
		return func() []byte {
			raw, err := encoding.DecodeString(strings.Split(p.Add("", ann), ".")[i])
			testkit.NoError(t, err)

			return raw[:min(size, len(raw))]
		}
	}

	testkit.CheckRandom(t, "name", nameBytes, part(0, nameBytes))
	testkit.CheckRandom(t, "proof", proofBytes, part(1, proofBytes))
}
