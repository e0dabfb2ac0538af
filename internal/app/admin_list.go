package app

import (
	"context"
	"errors"
	"fmt"

	"latchkey/internal/activity"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// Users returns a page of accounts, newest first. The page begins after the account with the ID after,
// or with the newest account if after is "".
func (a *Admin) Users(ctx context.Context, after string, limit int) ([]user.Listed, error) {
	users, err := a.users.List(ctx, user.Page{After: after, Limit: int64(limit)})

	return users, explainPosition(after, err)
}

// SearchEmails returns a page of the accounts whose email begins with a prefix, sorted by email. The
// page begins after the email after, or with the first email if after is "".
func (a *Admin) SearchEmails(ctx context.Context, prefix, after string, limit int) ([]user.Listed, error) {
	return a.users.SearchEmails(ctx, prefix, user.Page{After: after, Limit: int64(limit)})
}

// SearchUsers returns a page of the accounts with a text anywhere in their email or name, newest
// first. The page begins as in Users. MongoDB reads one account after the other until the page is full.
func (a *Admin) SearchUsers(ctx context.Context, text, after string, limit int) ([]user.Listed, error) {
	users, err := a.users.Search(ctx, text, user.Page{After: after, Limit: int64(limit)})

	return users, explainPosition(after, err)
}

// explainPosition completes the message of a rejected position.
func explainPosition(after string, err error) error {
	switch {
	case errors.Is(err, user.ErrBadPosition):
		return fmt.Errorf("--after %s: %w", after, err)
	case errors.Is(err, session.ErrBadPosition):
		return errors.New("--after: not a position from the previous page, or Redis was restarted or replaced since; start again without --after")
	}

	return err
}

// Verify marks the email of an account as verified.
func (a *Admin) Verify(ctx context.Context, ref string) (user.Listed, error) {
	found, err := a.Find(ctx, ref)
	if err == nil {
		err = found.Err()
	}
	if err != nil || found.EmailVerified {
		return found, err
	}

	verified, err := a.users.MarkVerified(ctx, found.ID, found.Email)
	if errors.Is(err, user.ErrNotFound) {
		err = fmt.Errorf("%s: the email changed in the meantime; nothing was verified", ref)
	}
	if err != nil {
		return user.Listed{}, err
	}

	a.record(ctx, activity.Event{Name: activity.EmailVerified, UserID: verified.ID})

	return user.Listed{User: verified}, nil
}

// AllSessions returns a page of the live sessions of all users, in no particular order, and the
// position of the next page, or "" after the last one. after is the position of the page, or "".
func (a *Admin) AllSessions(ctx context.Context, after string, limit int) (sessions []*session.Session, next string, err error) {
	sessions, next, err = a.sessions.Page(ctx, after, limit)

	return sessions, next, explainPosition(after, err)
}
