package token

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

func TestNew(t *testing.T) {
	t.Parallel()

	seen := map[string]bool{}
	for range 1000 {
		s := New()
		if len(s) != 43 || !Valid(s) || seen[s] {
			t.Fatalf("got %q, valid %v, seen before %v; want a new valid token", s, Valid(s), seen[s])
		}

		seen[s] = true
	}

	// Every bit is random: it is set in about half of the tokens.
	set := make([]int, 8*Size)
	for s := range seen {
		raw, ok := Decode(s, Size)
		if !ok {
			t.Fatalf("Decode(%q): got false, want true", s)
		}

		for i := range set {
			set[i] += int(raw[i/8] >> (i % 8) & 1)
		}
	}

	for i, n := range set {
		if n < 350 || n > 650 {
			t.Errorf("bit %d: got it set in %d of 1000 tokens, want 350 to 650", i, n)
		}
	}
}

// good is a valid token: 256 bits and 2 unused ones.
var good = strings.Repeat("-", 42) + "8"

// badEncodings are not valid tokens.
var badEncodings = map[string]string{
	"empty":                             "",
	"too short":                         good[1:],
	"too long":                          "-" + good,
	"padded":                            good + "=",
	"unused bits":                       good[:42] + "9",
	"trailing line break":               good + "\n",
	"line break inside":                 good[:20] + "\n" + good[20:],
	"line break as the first character": "\r" + strings.Repeat("A", 42),
	"standard alphabet":                 "+" + good[1:],
	"not ASCII":                         "é" + good[2:],
}

// A token has exactly one valid encoding. Otherwise a used token could be presented again in a
// different encoding.
func TestOneEncoding(t *testing.T) {
	t.Parallel()

	if !Valid(good) {
		t.Fatalf("Valid(%q) = false, want true", good)
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
	filled := Encode(make([]byte, 45)) // no unused bits
	for _, s := range []string{good, filled, filled[:59] + "\n", filled[:56] + "\n\n\n\n", filled + "\n"} {
		f.Add(s)
	}

	f.Fuzz(func(t *testing.T, s string) {
		lenient, err := base64.RawURLEncoding.DecodeString(s)
		canonical := err == nil && base64.RawURLEncoding.EncodeToString(lenient) == s

		raw, ok := Decode(s, encoding.DecodedLen(len(s)))
		if ok != canonical || ok && !bytes.Equal(raw, lenient) {
			t.Errorf("%q: got %x, %v; want %x, %v", s, raw, ok, lenient, canonical)
		}

		if Valid(s) != (canonical && len(lenient) == Size) {
			t.Errorf("Valid(%q) = %v, want %v", s, Valid(s), canonical && len(lenient) == Size)
		}
	})
}
