package main

import (
	"context"

	"github.com/spf13/cobra"

	"latchkey/internal/session"
)

const listSessionsHelp = `List the live sessions of an account, or of all accounts.

With USER, the list has all sessions of the account, the most recently used first.

Without USER, it has the sessions of all accounts, page by page, in no particular order. A page may have
a few more or fewer sessions than --limit, and a session may be on two pages. Except for the last page,
the command for the next page is printed to standard error. With --json, the position of the next page is
also the member "next". For each page, Redis runs at most 32 commands to find the sessions, and three
to read each of them.`

func newListSessions(p *program) *cobra.Command {
	var pg page

	cmd := &cobra.Command{
		Use:   "list [USER]",
		Short: "List the live sessions of an account, or of all accounts",
		Long:  listSessionsHelp,
		Example: `  latchkey sessions list ann@example.com
  latchkey sessions list --limit 20`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return arguments("USER")(cmd, args)
			}
			if len(args) == 1 && (cmd.Flags().Changed("limit") || cmd.Flags().Changed("after")) {
				return &usageError{text: "--limit and --after are for lists without USER", command: cmd.CommandPath()}
			}

			return pg.check(cmd, args)
		},
		RunE: p.onStores(func(ctx context.Context, c *cli, args []string) error {
			if len(args) == 1 {
				return listSessions(ctx, c, args[0])
			}

			return listAllSessions(ctx, c, &pg)
		}),
	}
	pg.addTo(cmd, "sessions", "begin at this `POSITION` from the end of the previous page")

	return cmd
}

func listSessions(ctx context.Context, c *cli, ref string) error {
	sessions, err := c.Sessions(ctx, ref)
	if err != nil {
		return err
	}

	if c.json {
		return c.printJSON(sessions)
	}

	return c.table("ID\tDEVICE\tIP\tLAST SEEN\tEXPIRES IF IDLE", len(sessions), "no sessions", func(i int) []any {
		s := sessions[i]
		return []any{s.ID, s.Device, s.IP, timestamp(s.LastSeenAt), timestamp(s.IdleExpiresAt)}
	})
}

func listAllSessions(ctx context.Context, c *cli, pg *page) error {
	sessions, next, err := c.AllSessions(ctx, pg.after, pg.limit)
	if err != nil {
		return err
	}
	defer pg.hint(c, next)

	if c.json {
		return c.printJSON(struct {
			Sessions []*session.Session `json:"sessions"`
			Next     string             `json:"next,omitempty"`
		}{sessions, next})
	}

	empty := "no sessions"
	if next != "" {
		empty = "no sessions on this page"
	}

	return c.table("ID\tEMAIL\tDEVICE\tIP\tLAST SEEN\tEXPIRES IF IDLE", len(sessions), empty, func(i int) []any {
		s := sessions[i]
		return []any{s.ID, s.Email, s.Device, s.IP, timestamp(s.LastSeenAt), timestamp(s.IdleExpiresAt)}
	})
}
