package mail

import (
	"regexp"
	"strings"
	"unicode"
)

// maxName is how many characters of a name are shown.
const maxName = 60

// printable makes one line of a text of users, without what is not seen: control
// characters, which would end a header, and format characters, which turn the
// direction of what follows or hide a dot.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), unicode.In(r, unicode.Zl, unicode.Zp, unicode.Cc):
			return ' '
		case unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs), r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// looksLikeLink finds what a mail program may make a link of by itself: a scheme,
// www, or a dot (also one of those that browsers take for it) before two letters or
// a digit. "J.R. Tolkien" is none.
var looksLikeLink = regexp.MustCompile(`(?i)://|www|[.。．｡](\p{L}\p{M}*[\p{L}\p{N}-]|\p{N})|@|mailto:|tel:|(\p{N}[^\p{L}]*){5}`)

// personName returns a name to greet with; "" is to greet without. Anybody may sign
// up with the address of another and "You won, see evil.example" for a name: our
// mail would carry it to whom it is meant for.
func personName(name string) string {
	if name = printable(name); looksLikeLink.MatchString(name) {
		return ""
	}
	return shortened(name)
}

// deviceName returns what a client says that it is, under the same rule.
func deviceName(device string) string { return personName(device) }

func shortened(s string) string {
	if runes := []rune(s); len(runes) > maxName {
		return strings.TrimSpace(string(runes[:maxName-1])) + "…"
	}
	return s
}
