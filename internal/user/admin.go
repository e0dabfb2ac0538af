package user

import (
	"context"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"
)

// What an operator asks of the accounts, beyond what their owners do.

// List returns up to limit accounts, the latest first. Errors: ErrUnavailable,
// ErrUnreadable.
func (s *Store) List(ctx context.Context, limit int64) ([]User, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	cursor, err := s.users.Find(ctx, bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: -1}}).SetLimit(limit))
	if err != nil {
		return nil, unavailable(err)
	}
	defer func() { _ = cursor.Close(ctx) }()
	var users []User
	for cursor.Next(ctx) {
		u, err := decode(cursor.Decode)
		if err != nil {
			return nil, err
		}
		users = append(users, u)
	}
	return users, unavailable(cursor.Err())
}

// SetActive allows an account to log in, or forbids it, and returns it as it is
// then. Its sessions are not ended by this. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) SetActive(ctx context.Context, id string, active bool) (User, error) {
	return s.update(ctx, id, nil, bson.D{
		{Key: "isActive", Value: active},
		{Key: "updatedAt", Value: s.timestamp()},
	})
}

// SetPassword puts another password's hash in the place of what is there, and
// returns the account as it is then. Its sessions are not ended by this. Errors:
// ErrNotFound, ErrUnavailable.
func (s *Store) SetPassword(ctx context.Context, id, hash string) (User, error) {
	return s.update(ctx, id, nil, bson.D{
		{Key: "password", Value: hash},
		{Key: "updatedAt", Value: s.timestamp()},
	})
}
