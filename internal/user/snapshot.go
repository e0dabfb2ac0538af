package user

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/coherence"
)

// Snapshot is an account as it was a moment ago, for showing it to its owner. It has neither the
// password hash nor the external accounts, so no decision can be based on them. If it has a verified
// email, that can be relied on, because an email stays verified.
type Snapshot struct {
	View

	readAt     time.Time // before it was read
	refreshing atomic.Bool
	response   atomic.Pointer[[]byte]
}

// size returns the approximate memory of a Snapshot, in bytes. It includes the encoded response, in
// which JSON may take six bytes for a character such as "&".
func (s *Snapshot) size() int {
	const fixed = 700

	return fixed + 7*(len(s.Name)+len(s.Picture)) + 2*len(s.Email)
}

// Response returns the response that shows the account, as encode encodes it. Requests that get the
// same Snapshot share the result, so it must depend on the View alone. Errors: those of encode.
func (s *Snapshot) Response(encode func(View) ([]byte, error)) ([]byte, error) {
	if body := s.response.Load(); body != nil {
		return *body, nil
	}

	body, err := encode(s.View)
	if err == nil {
		s.response.Store(&body)
	}

	return body, err
}

// UseCache makes Snapshot keep accounts in memory. Changes of accounts then wait until no server shows
// the old one. A change that is made directly in MongoDB shows after at most maxAge. If maxAge is 0,
// this server keeps no accounts, but still tells those that do about its changes. Call UseCache before
// any other method.
func (s *Store) UseCache(cache *coherence.Cache, maxAge time.Duration) {
	s.cache = cache
	s.maxAge = maxAge
}

// Snapshot returns an account for showing it. Errors: ErrNotFound, ErrUnreadable, ErrUnavailable.
func (s *Store) Snapshot(ctx context.Context, id string) (*Snapshot, error) {
	if s.cache == nil || s.maxAge == 0 {
		u, err := s.ByID(ctx, id)
		return &Snapshot{View: u.View()}, err
	}

	read := func(ctx context.Context) (coherence.Value, error) {
		readAt := time.Now()
		u, err := s.ByID(ctx, id)
		if err != nil {
			return coherence.Value{}, err
		}

		snapshot := &Snapshot{View: u.View(), readAt: readAt}

		return coherence.Value{Data: snapshot, Size: snapshot.size()}, nil
	}

	data, err := s.cache.Load(ctx, cacheKey(id), read)
	if err != nil {
		return nil, err
	}

	known := data.(*Snapshot)
	age := time.Since(known.readAt)
	if age < s.maxAge/2 {
		return known, nil
	}

	// One request reads the account again. The others need not wait for it until maxAge has passed.
	isRefreshing := !known.refreshing.CompareAndSwap(false, true)
	if isRefreshing && age < s.maxAge {
		return known, nil
	}

	data, err = s.cache.Refresh(ctx, cacheKey(id), known, read)
	if err != nil {
		known.refreshing.Store(false)
		return nil, err
	}

	return data.(*Snapshot), nil
}

func cacheKey(id string) string { return "user:" + id }

// shownFields are the fields of a document that a View depends on.
var shownFields = []string{"name", "email", "emailVerified", "picture", "locale", "isActive", "lastLogin", "createdAt", "updatedAt"}

// showsIn reports whether a change may be visible in a View.
func showsIn(change bson.D) bool {
	return slices.ContainsFunc(change, func(operator bson.E) bool {
		fields, ok := operator.Value.(bson.D)

		return !ok || slices.ContainsFunc(fields, func(field bson.E) bool { return slices.Contains(shownFields, field.Key) })
	})
}

// invalidate makes all servers forget an account that has changed. If this server cannot reach Redis,
// others may show the old account until maxAge has passed.
func (s *Store) invalidate(ctx context.Context, id string) {
	isShown := IsID(id) // nobody can sign in to an account with another kind of _id
	if s.cache == nil || !isShown {
		return
	}

	_, _ = s.cache.Invalidate(ctx, cacheKey(id))
}

// SnapshotInMemory is like Snapshot, but returns nil if it would have to read MongoDB.
func (s *Store) SnapshotInMemory(id string) *Snapshot {
	if s.cache == nil {
		return nil
	}

	known, _ := s.cache.Peek(cacheKey(id)).(*Snapshot)
	if known == nil || time.Since(known.readAt) >= s.maxAge/2 {
		return nil
	}

	return known
}
