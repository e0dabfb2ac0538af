package user

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/testkit"
)

func claimsOf(provider, subject string) Claims {
	return Claims{
		Provider:      provider,
		Issuer:        "https://" + provider + ".example",
		Subject:       subject,
		Email:         "ann@example.com",
		EmailVerified: true,
	}
}

// links returns the provider and subject of each identity of a user.
func links(t *testing.T, s *Store, userID string) []string {
	t.Helper()
	all, err := s.Identities(context.Background(), userID)
	testkit.NoError(t, err)

	var short []string
	for _, i := range all {
		short = append(short, i.Provider+" "+i.Subject)
	}

	return short
}

// wantLinks checks the provider and subject of each identity of a user.
func wantLinks(t *testing.T, s *Store, u User, want ...string) {
	t.Helper()

	if got := links(t, s, u.ID); !slices.Equal(got, want) {
		t.Errorf("%s: got identities %q, want %q", u.Name, got, want)
	}
}

// link proposes and confirms a link. It reports whether the link is new.
func link(s *Store, userID string, c Claims) (added bool, err error) {
	p, linked, err := s.ProposeLink(context.Background(), userID, c)
	if err != nil || linked {
		return false, err
	}

	return true, s.ConfirmLink(context.Background(), p)
}

// An external account is linked to only one user, and a user has only one account of each
// provider.
func TestLink(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	ann := create(t, s, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"})
	eve := create(t, s, User{Name: "Eve", Email: "eve@example.com", PasswordHash: "h"})
	for i, step := range []struct {
		userID string
		c      Claims
		added  bool
		err    error
	}{
		{ann.ID, claimsOf("google", "1"), true, nil},
		{ann.ID, claimsOf("google", "1"), false, nil},
		{eve.ID, claimsOf("google", "1"), false, ErrIdentityTaken},
		{ann.ID, claimsOf("google", "2"), false, ErrAlreadyLinked},
		{eve.ID, claimsOf("google", "2"), true, nil},
		{eve.ID, claimsOf("github", "1"), true, nil}, // the subject of another issuer
	} {
		added, err := link(s, step.userID, step.c)
		if added != step.added || !errors.Is(err, step.err) {
			t.Errorf("step %d: got added %v, %v; want %v, %v", i, added, err, step.added, step.err)
		}
	}

	wantLinks(t, s, ann, "google 1")
	wantLinks(t, s, eve, "google 2", "github 1")

	if u, err := s.ByIdentity(ctx, "https://google.example", "1"); err != nil || u.ID != ann.ID {
		t.Errorf("by identity: got %v, %v; want Ann", u, err)
	}

	testkit.NoError(t, s.Delete(ctx, ann.ID))

	wantLinks(t, s, ann)

	// A link that is made while its user is deleted is removed.
	testkit.NoError(t, errorOf(link(s, ann.ID, claimsOf("google", "1"))))

	wantErr(t, "by identity of a deleted user", errorOf(s.ByIdentity(ctx, "https://google.example", "1")), ErrNotFound)
	wantLinks(t, s, ann)
}

func TestRecordSignIn(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	ann := create(t, s, User{Name: "Ann", Email: "ann@example.com"})
	eve := create(t, s, User{Name: "Eve", Email: "eve@example.com"})
	c := claimsOf("google", "1")
	wantErr(t, "not linked", errorOf(s.RecordSignIn(ctx, ann, c)), ErrNotFound)

	testkit.NoError(t, errorOf(link(s, ann.ID, c)))

	c.Picture = "https://google.example/ann.png"
	wantErr(t, "linked to another user", errorOf(s.RecordSignIn(ctx, eve, c)), ErrNotFound)

	u, err := s.RecordSignIn(ctx, ann, c)
	if err != nil || u.LastLogin.IsZero() || u.Picture != c.Picture {
		t.Errorf("signed in: got %v, %v; want a login time and a picture", u, err)
	}

	if all, _ := s.Identities(ctx, ann.ID); all[0].LastLogin.IsZero() || all[0].LastLogin.After(u.LastLogin) {
		t.Errorf("got last login %v of the identity, want about %v", all[0].LastLogin, u.LastLogin)
	}

	testkit.NoError(t, errorOf(s.SetActive(ctx, ann.ID, false)))

	wantErr(t, "disabled", errorOf(s.RecordSignIn(ctx, ann, c)), ErrNotFound)
}

// Users cannot remove their last way to log in.
func TestUnlink(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	skew := time.Duration(0)
	s.now = func() time.Time { return time.Now().Add(skew) }
	usable := map[string]string{"google": "https://google.example", "github": "https://github.example"}
	linkAll := func(u User, providers ...string) {
		t.Helper()
		for _, p := range providers {
			testkit.NoError(t, errorOf(link(s, u.ID, claimsOf(p, u.ID))))
		}
	}

	ann := create(t, s, User{Name: "Ann", Email: "ann@example.com"})
	bob := create(t, s, User{Name: "Bob", Email: "bob@example.com", PasswordHash: "h"})
	linkAll(ann, "google", "github")
	linkAll(bob, "google")
	for i, step := range []struct {
		u        User
		provider string
		want     error
	}{
		{ann, "acme", ErrNoIdentity},
		{ann, "google", nil},
		{ann, "google", ErrNoIdentity},
		{ann, "github", ErrLastMethod},
		{bob, "google", nil},
		{bob, "google", ErrNoIdentity},
	} {
		if _, err := s.Unlink(ctx, step.u.ID, step.provider, usable); !errors.Is(err, step.want) {
			t.Errorf("step %d: got %v, want %v", i, err, step.want)
		}
	}

	wantLinks(t, s, ann, "github "+ann.ID)
	wantErr(t, "sign-in after ErrLastMethod", errorOf(s.RecordSignIn(ctx, ann, claimsOf("github", ann.ID))), nil)

	// A provider that is no longer configured, or has a different issuer now, does not count.
	linkAll(ann, "google")
	for _, others := range []map[string]string{nil, {"google": "https://google.example"}, {"google": "https://google.example", "github": "https://new.example"}} {
		if _, err := s.Unlink(ctx, ann.ID, "google", others); !errors.Is(err, ErrLastMethod) {
			t.Errorf("with %v: got %v, want ErrLastMethod", others, err)
		}
	}

	testkit.NoError(t, errorOf(s.Unlink(ctx, ann.ID, "google", usable)))

	// The mark of an interrupted removal expires.
	linkAll(ann, "google")
	testkit.NoError(t, errorOf(s.identities.UpdateOne(ctx, isIdentity("https://google.example", ann.ID), set(bson.E{Key: "removing", Value: s.timestamp()}))))

	wantErr(t, "while the other link is being removed", errorOf(s.Unlink(ctx, ann.ID, "github", usable)), ErrLastMethod)

	skew = pendingTTL + time.Second
	wantErr(t, "after an interrupted removal", errorOf(s.Unlink(ctx, ann.ID, "github", usable)), nil)
}

// If all links are removed concurrently, at least one is left.
func TestUnlinkConcurrently(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	providers := []string{"google", "github", "acme", "other"}
	issuers := map[string]string{}
	for _, p := range providers {
		issuers[p] = claimsOf(p, "").Issuer
	}

	for range 20 {
		ann := create(t, s, User{Name: "Ann", Email: "ann@example.com"})
		for _, p := range providers {
			testkit.NoError(t, errorOf(link(s, ann.ID, claimsOf(p, ann.ID))))
		}

		unlink := func(i int) error { return errorOf(s.Unlink(ctx, ann.ID, providers[i], issuers)) }
		for _, err := range testkit.Concurrently(len(providers), unlink) {
			if err != nil && !errors.Is(err, ErrLastMethod) {
				t.Error(err)
			}
		}

		if len(links(t, s, ann.ID)) == 0 {
			t.Fatal("got no identities, want at least one")
		}
		testkit.NoError(t, s.Delete(ctx, ann.ID))
	}
}

// When the owner of an email claims an account that someone else created with it in advance,
// nothing of the creator's is left in it.
func TestClaimAccount(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	u := create(t, s, User{
		Name:          "Planted",
		Email:         "ann@example.com",
		EmailVerified: true, // by its owner, unintentionally
		PasswordHash:  "h",
		Picture:       "https://evil.example/x",
		Locale:        "pl",
	})
	testkit.NoError(t, s.PutToken(ctx, u.ID, u.Email, EmailChangeToken, OneTimeToken{Hash: "t", Email: "eve@example.com", Expires: time.Now().Add(time.Hour)}))

	wantErr(t, "claim with a password", errorOf(s.ClaimAccount(ctx, u.ID, "ann@example.com", Profile{Name: "Eve"})), ErrNotFound)
	wantErr(t, "remove credentials with another email", s.RemoveCredentials(ctx, u.ID, "eve@example.com"), ErrNotFound)
	testkit.NoError(t, s.RemoveCredentials(ctx, u.ID, "ann@example.com"))

	stale, err := s.ByID(ctx, u.ID) // read by a request of the creator that sets a password
	testkit.NoError(t, err)

	// A session of the creator requests another token meanwhile.
	testkit.NoError(t, s.PutToken(ctx, u.ID, u.Email, EmailChangeToken, OneTimeToken{Hash: "t", Email: "eve@example.com", Expires: time.Now().Add(time.Hour)}))

	claimed, err := s.ClaimAccount(ctx, u.ID, "ann@example.com", Profile{Name: "Ann", Locale: "de"})
	testkit.NoError(t, err)

	want := User{
		ID:             u.ID,
		Name:           "Ann",
		Email:          "ann@example.com",
		EmailVerified:  true,
		OwnerConfirmed: true,
		Locale:         "de",
		Active:         true,
		CreatedAt:      u.CreatedAt,
		UpdatedAt:      claimed.UpdatedAt,
	}
	if want.DeviceGeneration = claimed.DeviceGeneration; want.DeviceGeneration == "" {
		t.Error("device generation: got none, want a new one")
	}
	if diff := cmp.Diff(want, claimed); diff != "" {
		t.Error(diff)
	}

	wantErr(t, "password of the creator", errorOf(s.AddPassword(ctx, stale, "planted")), ErrNotFound)
	wantErr(t, "email change of the creator", errorOf(s.ChangeEmail(ctx, u.ID, "t", "eve@example.com", true)), ErrNotFound)
	wantErr(t, "remove credentials of an account that its owner has confirmed", s.RemoveCredentials(ctx, u.ID, "ann@example.com"), ErrNotFound)

	// The first password can also be added if the field is missing.
	testkit.NoError(t, errorOf(s.users.UpdateOne(ctx, bson.D{}, bson.D{{Key: "$unset", Value: bson.D{{Key: "password", Value: ""}}}})))

	for i, want := range []error{nil, ErrNotFound} {
		if _, err := s.AddPassword(ctx, claimed, "h2"); !errors.Is(err, want) {
			t.Errorf("first password, attempt %d: got %v, want %v", i, err, want)
		}
	}
}

// Nobody can log in with a link before it is confirmed, and an abandoned proposal does not block
// other links.
func TestProposeLink(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	skew := time.Duration(0)
	s.now = func() time.Time { return time.Now().Add(skew) }
	ann := create(t, s, User{Name: "Ann", Email: "ann@example.com"})
	bob := create(t, s, User{Name: "Bob", Email: "bob@example.com"})
	c := claimsOf("google", "1")
	p, _, err := s.ProposeLink(ctx, ann.ID, c)
	testkit.NoError(t, err)

	wantErr(t, "by identity of a proposal", errorOf(s.ByIdentity(ctx, c.Issuer, c.Subject)), ErrNotFound)
	wantErr(t, "sign-in with a proposal", errorOf(s.RecordSignIn(ctx, ann, c)), ErrNotFound)
	wantLinks(t, s, ann)
	wantErr(t, "unlink a proposal", errorOf(s.Unlink(ctx, ann.ID, "google", nil)), ErrNoIdentity)

	// Neither user is linked yet, so the error must not say so. The next attempt may succeed.
	for _, u := range []User{ann, bob} {
		_, _, err := s.ProposeLink(ctx, u.ID, c)
		wantErr(t, u.Name+", while the proposal may be confirmed", err, ErrUnavailable)
	}

	other := claimsOf("google", "2")
	wantErr(t, "another external account, while the proposal may be confirmed", errorOf(link(s, ann.ID, other)), ErrUnavailable)

	testkit.NoError(t, s.UnlinkAll(ctx, ann.ID))
	wantErr(t, "confirm after UnlinkAll", s.ConfirmLink(ctx, p), ErrNotFound)

	if _, _, err := s.ProposeLink(ctx, ann.ID, c); err != nil {
		t.Fatal(err)
	}

	skew = pendingTTL + time.Second
	if added, err := link(s, bob.ID, c); !added || err != nil {
		t.Errorf("after an abandoned proposal: got added %v, %v; want true", added, err)
	}

	// If the provider's issuer changes, a link to the old one does not block a new link.
	moved := claimsOf("google", "1")
	moved.Issuer = "https://new.google.example"
	if added, err := link(s, bob.ID, moved); !added || err != nil {
		t.Errorf("with the new issuer: got added %v, %v; want true", added, err)
	}

	if all, _ := s.Identities(ctx, bob.ID); len(all) != 1 || all[0].Issuer != moved.Issuer {
		t.Errorf("got identities %v, want one at the new issuer", all)
	}
}
