package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// password reads a password from the first line of the input, so that it stands in
// no list of processes and no history of a shell. A terminal does not show it.
func (c *cli) password(ctx context.Context) (string, error) {
	_, _ = fmt.Fprint(c.asides, "Password: ")
	read := c.line
	if c.terminal != nil {
		fd := int(c.terminal.Fd())
		shown, err := term.GetState(fd)
		if err != nil {
			return "", err
		}
		defer func() {
			_ = term.Restore(fd, shown) // also when the reading was given up
			_, _ = fmt.Fprintln(c.asides)
		}()
		read = func() (string, error) {
			typed, err := term.ReadPassword(fd)
			return string(typed), err
		}
	}
	password, err := unlessStopped(ctx, read)
	if err == nil && password == "" {
		err = errors.New("give the password on the input, as one line")
	}
	return password, err
}

// confirm asks a question, unless --yes has answered it.
func (c *cli) confirm(ctx context.Context, question string) error {
	if c.yes {
		return nil
	}
	_, _ = fmt.Fprint(c.asides, printable(question), " [y/N] ")
	line, err := unlessStopped(ctx, c.line)
	if err != nil {
		return err
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return errors.New("nothing was done; answer y, or say --yes")
	}
	return nil
}

// line reads a line of the input, "" at its end.
func (c *cli) line() (string, error) {
	line, _ := c.in.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), nil
}

// unlessStopped waits for an answer, or for the signal to stop: a read that waits for
// a person does not end by itself.
func unlessStopped(ctx context.Context, read func() (string, error)) (answer string, err error) {
	done := make(chan struct{})
	var got string
	var failed error
	go func() {
		defer close(done)
		got, failed = read()
	}()
	select {
	case <-done:
		return got, failed
	case <-ctx.Done():
		return "", errors.New("stopped; nothing was done")
	}
}

// terminal returns in where it is a terminal.
func terminal(in any) *os.File {
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}
