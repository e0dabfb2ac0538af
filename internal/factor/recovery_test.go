package factor

import (
	"regexp"
	"strings"
	"testing"

	"latchkey/internal/testkit"
)

const (
	recoveryCode = "7MZQ2-0A5TN-K8GHV-R3XDC-9PWE1"
	// recoveryHash is the hash of recoveryCode, computed with OpenSSL.
	recoveryHash = "PPTImKaRFK_qY0ls4ThpKAynLOWkRcpr87vdBzp7oxA"
)

// crockford is the alphabet, as in Douglas Crockford's description of it.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// canonicalCode matches canonical recovery codes.
var canonicalCode = regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{5}(-[0-9A-HJKMNP-TV-Z]{5}){4}$`)

// An account gets ten different codes, whose canonical form is what the user sees.
func TestNewRecoveryCodes(t *testing.T) {
	t.Parallel()

	codes := NewRecoveryCodes()
	if len(codes) != 10 {
		t.Fatalf("got %d codes, want 10", len(codes))
	}

	seen := map[string]bool{}
	for _, code := range codes {
		if !canonicalCode.MatchString(code) {
			t.Errorf("got %q, want five groups of five characters", code)
		}
		if canonical, ok := ParseRecoveryCode(code); !ok || canonical != code {
			t.Errorf("ParseRecoveryCode(%q) = %q, %t, want the same", code, canonical, ok)
		}
		seen[HashRecoveryCode(code)] = true
	}
	if len(seen) != len(codes) {
		t.Errorf("got %d different codes, want %d", len(seen), len(codes))
	}
}

// All characters are equally likely. The number of times that one appears has a standard deviation
// of 28, so it practically never differs from the mean by 200.
func TestRecoveryCodesUseTheWholeAlphabet(t *testing.T) {
	t.Parallel()

	const calls = 100
	counts := map[rune]int{}
	for range calls {
		for _, r := range strings.Join(NewRecoveryCodes(), "") {
			counts[r]++
		}
	}
	delete(counts, '-')

	const mean = calls * RecoveryCodes * recoverySize / 32
	for _, r := range crockford {
		if n := counts[r]; n < mean-200 || n > mean+200 {
			t.Errorf("%c appears %d times, want about %d", r, n, mean)
		}
	}
	if len(counts) != len(crockford) {
		t.Errorf("got %d characters, want %d", len(counts), len(crockford))
	}
}

// A code has 125 random bits: five for each character. Two checks of 120 bits cover them, because
// CheckRandom takes whole bytes.
func TestRecoveryCodesAreRandom(t *testing.T) {
	t.Parallel()

	const characters = 24
	const size = characters * 5 / 8
	from := func(start int) func() []byte {
		var codes []string

		return func() []byte {
			if len(codes) == 0 {
				codes = NewRecoveryCodes()
			}
			code := strings.ReplaceAll(codes[0], "-", "")
			codes = codes[1:]

			return bitsOf(t, code[start:start+characters])
		}
	}

	testkit.CheckRandom(t, "all characters but the last", size, from(0))
	testkit.CheckRandom(t, "all characters but the first", size, from(1))
}

// bitsOf decodes Crockford's base32. The number of bits must be a multiple of eight.
func bitsOf(t *testing.T, code string) []byte {
	t.Helper()

	raw := make([]byte, len(code)*5/8)
	for i, r := range code {
		value := strings.IndexRune(crockford, r)
		if value < 0 {
			t.Fatalf("%q is not in the alphabet", r)
		}

		for bit := range 5 {
			at := 5*i + bit
			raw[at/8] |= byte(value>>bit&1) << (at % 8)
		}
	}

	return raw
}

// recoveryInputs maps what users might type to the canonical form, or to "" if it is not a code.
var recoveryInputs = map[string]string{
	recoveryCode:                                recoveryCode,
	strings.ToLower(recoveryCode):               recoveryCode,
	"7MZQ20A5TNK8GHVR3XDC9PWE1":                 recoveryCode,
	"  7mzq2 0a5tn k8ghv r3xdc 9pwe1\r\n":       recoveryCode,
	"7MZQ2–0A5TN—K8GHV‑R3XDC−9PWE1":             recoveryCode, // dashes that word processors insert
	"7-M-Z-Q-2-0A5TNK8GHVR3XDC9PWE1-":           recoveryCode,
	"7MZQ2-OA5TN-K8GHV-R3XDC-9PWEI":             recoveryCode,
	"7mzq2-oa5tn-k8ghv-r3xdc-9pwei":             recoveryCode,
	"7MZQ2-0A5TN-K8GHV-R3XDC-9PWEL":             recoveryCode,
	"7mzq2-0a5tn-k8ghv-r3xdc-9pwel":             recoveryCode,
	"":                                          "",
	"-----":                                     "",
	recoveryCode[1:]:                            "",
	recoveryCode + "0":                          "",
	recoveryCode + recoveryCode:                 "",
	"7MZQ2-0A5TN-K8GHV-R3XDC-9PWEU":             "", // U is not in the alphabet
	"7MZQ2-0A5TN-K8GHV-R3XDC-9PWE_":             "",
	"7MZQ2.0A5TN.K8GHV.R3XDC.9PWE1":             "",
	"7MZQ2-0A5TN-K8GHV-R3XDC-9PWEı":             "", // strings.ToUpper makes it an I
	"7MZQ2-0A5TN-\u212a8GHV-R3XDC-9PWE1":        "", // the Kelvin sign
	"7MZQ2-0A5TN-K8GHV-R3XDC-9PWE１":             "", // fullwidth
	"7MZQ2-0A5TN-K8GHV-R3XDC-9PWE\xff":          "",
	"7MZQ2-0A5TN-K8GHV-R3XDC-9PWE1\x00":         "",
	"7MZQ2-0A5TN-K8GHV-R3XDC-9PWE1\u200b":       "", // a space of no width is not white space
	strings.Repeat("A", recoverySize*groupSize): "",
}

func TestParseRecoveryCode(t *testing.T) {
	t.Parallel()

	for input, want := range recoveryInputs {
		if got, ok := ParseRecoveryCode(input); got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %t, want %q", input, got, ok, want)
		}
	}
}

// However a user types a code, it has the stored hash.
func TestHashRecoveryCode(t *testing.T) {
	t.Parallel()

	for input, canonical := range recoveryInputs {
		if canonical == "" {
			continue
		}

		parsed, _ := ParseRecoveryCode(input)
		if got := HashRecoveryCode(parsed); got != recoveryHash {
			t.Errorf("hash of %q: got %s, want %s", input, got, recoveryHash)
		}
	}
}

// A canonical code has one form, and it is also its own canonical form.
func FuzzParseRecoveryCode(f *testing.F) {
	for input := range recoveryInputs {
		f.Add(input)
	}

	f.Fuzz(func(t *testing.T, input string) {
		canonical, ok := ParseRecoveryCode(input)
		if !ok {
			if canonical != "" {
				t.Errorf("%q: got %q with false", input, canonical)
			}

			return
		}

		if !canonicalCode.MatchString(canonical) {
			t.Errorf("%q: got %q, want five groups of five characters", input, canonical)
		}
		if again, ok := ParseRecoveryCode(canonical); !ok || again != canonical {
			t.Errorf("%q: got %q, %t when parsed twice", canonical, again, ok)
		}
	})
}
