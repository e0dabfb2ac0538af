package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"latchkey/internal/user"
)

const listUsersHelp = `List accounts, the newest first.

Each page ends with the command for the next one, on standard error. The last page has fewer
accounts than --limit.`

const searchHelp = `Search accounts by email or name.

TEXT is the beginning of an email, for example ann@ or ann. MongoDB finds it with an index, however many
accounts there are. The list is sorted by email.

With --anywhere, TEXT may be anywhere in an email or a name, and its case does not matter. MongoDB then
reads one account after the other until the page is full, and every account for the last page, which
takes a long time if there are many. The list begins with the newest account.`

const verifyHelp = `Mark the email of an account as verified, as if its owner had opened the link in the email.

Do this only if you know that the email belongs to the owner of the account. A link that was sent before
stops working. If the owner of the email later signs in with a provider, the account becomes
theirs: its password and its sessions end.`

func newListUsers(p *program) *cobra.Command {
	var pg page

	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List accounts, the newest first",
		Long:    listUsersHelp,
		Args:    arguments(),
		PreRunE: pg.check,
		RunE: p.onStores(func(ctx context.Context, c *cli, _ []string) error {
			users, err := c.Users(ctx, pg.after, pg.limit+1)
			if err != nil {
				return err
			}

			return c.printUsers(users, &pg, func(u user.Listed) string { return u.ID })
		}),
	}
	pg.addTo(cmd, "accounts", "begin after the account with this `ID`")

	return cmd
}

func newSearchUsers(p *program) *cobra.Command {
	var pg page
	var anywhere bool

	cmd := &cobra.Command{
		Use:   "search TEXT",
		Short: "Search accounts by email or name",
		Long:  searchHelp,
		Example: `  latchkey users search ann@
  latchkey users search --anywhere smith`,
		Args:    arguments("TEXT"),
		PreRunE: pg.check,
		RunE: p.onStores(func(ctx context.Context, c *cli, args []string) error {
			search := c.SearchEmails
			position := func(u user.Listed) string { return string(u.Email) }
			if anywhere {
				search = c.SearchUsers
				position = func(u user.Listed) string { return u.ID }
			}

			users, err := search(ctx, args[0], pg.after, pg.limit+1)
			if err != nil {
				return err
			}

			isFirst := pg.after == ""
			if len(users) == 0 && isFirst && !anywhere {
				_, _ = fmt.Fprintln(c.messages, "No email begins with this text. To search all of the email and the name, add --anywhere")
			}

			return c.printUsers(users, &pg, position)
		}),
	}
	cmd.Flags().BoolVar(&anywhere, "anywhere", false, "search the whole email and the name; reads every account")
	pg.addTo(cmd, "accounts", "begin after this `EMAIL` or, with --anywhere, ID")

	return cmd
}

// printUsers prints a page of accounts. users has one account more if there is another page. position
// returns the value of --after for the page after an account.
func (c *cli) printUsers(users []user.Listed, pg *page, position func(user.Listed) string) error {
	next := ""
	if len(users) > pg.limit {
		users = users[:pg.limit]
		next = position(users[pg.limit-1])
	}
	defer pg.hint(c, next)

	if c.json {
		views := make([]any, len(users))
		for i, u := range users {
			views[i] = viewOf(u)
		}

		return c.printJSON(views)
	}

	return c.table("ID\tEMAIL\tNAME\tSTATE\tLAST LOGIN", len(users), "no users", func(i int) []any {
		u := users[i]

		return []any{u.ID, u.Email, u.Name, state(u), timestamp(u.LastLogin)}
	})
}

func verifyUser(ctx context.Context, c *cli, args []string) error {
	u, err := c.Verify(ctx, args[0])

	return c.printUser(ctx, u, err)
}
