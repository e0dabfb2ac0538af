package device

import (
	"strings"
	"testing"

	"latchkey/internal/testkit"
)

// Every bit of a device's name is random, and so is every bit of the MAC.
func TestNamesAreRandom(t *testing.T) {
	t.Parallel()

	s := signerOf("one")
	part := func(cut func(value string) string) func() []byte {
		return func() []byte {
			raw, err := encoding.DecodeString(cut(s.Add(Proofs{}, annID, now)))
			testkit.NoError(t, err)

			return raw
		}
	}

	testkit.CheckRandom(t, "name", nameBytes, part(func(value string) string {
		name, _, _ := strings.Cut(value, ".")

		return name
	}))
	testkit.CheckRandom(t, "MAC", macBytes, part(func(value string) string {
		return value[strings.LastIndex(value, ":")+1:]
	}))
}
