package user

import (
	"context"
	"errors"
	"sync"
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

	short := []string{}
	for _, i := range all {
		short = append(short, i.Provider+" "+i.Subject)
	}

	return short
}

// link proposes and confirms a link. It reports whether the link is new.
func link(s *Store, userID string, c Claims) (added bool, err error) {
	p, linked, err := s.ProposeLink(context.Background(), userID, c)
	if err != nil || linked {
		return false, err
	}

	return true, s.ConfirmLink(context.Background(), p)
}

func create(t *testing.T, s *Store, u User) User {
	t.Helper()
	u, err := s.Create(context.Background(), u)
	testkit.NoError(t, err)

	return u
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

	if diff := cmp.Diff([]string{"google 1"}, links(t, s, ann.ID)); diff != "" {
		t.Error(diff)
	}

	if diff := cmp.Diff([]string{"google 2", "github 1"}, links(t, s, eve.ID)); diff != "" {
		t.Error(diff)
	}

	if u, err := s.ByIdentity(ctx, "https://google.example", "1"); err != nil || u.ID != ann.ID {
		t.Errorf("by identity: got %v, %v; want Ann", u, err)
	}

	testkit.NoError(t, s.Delete(ctx, ann.ID))

	if left := links(t, s, ann.ID); len(left) > 0 {
		t.Errorf("after the deletion: got identities %v, want none", left)
	}

	// A link that is made while its user is deleted is removed.
	if _, err := link(s, ann.ID, claimsOf("google", "1")); err != nil {
		t.Fatal(err)
	}

	if _, err := s.ByIdentity(ctx, "https://google.example", "1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("by identity of a deleted user: got %v, want ErrNotFound", err)
	}

	if left := links(t, s, ann.ID); len(left) > 0 {
		t.Errorf("deleted user: got identities %v, want none", left)
	}
}

func TestRecordSignIn(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	ann := create(t, s, User{Name: "Ann", Email: "ann@example.com"})
	eve := create(t, s, User{Name: "Eve", Email: "eve@example.com"})
	c := claimsOf("google", "1")
	if _, err := s.RecordSignIn(ctx, ann.ID, c); !errors.Is(err, ErrNotFound) {
		t.Errorf("not linked: got %v, want ErrNotFound", err)
	}

	if _, err := link(s, ann.ID, c); err != nil {
		t.Fatal(err)
	}

	c.Picture = "https://google.example/ann.png"
	if _, err := s.RecordSignIn(ctx, eve.ID, c); !errors.Is(err, ErrNotFound) {
		t.Errorf("linked to another user: got %v, want ErrNotFound", err)
	}

	u, err := s.RecordSignIn(ctx, ann.ID, c)
	if err != nil || u.LastLogin.IsZero() || u.Picture != c.Picture {
		t.Errorf("signed in: got %v, %v; want a login time and a picture", u, err)
	}

	if all, _ := s.Identities(ctx, ann.ID); !all[0].LastLogin.Equal(u.LastLogin) {
		t.Errorf("got last login %v of the identity, want %v", all[0].LastLogin, u.LastLogin)
	}

	if _, err := s.SetActive(ctx, ann.ID, false); err != nil {
		t.Fatal(err)
	}

	if _, err := s.RecordSignIn(ctx, ann.ID, c); !errors.Is(err, ErrNotFound) {
		t.Errorf("disabled: got %v, want ErrNotFound", err)
	}
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
			if _, err := link(s, u.ID, claimsOf(p, u.ID)); err != nil {
				t.Fatal(err)
			}
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

	if diff := cmp.Diff([]string{"github " + ann.ID}, links(t, s, ann.ID)); diff != "" {
		t.Error(diff)
	}

	if _, err := s.RecordSignIn(ctx, ann.ID, claimsOf("github", ann.ID)); err != nil {
		t.Errorf("sign-in after ErrLastMethod: got %v, want no error", err)
	}

	// A provider that is no longer configured, or has a different issuer now, does not count.
	linkAll(ann, "google")
	for _, others := range []map[string]string{nil, {"google": "https://google.example"}, {"google": "https://google.example", "github": "https://new.example"}} {
		if _, err := s.Unlink(ctx, ann.ID, "google", others); !errors.Is(err, ErrLastMethod) {
			t.Errorf("with %v: got %v, want ErrLastMethod", others, err)
		}
	}

	if _, err := s.Unlink(ctx, ann.ID, "google", usable); err != nil {
		t.Error(err)
	}

	// The mark of an interrupted removal expires.
	linkAll(ann, "google")
	if _, err := s.identities.UpdateOne(ctx, isIdentity("https://google.example", ann.ID), set(bson.E{Key: "removing", Value: s.timestamp()})); err != nil {
		t.Fatal(err)
	}

	if _, err := s.Unlink(ctx, ann.ID, "github", usable); !errors.Is(err, ErrLastMethod) {
		t.Errorf("while the other link is being removed: got %v, want ErrLastMethod", err)
	}

	skew = pendingTTL + time.Second
	if _, err := s.Unlink(ctx, ann.ID, "github", usable); err != nil {
		t.Errorf("after an interrupted removal: got %v, want no error", err)
	}
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
			if _, err := link(s, ann.ID, claimsOf(p, ann.ID)); err != nil {
				t.Fatal(err)
			}
		}

		var group sync.WaitGroup
		for _, p := range providers {
			group.Go(func() {
				if _, err := s.Unlink(ctx, ann.ID, p, issuers); err != nil && !errors.Is(err, ErrLastMethod) {
					t.Error(err)
				}
			})
		}

		group.Wait()
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
	u := create(t, s, User{Name: "Planted", Email: "ann@example.com", PasswordHash: "h", Picture: "https://evil.example/x"})
	testkit.NoError(t, s.PutToken(ctx, u.ID, u.Email, EmailChangeToken, OneTimeToken{Hash: "t", Email: "eve@example.com", Expires: time.Now().Add(time.Hour)}))

	if _, err := s.ClaimAccount(ctx, u.ID, "ann@example.com", "Eve", ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("claim with a password: got %v, want ErrNotFound", err)
	}
	if err := s.RemoveCredentials(ctx, u.ID, "eve@example.com"); !errors.Is(err, ErrNotFound) {
		t.Errorf("remove credentials with another email: got %v, want ErrNotFound", err)
	}
	testkit.NoError(t, s.RemoveCredentials(ctx, u.ID, "ann@example.com"))

	stale, err := s.ByID(ctx, u.ID) // read by a request of the creator that sets a password
	testkit.NoError(t, err)

	// A session of the creator requests another token meanwhile.
	testkit.NoError(t, s.PutToken(ctx, u.ID, u.Email, EmailChangeToken, OneTimeToken{Hash: "t", Email: "eve@example.com", Expires: time.Now().Add(time.Hour)}))

	claimed, err := s.ClaimAccount(ctx, u.ID, "ann@example.com", "Ann", "")
	testkit.NoError(t, err)

	want := User{ID: u.ID, Name: "Ann", Email: "ann@example.com", EmailVerified: true, Active: true, CreatedAt: u.CreatedAt, UpdatedAt: claimed.UpdatedAt}
	if diff := cmp.Diff(want, claimed); diff != "" {
		t.Error(diff)
	}

	if _, err := s.AddPassword(ctx, stale, "planted"); !errors.Is(err, ErrNotFound) {
		t.Errorf("password of the creator: got %v, want ErrNotFound", err)
	}

	if _, err := s.ChangeEmail(ctx, u.ID, "t", "eve@example.com"); !errors.Is(err, ErrNotFound) {
		t.Errorf("email change of the creator: got %v, want ErrNotFound", err)
	}
	if err := s.RemoveCredentials(ctx, u.ID, "ann@example.com"); !errors.Is(err, ErrNotFound) {
		t.Errorf("remove credentials of a verified account: got %v, want ErrNotFound", err)
	}

	// The first password can also be added if the field is missing.
	if _, err := s.users.UpdateOne(ctx, bson.D{}, bson.D{{Key: "$unset", Value: bson.D{{Key: "password", Value: ""}}}}); err != nil {
		t.Fatal(err)
	}

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

	if _, err := s.ByIdentity(ctx, c.Issuer, c.Subject); !errors.Is(err, ErrNotFound) {
		t.Errorf("by identity of a proposal: got %v, want ErrNotFound", err)
	}

	if _, err := s.RecordSignIn(ctx, ann.ID, c); !errors.Is(err, ErrNotFound) {
		t.Errorf("sign-in with a proposal: got %v, want ErrNotFound", err)
	}

	if left := links(t, s, ann.ID); len(left) > 0 {
		t.Errorf("got identities %v, want none", left)
	}

	if _, err := s.Unlink(ctx, ann.ID, "google", nil); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("unlink a proposal: got %v, want ErrNoIdentity", err)
	}

	if _, _, err := s.ProposeLink(ctx, bob.ID, c); !errors.Is(err, ErrAlreadyLinked) {
		t.Errorf("while the proposal may be confirmed: got %v, want ErrAlreadyLinked", err)
	}
	testkit.NoError(t, s.UnlinkAll(ctx, ann.ID))
	if err := s.ConfirmLink(ctx, p); !errors.Is(err, ErrNotFound) {
		t.Errorf("confirm after UnlinkAll: got %v, want ErrNotFound", err)
	}

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

// Only an account that was left behind by an interrupted sign-up with a provider is deleted.
func TestDeleteUnfinishedSignUp(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	skew := time.Duration(0)
	s.now = func() time.Time { return time.Now().Add(skew) }
	var all []User
	used := create(t, s, User{Name: "Used", Email: "used@example.com"})
	if _, err := s.RecordLogin(ctx, used); err != nil {
		t.Fatal(err)
	}

	all = append(all, used)
	for _, u := range []User{
		{Name: "Unfinished", Email: "unfinished@example.com"},
		{Name: "With a password", Email: "password@example.com", PasswordHash: "h"},
		{Name: "Verified", Email: "verified@example.com", EmailVerified: true},
	} {
		all = append(all, create(t, s, u))
	}

	for _, wait := range []time.Duration{0, pendingTTL + time.Second} {
		skew = wait
		for _, u := range all {
			testkit.NoError(t, s.DeleteUnfinishedSignUp(ctx, u))

			_, err := s.ByID(ctx, u.ID)
			deleted := errors.Is(err, ErrNotFound)
			if want := wait > 0 && u.Name == "Unfinished"; deleted != want {
				t.Errorf("%s after %v: got deleted %v, want %v", u.Name, wait, deleted, want)
			}
		}
	}
}
