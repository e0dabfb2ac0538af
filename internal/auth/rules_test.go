package auth

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"
)

// why returns the reason in a WeakPasswordError, or "" for no error.
func why(t *testing.T, err error) Weakness {
	t.Helper()

	if err == nil {
		return ""
	}

	var weak *WeakPasswordError
	if !errors.As(err, &weak) || weak.Error() == "" {
		t.Fatalf("got error %v, want a WeakPasswordError with a text", err)
	}

	return weak.Why
}

func TestRules(t *testing.T) {
	t.Parallel()

	rules := NewRules(true, "", slog.New(slog.DiscardHandler))
	rules.AppName = "Latchkey"
	ann := []string{"Ann-Sophie van der Bergström", "a.bergstrom42@example.com"}

	for _, tc := range []struct {
		password string
		want     Weakness
		personal []string
	}{
		{"", TooShort, nil},
		{"short", TooShort, nil},
		{"1234567", TooShort, nil},
		{"🔑🔒🗝🔐🔑🔒🗝", TooShort, nil}, // 7 characters of 28 bytes
		{strings.Repeat("ab", 513), TooLong, nil},
		{strings.Repeat("🔑", 1024), "", nil},
		{strings.Repeat("🔑", 1025), TooLong, nil},
		{"passwo\xffrd is long", Invalid, nil},
		{"\xff", Invalid, nil},

		{"password123", Common, nil},
		{"PassWord123", Common, nil},
		{"ПАРОЛЬ123", Common, nil},
		{"LÖSENORD", Common, nil},
		{"summer2026!", Common, nil},
		{"correct horse battery staple", Common, nil},

		// No rule asks for kinds of characters.
		{"aaaaaaaaaaaaaaa1x", "", nil},
		{"an unlikely pile of lower case", "", nil},
		{"84627351908", "", nil},
		{"🔑🔒🗝🔐🦆🧀🪴🥁", "", nil},
		{"        spaces  ", "", nil},
		{"\x00\x01\x02\x03\x04\x05\x06\x07", "", nil},
		{"naïve cafés", "", nil},

		{"latchkey", Personal, nil},
		{"latchkey1", Personal, nil},
		{"LatchKey2026!", Personal, nil},
		{"1latchkeylatchkeylatchkey!", Personal, nil},
		{"latchkey-1234567", "", nil}, // the rest is long enough
		{"my latchkey is under the mat", "", nil},

		{"bergström2026", Personal, ann},
		{"BERGSTRÖM-ann", Personal, ann},
		{"annsophie1999", Personal, ann},
		{"annsophie19991", "", ann}, // "ann" is too short to count
		{"sophie-sophie-1", Personal, ann},
		{"Ann-Sophie van der Bergström", Personal, ann},
		{"annsophievanderbergström1", Personal, ann},
		{"a.bergstrom42@example.com", Personal, ann},
		{"A.Bergstrom42!", Personal, ann},
		{"bergstrom42bergstrom42", Personal, ann},
		{"bergströmlatchkey", Personal, ann},
		{"bergstr-ann-sop-hie", "", ann},
		{"example.com-and-more", "", ann}, // the domain does not count
		{"bergström rides a tall horse", "", ann},

		// Overlapping words count once. Removing a word does not create another one.
		{"annaannannaann", Personal, []string{"anna ann", "annanna@example.com"}},
		{"latlatchkeychkey", "", nil},
		{"ababab1234567", Personal, []string{"Abab"}},
		// Words that are too short or empty.
		{"li-yu-li-yu", "", []string{"Li Yu", "ly@example.com"}},
		{"unlikely1", "", []string{"", "@", " ", "@@", "\xff\xff\xff\xff"}},
	} {
		if got := why(t, rules.Check(t.Context(), tc.password, tc.personal...)); got != tc.want {
			t.Errorf("Check(%.40q, %q): got %q, want %q", tc.password, tc.personal, got, tc.want)
		}
	}

	// The name of another product replaces Latchkey. It may consist of several words.
	rules.AppName = "Acme Rocket Skates"
	for password, want := range map[string]Weakness{
		"acme2026": Personal, "rocketskates1": Personal, "AcmeRocketSkates": Personal, "acme rocket skates!": Personal,
		"latchkey1": "", "a rocket to the moon": "",
	} {
		if got := why(t, rules.Check(t.Context(), password)); got != want {
			t.Errorf("Check(%q) for Acme Rocket Skates: got %q, want %q", password, got, want)
		}
	}

	if got := why(t, NewRules(false, "", slog.New(slog.DiscardHandler)).Check(t.Context(), "password123")); got != "" {
		t.Errorf("common passwords allowed: got %q, want the password to be accepted", got)
	}
}

// Check never accepts a password of invalid length or encoding.
func FuzzCheck(f *testing.F) {
	f.Add("latchkey1", "Ann", "ann@example.com")
	f.Add("ΣςσſKİıß latchkey", "İı ΣΣΣΣ", "@")
	rules := NewRules(true, "", slog.New(slog.DiscardHandler))
	f.Fuzz(func(t *testing.T, password, name, email string) {
		err := rules.Check(context.Background(), password, name, email)
		n := utf8.RuneCountInString(password)
		if bad := n < MinPasswordLength || n > MaxPasswordLength || !utf8.ValidString(password); bad && err == nil {
			t.Errorf("Check(%q): got no error, want one", password)
		}
		if err != nil {
			why(t, err)
		}
	})
}
