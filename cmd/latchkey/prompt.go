package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// errInterrupted is returned when a signal arrives while a command waits for input.
var errInterrupted = errors.New("interrupted; nothing was changed")

// password reads a password from the input rather than from an argument, which would show up in
// the process list and the shell history. On a terminal it asks twice and hides what is typed.
func (c *cli) password(ctx context.Context) (string, error) {
	if c.terminal == nil {
		password, err := orInterrupted(ctx, c.line)
		if err == nil && password == "" {
			err = errors.New("no password on standard input")
		}

		return password, err
	}

	password, err := c.hidden(ctx, "Password: ")
	if err != nil {
		return "", err
	}
	if password == "" {
		return "", errors.New("empty password; nothing was changed")
	}

	repeated, err := c.hidden(ctx, "Repeat password: ")
	if err != nil {
		return "", err
	}
	if repeated != password {
		return "", errors.New("passwords do not match; nothing was changed")
	}

	return password, nil
}

// hidden reads a line from the terminal without echoing it.
func (c *cli) hidden(ctx context.Context, prompt string) (string, error) {
	fd := int(c.terminal.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return "", err
	}

	_, _ = fmt.Fprint(c.messages, prompt)
	defer func() {
		_ = term.Restore(fd, state) // ReadPassword does not if it is interrupted
		_, _ = fmt.Fprintln(c.messages)
	}()

	return orInterrupted(ctx, func() (string, error) {
		typed, err := term.ReadPassword(fd)
		return string(typed), err
	})
}

// confirm asks a yes/no question, unless --yes was given.
func (c *cli) confirm(ctx context.Context, question string) error {
	if c.yes {
		return nil
	}

	_, _ = fmt.Fprint(c.messages, printable(question), " [y/N] ")
	line, err := orInterrupted(ctx, c.line)
	if err != nil {
		return err
	}

	answer := strings.ToLower(strings.TrimSpace(line))
	if answer != "y" && answer != "yes" {
		return errors.New("not confirmed; nothing was changed (answer y, or use --yes)")
	}

	return nil
}

// line reads a line of input. It returns "" at the end of the input.
func (c *cli) line() (string, error) {
	line, _ := c.in.ReadString('\n')

	return strings.TrimRight(line, "\r\n"), nil
}

// orInterrupted calls read, but gives up when ctx ends: a read from a terminal cannot be
// cancelled.
func orInterrupted(ctx context.Context, read func() (string, error)) (string, error) {
	type result struct {
		text string
		err  error
	}

	done := make(chan result, 1)
	go func() {
		text, err := read()
		done <- result{text, err}
	}()

	select {
	case r := <-done:
		return r.text, r.err
	case <-ctx.Done():
		return "", errInterrupted
	}
}

// terminal returns in if it is a terminal, otherwise nil.
func terminal(in any) *os.File {
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}

	return nil
}
