package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"latchkey/internal/apitest"
	"latchkey/internal/testkit"
)

// setField overwrites a field of Ann's document.
func setField(t *testing.T, s *apitest.Server, id, field string, value any) {
	t.Helper()

	oid, err := primitive.ObjectIDFromHex(id)
	testkit.NoError(t, err)
	_, err = s.Database().Collection("users").UpdateByID(t.Context(), oid, bson.D{{Key: "$set", Value: bson.D{{Key: field, Value: value}}}})
	testkit.NoError(t, err)
}

// An account remains usable even if another application has stored one of its fields with an
// unexpected type.
func TestUnexpectedFieldTypes(t *testing.T) {
	t.Parallel()

	for field, value := range map[string]any{
		"emailVerified": primitive.DateTime(1_700_000_000_000), // Auth.js stores the time
		"picture":       bson.D{{Key: "url", Value: "x"}},
		"createdAt":     "yesterday",
		"lastLogin":     "never",
		"unlinked":      "google",
		"tickets":       bson.A{"#1"},
		"name":          5,
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()

			s := apitest.New(t)
			c := s.Register("ann@example.com")
			setField(t, s, s.Account("ann@example.com").ID, field, value)

			c.Do("GET", "/auth/me", nil).Want(http.StatusOK)
			c.Do("POST", "/auth/step-up", map[string]any{"password": apitest.Password}).Want(http.StatusOK)
			c.Do("PUT", "/profile", map[string]any{"name": "B"}).Want(http.StatusOK)
			s.NewClient().Do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": apitest.Password}).Want(http.StatusOK)
			c.Do("DELETE", "/profile", nil).Want(http.StatusNoContent)
		})
	}
}

// An account whose password is not stored as a string has a password, but none that anyone can
// enter.
func TestUnexpectedPasswordType(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	c := s.Register("ann@example.com")
	id := s.Account("ann@example.com").ID

	setField(t, s, id, "password", 5)
	c.Do("GET", "/auth/me", nil).Want(http.StatusOK)
	c.Do("POST", "/auth/step-up", map[string]any{"password": "5"}).WantCode(http.StatusUnauthorized, "wrong_password")
	c.Do("POST", "/auth/password/set", map[string]any{"newPassword": apitest.NewPassword}).WantCode(http.StatusConflict, "password_exists")
	for _, password := range []string{"5", apitest.Password, "not a string"} {
		s.NewClient().Do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": password}).Want(http.StatusUnauthorized)
	}
}

// A signed-in user whose account cannot be read gets 503 and is told to contact the operator, because
// trying again soon does not help. The log has the _id. Nothing is changed.
func TestContactOperator(t *testing.T) {
	t.Parallel()

	for field, value := range map[string]any{"email": 5, "isActive": "yes", "factors": "none"} {
		s := apitest.New(t)
		c := s.Register("ann@example.com")
		id := s.Account("ann@example.com").ID
		setField(t, s, id, field, value)

		for _, a := range []apitest.Response{
			c.Do("GET", "/auth/me", nil),
			c.Do("DELETE", "/profile", nil),
			c.Do("POST", "/auth/step-up", map[string]any{"password": apitest.Password}),
		} {
			a.WantCode(http.StatusServiceUnavailable, "user_store_unavailable")
			detail := a.Text("detail")
			retryAfter := a.Header.Get("Retry-After")
			if detail != "Your account cannot be read. Contact the operator of this service." || retryAfter != "3600" {
				t.Errorf("%s: got %q and Retry-After %q, want the operator and an hour", a.Request, detail, retryAfter)
			}
		}

		c.Do("GET", "/auth/session", nil).Want(http.StatusOK)
		if log := s.Log.String(); !strings.Contains(log, "document "+id+" of users") {
			t.Errorf("%s: got log without the _id:\n%s", field, log)
		}
	}
}

// An account whose factors cannot be read cannot be used without them.
func TestUnreadableFactors(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	id := s.CreateUser("ann@example.com").ID
	for _, value := range []any{"none", 5, bson.A{}, bson.D{{Key: "x", Value: 5}}, bson.D{{Key: "x", Value: bson.D{{Key: "step", Value: "a"}}}}} {
		setField(t, s, id, "factors", value)
		s.NewClient().Do("POST", "/auth/login", apitest.AnnsLogin).WantCode(http.StatusUnauthorized, "invalid_credentials")
	}
}

// An account whose _id is an ObjectID as text cannot log in. The log names the document.
func TestIDAsText(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	s.Register("ann@example.com")
	users := s.Database().Collection("users")
	var document bson.D
	testkit.NoError(t, users.FindOneAndDelete(t.Context(), bson.D{}).Decode(&document))
	document[0].Value = document[0].Value.(primitive.ObjectID).Hex()
	_, err := users.InsertOne(t.Context(), document)
	testkit.NoError(t, err)

	s.NewClient().Do("POST", "/auth/login", apitest.AnnsLogin).WantCode(http.StatusUnauthorized, "invalid_credentials")
	if log := s.Log.String(); !strings.Contains(log, "account is unreadable and cannot log in") || !strings.Contains(log, document[0].Value.(string)) {
		t.Errorf("got log without the account:\n%s", log)
	}
}

// A unique index that another application has left in the collection does not make an email look
// taken. The log names the index, but no email.
func TestForeignUniqueIndex(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	_, err := s.Database().Collection("users").Indexes().CreateOne(t.Context(), mongo.IndexModel{
		Keys:    bson.D{{Key: "name", Value: 1}},
		Options: options.Index().SetName("name_1").SetUnique(true),
	})
	testkit.NoError(t, err)

	s.Register("one@example.com")
	two := map[string]any{"name": "Ann", "email": "two@example.com", "password": apitest.Password}
	s.NewClient().Do("POST", "/auth/register", two).WantCode(http.StatusServiceUnavailable, "user_store_unavailable")

	log := s.Log.String()
	if !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "name_1") || strings.Contains(log, "two@example.com") {
		t.Errorf("got log %q, want an error with the index and without the email", log)
	}
}

// A reset link goes to the stored email, not to the spelling that someone typed: a mail server may
// deliver another spelling to another mailbox.
func TestResetLinkGoesToStoredEmail(t *testing.T) {
	t.Parallel()

	const typed = "ann@müller.de"
	const stored = "ann@xn--mller-kva.de"
	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	s.Register(typed)
	setField(t, s, s.Account(typed).ID, "email", stored)

	s.NewClient().Do("POST", "/auth/password/forgot", map[string]any{"email": typed}).Want(http.StatusAccepted)
	token := s.Outbox.Token(t, stored, "reset-password")
	s.NewClient().Do("POST", "/auth/password/reset", map[string]any{"token": token, "password": "another long password"}).Want(http.StatusOK)
}
