package apitest

import (
	"context"
	"net/http"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/auth"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// The passwords of accounts, before and after a change.
const (
	Password    = "correct horse battery"
	NewPassword = "another horse battery"
)

// UserID is the ID of the account that SignIn signs in to. It does not exist in MongoDB.
const UserID = "0123456789abcdef01234567"

// SignIn starts a session for UserID without the cost of hashing a password, for tests that are
// not about passwords.
func (s *Server) SignIn() *Client {
	s.T.Helper()

	return s.SignInAs(UserID)
}

// SignInAs starts a session for an account without using its password. The session has a verified
// email, so that checks do not read the account.
func (s *Server) SignInAs(userID string) *Client {
	s.T.Helper()

	generation, err := s.Sessions.Generation(context.Background(), userID)
	testkit.NoError(s.T, err)

	_, token, err := s.Sessions.Begin(context.Background(), session.Start{
		Owner:      session.Owner{UserID: userID, Email: "ann@example.com", EmailVerified: true},
		Methods:    []session.Method{{Method: session.Password}},
		Persistent: true,
		Generation: generation,
	})
	testkit.NoError(s.T, err)

	return s.WithToken(token)
}

// Register creates an account and returns a client that is signed in to it.
func (s *Server) Register(email string) *Client {
	s.T.Helper()

	c := s.NewClient()
	c.Do("POST", "/auth/register", map[string]any{"name": "Ann", "email": email, "password": Password}).Want(http.StatusCreated)

	return c
}

// CreateUser creates an account without signing in to it.
func (s *Server) CreateUser(email string) user.User {
	s.T.Helper()

	u, err := s.Auth.CreateUser(context.Background(), auth.Registration{Name: "Ann", Email: user.Email(email), Password: Password})
	testkit.NoError(s.T, err)

	return u
}

// Account returns the account with the given email address.
func (s *Server) Account(email string) user.User {
	s.T.Helper()

	u, err := s.Users.ByEmail(context.Background(), user.Email(email))
	testkit.NoError(s.T, err)

	return u
}

// DeleteAccount deletes an account. Tests with many rounds call it because the in-process
// MongoDB has no indexes.
func (s *Server) DeleteAccount(id string) {
	s.T.Helper()

	testkit.NoError(s.T, s.Users.Delete(context.Background(), id))
}

// HasPassword reports whether an account has the given password.
func (s *Server) HasPassword(id, password string) bool {
	_, err := s.Auth.CheckPassword(context.Background(), auth.Caller{UserID: id}, password)

	return err == nil
}

// MarkEmailVerified marks an account's email address as verified by its owner.
func (s *Server) MarkEmailVerified(email string) {
	s.T.Helper()

	_, err := s.Database().Collection("users").UpdateOne(s.T.Context(),
		bson.D{{Key: "email", Value: email}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "emailVerified", Value: true}, {Key: "ownerConfirmed", Value: true}}}})
	testkit.NoError(s.T, err)
}

// AsOperator applies a change to ann@example.com as an operator's command does, and
// reports whether it succeeded.
func (s *Server) AsOperator(change func(auth.Caller) (auth.Changed, error)) bool {
	u, err := s.Users.ByEmail(context.Background(), "ann@example.com")
	if err == nil {
		_, err = change(auth.Operator(u.ID))
	}
	if err != nil {
		s.T.Error(err)
	}

	return err == nil
}

// FlushEvents waits until the events that the server has recorded are stored.
func (s *Server) FlushEvents() {
	s.T.Helper()

	testkit.Eventually(s.T, "the events to be stored", func() bool {
		return s.activity.Flush(context.Background()) == nil
	})
}

// TakeEvents removes the recorded security events and returns them, oldest first.
func (s *Server) TakeEvents() []bson.M {
	s.T.Helper()

	ctx := context.Background()
	s.FlushEvents()

	collection := s.Database().Collection("activity")
	cursor, err := collection.Find(ctx, bson.D{})
	testkit.NoError(s.T, err)

	var events []bson.M
	testkit.NoError(s.T, cursor.All(ctx, &events))

	// Another server may have stored events since.
	ids := bson.A{}
	for _, e := range events {
		ids = append(ids, e["_id"])
	}
	_, err = collection.DeleteMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}})
	testkit.NoError(s.T, err)

	return events
}
