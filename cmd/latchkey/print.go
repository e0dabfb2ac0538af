package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// ended prints the number of sessions that a command ended. what describes anything else that the
// command did.
func (c *cli) ended(what string, n int, err error) error {
	if err != nil {
		return err
	}

	if c.json {
		return c.printJSON(map[string]int{"revoked": n})
	}

	if what != "" {
		what += "; "
	}
	_, err = fmt.Fprintf(c.out, "%s%s ended\n", printable(what), count(n, "session"))

	return err
}

// count returns a number with its noun: "1 session", "2 sessions".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}

	return fmt.Sprintf("%d %ss", n, noun)
}

func (c *cli) printJSON(v any) error {
	encoder := json.NewEncoder(c.out)
	encoder.SetIndent("", "  ")

	return encoder.Encode(v)
}

// table prints rows under a tab-separated head, or empty if there are none.
func (c *cli) table(head string, rows int, empty string, row func(i int) []any) error {
	if rows == 0 {
		_, err := fmt.Fprintln(c.out, empty)
		return err
	}

	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, head)
	for i := range rows {
		var cells []string
		for _, cell := range row(i) {
			cells = append(cells, printable(cell))
		}
		_, _ = fmt.Fprintln(w, strings.Join(cells, "\t"))
	}

	return w.Flush()
}

// fields prints pairs of a name and a value, one pair per line.
func (c *cli) fields(pairs ...any) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for pair := range slices.Chunk(pairs, 2) {
		_, _ = fmt.Fprintf(w, "%v\t%s\n", pair[0], printable(pair[1]))
	}

	return w.Flush()
}

// printable replaces characters that a terminal would interpret. Names and user agents come
// from clients, who could hide or forge output with them.
func printable(v any) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return unicode.ReplacementChar
		}

		return r
	}, fmt.Sprint(v))
}

// timestamp formats a time in UTC.
func timestamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}

	return t.UTC().Format("2006-01-02 15:04:05Z")
}
