package main

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"latchkey/internal/app"
	"latchkey/internal/doctor"
)

const doctorHelp = `Check the settings, the stores, the SMTP server and the sign-in providers.

With --spa and --api it also explains whether browsers will store and send the session cookie,
and what CORS will answer. It exits with 1 if something does not work.

To test the stores, it writes, reads and deletes its own keys in Redis and its own account in MongoDB.
It creates unique indexes that are missing in MongoDB.`

func newDoctor(p *program) *cobra.Command {
	var spa, api string
	var asJSON bool

	cmd := &cobra.Command{
		Use:     "doctor",
		Short:   "Find out why sessions or cookies do not work",
		Long:    doctorHelp,
		Example: "  latchkey doctor --spa https://app.example.com --api https://api.example.com",
		Args:    arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if spa != "" && api == "" {
				return &usageError{text: "--spa needs --api, the URL of the API", command: cmd.CommandPath()}
			}
			if spa == "" {
				spa = api
			}

			found, err := p.diagnose(cmd.Context(), spa, api)
			if err != nil {
				return err
			}

			if asJSON {
				c := cli{out: p.out}
				err = c.printJSON(map[string]any{"findings": found})
			} else {
				err = printFindings(p.out, found)
			}
			if err != nil {
				return err
			}

			if n := doctor.Problems(found); n > 0 {
				return errors.New(count(n, "problem") + " found")
			}

			return nil
		},
	}
	cmd.Flags().StringVar(&spa, "spa", "", "`URL` of the page that calls the API")
	cmd.Flags().StringVar(&api, "api", "", "`URL` of the API as browsers reach it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")

	return cmd
}

func (p *program) diagnose(ctx context.Context, spa, api string) ([]doctor.Finding, error) {
	settings, err := p.settings()
	if err != nil {
		return nil, err
	}

	return app.Diagnose(ctx, settings, spa, api)
}

// printFindings prints findings for people.
func printFindings(out io.Writer, found []doctor.Finding) error {
	safe := slices.Clone(found)
	for i := range safe {
		safe[i].Message = printable(safe[i].Message)
		safe[i].Fix = printable(safe[i].Fix)
	}

	return doctor.Print(out, safe)
}
