package session

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/gomodule/redigo/redis"
)

// What an operator asks of all sessions. It walks through the keys of Redis with
// SCAN, a piece at a time, which no request of a user does.

// scanPiece is how many keys Redis looks at for one answer.
const scanPiece = 1000

// endWorkers end sessions side by side, below the number of connections.
const endWorkers = 32

// scan calls each with the handles of the live sessions, a piece at a time. One may
// come twice. Errors: ErrUnavailable, or what each returned.
func (m *Manager) scan(ctx context.Context, each func(handles []string) error) error {
	prefix, _ := keys("")
	for cursor := "0"; ; {
		reply, err := redis.Values(m.store.redis.Do(ctx, "SCAN", cursor, "MATCH", prefix+"*", "COUNT", scanPiece))
		if err != nil {
			return unavailable(err)
		}
		var found []string
		if _, err := redis.Scan(reply, &cursor, &found); err != nil {
			return err
		}
		handles := found[:0]
		for _, key := range found {
			if handle := key[len(prefix):]; WellFormed(handle) {
				handles = append(handles, handle)
			}
		}
		if err := each(handles); err != nil {
			return err
		}
		if cursor == "0" {
			return nil
		}
	}
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
		var wg sync.WaitGroup
		var failed atomic.Pointer[error]
		queue := make(chan string)
		for range endWorkers {
			wg.Go(func() {
				for handle := range queue {
					ended, err := m.endAndDelist(ctx, handle, Revoked)
					if err != nil {
						failed.Store(&err)
					} else if ended != nil {
						n.Add(1)
					}
				}
			})
		}
		for _, handle := range handles {
			queue <- handle
		}
		close(queue)
		wg.Wait()
		progress(int(n.Load()))
		if err := failed.Load(); err != nil {
			return unavailable(*err)
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
				return unavailable(err)
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
