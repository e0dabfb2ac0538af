package user

import (
	"context"
	"errors"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"latchkey/internal/testkit"
)

func createIndex(t *testing.T, s *Store, name, field string, unique bool) {
	t.Helper()

	o := options.Index().SetName(name)
	if unique {
		o.SetUnique(true)
	}
	_, err := s.users.Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: bson.D{{Key: field, Value: 1}}, Options: o})
	testkit.NoError(t, err)
}

// A unique index on the email that another application has created suffices, whatever its name.
func TestEmailIndexOfOtherName(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	createIndex(t, s, "users_email_key", "email", true) // the name that Prisma gives it

	testkit.NoError(t, s.EnsureEmailIndex(t.Context()))
	create(t, s, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"})
	wantErr(t, "second account", errorOf(s.Create(t.Context(), User{Name: "B", Email: "ann@example.com", PasswordHash: "h"})), ErrEmailTaken)
}

// CheckWrites leaves no account behind, and finds another application's unique index that rejects new
// accounts.
func TestCheckWrites(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	testkit.NoError(t, s.CheckReady(t.Context()))
	testkit.NoError(t, s.CheckWrites(t.Context()))
	if n, err := s.users.CountDocuments(t.Context(), bson.D{}); n != 0 || err != nil {
		t.Errorf("got %d accounts, %v; want 0", n, err)
	}

	createIndex(t, s, "by_active", "isActive", true)
	create(t, s, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"})
	if err := s.CheckWrites(t.Context()); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "by_active") {
		t.Errorf("got %v, want ErrUnavailable with the name of the index", err)
	}
	if n, err := s.users.CountDocuments(t.Context(), bson.D{}); n != 1 || err != nil {
		t.Errorf("got %d accounts, %v; want 1", n, err)
	}
}

// An index on the email that does not prevent duplicates is in the way. The error names it.
func TestUnsuitableEmailIndex(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	createIndex(t, s, "by_email", "email", false)

	err := s.EnsureEmailIndex(t.Context())
	var missing *IndexError
	if !errors.As(err, &missing) || !errors.Is(err, ErrUnavailable) || !strings.Contains(missing.Fix, `drop the index "by_email" of users`) {
		t.Errorf("got %v, %+v; want a fix that names the index", err, missing)
	}
	testkit.NoError(t, s.EnsureIdentityIndexes(t.Context()))
}

// Only these indexes prevent duplicates for every account.
func TestUsableIndexes(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		index bson.D
		want  bool
	}{
		"unique":     {bson.D{{Key: "unique", Value: true}}, true},
		"not unique": {bson.D{}, false},
		"sparse":     {bson.D{{Key: "unique", Value: true}, {Key: "sparse", Value: true}}, false},
		"partial":    {bson.D{{Key: "unique", Value: true}, {Key: "partialFilterExpression", Value: bson.D{{Key: "x", Value: 1}}}}, false},
		"collation":  {bson.D{{Key: "unique", Value: true}, {Key: "collation", Value: bson.D{{Key: "locale", Value: "en"}}}}, false},
	} {
		raw, err := bson.Marshal(tc.index)
		testkit.NoError(t, err)

		var i storedIndex
		testkit.NoError(t, bson.Unmarshal(raw, &i))
		if got := i.isUsable(); got != tc.want {
			t.Errorf("%s index: got usable %v, want %v", name, got, tc.want)
		}
	}
}

// Another unique index that rejects an account is a fault of the database, not a taken email.
func TestOtherUniqueIndex(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	createIndex(t, s, "name_1", "name", true)
	ann := create(t, s, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"})

	_, err := s.Create(ctx, User{Name: "Ann", Email: "other@example.com", PasswordHash: "h"})
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrEmailTaken) || !strings.Contains(err.Error(), "name_1") {
		t.Errorf("got %v, want ErrUnavailable that names the index", err)
	}
	wantErr(t, "the email of an account that was not stored", errorOf(s.ByEmail(ctx, "other@example.com")), ErrNotFound)

	bob := create(t, s, User{Name: "Bob", Email: "bob@example.com", PasswordHash: "h"})
	if err := errorOf(s.UpdateProfile(ctx, bob.ID, Profile{Name: "Ann"})); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrEmailTaken) {
		t.Errorf("rename: got %v, want ErrUnavailable", err)
	}

	// An ID that exists is not a reason to delete the account that has it.
	wantErr(t, "create with an ID that exists", errorOf(s.Create(ctx, User{ID: ann.ID, Name: "Eve", Email: "eve@example.com"})), ErrUnavailable)
	wantErr(t, "Ann", errorOf(s.ByID(ctx, ann.ID)), nil)
}
