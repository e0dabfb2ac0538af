package user

import (
	"errors"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Email is an email address in canonical form: the local part is lower-case ASCII, and the
// host is lower-case Unicode. All spellings of an email address have the same canonical
// form, so a unique index on it prevents duplicate accounts.
type Email string

// ErrBadEmail is returned for an invalid or unsupported email address.
var ErrBadEmail = errors.New("invalid email address")

// MaxEmailLength is the maximum length of an email address in bytes (RFC 3696 erratum 1690).
const MaxEmailLength = 254

// maxEmailLocal is the maximum length of the local part (RFC 5321 section 4.5.3.1.1).
const maxEmailLocal = 64

const atom = "[A-Za-z0-9!#$%&'*+\\-/=?^_`{|}~]+"

var (
	// dotAtom matches a dot-atom-text (RFC 5322 section 3.2.3).
	dotAtom = regexp.MustCompile(`^` + atom + `(\.` + atom + `)*$`)

	// hostName matches a host name in ASCII with at least two labels.
	hostName = regexp.MustCompile(`^([^.]{1,63}\.)+[^.]{1,63}$`)

	// numericLabel matches a last label that makes a host an IP (URL Standard, "ends in a
	// number checker").
	numericLabel = regexp.MustCompile(`\.(\d+|0x[0-9a-f]*)$`)
)

// ParseEmail parses an email address and returns its canonical form. Errors: ErrBadEmail.
//
// It is stricter than RFC 5322, which allows email addresses that look alike or are
// ambiguous. The local part must be an ASCII dot-atom: no quotes, no comments, and no Kelvin
// sign, whose lower case is "k". The host must be a name of at least two labels that IDNA
// accepts (UTS 46, as in browsers).
func ParseEmail(s string) (Email, error) {
	s = strings.Trim(s, " ")

	// This check must come first, because IDNA takes quadratic time.
	if len(s) > utf8.UTFMax*MaxEmailLength {
		return "", ErrBadEmail
	}

	local, host, ok := strings.Cut(s, "@")
	if !ok || !dotAtom.MatchString(local) || len(local) > maxEmailLocal {
		return "", ErrBadEmail
	}

	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil || !hostName.MatchString(ascii) || numericLabel.MatchString(ascii) {
		return "", ErrBadEmail
	}

	if len(local)+len("@")+len(ascii) > MaxEmailLength {
		return "", ErrBadEmail
	}

	// Use the Unicode form, because the guide's app stores hosts as typed, which is usually
	// in Unicode.
	unicode, err := idna.Lookup.ToUnicode(ascii)
	if err != nil {
		return "", ErrBadEmail
	}

	return Email(strings.ToLower(local) + "@" + unicode), nil
}

// Domain returns the part after the @, in lower-case Unicode.
func (e Email) Domain() string {
	_, domain, _ := strings.Cut(string(e), "@")

	return domain
}

// spellings returns the forms in which the email may be stored: the canonical one and, for
// an internationalized host, the one with the host in ASCII. The guide's app stores the
// latter if it was typed that way.
func (e Email) spellings() []string {
	local, host, _ := strings.Cut(string(e), "@")

	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil || ascii == host {
		return []string{string(e)}
	}

	return []string{string(e), local + "@" + ascii}
}
