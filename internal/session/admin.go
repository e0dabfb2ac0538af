package session

import (
	"context"
	"sync/atomic"
)

// What an operator asks of all sessions. It walks through the keys of Redis with
// SCAN, a piece at a time, which no request of a user does.

// scan calls each with the handles of the live sessions, a piece at a time. One may
// come twice. Errors: ErrUnavailable, or what each returned.
func (m *Manager) scan(ctx context.Context, each func(handles []string) error) error {
	prefix, _ := keys("")
	return unavailable(m.store.redis.Scan(ctx, prefix+"*", func(keys []string) error {
		handles := keys[:0]
		for _, key := range keys {
			if handle := key[len(prefix):]; WellFormed(handle) {
				handles = append(handles, handle)
			}
		}
		return each(handles)
	}))
}

// Show returns one live session of any user. Errors: ErrNotFound, ErrUnavailable.
func (m *Manager) Show(ctx context.Context, handle string) (*Session, error) {
	s, err := m.byHandle(ctx, handle)
	if err == nil && s == nil {
		err = ErrNotFound
	}
	return s, unavailable(err)
}

// RevokeEverything ends the sessions of all users and returns how many it were.
// Logins that are under way begin none, and one that is given a new token meanwhile
// ends with it. From time to time it tells progress how many it are so far. Errors:
// ErrUnavailable; then some have ended, and it can be called again.
func (m *Manager) RevokeEverything(ctx context.Context, progress func(ended int)) (int, error) {
	if err := m.store.barEveryone(ctx, m.options.Absolute); err != nil {
		return 0, unavailable(err)
	}
	var n atomic.Int64
	err := m.scan(ctx, func(handles []string) error {
		err := sideBySide(handles, func(_ int, handle string) error {
			// What stays in the indexes goes from there with the next list: taking it out
			// here would double the time.
			ended, err := m.store.end(ctx, handle, Revoked, false)
			if ended != nil {
				n.Add(1)
			}
			return err
		})
		progress(int(n.Load()))
		if err != nil {
			return err
		}
		return ctx.Err()
	})
	return int(n.Load()), err
}

// Stats counts what there is.
type Stats struct {
	Sessions int // live
	Users    int // who have one
}

// Stats counts the live sessions and the users who have one. Errors:
// ErrUnavailable.
func (m *Manager) Stats(ctx context.Context) (Stats, error) {
	seen, users := map[string]bool{}, map[string]bool{}
	err := m.scan(ctx, func(handles []string) error {
		for _, handle := range handles {
			if seen[handle] {
				continue
			}
			seen[handle] = true
			s, err := m.byHandle(ctx, handle)
			if err != nil {
				return err
			}
			if s != nil {
				users[s.UserID] = true
			} else {
				delete(seen, handle)
			}
		}
		return ctx.Err()
	})
	return Stats{Sessions: len(seen), Users: len(users)}, err
}
