package user

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/testkit"
)

// listAll returns the accounts on all pages.
func listAll(t *testing.T, limit int64, list func(Page) ([]Listed, error), position func(Listed) string) []Listed {
	t.Helper()

	var all []Listed
	page := Page{Limit: limit}
	for {
		users, err := list(page)
		testkit.NoError(t, err)
		all = append(all, users...)
		if len(users) == 0 {
			return all
		}

		page.After = position(users[len(users)-1])
	}
}

func idOf(u Listed) string { return u.ID }

func emailsOf(users []Listed) string {
	var all []string
	for _, u := range users {
		all = append(all, string(u.Email))
	}

	return strings.Join(all, " ")
}

// The pages have every account once and in order, also those whose _id has another type, which MongoDB sorts
// by type.
func TestListPages(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)

	for i := range 4 {
		create(t, s, User{Name: "U", Email: Email(fmt.Sprintf("u%d@example.com", i)), PasswordHash: "h"})
	}
	for _, id := range []any{"x", "y", int32(7), 7.5, bson.D{{Key: "a", Value: 1}}, true, []byte("b")} {
		_, err := s.users.InsertOne(ctx, bson.D{{Key: "_id", Value: id}, {Key: "email", Value: fmt.Sprintf("%v@example.com", id)}})
		testkit.NoError(t, err)
	}

	whole, err := s.List(ctx, Page{Limit: 100})
	testkit.NoError(t, err)
	if len(whole) != 11 {
		t.Fatalf("got %d accounts, want 11", len(whole))
	}

	for _, limit := range []int64{1, 2, 3, 10} {
		paged := listAll(t, limit, func(p Page) ([]Listed, error) { return s.List(ctx, p) }, idOf)
		if got, want := emailsOf(paged), emailsOf(whole); got != want {
			t.Errorf("pages of %d: got %s, want %s", limit, got, want)
		}
	}

	for _, after := range []string{"ann@example.com", "x", "{"} {
		wantErr(t, "after "+after, errorOf(s.List(ctx, Page{After: after, Limit: 1})), ErrBadPosition)
	}
}

// A search finds what begins with a text by its email, and what contains it by its email or name. No
// character of the text has a special meaning.
func TestSearch(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)

	for _, u := range []User{
		{Name: "Ann Smith", Email: "ann@example.com"},
		{Name: "Ann B.", Email: "ann.b@example.com"},
		{Name: "Bob (ann)", Email: "bob@example.com"},
		{Name: "SMITHERS", Email: "joann@example.com"},
		{Name: "Zoë", Email: "annz@bücher.example"},
	} {
		u.PasswordHash = "h"
		create(t, s, u)
	}
	_, err := s.users.InsertOne(ctx, bson.D{{Key: "email", Value: 5}, {Key: "name", Value: bson.A{"annoying"}}})
	testkit.NoError(t, err)

	for text, want := range map[string]string{
		"ann":                 "ann.b@example.com ann@example.com annz@bücher.example",
		"ANN@":                "ann@example.com",
		"ann.":                "ann.b@example.com",
		"annz@bü":             "annz@bücher.example",
		"n":                   "",
		"a.*":                 "",
		"":                    "ann.b@example.com ann@example.com annz@bücher.example bob@example.com joann@example.com",
		"joann@example.com":   "joann@example.com",
		"joann@example.com.x": "",
	} {
		list := func(p Page) ([]Listed, error) { return s.SearchEmails(ctx, text, p) }
		for _, limit := range []int64{1, 2, 100} {
			found := listAll(t, limit, list, func(u Listed) string { return string(u.Email) })
			if got := emailsOf(found); got != want {
				t.Errorf("emails that begin with %q, %d on a page: got %s, want %s", text, limit, got, want)
			}
		}
	}

	for text, want := range map[string]string{
		"smith":   "joann@example.com ann@example.com",
		"(ANN)":   "bob@example.com",
		"B.":      "ann.b@example.com",
		"n.b":     "ann.b@example.com",
		"a.*":     "",
		"zoë":     "annz@bücher.example",
		"example": "annz@bücher.example joann@example.com bob@example.com ann.b@example.com ann@example.com",
	} {
		list := func(p Page) ([]Listed, error) { return s.Search(ctx, text, p) }
		for _, limit := range []int64{1, 2, 100} {
			found := slices.DeleteFunc(listAll(t, limit, list, idOf), func(u Listed) bool { return u.Unreadable != "" })
			if got := emailsOf(found); got != want {
				t.Errorf("accounts that contain %q, %d on a page: got %s, want %s", text, limit, got, want)
			}
		}
	}
}

// An operator verifies the email that they have seen, not a later one. The link in the email then has no effect.
func TestMarkVerified(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	ann := create(t, s, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"})
	token := OneTimeToken{Hash: "x", Expires: time.Now().Add(time.Hour)}
	testkit.NoError(t, s.PutToken(ctx, ann.ID, ann.Email, VerifyToken, token))

	wantErr(t, "an email of before", errorOf(s.MarkVerified(ctx, ann.ID, "old@example.com")), ErrNotFound)

	u, err := s.MarkVerified(ctx, ann.ID, ann.Email)
	if err != nil || !u.EmailVerified || u.OwnerConfirmed {
		t.Errorf("got %+v and error %v, want a verified email that is not confirmed by its owner", u, err)
	}
	wantErr(t, "the link", errorOf(s.VerifyEmail(ctx, ann.ID, "x", true)), ErrNotFound)
}
