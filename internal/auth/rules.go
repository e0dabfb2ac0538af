package auth

import (
	"context"
	_ "embed" // for commonList
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Weakness is the reason why a password is refused, as a machine-readable code.
type Weakness string

// The reasons why a password is refused.
const (
	Invalid   Weakness = "invalid" // not valid UTF-8, so nobody typed it
	TooShort  Weakness = "too_short"
	TooLong   Weakness = "too_long"
	Common    Weakness = "common"
	Personal  Weakness = "personal"
	Breached  Weakness = "breached"
	Unchanged Weakness = "unchanged" // reported by Service.ChangePassword, not by Rules
)

var weaknesses = map[Weakness]string{
	Invalid:   "is not valid text",
	TooLong:   fmt.Sprintf("must be at most %d characters long", MaxPasswordLength),
	Common:    "is too common",
	Personal:  "is too similar to your name, your email address or the name of this service",
	Breached:  "has appeared in a data breach",
	Unchanged: "must be different from the current password",
}

// WeakPasswordError is returned for a new password that breaks one of the Rules.
type WeakPasswordError struct {
	Why Weakness
	// MinLength is set if Why is TooShort.
	MinLength int
}

// Error returns a message for the user that continues a sentence starting with "Password".
func (e *WeakPasswordError) Error() string {
	if e.Why == TooShort {
		return fmt.Sprintf("must be at least %d characters long", e.MinLength)
	}

	return weaknesses[e.Why]
}

// minPersonal is the minimum length in characters at which part of a name or an email counts
// as personal. Shorter parts occur in unrelated passwords.
const minPersonal = 4

// Rules are the rules for new passwords. They never apply at login, so existing passwords
// keep working when the rules change. There are no composition rules, because those make
// passwords worse (NIST SP 800-63B 3.1.1.2, OWASP ASVS 5.0 6.2.5). The zero value checks
// the length and refuses passwords that are too personal.
type Rules struct {
	// MinLength is the minimum length in characters. A value below MinPasswordLength, such as 0,
	// means MinPasswordLength.
	MinLength int

	// AppName is the name of the product. It is among the first guesses of anyone who attacks it
	// (OWASP ASVS 5.0 6.2.11).
	AppName string

	common bool
	breach *breach // nil if breached passwords are accepted
}

// NewRules returns Rules that also refuse common passwords, if common is set, and breached
// passwords, if breachURL is not empty. breachURL is the URL of a service that implements
// the range API of Have I Been Pwned, such as https://api.pwnedpasswords.com/range. Failed
// requests to it are logged.
func NewRules(common bool, breachURL string, log *slog.Logger) Rules {
	r := Rules{common: common}
	if breachURL != "" {
		r.breach = newBreach(breachURL, log)
	}

	return r
}

// RefusesCommon reports whether common passwords are refused.
func (r Rules) RefusesCommon() bool { return r.common }

// ChecksBreaches reports whether breached passwords are refused.
func (r Rules) ChecksBreaches() bool { return r.breach != nil }

// Check checks a new password of the user with the given name and email (personal). Errors:
// *WeakPasswordError. It also returns the error of a cancelled ctx: otherwise, a client
// could keep a breached password by disconnecting during the request to the breach service.
func (r Rules) Check(ctx context.Context, password string, personal ...string) error {
	n := utf8.RuneCountInString(password)
	minLength := max(r.MinLength, MinPasswordLength)
	switch {
	case !utf8.ValidString(password):
		return &WeakPasswordError{Why: Invalid}
	case n < minLength:
		return &WeakPasswordError{Why: TooShort, MinLength: minLength}
	case n > MaxPasswordLength:
		return &WeakPasswordError{Why: TooLong}
	case r.common && isCommon(password):
		return &WeakPasswordError{Why: Common}
	case isPersonal(password, append(slices.Clone(personal), r.AppName)):
		return &WeakPasswordError{Why: Personal}
	case r.breach == nil:
		return nil
	}

	breached := r.breach.listed(ctx, password)
	if err := ctx.Err(); err != nil {
		return err
	}
	if breached {
		return &WeakPasswordError{Why: Breached}
	}

	return nil
}

// isPersonal reports whether a password has fewer than MinPasswordLength characters besides
// parts of the user's name, the email and the name of the product (OWASP ASVS 5.0 6.2.11).
func isPersonal(password string, personal []string) bool {
	password = fold(password)

	// 1. Mark the bytes that belong to a personal word. Words may overlap.
	known := make([]bool, len(password))
	for _, word := range personalWords(personal) {
		for start := 0; ; start++ {
			i := strings.Index(password[start:], word)
			if i < 0 {
				break
			}

			start += i
			for b := range word {
				known[start+b] = true
			}
		}
	}

	// 2. Count the characters that are left.
	left := 0
	for i := range password {
		if !known[i] {
			left++
		}
	}

	return slices.Contains(known, true) && left < MinPasswordLength
}

// personalWords returns the words that make a password personal: the complete name or email,
// the local part of the email, and their parts, both separately and joined. The domain of an
// email does not count by itself, because others share it.
func personalWords(personal []string) []string {
	var words []string
	add := func(word string) {
		if utf8.RuneCountInString(word) >= minPersonal {
			words = append(words, word)
		}
	}

	for _, text := range personal {
		text = fold(text)
		add(text)

		name, _, _ := strings.Cut(text, "@")
		add(name)

		parts := strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) })
		add(strings.Join(parts, ""))
		for _, part := range parts {
			add(part)
		}
	}

	return words
}

// fold maps strings that differ only in case to the same string. It converts to upper case
// first, because some letters have two lower-case forms: s and ſ, σ and ς.
func fold(s string) string { return strings.ToLower(strings.ToUpper(s)) }

// commonList is the list of common passwords. Its source and licence are in its header.
//
//go:embed common.txt
var commonList string

// common returns the list with a line break before and after each password. It is folded on
// first use, since most commands never need it.
var common = sync.OnceValue(func() string { return "\n" + fold(commonList) })

// isCommon reports whether a password is in the list of common passwords (OWASP ASVS 5.0
// 6.2.4). It ignores case, because attackers try variations of case next.
func isCommon(password string) bool {
	return strings.Contains(common(), "\n"+fold(password)+"\n")
}
