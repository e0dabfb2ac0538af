package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"latchkey/internal/user"
)

func (c *cli) listUsers(ctx context.Context, _ []string) error {
	users, err := c.Users(ctx, c.limit)
	if err != nil {
		return err
	}
	if c.json {
		shown := make([]shownUser, len(users))
		for i, u := range users {
			shown[i] = showUser(u)
		}
		return c.printJSON(shown)
	}
	return c.table("ID\tEMAIL\tNAME\tSTATE\tLAST LOGIN", len(users), "no users", func(i int) []any {
		u := users[i]
		return []any{u.ID, u.Email, u.Name, state(u), moment(u.LastLogin)}
	})
}

func (c *cli) showUser(ctx context.Context, args []string) error {
	u, err := c.User(ctx, args[0])
	if err != nil {
		return err
	}
	return c.printUser(ctx, u)
}

func (c *cli) createUser(ctx context.Context, args []string) error {
	password, err := c.password(ctx)
	if err != nil {
		return err
	}
	u, err := c.CreateUser(ctx, args[1], args[0], password)
	if err != nil {
		return err
	}
	return c.printUser(ctx, u)
}

func (c *cli) setPassword(ctx context.Context, args []string) error {
	password, err := c.password(ctx)
	if err != nil {
		return err
	}
	u, n, err := c.SetPassword(ctx, args[0], password)
	if err != nil {
		return err
	}
	return c.ended(string(u.Email)+" has another password; ", n)
}

func (c *cli) unlink(ctx context.Context, args []string) error {
	u, n, err := c.Unlink(ctx, args[0], args[1])
	if err != nil {
		return err
	}
	return c.ended(string(u.Email)+" does not log in by "+args[1]+" any more; ", n)
}

func (c *cli) disable(ctx context.Context, args []string) error {
	u, n, err := c.Disable(ctx, args[0])
	if err != nil {
		return err
	}
	return c.ended(string(u.Email)+" is disabled; ", n)
}

func (c *cli) enable(ctx context.Context, args []string) error {
	u, err := c.Enable(ctx, args[0])
	if err != nil {
		return err
	}
	return c.printUser(ctx, u)
}

func (c *cli) delete(ctx context.Context, args []string) error {
	u, err := c.User(ctx, args[0])
	if err != nil {
		return err
	}
	if err := c.confirm(ctx, fmt.Sprintf("Delete the account of %s (%s)?", u.Email, u.Name)); err != nil {
		return err
	}
	u, n, err := c.Delete(ctx, u.ID)
	if err != nil {
		return err
	}
	return c.ended(string(u.Email)+" is deleted; ", n)
}

// shownUser is an account for programs, under the names of the API.
type shownUser struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Email     user.Email `json:"email"`
	Verified  bool       `json:"emailVerified"`
	IsActive  bool       `json:"isActive"`
	LastLogin time.Time  `json:"lastLogin,omitzero"`
	CreatedAt time.Time  `json:"createdAt"`
	UpdatedAt time.Time  `json:"updatedAt"`
	// Methods are the ways to log in, where they were asked for.
	Methods []string `json:"methods,omitempty"`
}

func showUser(u user.User) shownUser {
	return shownUser{u.ID, u.Name, u.Email, u.EmailVerified, u.Active, u.LastLogin, u.CreatedAt, u.UpdatedAt, nil}
}

func (c *cli) printUser(ctx context.Context, u user.User) error {
	methods, err := c.Methods(ctx, u)
	if err != nil {
		return err
	}
	if c.json {
		shown := showUser(u)
		shown.Methods = methods
		return c.printJSON(shown)
	}
	return c.fields("id", u.ID, "email", address(u), "name", u.Name, "state", state(u), "logs in by", strings.Join(methods, ", "),
		"last login", moment(u.LastLogin), "created", moment(u.CreatedAt), "updated", moment(u.UpdatedAt))
}

// address is the address of an account, and whether its owner is known to read mail
// there.
func address(u user.User) string {
	if u.EmailVerified {
		return string(u.Email) + " (verified)"
	}
	return string(u.Email) + " (not verified)"
}

func state(u user.User) string {
	if u.Active {
		return "active"
	}
	return "disabled"
}
