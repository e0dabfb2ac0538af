package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"latchkey/internal/app"
)

// cli runs one command on the live stores.
type cli struct {
	*app.Admin
	in       *bufio.Reader
	terminal *os.File // the input, if it is a terminal
	out      io.Writer
	messages io.Writer // prompts and progress
	json     bool
	yes      bool
}

// onStores returns the body of a command that works on the live stores.
func (p *program) onStores(run func(context.Context, *cli, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		settings, err := p.settings()
		if err != nil {
			return err
		}

		admin, err := app.OpenAdmin(settings, p.err)
		if err != nil {
			return err
		}
		defer admin.Close()

		c := &cli{
			Admin:    admin,
			in:       bufio.NewReader(p.in),
			terminal: terminal(p.in),
			out:      p.out,
			messages: p.err,
		}
		// Commands without these flags leave them false.
		c.json, _ = cmd.Flags().GetBool("json")
		c.yes, _ = cmd.Flags().GetBool("yes")

		err = run(cmd.Context(), c, args)
		if n := admin.SilentServers(); n > 0 {
			_, _ = fmt.Fprintln(c.messages, count(n, "server"), "did not respond; waited until sessions in memory could no longer be used")
		}

		return err
	}
}

// addJSON adds --json to a command and its subcommands.
func addJSON(cmd *cobra.Command) *cobra.Command {
	cmd.PersistentFlags().Bool("json", false, "print JSON")

	return cmd
}

// addYes adds --yes to a command that asks for confirmation.
func addYes(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().Bool("yes", false, "do not ask for confirmation")

	return cmd
}
