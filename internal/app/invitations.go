package app

import (
	"context"
	"errors"
	"fmt"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/user"
)

// Invite invites somebody to create an account and emails them a link. name may be empty.
func (a *Admin) Invite(ctx context.Context, email, name string) (user.Email, error) {
	_, to, err := a.invite(ctx, email, name, func(ctx context.Context, email user.Email, name string) (string, error) {
		return "", a.auth.Invite(ctx, email, name)
	})

	return to, err
}

// InviteWithLink is like Invite, but returns the link instead of emailing it.
func (a *Admin) InviteWithLink(ctx context.Context, email, name string) (link string, err error) {
	link, _, err = a.invite(ctx, email, name, a.auth.InviteWithLink)

	return link, err
}

func (a *Admin) invite(
	ctx context.Context, email, name string, invite func(context.Context, user.Email, string) (string, error),
) (link string, to user.Email, err error) {
	if a.auth.Registration().Mode == auth.ClosedRegistration {
		return "", "", errors.New("nobody can accept an invitation with REGISTRATION=closed; set REGISTRATION=invite")
	}

	to, err = user.ParseEmail(email)
	if err != nil {
		return "", "", fmt.Errorf("%q is not a valid email", email)
	}
	if name != "" {
		if name, err = user.ParseName(name); err != nil {
			return "", "", fmt.Errorf("name must have 1 to %d characters and no control characters", user.MaxNameLength)
		}
	}

	// Another application may have stored the email in another spelling.
	if _, err := a.users.Prepare(ctx); err != nil {
		return "", "", err
	}

	link, err = invite(ctx, to, name)
	switch {
	case errors.Is(err, auth.ErrMailNotConfigured):
		err = errors.New("SMTP_URL is not set, so no email can be sent; use --print-link and pass on the link yourself")
	case errors.Is(err, auth.ErrNoBaseURL):
		err = errors.New("PUBLIC_URL is not set, so there is no URL for the link")
	case errors.Is(err, user.ErrEmailTaken):
		err = fmt.Errorf("%s already has an account", to)
	case err == nil:
		a.record(ctx, activity.Event{Name: activity.Invited})
	}

	return link, to, err
}

// Invitations returns the open invitations, newest first.
func (a *Admin) Invitations(ctx context.Context) ([]user.Invitation, error) {
	return a.users.Invitations(ctx)
}

// Uninvite withdraws an invitation.
func (a *Admin) Uninvite(ctx context.Context, email string) (user.Email, error) {
	to, err := user.ParseEmail(email)
	if err != nil {
		return "", fmt.Errorf("%q is not a valid email", email)
	}

	removed, err := a.users.RemoveInvitation(ctx, to)
	switch {
	case err != nil:
		return "", err
	case !removed:
		return "", fmt.Errorf("%s is not invited", to)
	}

	a.record(ctx, activity.Event{Name: activity.InvitationWithdrawn})

	return to, nil
}
