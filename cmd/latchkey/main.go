// Command latchkey is the server, and what an operator needs beside it: `latchkey`
// serves, `latchkey healthcheck` asks a running server whether it is ready,
// `latchkey doctor` explains what cannot work, `latchkey sessions` and `latchkey users`
// look after live stores.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"latchkey/internal/app"
	"latchkey/internal/config"
)

const usage = `Usage: latchkey [command]

Commands:
  serve        answer requests until told to stop (the default)
  healthcheck  exit 0 if the server on this machine is ready, for a container's health check
  doctor       whether the settings can work, and what to change; exit 1 where they cannot.
               It makes the index of the accounts where that is missing
               --spa URL --api URL  the page and the API as browsers reach them; --json

  sessions list USER            the live sessions of an account
  sessions show HANDLE          one session; the handle is what the API calls sessionId
  sessions revoke HANDLE        end it
  sessions revoke --user USER   end all of an account's
  sessions revoke --all         end all there are; asks first, unless --yes is given
  sessions stats                how many sessions there are, and of how many users

  users list                    the latest accounts; --limit N, 100 unless given
  users show USER
  users create EMAIL NAME       the password is read from the input
  users set-password USER       likewise; ends the account's sessions
  users unlink USER PROVIDER    removes a way to sign in, and ends them, too
  users disable USER            ends them, too
  users enable USER
  users delete USER             likewise; asks first, unless --yes is given

USER is the id or the email address of an account. --json prints for programs.

The settings come from the environment and from a .env file in the working directory.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program as if it had not asked for any
	err := run(ctx, os.Args[1:], os.Environ(), stdio{os.Stdin, os.Stdout, os.Stderr})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "latchkey:", err)
		os.Exit(1)
	}
}

// stdio is where a command reads and prints.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// run is the whole program but for signals, the real environment and exiting.
func run(ctx context.Context, args, environ []string, std stdio) error {
	command := "serve"
	if len(args) > 0 {
		command = args[0]
	}
	operates := command == "sessions" || command == "users" || command == "doctor"
	if len(args) > 1 && !operates {
		return fmt.Errorf("%s takes no arguments; see latchkey help", command)
	}
	if command == "help" || command == "-h" || command == "--help" {
		_, err := io.WriteString(std.out, usage)
		return err
	}
	vars, err := config.Environ(environ, ".env")
	if err != nil {
		return err
	}
	switch {
	case command == "serve":
		return serve(ctx, vars, std.out)
	case command == "healthcheck":
		return healthcheck(ctx, vars)
	case command == "doctor":
		return diagnose(ctx, args[1:], vars, std)
	case operates:
		return admin(ctx, args, vars, std)
	default:
		return fmt.Errorf("there is no command %q; see latchkey help", command)
	}
}

func serve(ctx context.Context, vars map[string]string, stdout io.Writer) error {
	c, err := config.Load(vars)
	if err != nil {
		return err
	}
	a, err := app.New(ctx, c, nil, stdout)
	if err != nil {
		return err
	}
	return a.Serve(ctx)
}
