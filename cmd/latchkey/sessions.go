package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

const sessionsHelp = `List and end sessions in the live stores.

USER is the ID or the email of an account. SESSION is a sessionId of the API.`

func newSessions(p *program) *cobra.Command {
	return addJSON(newGroup("sessions", "List and end sessions", sessionsHelp,
		newListSessions(p),
		&cobra.Command{
			Use:   "show SESSION",
			Short: "Show one session",
			Args:  arguments("SESSION"),
			RunE:  p.onStores(showSession),
		},
		newRevoke(p),
		&cobra.Command{
			Use:   "stats",
			Short: "Count live sessions and signed-in users",
			Args:  arguments(),
			RunE:  p.onStores(countSessions),
		},
	))
}

func newRevoke(p *program) *cobra.Command {
	var user string
	var all bool

	cmd := &cobra.Command{
		Use:   "revoke {SESSION | --user USER | --all}",
		Short: "End one session, an account's sessions, or all sessions",
		Example: `  latchkey sessions revoke --user ann@example.com
  latchkey sessions revoke --all --yes`,
		Args: func(cmd *cobra.Command, args []string) error {
			choices := len(args)
			if user != "" {
				choices++
			}
			if all {
				choices++
			}
			if choices != 1 {
				return &usageError{text: "give exactly one of SESSION, --user USER and --all", command: cmd.CommandPath()}
			}

			return nil
		},
		RunE: p.onStores(func(ctx context.Context, c *cli, args []string) error {
			switch {
			case all:
				return revokeAll(ctx, c)
			case user != "":
				n, err := c.RevokeUser(ctx, user)
				return c.ended("", n, err)
			default:
				return c.ended("", 1, c.RevokeSession(ctx, args[0]))
			}
		}),
	}
	cmd.Flags().StringVar(&user, "user", "", "end all sessions of the account `USER`")
	cmd.Flags().BoolVar(&all, "all", false, "end all sessions of all users; asks for confirmation")

	return addYes(cmd)
}

func showSession(ctx context.Context, c *cli, args []string) error {
	s, err := c.Session(ctx, args[0])
	if err != nil {
		return err
	}

	if c.json {
		return c.printJSON(s)
	}

	return c.fields(
		"id", s.ID,
		"user", s.UserID,
		"email", s.Email,
		"device", s.Device,
		"ip", s.IP,
		"created", timestamp(s.CreatedAt),
		"last seen", timestamp(s.LastSeenAt),
		"expires if idle", timestamp(s.IdleExpiresAt),
		"expires", timestamp(s.ExpiresAt),
		"signed in with", s.Names(", ")+" ("+s.Level()+")",
	)
}

func revokeAll(ctx context.Context, c *cli) error {
	if err := c.confirm(ctx, "End the sessions of all users?"); err != nil {
		return err
	}

	reported := time.Now()
	n, err := c.RevokeEverything(ctx, func(ended int) {
		if time.Since(reported) < time.Second {
			return
		}

		reported = time.Now()
		_, _ = fmt.Fprintln(c.messages, count(ended, "session"), "ended so far")
	})
	if err != nil {
		return fmt.Errorf("failed after %s ended: %w", count(n, "session"), err)
	}

	return c.ended("", n, nil)
}

func countSessions(ctx context.Context, c *cli, _ []string) error {
	sessions, users, err := c.Count(ctx)
	if err != nil {
		return err
	}

	if c.json {
		return c.printJSON(map[string]int{"sessions": sessions, "users": users})
	}

	return c.fields("sessions", sessions, "users", users)
}
