package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"latchkey/internal/buildinfo"
)

const rootHelp = `Latchkey is a server for accounts and cookie sessions.

Without a command it serves the API. Settings come from environment variables and from a .env
file in the working directory; deployments/SETTINGS.md lists them.

Exit status: 0 on success, 1 on failure, 2 for wrong arguments.`

// newRoot returns the command tree.
func newRoot(p *program) *cobra.Command {
	root := &cobra.Command{
		Use:           "latchkey",
		Short:         "A server for accounts and cookie sessions",
		Long:          rootHelp,
		Version:       buildinfo.Version(),
		Args:          subcommand,
		SilenceErrors: true, // main prints them
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.serve(cmd.Context())
		},
	}

	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp) // no argument is a file
	root.SetVersionTemplate("latchkey {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{text: err.Error(), command: cmd.CommandPath()}
	})

	root.AddCommand(
		newServe(p),
		newHealthcheck(p),
		newMail(p),
		newDoctor(p),
		newSessions(p),
		newUsers(p),
		newRekey(p),
		newVersion(),
	)

	return root
}

func newServe(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Serve the API until SIGTERM or Ctrl+C (the default)",
		Args:  arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.serve(cmd.Context())
		},
	}
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "latchkey", buildinfo.Version())
			return err
		},
	}
}

// newGroup returns a command that has only subcommands.
func newGroup(name, short, long string, subcommands ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{
		Use:   name,
		Short: short,
		Long:  long,
		Args:  subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	group.AddCommand(subcommands...)

	return group
}

// arguments returns a check that a command got exactly the named arguments.
func arguments(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			text := "missing argument " + strings.Join(names[len(args):], " ")
			return &usageError{text: text, command: cmd.CommandPath()}
		case len(args) > len(names):
			text := fmt.Sprintf("unexpected argument %q", args[len(names)])
			return &usageError{text: text, command: cmd.CommandPath()}
		}

		return nil
	}
}

// subcommand rejects arguments of a command that has subcommands: they are misspelled ones.
func subcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}

	cmd.SuggestionsMinimumDistance = 2

	text := fmt.Sprintf("unknown command %q", args[0])
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		text += fmt.Sprintf("; did you mean %q?", similar[0])
	}

	return &usageError{text: text, command: cmd.CommandPath()}
}
