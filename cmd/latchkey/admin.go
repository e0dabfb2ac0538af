package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"latchkey/internal/app"
	"latchkey/internal/config"
	"latchkey/internal/session"
)

// cli is one run of an operator's command.
type cli struct {
	*app.Admin
	in       *bufio.Reader
	terminal *os.File // the input, where it is one
	out      io.Writer
	asides   io.Writer // what is not the answer: questions, progress
	json     bool
	yes      bool
	all      bool
	user     string
	limit    int64
}

// adminCommands by their names, with what they take.
var adminCommands = map[string]struct {
	takes int // how many arguments
	run   func(*cli, context.Context, []string) error
}{
	"sessions list":      {1, (*cli).listSessions},
	"sessions show":      {1, (*cli).showSession},
	"sessions revoke":    {-1, (*cli).revoke},
	"sessions stats":     {0, (*cli).stats},
	"users list":         {0, (*cli).listUsers},
	"users show":         {1, (*cli).showUser},
	"users create":       {2, (*cli).createUser},
	"users set-password": {1, (*cli).setPassword},
	"users unlink":       {2, (*cli).unlink},
	"users disable":      {1, (*cli).disable},
	"users enable":       {1, (*cli).enable},
	"users delete":       {1, (*cli).delete},
}

// admin runs `latchkey sessions ...` and `latchkey users ...`.
func admin(ctx context.Context, args []string, vars map[string]string, std stdio) error {
	name := strings.Join(args[:min(len(args), 2)], " ")
	command, ok := adminCommands[name]
	if !ok {
		return fmt.Errorf("there is no command %q; see latchkey help", name)
	}
	c := &cli{in: bufio.NewReader(std.in), terminal: terminal(std.in), out: std.out, asides: std.err}
	rest, err := c.parse(name, args[2:])
	if err != nil {
		return err
	}
	if command.takes >= 0 && len(rest) != command.takes {
		return fmt.Errorf("%s: takes %d arguments, not %d; see latchkey help", name, command.takes, len(rest))
	}
	settings, err := config.Load(vars)
	if err != nil {
		return err
	}
	if c.Admin, err = app.OpenAdmin(settings, std.err); err != nil {
		return err
	}
	defer c.Close()
	return command.run(c, ctx, rest)
}

// parse reads flags wherever they stand, and returns the other arguments. A handle
// may start with a dash and is no flag.
func (c *cli) parse(name string, args []string) (rest []string, err error) {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.BoolVar(&c.json, "json", false, "")
	switch name {
	case "sessions revoke":
		flags.BoolVar(&c.yes, "yes", false, "")
		flags.BoolVar(&c.all, "all", false, "")
		flags.StringVar(&c.user, "user", "", "")
	case "users delete":
		flags.BoolVar(&c.yes, "yes", false, "")
	case "users list":
		flags.Int64Var(&c.limit, "limit", 100, "")
	}
	args = slices.DeleteFunc(slices.Clone(args), func(arg string) bool {
		if session.WellFormed(arg) { // a handle has the form of a token
			rest = append(rest, arg)
			return true
		}
		return false
	})
	for {
		if err := flags.Parse(args); err != nil {
			return nil, fmt.Errorf("%s: %w; see latchkey help", name, err)
		}
		if flags.NArg() == 0 {
			return rest, nil
		}
		rest, args = append(rest, flags.Arg(0)), flags.Args()[1:]
	}
}
