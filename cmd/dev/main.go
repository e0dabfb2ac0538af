// Command dev runs the API for development. It is the same server as cmd/latchkey, with
// Redis and MongoDB inside the process, so there is nothing else to install:
//
//	go run ./cmd/dev
//
// It also serves a demo page and, unless SMTP_URL is set, an outbox that shows the emails.
// Accounts and sessions are kept in .latchkey-dev.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"latchkey/internal/app"
	"latchkey/internal/config"
	"latchkey/internal/mail"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills the process

	err := run(ctx, os.Args[1:], os.Environ(), os.Stdout)
	stop()
	if err == nil {
		return
	}

	fmt.Fprintln(os.Stderr, "dev:", err)
	if errors.Is(err, errUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}

// errUsage is returned for invalid arguments.
var errUsage = errors.New("run 'go run ./cmd/dev --help' for usage")

const help = `Run the API for development, with Redis and MongoDB inside the process.

It serves the API on port 3000, and a demo page and an outbox for emails on port 3001.
Accounts and sessions are kept in ` + dataDir + `; delete it to start over.

Settings come from environment variables and a .env file, as in production. Often used:

  PORT=3100                             use the ports 3100 and 3101
  FRONTEND_URL=https://localhost:5173   let this page call the API; pages on http://localhost always may
  PUBLIC_URL=http://localhost:5173      open the links in emails on your own page
  SMTP_URL=smtp://localhost:1025        send emails instead of keeping them in the outbox

Some defaults are not those of APP_ENV=development in deployments/SETTINGS.md: FRONTEND_URL and
PUBLIC_URL point to the demo, SESSION_SECRET and DATA_KEY are random and kept in the same directory, and:

`

// fullHelp returns the help, including the defaults in config.DevServer.
func fullHelp() string {
	var b strings.Builder
	b.WriteString(help)
	for _, name := range slices.Sorted(maps.Keys(config.DevServer)) {
		fmt.Fprintf(&b, "  %s=%s\n", name, config.DevServer[name])
	}

	return b.String()
}

// run is the whole program, except for signals, the real environment and exiting, so that a
// test can start it.
func run(ctx context.Context, args, environ []string, stdout io.Writer) error {
	root := &cobra.Command{
		Use:               "dev",
		Annotations:       map[string]string{cobra.CommandDisplayNameAnnotation: "go run ./cmd/dev"},
		Short:             "Run the API for development",
		Long:              fullHelp(),
		Args:              noArguments,
		SilenceErrors:     true, // main prints them
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), environ, stdout)
		},
	}
	root.SetOut(stdout)
	root.SetArgs(append([]string{}, args...)) // cobra takes nil for "use os.Args"
	root.SetHelpCommand(&cobra.Command{Hidden: true})
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return fmt.Errorf("%w; %w", err, errUsage)
	})
	root.AddCommand(newDoctor(environ, stdout))

	return root.ExecuteContext(ctx)
}

func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q; %w", args[0], errUsage)
	}

	return nil
}

// serve runs the API, the demo and the outbox until ctx ends.
func serve(ctx context.Context, environ []string, stdout io.Writer) error {
	vars, err := config.Environ(environ, ".env")
	if err != nil {
		return err
	}

	log := slog.New(slog.NewTextHandler(stdout, nil))
	stop, err := useDevStores(vars, log)
	if err != nil {
		return err
	}
	defer stop()
	if err := setSecrets(vars, log); err != nil {
		return err
	}

	hasSMTP := vars["SMTP_URL"] != "" || vars["SMTP_URL_FILE"] != ""
	setDefaults(vars)

	host, port := listenAddr(vars)
	setPublicURL(vars, host, port)
	page := listenForDemo(ctx, vars, host, port)
	if page.listener != nil {
		defer func() { _ = page.listener.Close() }()
	}

	var emails *outbox
	var sender mail.Sender // nil sends to SMTP_URL
	if !hasSMTP {
		emails = &outbox{stdout: stdout}
		sender = emails
	}

	c, err := config.Load(vars)
	if err != nil {
		return err
	}
	c.Weaknesses = nil // the greeting shows that this is not a production server
	a, err := app.New(ctx, c, sender, stdout)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("port %d is in use; try another one: PORT=%d go run ./cmd/dev", port, port+100)
	}
	if err != nil {
		return err
	}

	api := originOf(host, a.Addr())
	if page.listener != nil {
		server, err := newDemo(c, api, page.origin, host, emails)
		if err != nil {
			return err
		}
		go func() { _ = server.Serve(page.listener) }()
		defer func() { _ = server.Close() }()
	}

	greet(stdout, api, page, bool(c.Accounts.Pages), emails != nil)

	return a.Serve(ctx)
}
