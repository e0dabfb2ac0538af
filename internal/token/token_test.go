package token

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"latchkey/internal/testkit"
)

func TestNew(t *testing.T) {
	t.Parallel()

	testkit.CheckRandom(t, "New", Size, func() []byte {
		raw, ok := Decode(New(), Size)
		if !ok {
			t.Fatal("New: got a malformed token")
		}

		return raw
	})
}

// validToken encodes 256 bits. The last character has 2 unused bits.
var validToken = strings.Repeat("-", 42) + "8"

// badEncodings are not valid tokens.
var badEncodings = map[string]string{
	"empty":                             "",
	"too short":                         validToken[1:],
	"too long":                          "-" + validToken,
	"padded":                            validToken + "=",
	"unused bits":                       validToken[:42] + "9",
	"trailing line break":               validToken + "\n",
	"line break inside":                 validToken[:20] + "\n" + validToken[20:],
	"line break as the first character": "\r" + strings.Repeat("A", 42),
	"standard alphabet":                 "+" + validToken[1:],
	"not ASCII":                         "é" + validToken[2:],
}

// A token has exactly one valid encoding. Otherwise a used token could be presented again in a
// different encoding.
func TestOneEncoding(t *testing.T) {
	t.Parallel()

	if !Valid(validToken) {
		t.Fatalf("Valid(%q) = false, want true", validToken)
	}

	for name, s := range badEncodings {
		if Valid(s) {
			t.Errorf("%s: Valid(%q) = true, want false", name, s)
		}
	}
}

func TestHash(t *testing.T) {
	t.Parallel()

	// From FIPS 180-2, appendix B.1, in base64url.
	const want = "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"
	if got := Hash("abc"); got != want {
		t.Errorf("Hash(%q) = %s, want %s", "abc", got, want)
	}
}

// Decode accepts exactly the canonical encoding.
func FuzzDecode(f *testing.F) {
	for _, s := range badEncodings {
		f.Add(s)
	}
	fullGroups := Encode(make([]byte, 45)) // no unused bits
	for _, s := range []string{validToken, fullGroups, fullGroups[:59] + "\n", fullGroups[:56] + "\n\n\n\n", fullGroups + "\n"} {
		f.Add(s)
	}

	f.Fuzz(func(t *testing.T, s string) {
		want, err := base64.RawURLEncoding.DecodeString(s)
		isCanonical := err == nil && base64.RawURLEncoding.EncodeToString(want) == s

		raw, ok := Decode(s, encoding.DecodedLen(len(s)))
		if ok != isCanonical || ok && !bytes.Equal(raw, want) {
			t.Errorf("Decode(%q): got %x, %t, want %x, %t", s, raw, ok, want, isCanonical)
		}

		if want := isCanonical && len(want) == Size; Valid(s) != want {
			t.Errorf("Valid(%q) = %t, want %t", s, Valid(s), want)
		}
	})
}
