package user

import (
	"context"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/mongoconn"
)

// RecordSignIn notes that an account has just logged in by an account elsewhere, and
// returns it as it is then. Where that is not linked to it any more, or the account was
// disabled or deleted meanwhile, it is ErrNotFound. Errors: also ErrUnavailable.
func (s *Store) RecordSignIn(ctx context.Context, userID string, c Claims) (User, error) {
	oid, err := objectID(userID)
	if err != nil {
		return User{}, err
	}
	now := s.timestamp()
	bounded, cancel := mongoconn.Bounded(ctx)
	defer cancel()
	linked := s.identities.FindOneAndUpdate(bounded, append(known(c.Issuer, c.Subject), bson.E{Key: "userId", Value: oid}, notPending),
		set(bson.E{Key: "lastLogin", Value: now}))
	if _, err := oneIdentity(linked); err != nil {
		return User{}, err
	}
	change := bson.D{{Key: "lastLogin", Value: now}}
	if c.Picture != "" {
		change = append(change, bson.E{Key: "picture", Value: c.Picture})
	}
	return s.update(ctx, userID, isActive, set(change...))
}

// unconfirmed is the condition that an account may log in, and has an address that nobody
// has confirmed.
func unconfirmed(email Email) bson.D {
	return append(bson.D{
		{Key: "email", Value: bson.D{{Key: "$in", Value: email.spellings()}}},
		{Key: "emailVerified", Value: bson.D{{Key: "$ne", Value: true}}},
	}, isActive...)
}

// noPassword is the condition that an account has none.
var noPassword = bson.E{Key: "password", Value: bson.D{{Key: "$in", Value: bson.A{"", nil}}}} // or it is not there

// Disown takes an account whose address nobody has confirmed from whoever made it: it has
// no password and no tickets then. Its sessions and identities are not ended by this. An
// account that was confirmed or disabled meanwhile, or has another address, is
// ErrNotFound. Errors: also ErrUnavailable.
func (s *Store) Disown(ctx context.Context, id string, email Email) error {
	_, err := s.update(ctx, id, unconfirmed(email), append(set(
		bson.E{Key: "password", Value: ""},
		bson.E{Key: "updatedAt", Value: s.timestamp()}),
		bson.E{Key: "$unset", Value: bson.D{{Key: tickets, Value: ""}, {Key: "unlinked", Value: ""}}}))
	return err
}

// Claim gives an account that was disowned to who has shown to own its address: that is
// confirmed then, and name and picture are theirs. One that is not as Disown has left it
// is ErrNotFound. Errors: also ErrUnavailable.
func (s *Store) Claim(ctx context.Context, id string, email Email, name, picture string) (User, error) {
	return s.update(ctx, id, append(unconfirmed(email), noPassword), append(set(
		bson.E{Key: "emailVerified", Value: true},
		bson.E{Key: "name", Value: name},
		bson.E{Key: "picture", Value: picture},
		bson.E{Key: "updatedAt", Value: s.timestamp()}), noTickets)) // which sessions may have asked for since
}

// AddPassword gives an account that has no password one, if it is as it was when u was
// read: the hash of before, by which other changes know this, is the same for all that
// have none. Otherwise it is ErrNotFound. Errors: also ErrUnavailable.
func (s *Store) AddPassword(ctx context.Context, u User, hash string) (User, error) {
	verified := bson.E{Key: "emailVerified", Value: true}
	if !u.EmailVerified {
		verified.Value = bson.D{{Key: "$ne", Value: true}}
	}
	same := append(bson.D{noPassword, verified, {Key: "updatedAt", Value: u.UpdatedAt}}, isActive...)
	return s.update(ctx, u.ID, same, append(set(
		bson.E{Key: "password", Value: hash},
		bson.E{Key: "updatedAt", Value: s.timestamp()}), noTickets))
}

// Discard removes an account that was made by signing in elsewhere and never linked, since
// that broke off: nobody can log in to it. Whether it has identities is for the caller to
// know. One that is not so, that was ever logged in to, or that was made just now, stays.
// Errors: ErrUnavailable.
func (s *Store) Discard(ctx context.Context, u User) error {
	oid, _ := objectID(u.ID)
	ctx, cancel := mongoconn.Bounded(ctx)
	defer cancel()
	_, err := s.users.DeleteOne(ctx, append(append(unconfirmed(u.Email), noPassword),
		bson.E{Key: "_id", Value: oid}, bson.E{Key: "lastLogin", Value: nil}, bson.E{Key: "createdAt", Value: bson.D{{Key: "$lt", Value: s.timestamp().Add(-stepTime)}}}))
	return mongoconn.Unavailable(err)
}
