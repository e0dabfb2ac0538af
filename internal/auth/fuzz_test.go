package auth

import (
	"encoding/hex"
	"strings"
	"testing"

	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// A token has only one valid encoding and contains its kind and account.
func FuzzReadToken(f *testing.F) {
	token, err := newToken(user.ResetToken, strings.Repeat("0a", tokenIDBytes))
	testkit.NoError(f, err)

	for _, s := range []string{token, "", token[:59] + "\n", token + "=", strings.Repeat("_", 60), strings.Repeat("A", 60), "Ag" + token[2:]} {
		f.Add(s)
	}

	f.Fuzz(func(t *testing.T, s string) {
		kind, id, err := readToken(s)
		if err != nil {
			if kind != "" || id != "" {
				t.Errorf("readToken(%q): got kind %q and account %q with error %v, want both empty", s, kind, id, err)
			}

			return
		}

		raw, err := hex.DecodeString(id)
		if err != nil || len(raw) != tokenIDBytes {
			t.Fatalf("readToken(%q): got account %q, want %d bytes in hex", s, id, tokenIDBytes)
		}

		again, err := newToken(kind, id)

		// The kind and the account fill the first 13 bytes, which encode to 17 characters plus 2 bits.
		if err != nil || len(again) != len(s) || again[:17] != s[:17] {
			t.Errorf("newToken(%s, %s): got %q, error %v, want the same prefix as %q", kind, id, again, err, s)
		}

		if tokenHash(s) == tokenHash(again) {
			t.Errorf("got the same hash for %q and %q", s, again)
		}
	})
}

// inRange finds a suffix if, and only if, the response has a line with it and a count above zero.
func FuzzInRange(f *testing.F) {
	const suffix = "0018A45C4D1DEF81644B54AB7F969B88D65"
	for _, body := range []string{suffix + ":3\r\n", suffix + ":0\n", "x", suffix + ":", suffix + ":-1", strings.ToLower(suffix) + ":00012", "00D4F6E8FA6EECAD2A3AA415EEC418D38EC:2\r\n" + suffix + ":1"} {
		f.Add(body)
	}

	f.Fuzz(func(t *testing.T, body string) {
		found, err := inRange(strings.NewReader(body), suffix)
		if found && (err != nil || !strings.Contains(strings.ToUpper(body), suffix+":")) {
			t.Errorf("inRange(%q): got true, error %v, want false", body, err)
		}
		if line := suffix + ":7\r\n"; !found && err == nil {
			if body != "" && !strings.HasSuffix(body, "\n") {
				body += "\n"
			}
			if found, err := inRange(strings.NewReader(body+line), suffix); !found || err != nil {
				t.Errorf("inRange(%q): got false, error %v, want the last line to be found", body+line, err)
			}
		}
	})
}
