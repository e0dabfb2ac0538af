// Command latchkey is the server, and the tool of the people who operate it.
//
// Start reading at run, then newRoot in commands.go, which lists the commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"latchkey/internal/app"
	"latchkey/internal/config"
	"latchkey/internal/session"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills the process

	err := run(ctx, os.Args[1:], os.Environ(), stdio{os.Stdin, os.Stdout, os.Stderr})
	stop()
	if err == nil {
		return
	}

	fmt.Fprintln(os.Stderr, "latchkey:", err)
	os.Exit(exitCode(err))
}

// stdio holds the streams that a command reads from and writes to.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// run is the whole program, except for signals, the real environment and exiting, so that a
// test can start it.
func run(ctx context.Context, args, environ []string, std stdio) error {
	root := newRoot(&program{stdio: std, environ: environ})
	root.SetArgs(protectIDs(args))

	return root.ExecuteContext(ctx)
}

// protectIDs moves session IDs behind "--". An ID may start with a dash, and would be taken for
// a flag.
func protectIDs(args []string) []string {
	if slices.Contains(args, "--") || !slices.ContainsFunc(args, session.IsID) {
		return append([]string{}, args...) // cobra takes nil for "use os.Args"
	}

	var others, ids []string
	for _, arg := range args {
		if session.IsID(arg) {
			ids = append(ids, arg)
		} else {
			others = append(others, arg)
		}
	}

	return slices.Concat(others, []string{"--"}, ids)
}

// program gives the commands access to their streams and to the settings.
type program struct {
	stdio
	environ []string
}

// vars returns the environment and the .env file of the working directory.
func (p *program) vars() (map[string]string, error) {
	return config.Environ(p.environ, ".env")
}

// settings loads and validates all settings.
func (p *program) settings() (config.Config, error) {
	vars, err := p.vars()
	if err != nil {
		return config.Config{}, err
	}

	return config.Load(vars)
}

// serve runs the server until ctx ends.
func (p *program) serve(ctx context.Context) error {
	settings, err := p.settings()
	if err != nil {
		return err
	}

	a, err := app.New(ctx, settings, nil, p.out)
	if err != nil {
		return err
	}

	return a.Serve(ctx)
}

// usageError is returned when a command was called with the wrong arguments.
type usageError struct {
	text    string
	command string
}

func (e *usageError) Error() string {
	return fmt.Sprintf("%s\nRun '%s --help' for usage.", e.text, e.command)
}

// exitCode returns 2 for wrong arguments and 1 for any other error.
func exitCode(err error) int {
	var usage *usageError
	if errors.As(err, &usage) {
		return 2
	}

	return 1
}
