package user

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/coherence"
	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/mongoconn"
	"latchkey/internal/redisconn"
	"latchkey/internal/testkit"
)

// newCachedStore returns a store of another server, which keeps accounts in memory.
func newCachedStore(t *testing.T, r storetest.Redis, mongoURI string, maxAge time.Duration) *Store {
	t.Helper()

	log := slog.New(slog.DiscardHandler)
	cache := coherence.New(conntest.Redis(t, r, redisconn.Options{Timeout: 10 * time.Second, Log: log}), coherence.Options{MaxBytes: 1 << 20, Log: log})
	t.Cleanup(cache.Close)

	s := New(conntest.Mongo(t, mongoconn.Options{URI: mongoURI}), time.Now)
	s.UseCache(cache, maxAge)

	return s
}

// snapshotInMemory returns the Snapshot that a server has in memory, once it has one.
func snapshotInMemory(t *testing.T, s *Store, id string) (known *Snapshot) {
	t.Helper()

	testkit.Eventually(t, "the account in memory", func() bool {
		first, err := s.Snapshot(t.Context(), id)
		testkit.NoError(t, err)
		known, err = s.Snapshot(t.Context(), id)
		testkit.NoError(t, err)

		return first == known
	})

	return known
}

// Changes on one server show on all servers as soon as they are reported as done.
func TestSnapshotsShowChanges(t *testing.T) {
	t.Parallel()

	r := storetest.StartRedis(t).Redis
	mongoURI := storetest.Mongo(t)
	changing := newCachedStore(t, r, mongoURI, time.Minute)
	showing := newCachedStore(t, r, mongoURI, time.Minute)
	token := OneTimeToken{Hash: "token", Expires: time.Now().Add(time.Hour)}

	hashOf := map[string]string{"login": "hash", "new password": "hash"}

	for name, change := range map[string]func(ctx context.Context, u User) error{
		"rename": func(ctx context.Context, u User) error {
			return errorOf(changing.UpdateProfile(ctx, u.ID, Profile{Name: "Bea"}))
		},
		"locale": func(ctx context.Context, u User) error {
			return errorOf(changing.UpdateProfile(ctx, u.ID, Profile{Locale: "de"}))
		},
		"login":        func(ctx context.Context, u User) error { return errorOf(changing.RecordLogin(ctx, u)) },
		"disable":      func(ctx context.Context, u User) error { return errorOf(changing.SetActive(ctx, u.ID, false)) },
		"new password": func(ctx context.Context, u User) error { return errorOf(changing.SetPassword(ctx, u.ID, "new")) },
		"verify": func(ctx context.Context, u User) error {
			testkit.NoError(t, changing.PutToken(ctx, u.ID, u.Email, VerifyToken, token))
			return errorOf(changing.VerifyEmail(ctx, u.ID, token.Hash, true))
		},
		"claim": func(ctx context.Context, u User) error {
			return errorOf(changing.ClaimAccount(ctx, u.ID, u.Email, Profile{Name: "Bea", Picture: "https://example.com/bea.png"}))
		},
		"delete": func(ctx context.Context, u User) error { return changing.Delete(ctx, u.ID) },
	} {
		u := create(t, changing, User{Name: "Ann", Email: Email(NewID() + "@example.com"), PasswordHash: hashOf[name]})
		for _, s := range []*Store{changing, showing} {
			snapshotInMemory(t, s, u.ID)
		}

		testkit.NoError(t, change(t.Context(), u))

		want, wantErr := showing.ByID(t.Context(), u.ID)
		if want.View() == u.View() {
			t.Fatalf("%s: changed nothing", name)
		}
		for _, s := range []*Store{changing, showing} {
			got, err := s.Snapshot(t.Context(), u.ID)
			if !errors.Is(err, wantErr) {
				t.Errorf("%s: got error %v, want %v", name, err, wantErr)
			} else if err == nil && got.View != want.View() {
				t.Errorf("%s: %s", name, cmp.Diff(want.View(), got.View))
			}
		}
	}
}

// A change that is made directly in MongoDB shows after maxAge.
func TestSnapshotMaxAge(t *testing.T) {
	t.Parallel()

	r := storetest.StartRedis(t).Redis
	rename := func(s *Store, id, name string) {
		oid, err := objectID(id)
		testkit.NoError(t, err)
		_, err = s.users.UpdateOne(t.Context(), bson.D{{Key: "_id", Value: oid}}, set(bson.E{Key: "name", Value: name}))
		testkit.NoError(t, err)
	}

	long := newCachedStore(t, r, storetest.Mongo(t), time.Hour)
	u := create(t, long, User{Name: "Ann", Email: "ann@example.com"})
	known := snapshotInMemory(t, long, u.ID)
	rename(long, u.ID, "Bea")
	if got := snapshotInMemory(t, long, u.ID); got != known {
		t.Errorf("before maxAge: got %+v, want the account in memory", got)
	}

	// As if half of maxAge had passed: one request reads the account again, and all see it.
	known.readAt = known.readAt.Add(-31 * time.Minute)
	known.refreshing.Store(true)
	if got, err := long.Snapshot(t.Context(), u.ID); got != known || err != nil {
		t.Errorf("while another request reads: got %+v, %v; want the account in memory", got, err)
	}
	known.refreshing.Store(false)
	for range 2 {
		if got, err := long.Snapshot(t.Context(), u.ID); err != nil || got.Name != "Bea" {
			t.Errorf("after half of maxAge: got %+v, %v; want the new name", got, err)
		}
	}

	// As if maxAge had passed, while another request still reads.
	known = snapshotInMemory(t, long, u.ID)
	rename(long, u.ID, "Cleo")
	known.readAt = known.readAt.Add(-time.Hour)
	known.refreshing.Store(true)
	if got, err := long.Snapshot(t.Context(), u.ID); err != nil || got.Name != "Cleo" {
		t.Errorf("after maxAge: got %+v, %v; want the new name", got, err)
	}
}

// The response is encoded once.
func TestSnapshotResponse(t *testing.T) {
	t.Parallel()

	s := &Snapshot{View: View{Name: "Ann"}}
	calls := 0
	for range 2 {
		body, err := s.Response(func(v View) ([]byte, error) {
			calls++
			return []byte(v.Name), nil
		})
		if string(body) != "Ann" || err != nil || calls != 1 {
			t.Errorf("got %q, %v after %d calls, want the encoded name after 1", body, err, calls)
		}
	}
}

// shownFields must have all fields of a View.
func TestShownFields(t *testing.T) {
	t.Parallel()

	text, err := json.Marshal(View{Picture: "x", Locale: "x", LastLogin: time.Now()})
	testkit.NoError(t, err)
	var view map[string]any
	testkit.NoError(t, json.Unmarshal(text, &view))
	delete(view, "id")

	got := slices.Sorted(maps.Keys(view))
	if want := slices.Sorted(slices.Values(shownFields)); !slices.Equal(got, want) {
		t.Errorf("shownFields (-want +got): %s", cmp.Diff(got, want))
	}
}
