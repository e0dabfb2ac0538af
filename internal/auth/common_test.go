package auth

import (
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"
)

// Each password of the list is refused, in any case; OWASP ASVS 5.0 6.2.4 asks for
// 3000 that the length alone does not refuse.
func TestCommonList(t *testing.T) {
	t.Parallel()
	head, list, found := strings.Cut(commonList, "\npassword\n")
	if !found {
		t.Fatal("the list does not begin with the most common one")
	}
	for line := range strings.Lines(head) {
		if !strings.HasPrefix(line, "#!") {
			t.Errorf("in the head: %q", line)
		}
	}
	if !strings.Contains(head, "Copyright (c)") || !strings.Contains(head, "Permission is hereby granted") {
		t.Error("the list's licence is not with it")
	}
	rules := NewRules(true, "", slog.New(slog.DiscardHandler))
	seen := map[string]bool{}
	for line := range strings.Lines("password\n" + list) {
		password, whole := strings.CutSuffix(line, "\n")
		if n := utf8.RuneCountInString(password); !whole || n < MinPasswordLength || seen[password] ||
			password != strings.ToLower(password) || password != strings.TrimSpace(password) {
			t.Errorf("does not belong in the list: %q", line)
		}
		seen[password] = true
		for _, given := range []string{password, strings.ToUpper(password)} {
			if got := why(t, rules.Check(t.Context(), given)); got != Common {
				t.Errorf("%q: %q", given, got)
			}
		}
	}
	if len(seen) < 3000 || len(seen) != len(common()) {
		t.Errorf("%d in the list, %d in the set", len(seen), len(common()))
	}
}
