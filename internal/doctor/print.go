package doctor

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// maxColumns is the widest line that Print writes.
const maxColumns = 100

// Print writes findings as "level  subject: message", with the fix below. Lines are wrapped
// if out is a narrow terminal.
func Print(out io.Writer, found []Finding) error {
	width := columns(out)

	var b strings.Builder
	for _, f := range found {
		writeWrapped(&b, string(f.Level), f.Subject+": "+f.Message, width)
		if f.Fix != "" {
			writeWrapped(&b, "", "fix: "+f.Fix, width)
		}
	}

	_, err := io.WriteString(out, b.String())

	return err
}

// Problems returns the number of findings that do not work.
func Problems(found []Finding) int {
	problems := 0
	for _, f := range found {
		if f.Level == Problem {
			problems++
		}
	}

	return problems
}

// writeWrapped writes a label and a text that is wrapped and indented beside it. Words that are
// longer than a line are not broken, so that they can be copied.
func writeWrapped(b *strings.Builder, label, text string, width int) {
	const indent = len("warning") + len("  ")

	fmt.Fprintf(b, "%-*s", indent, label)
	used := indent
	for i, word := range strings.Fields(text) {
		length := len([]rune(word))
		switch {
		case i == 0:
		case used+1+length > width:
			fmt.Fprintf(b, "\n%*s", indent, "")
			used = indent
		default:
			b.WriteString(" ")
			used++
		}

		b.WriteString(word)
		used += length
	}
	b.WriteString("\n")
}

// columns returns the width of lines on out.
func columns(out io.Writer) int {
	f, ok := out.(*os.File)
	if !ok {
		return maxColumns
	}

	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		return maxColumns
	}

	return min(width, maxColumns)
}
