package factor

import (
	"crypto/rand"
	"strings"
	"unicode"

	"latchkey/internal/token"
)

// RecoveryCodes is the number of recovery codes of an account.
const RecoveryCodes = 10

const (
	// alphabet is Crockford's base32. It has no I, L and O, which look like digits, and no U.
	alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	// recoverySize is the number of characters of a recovery code, without the hyphens: 125 bits.
	// OWASP ASVS 5.0 6.5.2 allows a fast hash from 112 bits.
	recoverySize = 25
	// groupSize is the number of characters between two hyphens.
	groupSize = 5
)

// NewRecoveryCodes returns RecoveryCodes random recovery codes, in the form in which the user sees
// them, such as 7MZQ2-0A5TN-K8GHV-R3XDC-9PWE1. This is also their canonical form: see
// HashRecoveryCode.
func NewRecoveryCodes() []string {
	codes := make([]string, RecoveryCodes)
	for i := range codes {
		raw := make([]byte, recoverySize)
		_, _ = rand.Read(raw) // never fails: crypto/rand crashes the program instead
		for j, b := range raw {
			raw[j] = alphabet[int(b)%len(alphabet)] // 32 divides 256, so all characters are equally likely
		}
		codes[i] = group(string(raw))
	}

	return codes
}

// ParseRecoveryCode returns the canonical form of a recovery code that a user typed. It ignores
// case, white space and all kinds of dashes, and reads O as 0 and I and L as 1. It returns false if
// s does not have the form of a recovery code.
func ParseRecoveryCode(s string) (canonical string, ok bool) {
	var code []byte
	for _, r := range s {
		if unicode.IsSpace(r) || unicode.Is(unicode.Dash, r) {
			continue
		}

		c, ok := parseCharacter(r)
		if !ok {
			return "", false
		}
		code = append(code, c)
	}

	if len(code) != recoverySize {
		return "", false
	}

	return group(string(code)), true
}

// parseCharacter returns the character of the alphabet that r stands for.
func parseCharacter(r rune) (c byte, ok bool) {
	if 'a' <= r && r <= 'z' {
		r -= 'a' - 'A' // unicode.ToUpper would also map the dotless ı to I
	}

	switch r {
	case 'O':
		r = '0'
	case 'I', 'L':
		r = '1'
	}

	i := strings.IndexRune(alphabet, r)
	if i < 0 {
		return 0, false
	}

	return alphabet[i], true
}

// group puts a hyphen between groups of characters.
func group(code string) string {
	var groups []string
	for i := 0; i < len(code); i += groupSize {
		groups = append(groups, code[i:i+groupSize])
	}

	return strings.Join(groups, "-")
}

// HashRecoveryCode returns the hash under which a recovery code is stored: SHA-256 in unpadded
// base64url. canonical is a code from NewRecoveryCodes or ParseRecoveryCode. The codes are random
// enough to need neither a salt nor a slow hash (OWASP ASVS 5.0 6.5.2).
func HashRecoveryCode(canonical string) string { return token.Hash(canonical) }
