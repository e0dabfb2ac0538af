package auth

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Weakness is why a password is refused, in a word for programs.
type Weakness string

const (
	// Invalid is no UTF-8, and so nothing that a person typed.
	Invalid Weakness = "invalid"
	// TooShort has fewer than MinPasswordLength characters.
	TooShort Weakness = "too_short"
	// TooLong has more than MaxPasswordLength characters.
	TooLong Weakness = "too_long"
	// Common is one of those that are tried first.
	Common Weakness = "common"
	// Personal is little more than what everyone knows of its owner.
	Personal Weakness = "personal"
	// Breached is in the list of breached passwords.
	Breached Weakness = "breached"
	// Unchanged is the current password, where another is asked for. Rules do not know
	// it: who changes a password does.
	Unchanged Weakness = "unchanged"
)

var weaknesses = map[Weakness]string{
	Invalid:   "is not valid text",
	TooShort:  fmt.Sprintf("must be at least %d characters", MinPasswordLength),
	TooLong:   fmt.Sprintf("must be at most %d characters", MaxPasswordLength),
	Common:    "is one of the passwords that are tried first",
	Personal:  "is little more than your name, your address or this product's name",
	Breached:  "is in a list of passwords from other sites' breaches",
	Unchanged: "is the current one",
}

// WeakPasswordError says that a new password would be guessed, or is none.
type WeakPasswordError struct{ Why Weakness }

// Error goes on after "The password", for the person who chose it.
func (e *WeakPasswordError) Error() string { return weaknesses[e.Why] }

// productName is what those who attack this program try first (OWASP ASVS 5.0 6.2.11).
const productName = "latchkey"

// minPersonal is the length from which a word of a name or an address counts. Shorter
// ones turn up in passwords that have nothing to do with it.
const minPersonal = 4

// Rules judge a password when it is chosen, never when it is used: who has an old one
// must still get in. None asks for kinds of characters, which makes passwords worse
// (NIST SP 800-63B 3.1.1.2, OWASP ASVS 5.0 6.2.5). The zero value has those for the
// length and for personal words.
type Rules struct {
	common bool
	breach *breach // nil: not asked
}

// NewRules adds to those of the zero value, where common is set, one against the
// passwords that are tried first. breachURL is that of a list of breached passwords
// with the range protocol of Have I Been Pwned, such as
// https://api.pwnedpasswords.com/range; "" asks none. What cannot be asked is logged.
func NewRules(common bool, breachURL string, log *slog.Logger) Rules {
	r := Rules{common: common}
	if breachURL != "" {
		r.breach = newBreach(breachURL, log)
	}
	return r
}

// Check judges a new password of the person whose name and address are personal.
// Errors: *WeakPasswordError; that of the context, or whoever hangs up while the list
// of breaches is asked would keep a breached password.
func (r Rules) Check(ctx context.Context, password string, personal ...string) error {
	n := utf8.RuneCountInString(password)
	switch {
	case !utf8.ValidString(password):
		return &WeakPasswordError{Invalid}
	case n < MinPasswordLength:
		return &WeakPasswordError{TooShort}
	case n > MaxPasswordLength:
		return &WeakPasswordError{TooLong}
	case r.common && isCommon(password):
		return &WeakPasswordError{Common}
	case isPersonal(password, personal):
		return &WeakPasswordError{Personal}
	}
	if r.breach == nil {
		return nil
	}
	listed := r.breach.listed(ctx, password)
	if err := ctx.Err(); err != nil {
		return err
	}
	if listed {
		return &WeakPasswordError{Breached}
	}
	return nil
}

// isPersonal tells whether too little of a password is left beside what everyone knows
// of its owner and of this program (OWASP ASVS 5.0 6.2.11).
func isPersonal(password string, personal []string) bool {
	password = fold(password)
	known := make([]bool, len(password))
	for _, word := range append(personalWords(personal), productName) {
		for at := 0; ; at++ {
			i := strings.Index(password[at:], word)
			if i < 0 {
				break
			}
			at += i
			for b := range word {
				known[at+b] = true
			}
		}
	}
	found, left := false, 0
	for i := range password {
		if known[i] {
			found = true
		} else {
			left++
		}
	}
	return found && left < MinPasswordLength
}

// personalWords returns the parts of names and addresses that count: the whole, in one
// word too, an address's part before the @, and the words of that or of a name. The
// words of a domain are everyone's.
func personalWords(personal []string) []string {
	var words []string
	add := func(word string) {
		if utf8.RuneCountInString(word) >= minPersonal {
			words = append(words, word)
		}
	}
	for _, whole := range personal {
		whole = fold(whole)
		add(whole)
		name, _, _ := strings.Cut(whole, "@")
		add(name)
		parts := strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) })
		add(strings.Join(parts, ""))
		for _, part := range parts {
			add(part)
		}
	}
	return words
}

// fold makes equal what differs only by case. By way of the upper case, since some
// letters have two lower ones: s and ſ, σ and ς.
func fold(s string) string { return strings.ToLower(strings.ToUpper(s)) }
