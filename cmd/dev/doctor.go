package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/spf13/cobra"

	"latchkey/internal/app"
	"latchkey/internal/config"
	"latchkey/internal/doctor"
)

const doctorHelp = `Check whether a page can use the API that 'go run ./cmd/dev' serves.

It explains whether browsers store and send the session cookie, and what CORS allows. If the server
is running, it also checks that the server has the same settings. Set the same environment variables as
for the server.`

func newDoctor(environ []string, stdout io.Writer) *cobra.Command {
	var spa, api string

	cmd := &cobra.Command{
		Use:     "doctor",
		Short:   "Find out why sessions or cookies do not work",
		Long:    doctorHelp,
		Example: "  go run ./cmd/dev doctor --spa http://localhost:5173",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return diagnose(cmd.Context(), environ, stdout, spa, api)
		},
	}
	cmd.Flags().StringVar(&spa, "spa", "", "`URL` of the page that calls the API (default: the demo)")
	cmd.Flags().StringVar(&api, "api", "", "`URL` of the API (default: the dev server)")

	return cmd
}

// diagnose runs the doctor with the settings of the dev server.
func diagnose(ctx context.Context, environ []string, stdout io.Writer, spa, api string) error {
	vars, err := config.Environ(environ, ".env")
	if err != nil {
		return err
	}

	setDefaults(vars)
	setStores(vars, "localhost", "mongodb://localhost/") // not used
	setUnusedSecrets(vars)

	host, port := listenAddr(vars)
	setPublicURL(vars, host, port)
	if api == "" {
		api = "http://" + net.JoinHostPort(host, strconv.Itoa(port))
	}

	demo := "http://" + net.JoinHostPort(host, strconv.Itoa(port+1))
	if spa == "" {
		spa = demo
	}
	vars["FRONTEND_URL"] = joinOrigins(vars["FRONTEND_URL"], demo)

	settings, err := config.Load(vars)
	if err != nil {
		return err
	}

	findings := app.DiagnoseBrowser(ctx, settings, spa, api)
	if err := doctor.Print(stdout, findings); err != nil {
		return err
	}

	switch n := doctor.Problems(findings); n {
	case 0:
		return nil
	case 1:
		return errors.New("1 problem found")
	default:
		return fmt.Errorf("%d problems found", n)
	}
}
