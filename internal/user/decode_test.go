package user

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"

	"latchkey/internal/testkit"
)

// unexpected are values of every type that another application may have stored.
var unexpected = []any{
	nil, "yes", int32(5), 2.5, time.Now(), bson.A{"x"}, bson.D{{Key: "x", Value: 1}}, primitive.NewObjectID(), []byte("x"),
}

// insertWith inserts a document with one more field, or another value of one.
func insertWith(t *testing.T, s *Store, email, field string, value any) (id string) {
	t.Helper()

	oid := primitive.NewObjectID()
	d := bson.D{{Key: "_id", Value: oid}}
	for _, usual := range []bson.E{{Key: "name", Value: "Ann"}, {Key: "email", Value: email}, {Key: "password", Value: "hash"}} {
		if usual.Key != field {
			d = append(d, usual)
		}
	}
	testkit.NoError(t, errorOf(s.users.InsertOne(t.Context(), append(d, bson.E{Key: field, Value: value}))))

	return oid.Hex()
}

// A field that has another type than Latchkey stores takes an account from nobody, and opens none.
func TestUnexpectedTypes(t *testing.T) {
	t.Parallel()

	for _, field := range []string{"name", "emailVerified", "ownerConfirmed", "picture", "password", "unlinked", "lastLogin", "createdAt", "updatedAt", "tickets"} {
		for _, value := range unexpected {
			raw, err := bson.Marshal(bson.D{
				{Key: "_id", Value: primitive.NewObjectID()},
				{Key: field, Value: value},
				{Key: "email", Value: "ann@example.com"},
			})
			testkit.NoError(t, err)

			d, err := decode(raw)
			u := d.user()
			if err != nil || u.ID == "" || u.Email != "ann@example.com" {
				t.Errorf("%s of type %T: got %+v, %v; want Ann", field, value, u, err)
			}

			isNumber := value == int32(5) || value == 2.5 // the driver reads these as true
			if (u.EmailVerified || u.OwnerConfirmed) && !isNumber {
				t.Errorf("%s of type %T: got a verified email", field, value)
			}
			if field == "password" && u.PasswordHash == "" && value != nil {
				t.Errorf("password of type %T: got an account without a password", value)
			}
		}
	}
}

// A field named tickets that belongs to another application does not prevent tokens.
func TestTokenOverUnexpectedField(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newStore(t)

	for _, value := range []any{"x", bson.A{"x"}, nil} {
		id := insertWith(t, s, "ann@example.com", tokensField, value)
		token := OneTimeToken{Hash: "x", Expires: time.Now().Add(time.Hour)}
		wantErr(t, "put a token", s.PutToken(ctx, id, "ann@example.com", ResetToken, token), nil)
		if u, _, err := s.ByToken(ctx, id, ResetToken, "x"); err != nil || u.ID != id {
			t.Errorf("tickets of type %T: got %+v, %v; want the account", value, u, err)
		}
		testkit.NoError(t, s.Delete(ctx, id))
	}

	// A token that is stored, but cannot be read, does not change the email to "".
	id := insertWith(t, s, "ann@example.com", tokensField, bson.D{
		{Key: "change", Value: bson.D{{Key: "hash", Value: "x"}, {Key: "email", Value: 5}, {Key: "expires", Value: time.Now().Add(time.Hour)}}},
	})
	wantErr(t, "unreadable token", errorOf2(s.ByToken(ctx, id, EmailChangeToken, "x")), ErrNotFound)
}

func errorOf2[A, B any](_ A, _ B, err error) error { return err }

// A document without a usable _id, email or state is listed with its _id, beside all others. It
// can be disabled, enabled and deleted by its ID.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newStore(t)
	ann := create(t, s, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"})
	noEmail := insertWith(t, s, "", "email", 5)
	noState := insertWith(t, s, "eve@example.com", "isActive", "false")

	if _, err := s.ByID(ctx, noEmail); !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), noEmail+" of users") {
		t.Errorf("by ID: got %v, want ErrUnreadable with the _id", err)
	}

	all, err := s.List(ctx, Page{Limit: 10})
	testkit.NoError(t, err)

	got := map[string]string{}
	for _, u := range all {
		got[u.ID] = string(u.Email) + " " + u.Unreadable
	}
	want := map[string]string{
		ann.ID:  "ann@example.com ",
		noEmail: " email is not a string",
		noState: "eve@example.com isActive is not a boolean",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	wantErr(t, "rename", errorOf(s.UpdateProfile(ctx, noState, Profile{Name: "B"})), ErrNotFound)
	if u, err := s.SetActive(ctx, noState, true); err != nil || u.Email != "eve@example.com" || !u.Active || u.Unreadable != "" {
		t.Errorf("enable: got %+v, %v; want the active account", u, err)
	}
	wantErr(t, "after it was enabled", errorOf(s.ByEmail(ctx, "eve@example.com")), nil)

	if u, err := s.SetActive(ctx, noEmail, false); err != nil || u.ID != noEmail || u.Active || u.Unreadable == "" {
		t.Errorf("disable: got %+v, %v; want the disabled account", u, err)
	}
	testkit.NoError(t, s.Delete(ctx, noEmail))
	wantErr(t, "after the deletion", errorOf(s.ByID(ctx, noEmail)), ErrNotFound)
}

// otherIDs lists values of _id that are not ObjectIDs, with the IDs by which operators find them.
var otherIDs = []struct {
	value any
	id    string
}{
	{"bob", `"bob"`},
	{`say "hi" {`, `"say \"hi\" {"`},
	{"507f1f77bcf86cd799439011", `"507f1f77bcf86cd799439011"`}, // the driver reads it as an ObjectID
	{"twelve chars", `"twelve chars"`},                         // also this
	{"{}", `"{}"`},
	{int32(5), `{"$numberInt":"5"}`},
	{int64(1) << 40, `{"$numberLong":"1099511627776"}`},
	{2.5, `{"$numberDouble":"2.5"}`},
	{true, `true`},
	{primitive.Binary{Subtype: 4, Data: []byte("sixteen bytes ID")}, `{"$binary":{"base64":"c2l4dGVlbiBieXRlcyBJRA==","subType":"04"}}`},
	{bson.D{{Key: "tenant", Value: "a"}, {Key: "n", Value: int32(1)}}, `{"tenant": "a","n": {"$numberInt":"1"}}`},
	{primitive.NilObjectID, `{"$oid":"000000000000000000000000"}`},
}

// Operators can find, disable and delete a document whose _id is not an ObjectID, and the error names
// it. Nobody can log in to it.
func TestOtherIDs(t *testing.T) {
	t.Parallel()

	for _, tc := range otherIDs {
		t.Run(tc.id, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			s := newStore(t)
			ann := create(t, s, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"})
			testkit.NoError(t, errorOf(s.users.InsertOne(ctx, bson.D{
				{Key: "_id", Value: tc.value}, {Key: "email", Value: "bob@example.com"}, {Key: "password", Value: "h"},
			})))

			err := errorOf(s.ByEmail(ctx, "bob@example.com"))
			if want := "document " + tc.id + " of users: unreadable account: _id is not an ObjectID"; !errors.Is(err, ErrUnreadable) || err.Error() != want {
				t.Errorf("by email: got error %v, want ErrUnreadable with the text %s", err, want)
			}

			refs := []string{"bob@example.com", tc.id}
			if text, isString := tc.value.(string); isString && text != "{}" {
				refs = append(refs, text)
			}
			for _, ref := range refs {
				if u, err := s.Find(ctx, ref); err != nil || u.ID != tc.id || u.Email != "bob@example.com" || u.Unreadable == "" {
					t.Errorf("find %s: got %+v, %v; want the unreadable account", ref, u, err)
				}
			}

			if u, err := s.SetActive(ctx, tc.id, false); err != nil || u.ID != tc.id || u.Active {
				t.Errorf("disable: got %+v, %v; want the disabled account", u, err)
			}
			testkit.NoError(t, s.Delete(ctx, tc.id))

			all, err := s.List(ctx, Page{Limit: 10})
			if err != nil || len(all) != 1 || all[0].ID != ann.ID {
				t.Errorf("after the deletion: got %+v, %v; want only Ann", all, err)
			}
		})
	}
}

// The text of an operator is never a query, and nothing else is found with it.
func TestFindIsExact(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newStore(t)
	ann := create(t, s, User{Name: "Ann", Email: "ann@example.com", PasswordHash: "h"})

	for _, ref := range []string{
		`{"$gt":""}`, `{"$exists":true}`, `{"$ne":null}`, `{}`, "null", "", "ann", `"ann@example.com"`, `5,"email":"ann@example.com"`, NewID(),
	} {
		if u, err := s.Find(ctx, ref); err == nil {
			t.Errorf("find %s: got %+v, want an error", ref, u)
		}
		_ = s.Delete(ctx, ref)
	}
	wantErr(t, "not an email", errorOf(s.Find(ctx, "a@b")), ErrBadEmail)

	for _, ref := range []string{ann.ID, "Ann@Example.com"} {
		if u, err := s.Find(ctx, ref); err != nil || u.ID != ann.ID || u.Err() != nil {
			t.Errorf("find %s: got %+v, %v; want Ann", ref, u, err)
		}
	}

	for _, unsupported := range []string{"user@ab--cd.com", `"john doe"@example.com`, "josé@example.com"} {
		id := insertWith(t, s, unsupported, "lastLogin", nil)
		if u, err := s.Find(ctx, unsupported); err != nil || u.ID != id {
			t.Errorf("find %s: got %+v, %v; want the account with this email", unsupported, u, err)
		}
	}
}

// An _id that is an email is not logged.
func TestEmailAsIDIsNotLogged(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	testkit.NoError(t, errorOf(s.users.InsertOne(t.Context(), bson.D{{Key: "_id", Value: "bob@example.com"}, {Key: "email", Value: "bob@example.com"}})))

	err := errorOf(s.ByEmail(t.Context(), "bob@example.com"))
	if !errors.Is(err, ErrUnreadable) || strings.Contains(err.Error(), "bob") || !strings.Contains(err.Error(), "latchkey users list") {
		t.Errorf("got error %v, want ErrUnreadable without the email", err)
	}
	if u, err := s.Find(t.Context(), `"bob@example.com"`); err != nil || u.ID != `"bob@example.com"` {
		t.Errorf("find: got %+v, %v; want the account", u, err)
	}
}

// The time of creation is in the ObjectID.
func TestMissingTimes(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	id := insertWith(t, s, "ann@example.com", "createdAt", "yesterday")

	u, err := s.ByID(t.Context(), id)
	view := u.View()
	if age := time.Since(view.CreatedAt); err != nil || age < 0 || age > time.Minute || !view.UpdatedAt.Equal(view.CreatedAt) {
		t.Errorf("got created %v, updated %v, %v; want the time of the ID", view.CreatedAt, view.UpdatedAt, err)
	}
}
