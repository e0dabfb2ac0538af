package user

import (
	"context"
	"slices"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"latchkey/internal/mongoconn"
)

// The methods in this file are for operators.

// List returns up to limit accounts, newest first. Errors: ErrUnavailable, ErrUnreadable.
func (s *Store) List(ctx context.Context, limit int64) ([]User, error) {
	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()
	newestFirst := bson.D{{Key: "_id", Value: -1}}
	cursor, err := s.users.Find(ctx, bson.D{}, options.Find().SetSort(newestFirst).SetLimit(limit))
	if err != nil {
		return nil, mongoconn.Unavailable(err)
	}
	defer func() { _ = cursor.Close(ctx) }()

	var users []User
	for cursor.Next(ctx) {
		d, err := decode(cursor.Decode)
		if err != nil {
			return nil, err
		}

		users = append(users, d.user())
	}

	return users, mongoconn.Unavailable(cursor.Err())
}

// SetActive enables or disables an account. Disabling also revokes its one-time tokens, but
// ends no sessions. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) SetActive(ctx context.Context, id string, active bool) (User, error) {
	change := s.setAndTouch(bson.E{Key: "isActive", Value: active})
	if !active {
		change = slices.Concat(change, unset(tokensField))
	}
	return s.update(ctx, id, nil, change)
}

// SetPassword replaces the password hash of an account and revokes its one-time tokens. It
// ends no sessions. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) SetPassword(ctx context.Context, id, hash string) (User, error) {
	return s.setPassword(ctx, id, hash, nil)
}
