package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/config"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// Admin is what an operator does to the live stores, beside running servers: the
// commands of cmd/latchkey. Each change takes effect at the next request.
type Admin struct{ parts }

// OpenAdmin connects to the stores that the settings name. Warnings go to logTo.
func OpenAdmin(c config.Config, logTo io.Writer) (*Admin, error) {
	// What the commands do is printed by them; the log is for what goes wrong.
	c.LogLevel = max(c.LogLevel, slog.LevelWarn)
	p, err := newParts(c, nil, nil, newLogger(c, logTo))
	if err != nil {
		return nil, err
	}
	return &Admin{p}, nil
}

// Close ends the connections.
func (a *Admin) Close() { a.close() }

// User finds an account by its id or its email address.
func (a *Admin) User(ctx context.Context, ref string) (user.User, error) {
	if !strings.Contains(ref, "@") {
		return named(ref)(a.users.ByID(ctx, ref))
	}
	email, err := user.ParseEmail(ref)
	if err != nil {
		return user.User{}, fmt.Errorf("%q is %w", ref, err)
	}
	return named(ref)(a.users.ByEmail(ctx, email))
}

// Methods are the ways to log in to an account: "password", and the names of providers.
func (a *Admin) Methods(ctx context.Context, u user.User) ([]string, error) {
	var methods []string
	if u.PasswordHash != "" {
		methods = append(methods, "password")
	}
	identities, err := a.users.Identities(ctx, u.ID)
	for _, i := range identities {
		methods = append(methods, i.Provider)
	}
	return methods, err
}

// named adds to an error what was looked for.
func named(ref string) func(user.User, error) (user.User, error) {
	return func(u user.User, err error) (user.User, error) {
		if err != nil {
			err = fmt.Errorf("%s: %w", ref, err)
		}
		return u, err
	}
}

// Users returns up to limit accounts, the latest first.
func (a *Admin) Users(ctx context.Context, limit int64) ([]user.User, error) {
	return a.users.List(ctx, limit)
}

// CreateUser makes an account.
func (a *Admin) CreateUser(ctx context.Context, name, address, password string) (user.User, error) {
	name, err := user.ParseName(name)
	if err != nil {
		return user.User{}, fmt.Errorf("the name is %w", err)
	}
	email, err := user.ParseEmail(address)
	if err != nil {
		return user.User{}, fmt.Errorf("%q is %w", address, err)
	}
	u, err := a.passwords.Register(ctx, name, email, password)
	if err == nil {
		a.record(ctx, activity.Registered, u.ID)
	}
	return u, weak(err)
}

// weak says what is wrong where a password is refused.
func weak(err error) error {
	var weak *auth.WeakPasswordError
	if errors.As(err, &weak) {
		return fmt.Errorf("the password %w", err)
	}
	return err
}

// record notes what an operator has done, where the owner of the account sees it.
func (a *Admin) record(ctx context.Context, name activity.Name, userID string) {
	a.activity.Record(ctx, activity.Event{Name: name, UserID: userID, By: "operator"})
}

// SetPassword gives an account another password and ends its sessions, of which it
// returns the number.
func (a *Admin) SetPassword(ctx context.Context, ref, password string) (user.User, int, error) {
	u, n, err := a.change(ctx, ref, activity.PasswordChanged, session.PasswordChanged, func(u user.User) (user.User, error) {
		return a.passwords.SetPassword(ctx, u.ID, password)
	})
	return u, n, weak(err)
}

// Unlink removes the account elsewhere of a provider from an account and ends its
// sessions, of which it returns the number.
func (a *Admin) Unlink(ctx context.Context, ref, provider string) (user.User, int, error) {
	u, err := a.User(ctx, ref)
	if err != nil {
		return user.User{}, 0, err
	}
	ended := 0
	_, err = a.passwords.Unlink(ctx, u.ID, provider, auth.Origin{}, func(ctx context.Context, id string) error {
		n, err := a.sessions.RevokeAll(ctx, id, "", session.Revoked)
		ended += n
		return err
	})
	if err != nil {
		return u, ended, fmt.Errorf("%s, %s: %w", ref, provider, err)
	}
	a.activity.Record(ctx, activity.Event{Name: activity.IdentityUnlinked, UserID: u.ID, Provider: provider, By: "operator"})
	return u, ended, nil
}

// Disable keeps an account from logging in and ends its sessions, of which it
// returns the number.
func (a *Admin) Disable(ctx context.Context, ref string) (user.User, int, error) {
	return a.change(ctx, ref, activity.AccountDisabled, session.AccountDisabled, func(u user.User) (user.User, error) {
		return a.users.SetActive(ctx, u.ID, false)
	})
}

// Delete removes an account and ends its sessions, of which it returns the number.
//
// The account goes last: until then it is there, disabled, to run this again.
func (a *Admin) Delete(ctx context.Context, ref string) (user.User, int, error) {
	u, n, err := a.change(ctx, ref, activity.AccountDeleted, session.AccountDeleted, func(u user.User) (user.User, error) {
		return a.users.SetActive(ctx, u.ID, false)
	})
	if err == nil {
		err = a.users.Delete(ctx, u.ID)
	}
	return u, n, err
}

// Enable lets an account log in again.
func (a *Admin) Enable(ctx context.Context, ref string) (user.User, error) {
	u, err := a.User(ctx, ref)
	if err != nil {
		return user.User{}, err
	}
	u, err = a.users.SetActive(ctx, u.ID, true)
	if err == nil {
		a.record(ctx, activity.AccountEnabled, u.ID)
	}
	return u, err
}

// change makes a change to an account, then ends its sessions. In this order a
// login that is under way finds either the change or the end.
func (a *Admin) change(ctx context.Context, ref string, event activity.Name, why session.Reason, make func(user.User) (user.User, error)) (user.User, int, error) {
	u, err := a.User(ctx, ref)
	if err != nil {
		return user.User{}, 0, err
	}
	if u, err = make(u); err != nil {
		return user.User{}, 0, err
	}
	a.record(ctx, event, u.ID)
	n, err := a.sessions.RevokeAll(ctx, u.ID, "", why)
	a.passwords.CancelEmailChange(ctx, u.ID)
	if err != nil {
		err = fmt.Errorf("the account is changed, but not all of its sessions have ended; run it again: %w", err)
	}
	return u, n, err
}

// Sessions returns the live sessions of an account, the one last used first.
func (a *Admin) Sessions(ctx context.Context, ref string) ([]*session.Session, error) {
	u, err := a.User(ctx, ref)
	if err != nil {
		return nil, err
	}
	return a.sessions.List(ctx, u.ID)
}

// Session returns a live session by its handle.
func (a *Admin) Session(ctx context.Context, handle string) (*session.Session, error) {
	s, err := a.sessions.Show(ctx, handle)
	if errors.Is(err, session.ErrNotFound) {
		err = fmt.Errorf("%s: %w", handle, err)
	}
	return s, err
}

// RevokeSession ends a live session by its handle.
func (a *Admin) RevokeSession(ctx context.Context, handle string) error {
	s, err := a.Session(ctx, handle)
	if err != nil {
		return err
	}
	if err := a.sessions.Revoke(ctx, s.UserID, handle, session.Revoked); err != nil {
		return err
	}
	a.passwords.CancelEmailChange(ctx, s.UserID)
	a.activity.Record(ctx, activity.Event{Name: activity.SessionRevoked, UserID: s.UserID, SessionID: handle, By: "operator"})
	return nil
}

// RevokeUser ends the sessions of an account and returns how many it were. An id
// may be that of an account that is gone.
func (a *Admin) RevokeUser(ctx context.Context, ref string) (int, error) {
	id := ref
	u, err := a.User(ctx, ref)
	switch {
	case err == nil:
		id = u.ID
	case !user.IsID(ref) || !errors.Is(err, user.ErrNotFound):
		return 0, err
	}
	n, err := a.sessions.RevokeAll(ctx, id, "", session.Revoked)
	if err == nil {
		a.passwords.CancelEmailChange(ctx, id)
		a.activity.Record(ctx, activity.Event{Name: activity.SessionsRevoked, UserID: id, Count: n, By: "operator"})
	}
	return n, err
}

// RevokeEverything ends the sessions of all users, telling progress how many it
// are so far, and returns how many it were.
func (a *Admin) RevokeEverything(ctx context.Context, progress func(ended int)) (int, error) {
	n, err := a.sessions.RevokeEverything(ctx, progress)
	if err == nil {
		a.activity.Record(ctx, activity.Event{Name: activity.SessionsRevoked, Count: n, By: "operator"})
		err = a.users.DropTickets(ctx, user.ChangeTicket) // see auth.Service.CancelEmailChange
	}
	return n, err
}

// Stats counts the live sessions.
func (a *Admin) Stats(ctx context.Context) (session.Stats, error) { return a.sessions.Stats(ctx) }
