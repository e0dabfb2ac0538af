package factor

import (
	"encoding/base32"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// rfcSecret is the secret of the test vectors in RFC 4226 and RFC 6238.
var rfcSecret = []byte("12345678901234567890")

// now is the first second of a step.
var now = time.Date(2026, 5, 4, 10, 30, 0, 0, time.UTC)

// The rows for SHA-1 of RFC 6238, appendix B. They have eight digits, of which a code has the last
// six.
func TestCodeAtTimesOfRFC6238(t *testing.T) {
	t.Parallel()

	vectors := map[int64]string{
		59:          "94287082",
		1111111109:  "07081804",
		1111111111:  "14050471",
		1234567890:  "89005924",
		2000000000:  "69279037",
		20000000000: "65353130",
	}
	for seconds, want := range vectors {
		at := time.Unix(seconds, 0)
		if got := Code(rfcSecret, Step(at)); got != want[2:] {
			t.Errorf("code at %d s: got %s, want %s", seconds, got, want[2:])
		}
	}
}

// RFC 4226, appendix D.
func TestCodeOfCountersOfRFC4226(t *testing.T) {
	t.Parallel()

	want := []string{"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"}
	var got []string
	for step := range int64(10) {
		got = append(got, Code(rfcSecret, step))
	}

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("codes (-want +got):\n%s", diff)
	}
}

// Another implementation computes the same 10,000 codes from the same encoded secrets.
func TestCodesAgreeWithOathtool(t *testing.T) {
	t.Parallel()
	oathtool := suite.Program(t, "oathtool")

	const secrets = 10
	const codesEach = 1000
	for i := range secrets {
		secret := NewSecret()
		at := now.AddDate(2*i, 0, 0).Add(time.Duration(i) * time.Second)
		out, err := exec.Command(oathtool, "--totp", "--base32",
			fmt.Sprintf("--now=@%d", at.Unix()), fmt.Sprintf("--window=%d", codesEach-1), EncodeSecret(secret)).Output()
		testkit.NoError(t, err)

		var got []string
		for step := range int64(codesEach) {
			got = append(got, Code(secret, Step(at)+step))
		}
		if diff := cmp.Diff(strings.Fields(string(out)), got); diff != "" {
			t.Errorf("codes of %s from %v (-oathtool +ours):\n%s", EncodeSecret(secret), at, diff)
		}
	}
}

// A step begins every 30 seconds.
func TestStep(t *testing.T) {
	t.Parallel()

	for seconds, want := range map[int64]int64{0: 0, 29: 0, 30: 1, 59: 1, 60: 2} {
		if got := Step(time.Unix(seconds, 999_999_999)); got != want {
			t.Errorf("step at %d s: got %d, want %d", seconds, got, want)
		}
	}
}

func TestSecretsAreRandom(t *testing.T) {
	t.Parallel()

	testkit.CheckRandom(t, "secret", SecretSize, NewSecret)
}

// An encoded secret has only characters that users can type.
func TestEncodeSecret(t *testing.T) {
	t.Parallel()

	if got, want := EncodeSecret(rfcSecret), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := EncodeSecret(rfcSecret[:16]), "GEZDGNBVGY3TQOJQGEZDGNBVGY"; got != want {
		t.Errorf("a secret that needs padding: got %s, want %s", got, want)
	}
}

// A code is accepted in its own step and in the steps next to it.
func TestMatchWindow(t *testing.T) {
	t.Parallel()

	for _, at := range []time.Time{now, now.Add(Period - 1)} {
		for difference := int64(-4); difference <= 4; difference++ {
			step := Step(at) + difference
			inWindow := -1 <= difference && difference <= 1

			got, ok := Match(rfcSecret, Code(rfcSecret, step), at, 0)
			if ok != inWindow || ok && got != step {
				t.Errorf("code of step %+d at %v: got %d, %t, want %d, %t", difference, at, got, ok, step, inWindow)
			}
		}
	}
}

// A code is refused once it, or the code of a later step, was accepted.
func TestMatchRefusesUsedSteps(t *testing.T) {
	t.Parallel()

	current := Step(now)
	for difference := int64(-1); difference <= 1; difference++ {
		step := current + difference
		for after := current - 3; after <= current+3; after++ {
			got, ok := Match(rfcSecret, Code(rfcSecret, step), now, after)
			if want := step > after; ok != want || ok && got != step {
				t.Errorf("code of step %+d after step %+d: got %d, %t, want %t", difference, after-current, got, ok, want)
			}
		}
	}
}

// A code that two steps in the window have in common is accepted once.
func TestMatchOfTwoSteps(t *testing.T) {
	t.Parallel()

	const code, first, last = "468457", 153567, 153569 // found by a search
	if Code(rfcSecret, first) != code || Code(rfcSecret, last) != code {
		t.Fatalf("steps %d and %d do not have the code %s", first, last, code)
	}

	between := time.Unix((first+1)*30, 0)
	step, ok := Match(rfcSecret, code, between, first-1)
	if !ok || step != last {
		t.Errorf("got step %d, %t, want %d", step, ok, last)
	}
	if _, ok := Match(rfcSecret, code, between, step); ok {
		t.Error("the code was accepted twice")
	}
}

// Nothing but the exact code matches.
func TestMatchRefusesOtherText(t *testing.T) {
	t.Parallel()

	code := Code(rfcSecret, Step(now))
	for _, other := range []string{"", code[1:], code + "0", " " + code, code + "\n", "0" + code, fullwidth(code), "------"} {
		if _, ok := Match(rfcSecret, other, now, 0); ok {
			t.Errorf("Match accepts %q", other)
		}
		if _, ok := MatchesClock(rfcSecret, other, now); ok {
			t.Errorf("MatchesClock accepts %q", other)
		}
	}

	if _, ok := Match(NewSecret(), code, now, 0); ok {
		t.Error("Match accepts the code of another secret")
	}
}

// fullwidth replaces ASCII digits with the digits of Japanese input methods.
func fullwidth(code string) string {
	return strings.Map(func(r rune) rune { return r - '0' + '０' }, code)
}

// MatchesClock finds clocks that are wrong by up to 12 hours.
func TestMatchesClock(t *testing.T) {
	t.Parallel()

	for _, want := range []time.Duration{0, Period, -Period, 5 * time.Minute, -5 * time.Minute, time.Hour, -time.Hour, 12 * time.Hour, -12 * time.Hour} {
		off, ok := MatchesClock(rfcSecret, Code(rfcSecret, Step(now.Add(want))), now)
		if !ok || off != want {
			t.Errorf("clock that is wrong by %v: got %v, %t", want, off, ok)
		}
	}

	for _, tooFar := range []time.Duration{12*time.Hour + Period, -12*time.Hour - Period, 48 * time.Hour} {
		if off, ok := MatchesClock(rfcSecret, Code(rfcSecret, Step(now.Add(tooFar))), now); ok {
			t.Errorf("clock that is wrong by %v: got %v, want no match", tooFar, off)
		}
	}
}

// Of two possible times, MatchesClock reports the one closest to now.
func TestMatchesClockReportsClosest(t *testing.T) {
	t.Parallel()

	const code, first, last = "911617", 910737, 910738 // found by a search
	if Code(rfcSecret, first) != code || Code(rfcSecret, last) != code {
		t.Fatalf("steps %d and %d do not have the code %s", first, last, code)
	}

	for at, want := range map[int64]time.Duration{first - 10: 10 * Period, last + 10: -10 * Period} {
		if off, ok := MatchesClock(rfcSecret, code, time.Unix(at*30, 0)); !ok || off != want {
			t.Errorf("in step %d: got %v, %t, want %v", at, off, ok, want)
		}
	}
}

// codeInputs maps what users might type to the code, or to "" if it has none.
var codeInputs = map[string]string{
	"012345":           "012345",
	"012 345":          "012345",
	" 0 1 2 3 4 5\r\n": "012345",
	"012\u00a0345":     "012345", // a space that does not break
	"012\u202f345":     "012345", // the same, narrow
	"":                 "",
	"      ":           "",
	"01234":            "",
	"0123456":          "",
	"012-345":          "",
	"+12345":           "",
	"-12345":           "",
	"1e2345":           "",
	"0x1234":           "",
	"01234\x00":        "",
	"０１２３４５":           "", // fullwidth
	"٠١٢٣٤٥":           "", // Arabic
	"١٢٣":              "", // Arabic, six bytes
	"01234\xff":        "",
}

func TestNormalizeCode(t *testing.T) {
	t.Parallel()

	for input, want := range codeInputs {
		if got, ok := NormalizeCode(input); got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %t, want %q", input, got, ok, want)
		}
	}
}

// A code is six ASCII digits, the digits of the input in their order.
func FuzzNormalizeCode(f *testing.F) {
	for input := range codeInputs {
		f.Add(input)
	}

	f.Fuzz(func(t *testing.T, input string) {
		code, ok := NormalizeCode(input)
		if !ok {
			if code != "" {
				t.Errorf("%q: got %q with false", input, code)
			}

			return
		}

		isDigit := func(r rune) bool { return '0' <= r && r <= '9' }
		digits := strings.Map(func(r rune) rune {
			if isDigit(r) {
				return r
			}

			return -1
		}, input)
		if len(code) != Digits || code != digits {
			t.Errorf("%q: got %q, want six digits", input, code)
		}
		if again, ok := NormalizeCode(code); !ok || again != code {
			t.Errorf("%q: got %q, %t when normalized twice", code, again, ok)
		}
	})
}

// Apps read back the secret that EncodeSecret wrote.
func TestEncodedSecretIsBase32(t *testing.T) {
	t.Parallel()

	secret := NewSecret()
	raw, err := base32.StdEncoding.DecodeString(EncodeSecret(secret)) // 20 bytes need no padding
	testkit.NoError(t, err)
	if diff := cmp.Diff(secret, raw); diff != "" {
		t.Errorf("secret (-want +got):\n%s", diff)
	}
}
