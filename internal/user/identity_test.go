package user

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/bson"
)

func claimsOf(provider, subject string) Claims {
	return Claims{Provider: provider, Issuer: "https://" + provider + ".example", Subject: subject, Email: "ann@example.com", EmailVerified: true}
}

// links are the identities of an account, in short.
func links(t *testing.T, s *Store, userID string) []string {
	t.Helper()
	all, err := s.Identities(context.Background(), userID)
	if err != nil {
		t.Fatal(err)
	}
	short := []string{}
	for _, i := range all {
		short = append(short, i.Provider+" "+i.Subject)
	}
	return short
}

// link links, as far as the store is asked.
func link(s *Store, userID string, c Claims) (added bool, err error) {
	p, linked, err := s.Propose(context.Background(), userID, c)
	if err != nil || linked {
		return false, err
	}
	return true, s.Confirm(context.Background(), p)
}

func create(t *testing.T, s *Store, u User) User {
	t.Helper()
	u, err := s.Create(context.Background(), u)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// An account elsewhere belongs to one account here, and an account here has one of each
// provider.
func TestLink(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), newStore(t)
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
			t.Errorf("step %d: %v, %v, want %v, %v", i, added, err, step.added, step.err)
		}
	}
	if diff := cmp.Diff([]string{"google 1"}, links(t, s, ann.ID)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"google 2", "github 1"}, links(t, s, eve.ID)); diff != "" {
		t.Error(diff)
	}
	if u, err := s.ByIdentity(ctx, "https://google.example", "1"); err != nil || u.ID != ann.ID {
		t.Errorf("google 1 is %v, %v", u, err)
	}

	if err := s.Delete(ctx, ann.ID); err != nil {
		t.Fatal(err)
	}
	if left := links(t, s, ann.ID); len(left) > 0 {
		t.Errorf("a deleted account keeps %v", left)
	}
	// What is linked to an account while that is deleted is nobody's.
	if _, err := link(s, ann.ID, claimsOf("google", "1")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ByIdentity(ctx, "https://google.example", "1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("an identity of an account that is gone: %v", err)
	}
	if left := links(t, s, ann.ID); len(left) > 0 {
		t.Errorf("an account that is gone keeps %v", left)
	}
}

func TestRecordSignIn(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), newStore(t)
	ann := create(t, s, User{Name: "Ann", Email: "ann@example.com"})
	eve := create(t, s, User{Name: "Eve", Email: "eve@example.com"})
	c := claimsOf("google", "1")
	if _, err := s.RecordSignIn(ctx, ann.ID, c); !errors.Is(err, ErrNotFound) {
		t.Errorf("not linked: %v", err)
	}
	if _, err := link(s, ann.ID, c); err != nil {
		t.Fatal(err)
	}
	c.Picture = "https://google.example/ann.png"
	if _, err := s.RecordSignIn(ctx, eve.ID, c); !errors.Is(err, ErrNotFound) {
		t.Errorf("linked to another account: %v", err)
	}
	u, err := s.RecordSignIn(ctx, ann.ID, c)
	if err != nil || u.LastLogin.IsZero() || u.Picture != c.Picture {
		t.Errorf("signed in: %v, %v", u, err)
	}
	if all, _ := s.Identities(ctx, ann.ID); !all[0].LastLogin.Equal(u.LastLogin) {
		t.Errorf("the identity was last used %v, the account %v", all[0].LastLogin, u.LastLogin)
	}
	if _, err := s.SetActive(ctx, ann.ID, false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RecordSignIn(ctx, ann.ID, c); !errors.Is(err, ErrNotFound) {
		t.Errorf("disabled: %v", err)
	}
}

// Nobody removes their last way to log in.
func TestUnlink(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), newStore(t)
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
		{ann, "acme", ErrNoIdentity}, {ann, "google", nil}, {ann, "google", ErrNoIdentity}, {ann, "github", ErrLastMethod},
		{bob, "google", nil}, {bob, "google", ErrNoIdentity},
	} {
		if _, err := s.Unlink(ctx, step.u.ID, step.provider, usable); !errors.Is(err, step.want) {
			t.Errorf("step %d: %v, want %v", i, err, step.want)
		}
	}
	if diff := cmp.Diff([]string{"github " + ann.ID}, links(t, s, ann.ID)); diff != "" {
		t.Error(diff)
	}
	if _, err := s.RecordSignIn(ctx, ann.ID, claimsOf("github", ann.ID)); err != nil {
		t.Errorf("what could not be removed: %v", err)
	}

	// Nor is a provider another way that is not configured, or has another issuer now.
	linkAll(ann, "google")
	for _, others := range []map[string]string{nil, {"google": "https://google.example"}, {"google": "https://google.example", "github": "https://new.example"}} {
		if _, err := s.Unlink(ctx, ann.ID, "google", others); !errors.Is(err, ErrLastMethod) {
			t.Errorf("with %v: %v", others, err)
		}
	}
	if _, err := s.Unlink(ctx, ann.ID, "google", usable); err != nil {
		t.Error(err)
	}

	// A removal that broke off does not count for ever.
	linkAll(ann, "google")
	if _, err := s.identities.UpdateOne(ctx, known("https://google.example", ann.ID), set(bson.E{Key: "removing", Value: s.timestamp()})); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Unlink(ctx, ann.ID, "github", usable); !errors.Is(err, ErrLastMethod) {
		t.Errorf("while the other is being removed: %v", err)
	}
	skew = stepTime + time.Second
	if _, err := s.Unlink(ctx, ann.ID, "github", usable); err != nil {
		t.Errorf("after a removal that broke off: %v", err)
	}
}

// Of all ways removed at once one is left.
func TestUnlinkAtOnce(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), newStore(t)
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
		var at sync.WaitGroup
		for _, p := range providers {
			at.Go(func() {
				if _, err := s.Unlink(ctx, ann.ID, p, issuers); err != nil && !errors.Is(err, ErrLastMethod) {
					t.Error(err)
				}
			})
		}
		at.Wait()
		if len(links(t, s, ann.ID)) == 0 {
			t.Fatal("nothing is left to log in with")
		}
		if err := s.Delete(ctx, ann.ID); err != nil {
			t.Fatal(err)
		}
	}
}

// What whoever made an account in advance put into it is gone once its owner has it.
func TestClaim(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), newStore(t)
	u := create(t, s, User{Name: "Planted", Email: "ann@example.com", PasswordHash: "h", Picture: "https://evil.example/x"})
	if err := s.PutTicket(ctx, u.ID, u.Email, ChangeTicket, Ticket{Hash: "t", Email: "eve@example.com", Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Claim(ctx, u.ID, "ann@example.com", "Eve", ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("with its password: %v", err)
	}
	if err := s.Disown(ctx, u.ID, "eve@example.com"); !errors.Is(err, ErrNotFound) {
		t.Errorf("by another address: %v", err)
	}
	if err := s.Disown(ctx, u.ID, "ann@example.com"); err != nil {
		t.Fatal(err)
	}
	stale, err := s.ByID(ctx, u.ID) // what someone reads who is about to set a password
	if err != nil {
		t.Fatal(err)
	}
	// What a session that has not ended yet asks for meanwhile.
	if err := s.PutTicket(ctx, u.ID, u.Email, ChangeTicket, Ticket{Hash: "t", Email: "eve@example.com", Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	claimed, err := s.Claim(ctx, u.ID, "ann@example.com", "Ann", "")
	if err != nil {
		t.Fatal(err)
	}
	want := User{ID: u.ID, Name: "Ann", Email: "ann@example.com", EmailVerified: true, Active: true, CreatedAt: u.CreatedAt, UpdatedAt: claimed.UpdatedAt}
	if diff := cmp.Diff(want, claimed); diff != "" {
		t.Error(diff)
	}
	if _, err := s.AddPassword(ctx, stale, "planted"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a password from before: %v", err)
	}
	if _, err := s.ChangeEmail(ctx, u.ID, "t", "eve@example.com"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a change of address that was asked for before: %v", err)
	}
	if err := s.Disown(ctx, u.ID, "ann@example.com"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a confirmed account: %v", err)
	}
	// The first password of an account that has none, or no such member at all.
	if _, err := s.users.UpdateOne(ctx, bson.D{}, bson.D{{Key: "$unset", Value: bson.D{{Key: "password", Value: ""}}}}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, ErrNotFound} {
		if _, err := s.AddPassword(ctx, claimed, "h2"); !errors.Is(err, want) {
			t.Errorf("first password, try %d: %v", i, err)
		}
	}
}

// A link opens nothing before it is confirmed, and what broke off is in nobody's way.
func TestPropose(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), newStore(t)
	skew := time.Duration(0)
	s.now = func() time.Time { return time.Now().Add(skew) }
	ann := create(t, s, User{Name: "Ann", Email: "ann@example.com"})
	bob := create(t, s, User{Name: "Bob", Email: "bob@example.com"})
	c := claimsOf("google", "1")
	p, _, err := s.Propose(ctx, ann.ID, c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ByIdentity(ctx, c.Issuer, c.Subject); !errors.Is(err, ErrNotFound) {
		t.Errorf("a proposal opens: %v", err)
	}
	if _, err := s.RecordSignIn(ctx, ann.ID, c); !errors.Is(err, ErrNotFound) {
		t.Errorf("a proposal signs in: %v", err)
	}
	if left := links(t, s, ann.ID); len(left) > 0 {
		t.Errorf("a proposal is listed: %v", left)
	}
	if _, err := s.Unlink(ctx, ann.ID, "google", nil); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("a proposal is removed: %v", err)
	}
	if _, _, err := s.Propose(ctx, bob.ID, c); !errors.Is(err, ErrAlreadyLinked) {
		t.Errorf("while it may be confirmed: %v", err)
	}
	if err := s.UnlinkAll(ctx, ann.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Confirm(ctx, p); !errors.Is(err, ErrNotFound) {
		t.Errorf("confirmed after all was removed: %v", err)
	}

	if _, _, err := s.Propose(ctx, ann.ID, c); err != nil {
		t.Fatal(err)
	}
	skew = stepTime + time.Second
	if added, err := link(s, bob.ID, c); !added || err != nil {
		t.Errorf("after one that broke off: %v, %v", added, err)
	}
	// The provider has another issuer now: who was linked to the old one is not locked out.
	moved := claimsOf("google", "1")
	moved.Issuer = "https://new.google.example"
	if added, err := link(s, bob.ID, moved); !added || err != nil {
		t.Errorf("at another issuer: %v, %v", added, err)
	}
	if all, _ := s.Identities(ctx, bob.ID); len(all) != 1 || all[0].Issuer != moved.Issuer {
		t.Errorf("%v", all)
	}
}

// What creating an account elsewhere left half made makes room, and nothing else does.
func TestDiscard(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), newStore(t)
	skew := time.Duration(0)
	s.now = func() time.Time { return time.Now().Add(skew) }
	var all []User
	used := create(t, s, User{Name: "Used", Email: "used@example.com"})
	if _, err := s.RecordLogin(ctx, used.ID, ""); err != nil {
		t.Fatal(err)
	}
	all = append(all, used)
	for _, u := range []User{
		{Name: "Half", Email: "half@example.com"},
		{Name: "With a password", Email: "password@example.com", PasswordHash: "h"},
		{Name: "Confirmed", Email: "confirmed@example.com", EmailVerified: true},
	} {
		all = append(all, create(t, s, u))
	}
	for _, wait := range []time.Duration{0, stepTime + time.Second} {
		skew = wait
		for _, u := range all {
			if err := s.Discard(ctx, u); err != nil {
				t.Fatal(err)
			}
			_, err := s.ByID(ctx, u.ID)
			if gone := errors.Is(err, ErrNotFound); gone != (wait > 0 && u.Name == "Half") {
				t.Errorf("%s after %v: %v", u.Name, wait, err)
			}
		}
	}
}
