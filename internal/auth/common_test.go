package auth

import (
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"
)

// Every password in the list is refused, in any case. OWASP ASVS 5.0 6.2.4 requires at least 3000
// passwords that are long enough.
func TestCommonList(t *testing.T) {
	t.Parallel()

	head, list, found := strings.Cut(commonList, "\npassword\n")
	if !found {
		t.Fatal("got a list without a header, want \"password\" as the first entry after it")
	}

	for line := range strings.Lines(head) {
		if !strings.HasPrefix(line, "#!") {
			t.Errorf("got header line %q, want it to start with #!", line)
		}
	}

	if !strings.Contains(head, "Copyright (c)") || !strings.Contains(head, "Permission is hereby granted") {
		t.Error("got no licence in the header")
	}

	rules := NewRules(true, "", slog.New(slog.DiscardHandler))
	seen := map[string]bool{}

	for line := range strings.Lines("password\n" + list) {
		password, complete := strings.CutSuffix(line, "\n")
		if n := utf8.RuneCountInString(password); !complete || n < MinPasswordLength || seen[password] ||
			password != strings.ToLower(password) || password != strings.TrimSpace(password) {
			t.Errorf("got invalid entry %q, want unique lower-case passwords of sufficient length", line)
		}

		seen[password] = true
		for _, given := range []string{password, strings.ToUpper(password)} {
			if got := why(t, rules.Check(t.Context(), given)); got != Common {
				t.Errorf("Check(%q): got %q, want %q", given, got, Common)
			}
		}
	}

	if len(seen) < 3000 {
		t.Errorf("got %d passwords, want at least 3000", len(seen))
	}
}
