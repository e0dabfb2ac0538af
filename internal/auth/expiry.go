package auth

import (
	"context"
	"errors"
	"time"

	"latchkey/internal/session"
	"latchkey/internal/user"
)

// expiryBatch is the number of accounts that are listed at once.
const expiryBatch = 100

// CountUnverified returns the number of accounts that ExpireUnverified would delete. Errors:
// user.ErrUnavailable.
func (s *Service) CountUnverified(ctx context.Context, maxAge time.Duration) (int64, error) {
	return s.users.CountUnverified(ctx, s.options.Now().Add(-maxAge))
}

// ExpireUnverified deletes the accounts whose email was not verified within maxAge of their creation, and
// ends their sessions. It calls deleted for each. Several servers may run it at the same time: each account
// is deleted by one of them. If it is interrupted, the next call continues. Errors: user.ErrUnavailable,
// session.ErrUnavailable.
func (s *Service) ExpireUnverified(ctx context.Context, maxAge time.Duration, deleted func(userID string, sessions int)) error {
	created := s.options.Now().Add(-maxAge)
	last := ""

	for {
		ids, err := s.users.Unverified(ctx, created, last, expiryBatch)
		if err != nil || len(ids) == 0 {
			return err
		}
		last = ids[len(ids)-1]

		for _, id := range ids {
			isDeleted, sessions, err := s.expire(ctx, id, created)
			if err != nil {
				return err
			}
			if isDeleted {
				deleted(id, sessions)
			}
		}
	}
}

// expire deletes an account, unless its email was verified at the last moment. It returns the number of
// sessions ended.
func (s *Service) expire(ctx context.Context, id string, created time.Time) (deleted bool, sessions int, err error) {
	// 1. Disable the account in the same step that checks that the email is not verified. From then on
	// it cannot be verified, and nobody can log in.
	err = s.users.BeginExpiry(ctx, id, created)
	switch {
	case errors.Is(err, user.ErrNotFound), errors.Is(err, user.ErrUnreadable):
		return false, 0, nil
	case err != nil:
		return false, 0, err
	}

	// 2. End the sessions, and those that are about to begin. Once the account is gone, nothing refers
	// to them any more.
	sessions, err = s.sessions.RevokeAll(ctx, id, "", session.AccountDeleted)
	if err != nil {
		return false, sessions, err
	}

	// 3. Delete the account.
	deleted, err = s.users.FinishExpiry(ctx, id)

	return deleted, sessions, err
}
