package app

import (
	"context"
	"time"

	"latchkey/internal/activity"
)

// The interval between two runs of a task that deletes expired accounts or invitations.
const (
	minExpiryInterval = time.Second
	maxExpiryInterval = time.Hour
)

// every calls task after each interval until ctx ends.
func every(ctx context.Context, interval time.Duration, task func(context.Context)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()

	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			task(ctx)
		}
	}
}

// pruneInvitations deletes expired invitations.
func (a *App) pruneInvitations(ctx context.Context) {
	if err := a.users.PruneInvitations(ctx); err != nil && ctx.Err() == nil {
		a.log.Warn("cannot delete expired invitations", "error", err)
	}
}

// expireAccounts deletes accounts whose email was not verified in time, until ctx ends. Before the first
// deletion it logs the number of accounts and waits for an interval, so that an operator who has set
// UNVERIFIED_MAX_AGE by mistake can stop the server.
func (a *App) expireAccounts(ctx context.Context) {
	if a.unverifiedMaxAge == 0 {
		return
	}

	interval := min(max(a.unverifiedMaxAge/10, minExpiryInterval), maxExpiryInterval)
	retry(ctx, func(ctx context.Context) error {
		n, err := a.auth.CountUnverified(ctx, a.unverifiedMaxAge)
		if err == nil && n > 0 {
			a.log.Warn("accounts with an unverified email will be deleted; to keep them, unset UNVERIFIED_MAX_AGE",
				"count", n, "in", interval.String(), "maxAge", a.unverifiedMaxAge.String())
		}

		return err
	})

	every(ctx, interval, a.expireUnverified)
}

// expireUnverified deletes the accounts whose email was not verified in time.
func (a *App) expireUnverified(ctx context.Context) {
	n := 0
	err := a.auth.ExpireUnverified(ctx, a.unverifiedMaxAge, func(userID string, sessions int) {
		n++
		a.metrics.AccountExpired()
		a.activity.Record(ctx, activity.Event{Name: activity.AccountExpired, UserID: userID, Count: sessions})
	})

	if n > 0 {
		a.log.Info("accounts with an unverified email deleted", "count", n)
	}
	if err != nil && ctx.Err() == nil {
		a.log.Warn("cannot delete accounts with an unverified email; retrying later", "error", err)
	}
}
