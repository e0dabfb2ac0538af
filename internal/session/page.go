package session

import (
	"context"
	"errors"
	"sync"

	"latchkey/internal/redisconn"
)

// ErrBadPosition is returned by Page for a position from another list, or for one that is no longer valid
// because Redis was restarted or another server took over.
var ErrBadPosition = errors.New("no such position in the list of sessions")

// Page returns about limit live sessions of all users, in no particular order, and the position at
// which the next page begins, or "" after the last page. after is the position from the previous page,
// or "" for the first one. A page may have a few more sessions, or fewer if Redis holds many other
// keys. A session that is live during all pages is in one of them, but may be in two. Redis
// commands: at most 32 to find the keys, one for each server, and three for each session. Only
// operators' commands may use it. Errors: ErrBadPosition, ErrUnavailable.
func (m *Manager) Page(ctx context.Context, after string, limit int) (page []*Session, next string, err error) {
	found, next, err := m.redis.ScanPage(ctx, recordPattern, after, limit)
	if errors.Is(err, redisconn.ErrBadPosition) {
		return nil, "", ErrBadPosition
	}
	if err != nil {
		return nil, "", err
	}

	ids := m.idsOf(found)
	sessions := make(map[string]*Session, len(ids))
	var mu sync.Mutex

	err = forEachParallel(ctx, ids, func(id string) error {
		s, err := m.byID(ctx, id)
		if IsGone(err) {
			return nil
		}
		if err != nil {
			return err
		}

		mu.Lock()
		defer mu.Unlock()
		sessions[id] = s

		return nil
	})
	if err != nil {
		return nil, "", err
	}

	page = []*Session{}
	for _, id := range ids {
		if s, ok := sessions[id]; ok {
			page = append(page, s)
		}
	}

	return page, next, nil
}

// idsOf returns the session IDs in the keys of records, each once.
func (m *Manager) idsOf(found []string) []string {
	var ids []string
	seen := map[string]bool{}

	for _, key := range found {
		id := m.keys.idOf(key)
		if id == "" || seen[id] {
			continue
		}

		seen[id] = true
		ids = append(ids, id)
	}

	return ids
}
