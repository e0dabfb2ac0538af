package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"latchkey/internal/app"
	"latchkey/internal/config"
)

const mailPreviewHelp = `Write every email in every language to a directory, with an index.html to open in a browser.

It reads APP_NAME, APP_URL, APP_COLOR, APP_LOGO_URL, DEFAULT_LOCALE and MAIL_TEXTS, and needs neither
stores nor secrets. Faults in MAIL_TEXTS are reported as at startup.

A directory that an earlier preview has written is updated. Any other directory must be empty or not
exist yet.`

func newMail(p *program) *cobra.Command {
	preview := &cobra.Command{
		Use:     "preview DIR",
		Short:   "Write every email to files",
		Long:    mailPreviewHelp,
		Example: "  APP_NAME=Acme APP_COLOR=c8102e latchkey mail preview /tmp/emails",
		Args:    arguments("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.previewMail(cmd, args[0])
		},
	}

	return newGroup("mail", "Preview the emails", "Preview the emails that the server sends.", preview)
}

func (p *program) previewMail(cmd *cobra.Command, dir string) error {
	vars, err := p.vars()
	if err != nil {
		return err
	}

	brand, err := config.LoadBrand(vars)
	if err != nil {
		return err
	}

	index, err := app.PreviewMail(brand, dir)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "Wrote the emails. Open %s\n", printable(index))

	return err
}
