package mail

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// maxLine is the maximum width of a line in plain text, in columns.
const maxLine = 72

// wrap breaks a paragraph into lines. Lines break at spaces, and beside the wide characters of
// Chinese and Japanese, which are written without spaces. A longer word, such as an email address,
// stays in one piece.
func wrap(paragraph string) string {
	var lines []string
	line := ""
	used := 0
	for _, p := range pieces(strings.Join(strings.Fields(paragraph), " ")) {
		n := columns(strings.TrimSuffix(p, " "))
		if used > 0 && used+n > maxLine {
			lines = append(lines, strings.TrimSuffix(line, " "))
			line = ""
			used = 0
		}
		line += p
		used += columns(p)
	}

	return strings.Join(append(lines, line), "\n")
}

// pieces cuts a text wherever a line may break. A space belongs to the piece before it.
func pieces(text string) []string {
	var all []string
	start := 0
	last := rune(0)
	for i, r := range text {
		if i > start && mayBreak(last, r) {
			all = append(all, text[start:i])
			start = i
		}
		last = r
	}

	return append(all, text[start:])
}

// mayBreak reports whether a line may end between two characters. In Chinese and Japanese, a line
// must not begin with a closing bracket or a full stop, nor end with an opening bracket.
func mayBreak(before, after rune) bool {
	if before == ' ' {
		return true
	}
	beside := isWide(before) || isWide(after)

	return beside && !unicode.Is(unicode.Ps, before) && !cannotBegin(after) && before != '“'
}

// cannotBegin reports whether a line must not begin with a character: closing brackets, quotes,
// punctuation, and small or lengthening kana.
func cannotBegin(r rune) bool {
	return unicode.In(r, unicode.Pe, unicode.Pf) || strings.ContainsRune(" 、。，．：；！？・ー々,.:;!?％%ぁぃぅぇぉっゃゅょァィゥェォッャュョ", r)
}

// isWide reports whether a character takes two columns.
func isWide(r rune) bool {
	kind := width.LookupRune(r).Kind()

	return kind == width.EastAsianWide || kind == width.EastAsianFullwidth
}

// columns returns the width of a text.
func columns(text string) int {
	n := 0
	for _, r := range text {
		n++
		if isWide(r) {
			n++
		}
	}

	return n
}
