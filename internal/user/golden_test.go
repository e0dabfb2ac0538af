package user

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"

	"latchkey/internal/testkit"
)

// insertGolden inserts a document from testdata and returns it. It has all fields, and some that
// a newer release has added. All future releases must be able to read it.
func insertGolden(t *testing.T, c *mongo.Collection, name string) bson.M {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	testkit.NoError(t, err)

	var d bson.D
	testkit.NoError(t, bson.UnmarshalExtJSON(text, false, &d))

	testkit.NoError(t, errorOf(c.InsertOne(context.Background(), d)))

	return onlyDocument(t, c)
}

func onlyDocument(t *testing.T, c *mongo.Collection) bson.M {
	t.Helper()
	var d bson.M
	testkit.NoError(t, c.FindOne(context.Background(), bson.D{}).Decode(&d))

	return d
}

// assertChanged fails the test if a field has changed that is not in allowed.
func assertChanged(t *testing.T, what string, before, after bson.M, allowed ...string) {
	t.Helper()
	for _, d := range []bson.M{before, after} {
		for member := range d {
			if !slices.Contains(allowed, member) && !cmp.Equal(before[member], after[member]) {
				t.Errorf("%s: got %s %v, want %v", what, member, after[member], before[member])
			}
		}
	}
}

// An account that another release has stored can be read. Every operation keeps fields that this
// release does not know.
func TestGoldenUser(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	before := insertGolden(t, s.users, "user.json")
	want := User{
		ID: "65f0c0ffee0123456789abcd", Name: "Ann Example", Email: "ann@example.com", EmailVerified: true, Picture: "https://example.com/ann.png",
		PasswordHash: "$2a$12$Rs0iGqKXzjtd1k6E3nJ6zOv4hVZkq3o5sYQ0c2lqB1oX9uS7n7mQe", Unlinked: []string{"google"}, Active: true,
		LastLogin: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC), CreatedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), UpdatedAt: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC),
	}

	got, err := s.ByEmail(ctx, want.Email)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}

	for kind, wantEmail := range map[TokenKind]Email{ResetToken: "", VerifyToken: "", EmailChangeToken: "ann@example.org"} {
		if u, email, err := s.ByToken(ctx, want.ID, kind, string(kind)+"-hash"); err != nil || u.ID != want.ID || email != wantEmail {
			t.Errorf("%s token: got %+v, email %q, %v; want Ann, %q", kind, u, email, err, wantEmail)
		}
	}

	for _, step := range []struct {
		name    string
		update  func() (User, error)
		changes []string
	}{
		{"rename", func() (User, error) { return s.UpdateProfile(ctx, want.ID, Profile{Name: "Ann B."}) }, []string{"name", "updatedAt"}},
		{"login", func() (User, error) { return s.RecordLogin(ctx, want) }, []string{"lastLogin"}},
		{"stronger hash", func() (User, error) { return User{}, s.ReplaceHash(ctx, want.ID, want.PasswordHash, "better") }, []string{"password"}},
		{"clear unlinked", func() (User, error) { return User{}, s.ClearUnlinked(ctx, want.ID, "google") }, []string{"unlinked"}},
		{"verify", func() (User, error) { return s.VerifyEmail(ctx, want.ID, "verify-hash", true) }, []string{"emailVerified", "ownerConfirmed", "updatedAt", "tickets"}},
		{"email change", func() (User, error) { return s.ChangeEmail(ctx, want.ID, "change-hash", "ann@example.org", true) }, []string{"email", "updatedAt", "tickets", "deviceGeneration"}},
		{"password change", func() (User, error) { return s.ChangePassword(ctx, want.ID, "better", "new") }, []string{"password", "updatedAt", "tickets", "deviceGeneration"}},
		{"disable", func() (User, error) { return User{}, errorOf(s.SetActive(ctx, want.ID, false)) }, []string{"isActive", "updatedAt", "deviceGeneration"}},
	} {
		if _, err := step.update(); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}

		after := onlyDocument(t, s.users)
		assertChanged(t, step.name, before, after, step.changes...)
		before = after
	}
}

// The same for an external account.
func TestGoldenIdentity(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	insertGolden(t, s.users, "user.json")
	before := insertGolden(t, s.identities, "identity.json")
	const userID = "65f0c0ffee0123456789abcd"
	want := Identity{
		Provider: "github", Issuer: "https://github.example", Subject: "583231", UserID: userID, Email: "ann@example.net",
		CreatedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), LastLogin: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC),
	}

	got, err := s.Identities(ctx, userID)
	if diff := cmp.Diff([]Identity{want}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}

	owner, err := s.ByIdentity(ctx, want.Issuer, want.Subject)
	if err != nil || owner.ID != userID {
		t.Errorf("by identity: got %+v, %v; want user %s", owner, err, userID)
	}

	testkit.NoError(t, errorOf(s.RecordSignIn(ctx, owner, Claims{Provider: "github", Issuer: want.Issuer, Subject: want.Subject})))

	assertChanged(t, "sign-in", before, onlyDocument(t, s.identities), "lastLogin")
}
