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

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/mongoconn"
)

func TestMain(m *testing.M) { storetest.MainOfMany(m) }

func TestParseEmail(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 64)
	for in, want := range map[string]Email{
		"john@example.com":                      "john@example.com",
		" John.Doe@Example.COM ":                "john.doe@example.com",
		"j+tag@sub.example.co.uk":               "j+tag@sub.example.co.uk",
		"o'neil!#$%&*/=?^_`{|}~@a.io":           "o'neil!#$%&*/=?^_`{|}~@a.io",
		long + "@example.com":                   Email(long + "@example.com"),
		"x@MÜLLER.de":                           "x@müller.de",
		"x@mu\u0308ller.de":                     "x@müller.de", // é and e+◌́ are one address
		"x@xn--mller-kva.de":                    "x@müller.de",
		"x@例え.テスト":                              "x@例え.テスト",
		"x@ｅｘａｍｐｌｅ.com":                         "x@example.com",
		"x@127.0.0.1.example":                   "x@127.0.0.1.example",
		"x@" + strings.Repeat("b", 63) + ".com": Email("x@" + strings.Repeat("b", 63) + ".com"),
		// Not addresses.
		"": "", "@": "", "a@": "", "@b.com": "", "a": "", "a@b": "", "a@localhost": "",
		"a@b@c.com":                             "",
		"a@evil.com＠example.org":                "", // U+FF20 becomes an @ under NFKC
		"a＠example.com":                         "",
		"mi\u212ae@example.com":                 "", // the Kelvin sign lower-cases to k
		"jöhn@example.com":                      "",
		"jo\u200bhn@example.com":                "",
		"john@exam\u200bple.com":                "john@example.com", // IDNA drops it: one address all the same
		"john@example.com\x00":                  "",
		"john@example.com\r\nBcc: x":            "",
		"john@exa mple.com":                     "",
		`"john doe"@example.com`:                "",
		"john(comment)@example.com":             "",
		".john@example.com":                     "",
		"john.@example.com":                     "",
		"jo..hn@example.com":                    "",
		"john@example..com":                     "",
		"john@.example.com":                     "",
		"john@example.com.":                     "",
		"john@-example.com":                     "",
		"john@exa_mple.com":                     "",
		"john@127.0.0.1":                        "",
		"john@b.0x1":                            "",
		"a@" + distinctRunes(20_000):            "", // the work of IDNA grows with the square of the length
		"john@[127.0.0.1]":                      "",
		"john@example.com:25":                   "",
		"<john@example.com>":                    "",
		"John <john@example.com>":               "",
		long + "a@example.com":                  "",
		"x@" + strings.Repeat("b", 64) + ".com": "",
		"x@" + strings.Repeat(strings.Repeat("b", 60)+".", 5) + "com": "",
	} {
		got, err := ParseEmail(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("ParseEmail(%q) = %q, %v; want %q", in, got, err, want)
		}
		if want != "" {
			if again, err := ParseEmail(string(got)); err != nil || again != got {
				t.Errorf("%q is not canonical: %q, %v", got, again, err)
			}
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
	for _, s := range []string{"john@example.com", "x@MÜLLER.de", "a@evil.com＠example.org", "\"a b\"@c.de"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := ParseEmail(in)
		if err != nil {
			return
		}
		if again, err := ParseEmail(string(got)); err != nil || again != got {
			t.Errorf("%q is %q, which is %q, %v", in, got, again, err)
		}
		if strings.Count(string(got), "@") != 1 || strings.ContainsAny(string(got), " \r\n\x00<>\"") {
			t.Errorf("%q is %q", in, got)
		}
	})
}

func TestParseName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Ann": "Ann", " Ann B. ": "Ann B.", "山田 太郎": "山田 太郎", "<b>Ann</b>": "<b>Ann</b>",
		strings.Repeat("é", MaxNameLength): strings.Repeat("é", MaxNameLength),
		"":                                 "", " \t": "", "a\nb": "", "a\x00b": "", "a\u2028b": "", "a\u202eb": "", "\u200b": "", "\ufeff": "", "\u3164": "", "\u200d": "",
		"\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645": "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
		strings.Repeat("é", MaxNameLength+1):                     "",
	} {
		got, err := ParseName(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("ParseName(%q) = %q, %v", in, got, err)
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
				t.Errorf("%q is refused, and is %q", in, got)
			}
			return
		}
		if again, err := ParseName(got); err != nil || again != got {
			t.Errorf("%q is %q, which is %q, %v", in, got, again, err)
		}
		if utf8.RuneCountInString(got) > MaxNameLength || got != strings.TrimSpace(got) || strings.ContainsFunc(got, unicode.IsControl) || strings.ContainsAny(got, "\u2028\u2029\u202e\u2066\u200b\ufeff") {
			t.Errorf("%q is %q", in, got)
		}
	})
}

func newStore(t *testing.T) *Store {
	t.Helper()
	return New(storetest.Database(t, storetest.Mongo(t)), time.Now)
}

func TestStore(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), newStore(t)
	made, err := s.Create(ctx, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "hash"})
	if err != nil {
		t.Fatal(err)
	}
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
			t.Errorf("ByID(%q): %v", id, err)
		}
	}
	if _, err := s.Create(ctx, User{Name: "Eve", Email: "ann@example.com", PasswordHash: "other"}); !errors.Is(err, ErrEmailTaken) {
		t.Errorf("a second account of one address: %v", err)
	}
	if got, err := s.Rename(ctx, made.ID, "Ann B."); err != nil || got.Name != "Ann B." || got.PasswordHash != "hash" || got.UpdatedAt.Before(made.UpdatedAt) {
		t.Errorf("rename: %+v, %v", got, err)
	}
	if got, err := s.RecordLogin(ctx, made.ID, "hash"); err != nil || got.LastLogin.IsZero() {
		t.Errorf("record: %+v, %v", got, err)
	}
	if err := s.Delete(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ByID(ctx, made.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("after the deletion: %v", err)
	}
}

// A better hash replaces the one it was made from, and no other: a password
// that was changed meanwhile stays changed.
func TestReplaceHash(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), newStore(t)
	made, err := s.Create(ctx, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "old"})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ old, better, want string }{{"other", "wrong", "old"}, {"old", "new", "new"}, {"old", "wrong", "new"}} {
		if err := s.ReplaceHash(ctx, made.ID, step.old, step.better); (err == nil) != (step.better == "new") || err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("%+v: %v", step, err)
		}
		if got, err := s.ByID(ctx, made.ID); err != nil || got.PasswordHash != step.want {
			t.Errorf("%+v left %q, %v", step, got.PasswordHash, err)
		}
	}
}

// A login that an administrator's disabling overtook is not recorded.
func TestRecordLoginOfDisabled(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), newStore(t)
	made, err := s.Create(ctx, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "hash"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.users.UpdateOne(ctx, bson.D{}, bson.D{{Key: "$set", Value: bson.D{{Key: "isActive", Value: false}}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RecordLogin(ctx, made.ID, "hash"); !errors.Is(err, ErrNotFound) {
		t.Errorf("record: %v", err)
	}
	if got, err := s.ByID(ctx, made.ID); err != nil || got.Active || !got.LastLogin.IsZero() {
		t.Errorf("account: %+v, %v", got, err)
	}
}

// A document of the guide's app, and one with as little as its schema needs.
func TestGuideDocuments(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), newStore(t)
	_, err := s.users.InsertMany(ctx, []any{
		bson.D{{Key: "name", Value: "A"}, {Key: "email", Value: "a@example.com"}, {Key: "password", Value: "h"}, {Key: "isActive", Value: true}, {Key: "lastLogin", Value: time.Now()}, {Key: "createdAt", Value: time.Now()}, {Key: "updatedAt", Value: time.Now()}, {Key: "__v", Value: int32(0)}},
		bson.D{{Key: "name", Value: "B"}, {Key: "email", Value: "b@example.com"}, {Key: "password", Value: "h"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, email := range []Email{"a@example.com", "b@example.com"} {
		if u, err := s.ByEmail(ctx, email); err != nil || !u.Active || u.PasswordHash != "h" {
			t.Errorf("%s: %+v, %v", email, u, err)
		}
	}
	// The index comes late here, over documents that were there before.
	if _, err := s.Create(ctx, User{Name: "C", Email: "b@example.com", PasswordHash: "h"}); !errors.Is(err, ErrEmailTaken) {
		t.Errorf("a second account of one address: %v", err)
	}
}

// An account that the guide's app stored with its host in ASCII is found by
// either spelling, and its address is taken.
func TestASCIIHost(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), newStore(t)
	if _, err := s.users.InsertOne(ctx, bson.D{{Key: "name", Value: "A"}, {Key: "email", Value: "x@xn--mller-kva.de"}, {Key: "password", Value: "h"}}); err != nil {
		t.Fatal(err)
	}
	for _, typed := range []string{"x@müller.de", "X@xn--MLLER-kva.de"} {
		email, err := ParseEmail(typed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.ByEmail(ctx, email); err != nil {
			t.Errorf("%s: %v", typed, err)
		}
		if _, err := s.Create(ctx, User{Name: "B", Email: email, PasswordHash: "h"}); !errors.Is(err, ErrEmailTaken) {
			t.Errorf("%s is registered twice: %v", typed, err)
		}
	}
}

// A MongoDB that takes a call and does not answer holds nobody longer than the
// limit.
func TestMongoHangs(t *testing.T) {
	t.Parallel()
	uri, proxy := storetest.ProxiedMongo(t)
	ctx := context.Background()
	db, err := mongoconn.Open(uri, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Client().Disconnect(ctx) })
	s := New(db, time.Now)
	if _, err := s.Create(ctx, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"}); err != nil {
		t.Fatal(err)
	}
	proxy.Silence()
	start := time.Now()
	if _, err := s.ByEmail(ctx, "ann@example.com"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("by email: %v", err)
	}
	if _, err := s.Create(ctx, User{Name: "Eve", Email: "eve@example.com", PasswordHash: "h"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("create: %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the calls took %v", took)
	}
}

// Two accounts of one address from before the index: no account is made until
// an operator has decided, and the log says why.
func TestIndexImpossible(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), newStore(t)
	twice := bson.D{{Key: "name", Value: "A"}, {Key: "email", Value: "a@example.com"}, {Key: "password", Value: "h"}}
	for range 2 {
		if _, err := s.users.InsertOne(ctx, twice); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Create(ctx, User{Name: "B", Email: "b@example.com", PasswordHash: "h"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("create: %v", err)
	}
	if err := s.EnsureIndex(ctx); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "unique index on users.email") {
		t.Errorf("index: %v", err)
	}
	if err := s.Ping(ctx); err != nil {
		t.Errorf("ping: %v; logins must go on", err)
	}
}
