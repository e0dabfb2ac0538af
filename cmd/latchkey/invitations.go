package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func newInvite(p *program) *cobra.Command {
	var name string
	var printLink bool

	cmd := &cobra.Command{
		Use:   "invite EMAIL",
		Short: "Invite somebody to create an account",
		Long: "Invite somebody to create an account, and email them a link. The link works once, until\n" +
			"INVITATION_MAX_AGE has passed. Inviting them again sends a new link, and the old one stops\n" +
			"working.\n\n" +
			"With REGISTRATION=invite only invited users can create an account.",
		Example: `  latchkey users invite ann@example.com --name "Ann Smith"
  latchkey users invite ann@example.com --print-link`,
		Args: arguments("EMAIL"),
		RunE: p.onStores(func(ctx context.Context, c *cli, args []string) error {
			if printLink {
				return inviteWithLink(ctx, c, args[0], name)
			}

			return invite(ctx, c, args[0], name)
		}),
	}
	cmd.Flags().StringVar(&name, "name", "", "suggest a `name` for the account")
	cmd.Flags().BoolVar(&printLink, "print-link", false, "print the link instead of sending an email; anyone with the link can create the account")

	return cmd
}

func newInvitations(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "invitations",
		Short: "List the open invitations",
		Args:  arguments(),
		RunE:  p.onStores(listInvitations),
	}
}

func newUninvite(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "uninvite EMAIL",
		Short: "Withdraw an invitation",
		Args:  arguments("EMAIL"),
		RunE:  p.onStores(uninvite),
	}
}

func invite(ctx context.Context, c *cli, email, name string) error {
	to, err := c.Invite(ctx, email, name)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(map[string]any{"email": to})
	}

	_, err = fmt.Fprintf(c.out, "Invited %s; a running server will send the email\n", printable(to))

	return err
}

func inviteWithLink(ctx context.Context, c *cli, email, name string) error {
	link, err := c.InviteWithLink(ctx, email, name)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(map[string]any{"link": link})
	}

	_, err = fmt.Fprintln(c.out, link)

	return err
}

// invitationView is an invitation in JSON. The link cannot be shown: only its hash is stored.
type invitationView struct {
	Email     string    `json:"email"`
	Name      string    `json:"name,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt"`
}

func listInvitations(ctx context.Context, c *cli, _ []string) error {
	all, err := c.Invitations(ctx)
	if err != nil {
		return err
	}

	if c.json {
		views := make([]invitationView, len(all))
		for i, invitation := range all {
			views[i] = invitationView{
				Email:     string(invitation.Email),
				Name:      invitation.Name,
				CreatedAt: invitation.CreatedAt,
				ExpiresAt: invitation.Expires,
			}
		}

		return c.printJSON(views)
	}

	return c.table("EMAIL\tNAME\tINVITED\tEXPIRES", len(all), "no open invitations", func(i int) []any {
		return []any{all[i].Email, all[i].Name, timestamp(all[i].CreatedAt), timestamp(all[i].Expires)}
	})
}

func uninvite(ctx context.Context, c *cli, args []string) error {
	email, err := c.Uninvite(ctx, args[0])
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(map[string]any{"email": email})
	}

	_, err = fmt.Fprintf(c.out, "Invitation of %s withdrawn\n", printable(email))

	return err
}
