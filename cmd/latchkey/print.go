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

// ended says what was done and how many sessions have ended.
func (c *cli) ended(done string, n int) error {
	if c.json {
		return c.printJSON(map[string]int{"revoked": n})
	}
	noun := "sessions"
	if n == 1 {
		noun = "session"
	}
	_, err := fmt.Fprintf(c.out, "%s%d %s ended\n", printable(done), n, noun)
	return err
}

func (c *cli) printJSON(v any) error {
	encoder := json.NewEncoder(c.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

func (c *cli) table(head string, rows int, none string, row func(i int) []any) error {
	if rows == 0 {
		_, err := fmt.Fprintln(c.out, none)
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, head)
	for i := range rows {
		for _, cell := range row(i) {
			_, _ = fmt.Fprintf(w, "%s\t", printable(cell))
		}
		_, _ = fmt.Fprintln(w)
	}
	return w.Flush()
}

// fields prints names and values in pairs, one pair a line.
func (c *cli) fields(pairs ...any) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for pair := range slices.Chunk(pairs, 2) {
		_, _ = fmt.Fprintf(w, "%v\t%s\n", pair[0], printable(pair[1]))
	}
	return w.Flush()
}

// printable makes a value safe to show: names and user agents are other people's
// text, and a terminal obeys control characters and turns with others.
func printable(v any) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return '\uFFFD'
		}
		return r
	}, fmt.Sprint(v))
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}
