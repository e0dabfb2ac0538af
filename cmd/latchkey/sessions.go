package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"latchkey/internal/session"
)

func (c *cli) listSessions(ctx context.Context, args []string) error {
	sessions, err := c.Sessions(ctx, args[0])
	if err != nil {
		return err
	}
	if c.json {
		shown := make([]shownSession, len(sessions))
		for i, s := range sessions {
			shown[i] = show(s)
		}
		return c.printJSON(shown)
	}
	return c.table("ID\tDEVICE\tADDRESS\tLAST SEEN\tEXPIRES", len(sessions), "no sessions", func(i int) []any {
		s := sessions[i]
		return []any{s.Handle, session.Device(s.UserAgent()), s.IP, moment(s.LastSeenAt), moment(s.IdleExpiresAt)}
	})
}

func (c *cli) showSession(ctx context.Context, args []string) error {
	s, err := c.Session(ctx, args[0])
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(show(s))
	}
	return c.fields(
		"id", s.Handle, "user", s.UserID, "email", s.Email, "device", session.Device(s.UserAgent()), "address", s.IP,
		"created", moment(s.CreatedAt), "last seen", moment(s.LastSeenAt), "idle until", moment(s.IdleExpiresAt),
		"expires", moment(s.ExpiresAt), "methods", strings.Join(s.Methods, ", "))
}

func (c *cli) revoke(ctx context.Context, args []string) error {
	var n int
	var err error
	switch {
	case len(args) == 1 && c.user == "" && !c.all:
		n, err = 1, c.RevokeSession(ctx, args[0])
	case len(args) == 0 && c.user != "" && !c.all:
		n, err = c.RevokeUser(ctx, c.user)
	case len(args) == 0 && c.user == "" && c.all:
		if err := c.confirm(ctx, "End the sessions of all users?"); err != nil {
			return err
		}
		last := time.Now()
		n, err = c.RevokeEverything(ctx, func(ended int) {
			if time.Since(last) >= time.Second {
				last = time.Now()
				_, _ = fmt.Fprintf(c.asides, "%d ended\n", ended)
			}
		})
		if err != nil {
			err = fmt.Errorf("%d ended, then: %w", n, err)
		}
	default:
		return errors.New("sessions revoke: takes one of HANDLE, --user USER and --all; see latchkey help")
	}
	if err != nil {
		return err
	}
	return c.ended("", n)
}

func (c *cli) stats(ctx context.Context, _ []string) error {
	stats, err := c.Stats(ctx)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(map[string]int{"sessions": stats.Sessions, "users": stats.Users})
	}
	return c.fields("sessions", stats.Sessions, "users", stats.Users)
}

// shownSession is a session for programs, under the names of the API.
type shownSession struct {
	ID              string    `json:"id"`
	UserID          string    `json:"userId"`
	Email           string    `json:"email"`
	Device          string    `json:"device"`
	IP              string    `json:"ip"`
	UserAgent       string    `json:"userAgent"`
	CreatedAt       time.Time `json:"createdAt"`
	LastSeenAt      time.Time `json:"lastSeenAt"`
	IdleExpiresAt   time.Time `json:"idleExpiresAt"`
	ExpiresAt       time.Time `json:"expiresAt"`
	AuthenticatedAt time.Time `json:"authenticatedAt"`
	Methods         []string  `json:"methods"`
}

func show(s *session.Session) shownSession {
	return shownSession{
		ID: s.Handle, UserID: s.UserID, Email: s.Email, Device: session.Device(s.UserAgent()), IP: s.IP, UserAgent: s.UserAgent(),
		CreatedAt: s.CreatedAt, LastSeenAt: s.LastSeenAt, IdleExpiresAt: s.IdleExpiresAt, ExpiresAt: s.ExpiresAt,
		AuthenticatedAt: s.AuthenticatedAt, Methods: s.Methods,
	}
}
