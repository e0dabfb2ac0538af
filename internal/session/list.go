package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"latchkey/internal/redisconn"
)

// maxParallel is below redisconn's connection limit, so that requests still get connections
// while an operator's command runs.
const maxParallel = 32

// List returns the live sessions of a user, most recently used first. Redis commands: 1.
// Errors: ErrUnavailable.
func (m *Manager) List(ctx context.Context, userID string) ([]*Session, error) {
	all, err := redisconn.Strings(m.redis.Eval(ctx, m.scripts.list, m.keys.index(userID)))
	if err != nil {
		return nil, err
	}

	if len(all)%2 != 0 {
		return nil, fmt.Errorf("%w: unexpected reply: an ID without a record", ErrUnavailable)
	}

	now := m.options.Now()
	live := []*Session{}

	for pair := range slices.Chunk(all, 2) {
		s, err := m.open(pair[0], pair[1])
		if err == nil && s.UserID == userID && s.expired(now) == "" {
			live = append(live, s)
		}
	}

	slices.SortStableFunc(live, func(a, b *Session) int { return b.LastSeenAt.Compare(a.LastSeenAt) })

	return live, nil
}

// RevokeEverything ends the sessions of all users and returns the number of sessions ended.
// Logins in progress will fail, and a session that is being rotated ends during the
// rotation. progress is called periodically with the number ended so far. Errors:
// ErrUnavailable; some sessions may have ended, and it is safe to call again.
func (m *Manager) RevokeEverything(ctx context.Context, progress func(ended int)) (int, error) {
	// 1. Start a new generation: from now on, no session of the old one can begin or be
	//    rotated.
	if err := m.startGeneration(ctx); err != nil {
		return 0, err
	}

	// 2. End the sessions of the old generation. The scan sees all of them, because their
	//    keys existed before it started.
	var total atomic.Int64
	err := m.scan(ctx, func(ids []string) error {
		err := forEachParallel(ctx, ids, func(id string) error {
			ended, err := m.end(ctx, id, Revoked)
			if ended {
				total.Add(1)
			}

			return err
		})

		progress(int(total.Load()))

		return errors.Join(err, ctx.Err())
	})

	return int(total.Load()), err
}

// startGeneration starts a new generation for all users. Its keys live as long as
// any session from the old generation can, because such sessions must not be rotated any more.
func (m *Manager) startGeneration(ctx context.Context) error {
	return forEachParallel(ctx, m.keys.globalGenerations(), func(key string) error {
		_, err := m.redis.Eval(ctx, m.scripts.startGeneration, key, m.options.Absolute.Milliseconds())
		return err
	})
}

// Count returns the number of live sessions, and the number of users with at least one.
// Errors: ErrUnavailable.
func (m *Manager) Count(ctx context.Context) (sessions, users int, err error) {
	live := map[string]bool{} // by session ID, since the scan may return one twice
	owners := map[string]bool{}

	err = m.scan(ctx, func(ids []string) error {
		for _, id := range ids {
			s, err := m.byID(ctx, id)
			if IsGone(err) {
				continue
			}
			if err != nil {
				return err
			}

			live[id] = true
			owners[s.UserID] = true
		}

		return ctx.Err()
	})

	return len(live), len(owners), err
}

// scan calls f with the IDs of all records, in batches. The same ID may appear twice. Only
// operators' commands may use it, because it visits every key in Redis. Errors:
// ErrUnavailable, and those of f.
func (m *Manager) scan(ctx context.Context, f func(ids []string) error) error {
	return m.redis.Scan(ctx, recordPattern, func(keys []string) error {
		ids := make([]string, 0, len(keys))
		for _, key := range keys {
			if id := m.keys.idOf(key); id != "" {
				ids = append(ids, id)
			}
		}

		return f(ids)
	})
}

// forEachParallel calls f for every item, up to maxParallel at a time, and returns the first
// error. It stops early after an error or when ctx ends.
func forEachParallel(ctx context.Context, items []string, f func(string) error) error {
	g, groupCtx := errgroup.WithContext(ctx)
	g.SetLimit(maxParallel)

	for _, item := range items {
		if groupCtx.Err() != nil {
			break
		}

		g.Go(func() error { return f(item) })
	}

	return cmp.Or(g.Wait(), ctx.Err())
}
