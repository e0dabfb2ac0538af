package user

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/mongoconn"
	"latchkey/internal/testkit"
)

func TestMain(m *testing.M) { storetest.MainParallel(m) }

// emails maps input to canonical emails, or to "" if it is invalid.
var emails = map[string]Email{
	"john@example.com":                       "john@example.com",
	" John.Doe@Example.COM ":                 "john.doe@example.com",
	"j+tag@sub.example.co.uk":                "j+tag@sub.example.co.uk",
	"o'neil!#$%&*/=?^_`{|}~@a.io":            "o'neil!#$%&*/=?^_`{|}~@a.io",
	strings.Repeat("a", 64) + "@example.com": Email(strings.Repeat("a", 64) + "@example.com"),
	"x@MÜLLER.de":                            "x@müller.de",
	"x@mu\u0308ller.de":                      "x@müller.de", // composed and decomposed characters are the same
	"x@xn--mller-kva.de":                     "x@müller.de",
	"x@例え.テスト":                               "x@例え.テスト",
	"x@ｅｘａｍｐｌｅ.com":                          "x@example.com",
	"x@127.0.0.1.example":                    "x@127.0.0.1.example",
	"x@" + strings.Repeat("b", 63) + ".com":  Email("x@" + strings.Repeat("b", 63) + ".com"),
	// Invalid emails.
	"":                                       "",
	"a@":                                     "",
	"@b.com":                                 "",
	"a":                                      "",
	"a@b":                                    "",
	"a@b@c.com":                              "",
	"a@evil.com＠example.org":                 "", // U+FF20 becomes an @ under NFKC
	"a＠example.com":                          "",
	"mi\u212ae@example.com":                  "", // the Kelvin sign lower-cases to k
	"jöhn@example.com":                       "",
	"john@exam\u200bple.com":                 "john@example.com", // IDNA removes the zero-width space
	"john@example.com\r\nBcc: x":             "",
	"john@exa mple.com":                      "",
	"john@example.com\n":                     "",
	"john@ab--cd.com":                        "",
	`"john.doe"@example.com`:                 "",
	"john@b.0":                               "",
	`"john doe"@example.com`:                 "",
	".john@example.com":                      "",
	"jo..hn@example.com":                     "",
	"john@example..com":                      "",
	"john@example.com.":                      "",
	"john@-example.com":                      "",
	"john@exa_mple.com":                      "",
	"john@127.0.0.1":                         "",
	"john@b.0x1":                             "",
	"a@" + distinctRunes(20_000):             "", // IDNA takes quadratic time
	"john@[127.0.0.1]":                       "",
	"John <john@example.com>":                "",
	strings.Repeat("a", 65) + "@example.com": "",
	"x@" + strings.Repeat("b", 64) + ".com":  "",
	"x@" + strings.Repeat(strings.Repeat("b", 60)+".", 5) + "com": "",
}

func TestParseEmail(t *testing.T) {
	t.Parallel()

	for in, want := range emails {
		got, err := ParseEmail(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("ParseEmail(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func distinctRunes(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteRune(rune(0x4e00 + i))
	}

	return b.String() + ".com"
}

func FuzzParseEmail(f *testing.F) {
	for s := range emails {
		f.Add(s)
	}

	f.Fuzz(func(t *testing.T, in string) {
		got, err := ParseEmail(in)
		if err != nil {
			return
		}

		if again, err := ParseEmail(string(got)); err != nil || again != got {
			t.Errorf("%q: got %q, and then %q, %v; want it unchanged", in, got, again, err)
		}

		if strings.Count(string(got), "@") != 1 || strings.ContainsAny(string(got), " \r\n\x00<>\"") {
			t.Errorf("%q: got %q, want no unsafe characters", in, got)
		}
	})
}

func TestParseName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Ann": "Ann", " Ann B. ": "Ann B.", "山田 太郎": "山田 太郎", "<b>Ann</b>": "<b>Ann</b>",
		strings.Repeat("é", MaxNameLength): strings.Repeat("é", MaxNameLength),
		"":                                 "", " \t": "", "a\nb": "", "a\x00b": "", "a\u2028b": "", "a\u202eb": "", "\u200b": "", "\ufeff": "", "\u3164": "", "\u2800": "", "\u200d": "",
		"\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645": "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
		strings.Repeat("é", MaxNameLength+1):                     "",
	} {
		got, err := ParseName(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("ParseName(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"Ann", " Ann B. ", "a\r\nb", "\u202eAnn", "\u200b", "نمی\u200cخواهم", "\xff", "\u0085Ann\u00a0"} {
		f.Add(s)
	}

	f.Fuzz(func(t *testing.T, in string) {
		got, err := ParseName(in)
		if err != nil {
			if got != "" {
				t.Errorf("%q: got %q with an error, want an empty name", in, got)
			}

			return
		}

		if again, err := ParseName(got); err != nil || again != got {
			t.Errorf("%q: got %q, and then %q, %v; want it unchanged", in, got, again, err)
		}

		if utf8.RuneCountInString(got) > MaxNameLength || got != strings.TrimSpace(got) || strings.ContainsFunc(got, unicode.IsControl) || strings.ContainsAny(got, "\u2028\u2029\u202e\u2066\u200b\ufeff") {
			t.Errorf("%q: got %q, want no unsafe characters", in, got)
		}
	})
}

func newStore(t *testing.T) *Store {
	t.Helper()
	return New(conntest.Mongo(t, mongoconn.Options{URI: storetest.Mongo(t)}), time.Now)
}

// errorOf returns the second result of a method.
func errorOf[T any](_ T, err error) error { return err }

// wantErr checks what a method returned. A nil want means no error.
func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()

	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

func create(t *testing.T, s *Store, u User) User {
	t.Helper()

	u, err := s.Create(t.Context(), u)
	testkit.NoError(t, err)

	return u
}

func TestStore(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	made := create(t, s, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "hash"})

	for name, look := range map[string]func() (User, error){
		"by id":    func() (User, error) { return s.ByID(ctx, made.ID) },
		"by email": func() (User, error) { return s.ByEmail(ctx, "ann@example.com") },
	} {
		if got, err := look(); err != nil || !cmp.Equal(got, made) {
			t.Errorf("%s: %v %s", name, err, cmp.Diff(made, got))
		}
	}

	for _, id := range []string{"", "x", "65f000000000000000000000", made.ID + "0"} {
		if _, err := s.ByID(ctx, id); !errors.Is(err, ErrNotFound) {
			t.Errorf("ByID(%q): got %v, want ErrNotFound", id, err)
		}
	}

	wantErr(t, "second account with the same email", errorOf(s.Create(ctx, User{Name: "Eve", Email: "ann@example.com", PasswordHash: "other"})), ErrEmailTaken)

	if got, err := s.UpdateProfile(ctx, made.ID, Profile{Name: "Ann B."}); err != nil || got.Name != "Ann B." || got.PasswordHash != "hash" || got.UpdatedAt.Before(made.UpdatedAt) {
		t.Errorf("rename: got %+v, %v; want the new name", got, err)
	}

	for _, changed := range []User{{ID: made.ID, Email: "another@example.com", PasswordHash: "hash"}, {ID: made.ID, Email: made.Email, PasswordHash: "another"}} {
		wantErr(t, "record a login of a changed account", errorOf(s.RecordLogin(ctx, changed)), ErrNotFound)
	}

	if got, err := s.RecordLogin(ctx, made); err != nil || got.LastLogin.IsZero() {
		t.Errorf("record a login: got %+v, %v; want a login time", got, err)
	}

	testkit.NoError(t, errorOf(s.SetActive(ctx, made.ID, false)))
	wantErr(t, "record a login of a disabled account", errorOf(s.RecordLogin(ctx, made)), ErrNotFound)

	testkit.NoError(t, s.Delete(ctx, made.ID))
	wantErr(t, "after the deletion", errorOf(s.ByID(ctx, made.ID)), ErrNotFound)
}

// A stronger hash only replaces the hash of the same password, so that it does not undo a
// concurrent password change.
func TestReplaceHash(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	made := create(t, s, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "old"})

	for _, step := range []struct{ old, better, want string }{{"other", "wrong", "old"}, {"old", "new", "new"}, {"old", "wrong", "new"}} {
		if err := s.ReplaceHash(ctx, made.ID, step.old, step.better); (err == nil) != (step.better == "new") || err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("%+v: %v", step, err)
		}

		if got, err := s.ByID(ctx, made.ID); err != nil || got.PasswordHash != step.want {
			t.Errorf("%+v: got hash %q, %v; want %q", step, got.PasswordHash, err, step.want)
		}
	}
}

// Documents of the guide's app are valid accounts, also with only the required fields.
func TestGuideDocuments(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	_, err := s.users.InsertMany(ctx, []any{
		bson.D{{Key: "name", Value: "A"}, {Key: "email", Value: "a@example.com"}, {Key: "password", Value: "h"}, {Key: "isActive", Value: true}, {Key: "lastLogin", Value: time.Now()}, {Key: "createdAt", Value: time.Now()}, {Key: "updatedAt", Value: time.Now()}, {Key: "__v", Value: int32(0)}},
		bson.D{{Key: "name", Value: "B"}, {Key: "email", Value: "b@example.com"}, {Key: "password", Value: "h"}},
	})
	testkit.NoError(t, err)

	for _, email := range []Email{"a@example.com", "b@example.com"} {
		if u, err := s.ByEmail(ctx, email); err != nil || !u.Active || u.PasswordHash != "h" {
			t.Errorf("%s: got %+v, %v; want an active account", email, u, err)
		}
	}

	// The index also covers documents that existed before it.
	wantErr(t, "second account with the same email", errorOf(s.Create(ctx, User{Name: "C", Email: "b@example.com", PasswordHash: "h"})), ErrEmailTaken)
}

// An account whose host the guide's app stored in ASCII is found by both spellings, and nobody
// else can register the email.
func TestASCIIHost(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	testkit.NoError(t, errorOf(s.users.InsertOne(ctx, bson.D{{Key: "name", Value: "A"}, {Key: "email", Value: "x@xn--mller-kva.de"}, {Key: "password", Value: "h"}})))

	for _, typed := range []string{"x@müller.de", "X@xn--MLLER-kva.de"} {
		email, err := ParseEmail(typed)
		testkit.NoError(t, err)

		if _, err := s.ByEmail(ctx, email); err != nil {
			t.Errorf("%s: got %v, want the account", typed, err)
		}

		if _, err := s.Create(ctx, User{Name: "B", Email: email, PasswordHash: "h"}); !errors.Is(err, ErrEmailTaken) {
			t.Errorf("register %s: got %v, want ErrEmailTaken", typed, err)
		}
	}
}

// If MongoDB does not reply, operations fail at the time limit.
func TestMongoHangs(t *testing.T) {
	t.Parallel()
	uri, proxy := storetest.ProxiedMongo(t)
	ctx := context.Background()
	s := New(conntest.Mongo(t, mongoconn.Options{URI: uri, Timeout: mongoconn.DefaultTimeout}), time.Now)
	testkit.NoError(t, errorOf(s.Create(ctx, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"})))

	proxy.Blackhole()
	start := time.Now()
	wantErr(t, "by email", errorOf(s.ByEmail(ctx, "ann@example.com")), ErrUnavailable)
	wantErr(t, "create", errorOf(s.Create(ctx, User{Name: "Eve", Email: "eve@example.com", PasswordHash: "h"})), ErrUnavailable)

	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("got errors after %v, want at most 5s", took)
	}
}

// If two accounts already have the same email, the index cannot be created. No account can then
// be created until an operator has deleted one, but logins still work.
func TestIndexImpossible(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	twice := bson.D{{Key: "name", Value: "A"}, {Key: "email", Value: "a@example.com"}, {Key: "password", Value: "h"}}
	for range 2 {
		testkit.NoError(t, errorOf(s.users.InsertOne(ctx, twice)))
	}

	wantErr(t, "create", errorOf(s.Create(ctx, User{Name: "B", Email: "b@example.com", PasswordHash: "h"})), ErrUnavailable)
	if err := s.EnsureEmailIndex(ctx); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "unique index on users.email") {
		t.Errorf("index: got %v, want ErrUnavailable that names the index", err)
	}
	wantErr(t, "ping", s.Ping(ctx), nil)
}
