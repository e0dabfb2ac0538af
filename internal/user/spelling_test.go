package user

import (
	"maps"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/testkit"
)

// Emails that another application has stored in another spelling become canonical, so that the
// accounts are found and their emails cannot be registered again.
func TestFixEmails(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newStore(t)
	testkit.NoError(t, s.EnsureEmailIndex(ctx))

	ids := map[string]string{}
	for _, stored := range []string{
		"Caps@Example.com", " space@example.com ", "idn@MÜLLER.de", // fixable
		"Twice@example.com", "twice@example.com",
		"josé@example.com", `"john.doe"@example.com`, "user@ab--cd.com", // invalid
		"fine@example.com", "fine@müller.de", "ascii@xn--mller-kva.de",
	} {
		ids[stored] = insertWith(t, s, stored, "lastLogin", nil)
	}

	before, err := s.CheckEmails(ctx)
	if err != nil || before.Fixed != 0 || len(before.Strays) != 4 || len(before.Invalid) != 3 {
		t.Errorf("check: got %+v, %v; want 4 strays and 3 invalid emails", before, err)
	}

	for round, wantFixed := range []int{3, 0} {
		got, err := s.FixEmails(ctx)
		testkit.NoError(t, err)

		wantInvalid := []string{ids["josé@example.com"], ids[`"john.doe"@example.com`], ids["user@ab--cd.com"]}
		slices.Sort(got.Invalid)
		slices.Sort(wantInvalid)
		if got.Fixed != wantFixed || !slices.Equal(got.Strays, []string{ids["Twice@example.com"]}) || !slices.Equal(got.Invalid, wantInvalid) {
			t.Errorf("round %d: got %+v, want %d fixed, one stray and 3 invalid emails", round, got, wantFixed)
		}
	}

	for _, row := range []struct {
		stored string
		email  Email
	}{
		{"Caps@Example.com", "caps@example.com"},
		{" space@example.com ", "space@example.com"},
		{"idn@MÜLLER.de", "idn@müller.de"},
		{"twice@example.com", "twice@example.com"},
		{"ascii@xn--mller-kva.de", "ascii@müller.de"},
	} {
		if u, err := s.ByEmail(ctx, row.email); err != nil || u.ID != ids[row.stored] {
			t.Errorf("%s: got %+v, %v; want the account stored as %q", row.email, u, err, row.stored)
		}
		wantErr(t, string(row.email), errorOf(s.Create(ctx, User{Name: "B", Email: row.email, PasswordHash: "h"})), ErrEmailTaken)
	}

	// Others are stored as they were.
	var d bson.M
	testkit.NoError(t, s.users.FindOne(ctx, bson.D{{Key: "email", Value: "ascii@xn--mller-kva.de"}}).Decode(&d))
}

// MongoDB finds every email that is not canonical.
func TestMaybeStray(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newStore(t)
	want := map[string]bool{}
	for stored := range emails {
		insertWith(t, s, stored, "lastLogin", nil)
		if canonical, err := ParseEmail(stored); err != nil || !slices.Contains(canonical.spellings(), stored) {
			want[stored] = true
		}
	}
	insertWith(t, s, "", "email", 5)

	strays, err := s.strayEmails(ctx)
	testkit.NoError(t, err)

	got := map[string]bool{}
	for _, stray := range strays {
		got[stray.stored] = true
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

// ByEmails finds all accounts at once, in all spellings of their emails.
func TestByEmails(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newStore(t)
	want := map[Email]string{}
	for _, email := range []Email{"ann@example.com", "bob@example.com", "idn@müller.de"} {
		want[email] = create(t, s, User{Name: "A", Email: email, PasswordHash: "h"}).ID
	}
	want["ascii@müller.de"] = insertWith(t, s, "ascii@xn--mller-kva.de", "lastLogin", nil)
	insertWith(t, s, "eve@example.com", "isActive", "false") // unreadable
	create(t, s, User{Name: "A", Email: "other@example.com", PasswordHash: "h"})

	found, err := s.ByEmails(ctx, []Email{
		"ann@example.com", "nobody@example.com", "bob@example.com", "bob@example.com",
		"idn@müller.de", "ascii@müller.de", "eve@example.com",
	})
	testkit.NoError(t, err)

	got := map[Email]string{}
	for email, u := range found {
		got[email] = u.ID
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	if found, err := s.ByEmails(ctx, nil); len(found) != 0 || err != nil {
		t.Errorf("no emails: got %v, error %v, want no accounts", found, err)
	}
}

// An account whose change MongoDB rejects does not keep other accounts from being fixed.
func TestFixEmailsSkipsRejected(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	now := time.Now()
	s.now = func() time.Time { return now }
	for i, stored := range []string{"A@example.com", "B@example.com", "C@example.com"} {
		insertWith(t, s, stored, "updatedAt", now.Add(-time.Duration(i+1)*time.Hour))
	}
	createIndex(t, s, "updated", "updatedAt", true) // rejects the second account that is fixed

	report, err := s.FixEmails(t.Context())
	if err != nil || report.Fixed != 1 || len(report.Strays) != 2 {
		t.Errorf("got %+v, %v; want one fixed and two strays", report, err)
	}
}
