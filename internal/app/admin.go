package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/config"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// Admin implements the operator's commands of cmd/latchkey. They work on the live stores, and
// running servers notice each change at the next request.
type Admin struct{ parts }

// OpenAdmin prepares the connections to the stores. Warnings go to logTo.
func OpenAdmin(c config.Config, logTo io.Writer) (*Admin, error) {
	// The commands print what they do, so the log is for warnings only.
	c.LogLevel = max(c.LogLevel, slog.LevelWarn)
	cacheLog := slog.New(slog.DiscardHandler) // see SilentServers
	p, err := newParts(c, nil, nil, newLogger(c, logTo), cacheLog)
	if err != nil {
		return nil, err
	}

	return &Admin{p}, nil
}

// Close closes the connections.
func (a *Admin) Close() { a.close() }

// SilentServers returns the number of times that a server did not respond when sessions ended. The
// sessions have ended there, too, because the command waited until the server could no longer use those
// in its memory.
func (a *Admin) SilentServers() int {
	if a.cache == nil {
		return 0
	}

	return int(a.cache.Stats().Unacknowledged) //nolint:gosec // a small number
}

// Find finds an account by its ID or email, even if it is unreadable. It also accepts an _id that is
// not an ObjectID, as the list of users shows it.
func (a *Admin) Find(ctx context.Context, ref string) (user.Listed, error) {
	found, err := a.users.Find(ctx, ref)
	switch {
	case errors.Is(err, user.ErrBadEmail):
		err = fmt.Errorf("%q is not a valid email", ref)
	case err != nil:
		err = fmt.Errorf("%s: %w", ref, err)
	}

	return found, err
}

// owner finds an account that may have sessions. It may be unreadable, but its _id must be an
// ObjectID: nobody can have signed in to any other account.
func (a *Admin) owner(ctx context.Context, ref string) (user.User, error) {
	found, err := a.Find(ctx, ref)
	if err == nil && !user.IsID(found.ID) {
		err = fmt.Errorf("%s: %w", ref, found.Err())
	}

	return found.User, err
}

// Methods returns the sign-in methods of an account: "password" and the names of providers.
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

// CreateUser creates an account.
func (a *Admin) CreateUser(ctx context.Context, name, email, password string) (user.User, error) {
	parsedName, err := user.ParseName(name)
	if err != nil {
		return user.User{}, fmt.Errorf("name must have 1 to %d characters and no control characters", user.MaxNameLength)
	}
	parsedEmail, err := user.ParseEmail(email)
	if err != nil {
		return user.User{}, fmt.Errorf("%q is not a valid email", email)
	}

	// Another application may have stored the email in another spelling.
	if _, err := a.users.Prepare(ctx); err != nil {
		return user.User{}, err
	}

	u, err := a.auth.CreateUser(ctx, auth.Registration{
		Name:     parsedName,
		Email:    parsedEmail,
		Password: password,
	})
	if err == nil {
		a.record(ctx, activity.Event{Name: activity.Registered, UserID: u.ID})
	}

	return u, explainWeak(err)
}

// explainWeak completes the message of a rejected password.
func explainWeak(err error) error {
	var weak *auth.WeakPasswordError
	if errors.As(err, &weak) {
		return fmt.Errorf("password %w", err)
	}

	return err
}

// record adds a security event to the account's activity, which its owner can see.
func (a *Admin) record(ctx context.Context, e activity.Event) {
	e.By = "operator"
	a.activity.Record(ctx, e)
}

// SetPassword changes an account's password and ends the account's sessions. It returns the
// number of sessions ended.
func (a *Admin) SetPassword(ctx context.Context, ref, password string) (user.User, int, error) {
	u, n, err := a.change(ctx, ref, activity.Event{Name: activity.PasswordChanged}, func(caller auth.Caller) (auth.Changed, error) {
		return a.auth.SetPassword(ctx, caller, password)
	})

	return u, n, explainWeak(err)
}

// Unlink unlinks an external account from an account and ends the account's sessions. It returns
// the number of sessions ended.
func (a *Admin) Unlink(ctx context.Context, ref, provider string) (user.User, int, error) {
	event := activity.Event{Name: activity.IdentityUnlinked, Provider: provider}

	return a.change(ctx, ref, event, func(caller auth.Caller) (auth.Changed, error) {
		changed, err := a.auth.Unlink(ctx, caller, provider)
		if err != nil {
			err = fmt.Errorf("%s, %s: %w", ref, provider, err)
		}

		return changed, err
	})
}

// Disable prevents an account from logging in and ends its sessions. It returns the number
// of sessions ended.
func (a *Admin) Disable(ctx context.Context, ref string) (user.User, int, error) {
	found, err := a.Find(ctx, ref)
	if err != nil {
		return user.User{}, 0, err
	}
	if !user.IsID(found.ID) { // see owner
		disabled, err := a.users.SetActive(ctx, found.ID, false)
		return disabled.User, 0, err
	}

	return a.change(ctx, found.ID, activity.Event{Name: activity.AccountDisabled}, func(caller auth.Caller) (auth.Changed, error) {
		return a.auth.Disable(ctx, caller, session.AccountDisabled)
	})
}

// Delete removes an account and ends its sessions. It returns the number of sessions ended.
//
// It removes the account last. Until then the account is disabled, so that the command can be
// run again if it fails.
func (a *Admin) Delete(ctx context.Context, ref string) (user.User, int, error) {
	found, err := a.Find(ctx, ref)
	if err != nil {
		return user.User{}, 0, err
	}
	if !user.IsID(found.ID) { // see owner
		return found.User, 0, a.users.Delete(ctx, found.ID)
	}

	return a.change(ctx, found.ID, activity.Event{Name: activity.AccountDeleted}, func(caller auth.Caller) (auth.Changed, error) {
		changed, err := a.auth.Disable(ctx, caller, session.AccountDeleted)
		if err == nil {
			err = a.auth.Remove(ctx, found.User)
		}
		if err != nil && changed.User.ID != "" {
			a.record(ctx, activity.Event{Name: activity.AccountDisabled, UserID: caller.UserID})
			return auth.Changed{}, fmt.Errorf("the account is disabled, but not deleted; run the command again: %w", err)
		}

		return changed, err
	})
}

// Enable lets an account log in again.
func (a *Admin) Enable(ctx context.Context, ref string) (user.Listed, error) {
	found, err := a.Find(ctx, ref)
	if err != nil {
		return user.Listed{}, err
	}

	enabled, err := a.users.SetActive(ctx, found.ID, true)
	if err == nil && user.IsID(found.ID) {
		a.record(ctx, activity.Event{Name: activity.AccountEnabled, UserID: found.ID})
	}

	return enabled, err
}

// change applies a change to an account and records a security event. The account may be
// unreadable.
func (a *Admin) change(ctx context.Context, ref string, event activity.Event, apply func(auth.Caller) (auth.Changed, error)) (user.User, int, error) {
	u, err := a.owner(ctx, ref)
	if err != nil {
		return user.User{}, 0, err
	}

	changed, err := apply(auth.Operator(u.ID))
	if changed.User.ID == "" {
		return user.User{}, 0, err
	}

	event.UserID = u.ID
	a.record(ctx, event)
	if err != nil {
		err = fmt.Errorf("the account was changed, but some of its sessions may still be live; "+
			"end them with latchkey sessions revoke --user %s: %w", u.ID, err)
	}

	return changed.User, changed.Ended, err
}

// Sessions returns the live sessions of an account, most recently used first.
func (a *Admin) Sessions(ctx context.Context, ref string) ([]*session.Session, error) {
	u, err := a.owner(ctx, ref)
	if err != nil {
		return nil, err
	}

	return a.sessions.List(ctx, u.ID)
}

// Session returns a live session by its ID.
func (a *Admin) Session(ctx context.Context, id string) (*session.Session, error) {
	s, err := a.sessions.ByID(ctx, id)
	if errors.Is(err, session.ErrNotFound) {
		err = fmt.Errorf("%s: %w", id, err)
	}

	return s, err
}

// RevokeSession ends a live session by its ID.
func (a *Admin) RevokeSession(ctx context.Context, id string) error {
	s, err := a.Session(ctx, id)
	if err != nil {
		return err
	}
	if err := a.auth.RevokeSession(ctx, auth.Operator(s.UserID), id); err != nil {
		return err
	}

	a.record(ctx, activity.Event{Name: activity.SessionRevoked, UserID: s.UserID, SessionID: id})

	return nil
}

// RevokeUser ends the sessions of an account, revokes its known devices, and returns the number of
// sessions ended. It also accepts the ID of a deleted account.
func (a *Admin) RevokeUser(ctx context.Context, ref string) (int, error) {
	id := ref
	u, err := a.owner(ctx, ref)
	switch {
	case err == nil:
		id = u.ID
	case !user.IsID(ref) || !errors.Is(err, user.ErrNotFound):
		return 0, err
	}

	changed, err := a.auth.RevokeSessions(ctx, id, "")
	if err == nil {
		a.record(ctx, activity.Event{Name: activity.SessionsRevoked, UserID: id, Count: changed.Ended})
	}

	return changed.Ended, err
}

// RevokeEverything ends the sessions of all users and returns the number of sessions ended.
// progress is called periodically with the number ended so far.
func (a *Admin) RevokeEverything(ctx context.Context, progress func(ended int)) (int, error) {
	n, err := a.sessions.RevokeEverything(ctx, progress)
	if err != nil {
		return n, err
	}

	a.record(ctx, activity.Event{Name: activity.SessionsRevoked, Count: n})

	// An attacker with one of the sessions may have requested an email change.
	return n, a.users.RevokeAllTokens(ctx, user.EmailChangeToken)
}

// Count returns the number of live sessions and of users with at least one.
func (a *Admin) Count(ctx context.Context) (sessions, users int, err error) {
	return a.sessions.Count(ctx)
}
