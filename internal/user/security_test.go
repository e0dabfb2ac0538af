package user

import (
	"context"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/testkit"
)

// The number of wrong passwords only grows until a login or a new password resets it. A number that
// was counted before the reset is not stored after it.
func TestRecordFailures(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	now := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	s := newStore(t)
	s.now = func() time.Time { return now }
	made := create(t, s, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "hash"})

	stored := func(want int) User {
		t.Helper()

		u, err := s.ByID(ctx, made.ID)
		if err != nil || u.FailedPasswords != want {
			t.Fatalf("wrong passwords: got %d, %v; want %d", u.FailedPasswords, err, want)
		}

		return u
	}

	testkit.NoError(t, s.RecordFailures(ctx, made, 20))
	wantErr(t, "a lower number", s.RecordFailures(ctx, made, 10), ErrNotFound)
	wantErr(t, "the same number", s.RecordFailures(ctx, made, 20), ErrNotFound)
	testkit.NoError(t, s.RecordFailures(ctx, made, 100))
	before := stored(100)

	testkit.NoError(t, errorOf(s.RecordLogin(ctx, before)))
	wantErr(t, "after a login", s.RecordFailures(ctx, before, 101), ErrNotFound)
	after := stored(0)

	now = now.Add(time.Second)
	testkit.NoError(t, s.RecordFailures(ctx, after, 30))
	testkit.NoError(t, errorOf(s.RecordLogin(ctx, after)))
	wantErr(t, "after a second login", s.RecordFailures(ctx, after, 40), ErrNotFound)

	after = stored(0)
	testkit.NoError(t, s.RecordFailures(ctx, after, 30))
	testkit.NoError(t, errorOf(s.ChangePassword(ctx, made.ID, "hash", "new")))
	wantErr(t, "after a new password", s.RecordFailures(ctx, after, 40), ErrNotFound)
	stored(0)

	// Values of other types count as absent.
	testkit.NoError(t, errorOf(s.users.UpdateOne(ctx, bson.D{}, set(
		bson.E{Key: "lastLogin", Value: "yesterday"},
		bson.E{Key: failuresField, Value: "many"},
		bson.E{Key: "deviceGeneration", Value: bson.A{1}}))))
	odd := stored(0)
	testkit.NoError(t, s.RecordFailures(ctx, odd, 100))
	odd = stored(100)
	if odd.DeviceGeneration != "" {
		t.Errorf("device generation: got %q, want none", odd.DeviceGeneration)
	}
	testkit.NoError(t, errorOf(s.RevokeDevices(ctx, made.ID)))
	if u := stored(100); u.DeviceGeneration == "" {
		t.Error("device generation after RevokeDevices: got none, want a new one")
	}

	wantErr(t, "an account that does not exist", s.RecordFailures(ctx, User{ID: NewID()}, 10), ErrNotFound)
}

// Each change gives the account a new device generation, and returns it.
func TestDeviceGenerations(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	made := create(t, s, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "hash"})
	token := func(kind TokenKind) {
		testkit.NoError(t, s.PutToken(ctx, made.ID, "ann@example.com", kind, OneTimeToken{Hash: "x", Email: "ann@example.org", Expires: time.Now().Add(time.Hour)}))
	}

	token(ResetToken)
	seen := map[string]bool{"": true}
	for _, step := range []struct {
		name   string
		change func() (User, error)
	}{
		{"reset", func() (User, error) { return s.ResetPassword(ctx, made.ID, "x", "second") }},
		{"password change", func() (User, error) { return s.ChangePassword(ctx, made.ID, "second", "third") }},
		{"operator's password", func() (User, error) { return s.SetPassword(ctx, made.ID, "fourth") }},
		{"revocation", func() (User, error) { return s.RevokeDevices(ctx, made.ID) }},
		{"email change", func() (User, error) {
			token(EmailChangeToken)

			return s.ChangeEmail(ctx, made.ID, "x", "ann@example.org", true)
		}},
		{"disabling", func() (User, error) {
			u, err := s.SetActive(ctx, made.ID, false)

			return u.User, err
		}},
	} {
		u, err := step.change()
		testkit.NoError(t, err)
		if seen[u.DeviceGeneration] {
			t.Errorf("%s: got the device generation %q again, want a new one", step.name, u.DeviceGeneration)
		}
		seen[u.DeviceGeneration] = true
	}

	if u, err := s.SetActive(ctx, made.ID, true); err != nil || !seen[u.DeviceGeneration] {
		t.Errorf("enabling: got %+v, %v; want the same device generation", u, err)
	}
}
