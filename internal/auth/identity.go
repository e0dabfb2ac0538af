package auth

import (
	"context"
	"errors"
	"slices"

	"latchkey/internal/mail"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// Link links an external account to the account of a signed-in user and notifies the owner.
// Errors: session.ErrNotFound if the session has ended, session.ErrUnavailable,
// user.ErrIdentityTaken, user.ErrAlreadyLinked, user.ErrNotFound, user.ErrUnavailable.
func (s *Service) Link(ctx context.Context, caller Caller, c user.Claims) error {
	if err := s.sessionLives(ctx, caller); err != nil {
		return err
	}

	u, err := s.users.ByID(ctx, caller.UserID)
	if err == nil && !u.Active {
		err = user.ErrNotFound
	}
	if err != nil {
		return err
	}

	added, err := s.connect(ctx, u.ID, c, func() error {
		if err := s.sessionLives(ctx, caller); err != nil {
			return err
		}

		return s.users.ClearUnlinked(ctx, u.ID, c.Provider)
	})
	if added {
		s.notifyOfProvider(ctx, mail.IdentityLinked, c, u, caller.Client)
	}

	return err
}

// sessionLives checks that the caller's session has not ended. It looks the session up by ID
// because the context may not contain it: with SameSite=Strict, a browser that returns from
// a provider does not send the cookie. Errors: session.ErrNotFound, session.ErrUnavailable.
func (s *Service) sessionLives(ctx context.Context, caller Caller) error {
	current, err := s.sessions.ByID(ctx, caller.SessionID)
	if err == nil && current.UserID != caller.UserID {
		err = session.ErrNotFound
	}

	return err
}

// connect links an external account in two steps: it stores a proposal, calls check, and
// confirms the proposal if check succeeds. It reports whether a link was added, or may have
// been added because the store did not respond.
func (s *Service) connect(ctx context.Context, userID string, c user.Claims, check func() error) (added bool, err error) {
	proposal, linked, err := s.users.ProposeLink(ctx, userID, c)
	if err != nil || linked {
		return false, err
	}

	if err = check(); err == nil {
		err = s.users.ConfirmLink(ctx, proposal)
	}
	if err != nil {
		withdrawErr := s.users.WithdrawLink(ctx, proposal)
		return withdrawErr != nil, errors.Join(err, withdrawErr)
	}

	return true, nil
}

// Unlink unlinks a provider from an account, ends the other sessions, which may have started with
// it, revokes all known devices, and notifies the owner. Errors: user.ErrNoIdentity, user.ErrLastMethod,
// user.ErrNotFound, user.ErrUnavailable, the errors of package session.
func (s *Service) Unlink(ctx context.Context, caller Caller, provider string) (Changed, error) {
	u, err := s.users.ByID(ctx, caller.UserID)
	if err != nil {
		return Changed{}, err
	}

	// Check this first, so that a request that must fail does not end any session.
	issuers := s.issuers()
	if err := s.mayUnlink(ctx, u, provider, issuers); err != nil {
		return Changed{}, err
	}

	var removed user.Identity
	return s.withSessionsEnded(ctx, caller, change{
		why:  session.Revoked,
		keep: caller.SessionID,
		apply: func() (user.User, error) {
			removed, err = s.users.Unlink(ctx, u.ID, provider, issuers)
			if err != nil {
				return u, err
			}

			// Do this last, because until now a device could become known through the external
			// account.
			if changed := s.revokeDevices(ctx, u.ID); changed.ID != "" {
				u = changed
			}

			return u, nil
		},
		notify: func(u user.User) {
			unlinked := user.Claims{Provider: provider, Email: removed.Email}
			s.notifyOfProvider(ctx, mail.IdentityUnlinked, unlinked, u, caller.Client)
		},
	})
}

// issuers returns the issuer of each provider, by name.
func (s *Service) issuers() map[string]string {
	issuers := map[string]string{}
	for _, p := range s.options.Providers {
		issuers[p.Name] = p.Issuer
	}

	return issuers
}

// mayUnlink checks that u is linked to the provider and has another way to sign in.
// Errors: user.ErrNoIdentity, user.ErrLastMethod, user.ErrUnavailable.
func (s *Service) mayUnlink(ctx context.Context, u user.User, provider string, issuers map[string]string) error {
	all, err := s.users.Identities(ctx, u.ID)
	if err != nil {
		return err
	}

	isLinked := slices.ContainsFunc(all, func(i user.Identity) bool {
		return i.Provider == provider
	})
	// An identity of a provider that is no longer configured cannot sign in.
	hasOther := slices.ContainsFunc(all, func(i user.Identity) bool {
		return i.Provider != provider && issuers[i.Provider] == i.Issuer
	})

	switch {
	case !isLinked:
		return user.ErrNoIdentity
	case u.PasswordHash == "" && !hasOther:
		return user.ErrLastMethod
	}

	return nil
}

// notifyOfProvider emails the owner of an account about a change of a linked provider.
func (s *Service) notifyOfProvider(ctx context.Context, kind mail.Kind, c user.Claims, u user.User, client session.Client) {
	title := c.Provider // for a provider that is no longer configured
	for _, p := range s.options.Providers {
		if p.Name == c.Provider {
			title = p.Title
		}
	}
	if c.Email != "" {
		title += " (" + string(c.Email) + ")"
	}

	s.notify(ctx, mail.Job{Kind: kind, Provider: title}, u, client)
}
