package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"latchkey/internal/user"
)

const usersHelp = `Manage accounts in the live stores.

USER is the ID or the email of an account. An account whose _id in MongoDB is not an ObjectID
can be shown, disabled and deleted by the ID that the list shows. Put that ID in single quotes.`

func newUsers(p *program) *cobra.Command {
	return addJSON(newGroup("users", "Manage accounts", usersHelp,
		newListUsers(p),
		newSearchUsers(p),
		&cobra.Command{
			Use:   "show USER",
			Short: "Show an account",
			Args:  arguments("USER"),
			RunE:  p.onStores(showUser),
		},
		&cobra.Command{
			Use:     "create EMAIL NAME",
			Short:   "Create an account",
			Long:    "Create an account.\n\nThe password is read from the terminal, or from the first line of standard input.",
			Example: `  latchkey users create ann@example.com "Ann Smith"`,
			Args:    arguments("EMAIL", "NAME"),
			RunE:    p.onStores(createUser),
		},
		newInvite(p),
		newInvitations(p),
		newUninvite(p),
		&cobra.Command{
			Use:   "set-password USER",
			Short: "Change the password and end all sessions of an account",
			Long:  "Change the password and end all sessions of an account.\n\nThe password is read from the terminal, or from the first line of standard input.",
			Args:  arguments("USER"),
			RunE:  p.onStores(setPassword),
		},
		&cobra.Command{
			Use:   "verify USER",
			Short: "Mark the email of an account as verified",
			Long:  verifyHelp,
			Args:  arguments("USER"),
			RunE:  p.onStores(verifyUser),
		},
		&cobra.Command{
			Use:     "unlink USER PROVIDER",
			Short:   "Unlink a sign-in provider and end all sessions of an account",
			Example: "  latchkey users unlink ann@example.com google",
			Args:    arguments("USER", "PROVIDER"),
			RunE:    p.onStores(unlink),
		},
		newResetFactors(p),
		&cobra.Command{
			Use:   "disable USER",
			Short: "Block logins and end all sessions of an account",
			Args:  arguments("USER"),
			RunE:  p.onStores(disable),
		},
		&cobra.Command{
			Use:   "enable USER",
			Short: "Allow logins again",
			Args:  arguments("USER"),
			RunE:  p.onStores(enable),
		},
		addYes(&cobra.Command{
			Use:   "delete USER",
			Short: "Delete an account and end all its sessions; asks for confirmation",
			Args:  arguments("USER"),
			RunE:  p.onStores(deleteUser),
		}),
	))
}

// unreadableView is an unreadable account in JSON.
type unreadableView struct {
	ID         string     `json:"id"`
	Email      user.Email `json:"email,omitempty"`
	Name       string     `json:"name,omitempty"`
	Unreadable string     `json:"unreadable"`
}

// viewOf returns an account as shown in JSON.
func viewOf(u user.Listed) any {
	if u.Unreadable == "" {
		return u.View()
	}

	return unreadableView{
		ID:         u.ID,
		Email:      u.Email,
		Name:       u.Name,
		Unreadable: u.Unreadable,
	}
}

func showUser(ctx context.Context, c *cli, args []string) error {
	u, err := c.Find(ctx, args[0])

	return c.printUser(ctx, u, err)
}

func createUser(ctx context.Context, c *cli, args []string) error {
	email, name := args[0], args[1]

	password, err := c.password(ctx)
	if err != nil {
		return err
	}

	u, err := c.CreateUser(ctx, name, email, password)

	return c.printUser(ctx, user.Listed{User: u}, err)
}

func setPassword(ctx context.Context, c *cli, args []string) error {
	password, err := c.password(ctx)
	if err != nil {
		return err
	}

	u, n, err := c.SetPassword(ctx, args[0], password)

	return c.ended("Password of "+string(u.Email)+" changed", n, err)
}

func unlink(ctx context.Context, c *cli, args []string) error {
	u, n, err := c.Unlink(ctx, args[0], args[1])

	return c.ended(fmt.Sprintf("Unlinked %s from %s", args[1], u.Email), n, err)
}

func disable(ctx context.Context, c *cli, args []string) error {
	u, n, err := c.Disable(ctx, args[0])

	return c.ended("Disabled "+emailOrID(u), n, err)
}

func enable(ctx context.Context, c *cli, args []string) error {
	u, err := c.Enable(ctx, args[0])

	return c.printUser(ctx, u, err)
}

func deleteUser(ctx context.Context, c *cli, args []string) error {
	found, err := c.Find(ctx, args[0])
	if err != nil {
		return err
	}
	if err := c.confirm(ctx, fmt.Sprintf("Delete the account %s (%s)?", emailOrID(found.User), found.Name)); err != nil {
		return err
	}

	u, n, err := c.Delete(ctx, found.ID)

	return c.ended("Deleted "+emailOrID(u), n, err)
}

// emailOrID returns the email of an account, or its ID if the email is unreadable.
func emailOrID(u user.User) string { return cmp.Or(string(u.Email), u.ID) }

// printUser prints u and how its owner can sign in. It returns err if that is not nil.
func (c *cli) printUser(ctx context.Context, u user.Listed, err error) error {
	switch {
	case err != nil:
		return err
	case u.Unreadable != "":
		return c.printUnreadable(u)
	}

	methods, err := c.Methods(ctx, u.User)
	if err != nil {
		return err
	}

	factors := c.factorsOf(u.User)
	if c.json {
		return c.printJSON(struct {
			user.View
			Methods []string `json:"methods,omitempty"`
			factorsView
		}{
			View:        u.View(),
			Methods:     methods,
			factorsView: factors,
		})
	}

	pairs := []any{
		"id", u.ID,
		"email", emailStatus(u.User),
		"name", u.Name,
		"state", state(u),
		"sign-in methods", strings.Join(methods, ", "),
	}
	pairs = append(pairs, factors.fields()...)

	return c.fields(append(pairs,
		"last login", timestamp(u.LastLogin),
		"created", timestamp(u.CreatedAt),
		"updated", timestamp(u.UpdatedAt),
	)...)
}

// printUnreadable prints the readable fields of an account.
func (c *cli) printUnreadable(u user.Listed) error {
	if c.json {
		return c.printJSON(viewOf(u))
	}

	return c.fields(
		"id", u.ID,
		"email", u.Email,
		"name", u.Name,
		"state", state(u),
	)
}

// emailStatus returns the email and whether it is verified.
func emailStatus(u user.User) string {
	if u.EmailVerified {
		return string(u.Email) + " (verified)"
	}

	return string(u.Email) + " (not verified)"
}

func state(u user.Listed) string {
	switch {
	case u.Unreadable != "":
		return "unreadable: " + u.Unreadable
	case u.Active:
		return "active"
	}

	return "disabled"
}
