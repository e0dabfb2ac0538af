package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

const (
	// defaultLimit is the default of --limit.
	defaultLimit = 100

	// maxLimit bounds the memory that a page takes.
	maxLimit = 10_000
)

// page has the flags of a command that prints a list page by page.
type page struct {
	command string // with its arguments, for the hint about the next page
	after   string
	limit   int
}

// addTo adds the flags to a command. noun names the rows. after describes --after, and contains the
// placeholder for its value in backticks.
func (p *page) addTo(cmd *cobra.Command, noun, after string) {
	cmd.Flags().IntVar(&p.limit, "limit", defaultLimit, "`number` of "+noun+" on a page")
	cmd.Flags().StringVar(&p.after, "after", "", after)
}

// check returns a usageError if the flags are wrong, and remembers how the command was called.
func (p *page) check(cmd *cobra.Command, args []string) error {
	if p.limit < 1 || p.limit > maxLimit {
		return &usageError{text: fmt.Sprintf("--limit must be from 1 to %d", maxLimit), command: cmd.CommandPath()}
	}

	words := []string{cmd.CommandPath()}
	for _, arg := range args {
		words = append(words, shellQuote(arg))
	}
	for _, name := range []string{"anywhere", "json"} {
		if cmd.Flags().Changed(name) {
			words = append(words, "--"+name)
		}
	}
	if p.limit != defaultLimit {
		words = append(words, fmt.Sprintf("--limit %d", p.limit))
	}
	p.command = strings.Join(words, " ")

	return nil
}

// hint prints the command for the next page, unless next is "".
func (p *page) hint(c *cli, next string) {
	if next != "" {
		_, _ = fmt.Fprintf(c.messages, "Next page: %s --after %s\n", printable(p.command), printable(shellQuote(next)))
	}
}

// shellQuote returns an argument as it is typed in a shell.
func shellQuote(arg string) string {
	isPlain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@%+=:,./_-", r)
	}
	if arg != "" && strings.IndexFunc(arg, func(r rune) bool { return !isPlain(r) }) < 0 {
		return arg
	}

	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}
