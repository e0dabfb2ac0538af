package user

import (
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Email is an address in its canonical form: the local part in lower-case ASCII,
// the host in lower-case Unicode. Two spellings of one address are one Email,
// and the unique index on it is the judge of who is registered.
type Email string

// ErrBadEmail says that a text is no email address that we accept.
var ErrBadEmail = errors.New("not an email address")

// Limits of RFC 5321 section 4.5.3.1, and of RFC 3696 errata 1690 for the whole.
const (
	maxEmailLocal = 64
	maxEmail      = 254
)

// ParseEmail reads an address and makes it canonical. Errors: ErrBadEmail.
//
// It is stricter than RFC 5322 where that lets two addresses look alike or one
// be read in two ways: the local part is dot-atom text in ASCII (no quotes, no
// comments, no Kelvin sign that lower-cases to k), there is exactly one @, and
// the host is a name of at least two labels that IDNA (UTS 46, as browsers
// apply it) accepts.
func ParseEmail(s string) (Email, error) {
	s = strings.Trim(s, " ")
	if len(s) > utf8.UTFMax*maxEmail {
		// Before anything else: the work of IDNA grows with the square of the length.
		return "", ErrBadEmail
	}
	local, host, ok := strings.Cut(s, "@")
	if !ok || !isDotAtom(local) || len(local) > maxEmailLocal {
		return "", ErrBadEmail
	}
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil || len(local)+1+len(ascii) > maxEmail || !isHostName(ascii) {
		return "", ErrBadEmail
	}
	// The guide's app stores what was typed in lower case, which is Unicode for
	// most; the way over ASCII makes it one form.
	unicode, err := idna.Lookup.ToUnicode(ascii)
	if err != nil {
		return "", ErrBadEmail
	}
	return Email(strings.ToLower(local) + "@" + unicode), nil
}

// spellings are the forms in which an account of the address may be stored: the
// canonical one, and where it differs the one with the host in ASCII, which the
// guide's app keeps if it was typed that way.
func (e Email) spellings() []string {
	local, host, _ := strings.Cut(string(e), "@")
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil || ascii == host {
		return []string{string(e)}
	}
	return []string{string(e), local + "@" + ascii}
}

// isDotAtom tells whether s is dot-atom-text of RFC 5322 section 3.2.3.
func isDotAtom(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			c := atom[i]
			alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
			if !alnum && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) < 0 {
				return false
			}
		}
	}
	return true
}

// isHostName tells whether s, in ASCII, is a name with a top-level domain.
func isHostName(s string) bool {
	labels := strings.Split(s, ".")
	if len(labels) < 2 {
		return false
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	// A last label that is a number makes it an IP address (URL Standard, "ends in
	// a number checker").
	last := labels[len(labels)-1]
	hex, isHex := strings.CutPrefix(last, "0x")
	return strings.Trim(last, "0123456789") != "" && (!isHex || strings.Trim(hex, "0123456789abcdef") != "")
}
