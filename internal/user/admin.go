package user

import (
	"context"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"latchkey/internal/mongoconn"
)

// What an operator asks of the accounts, beyond what their owners do.

// List returns up to limit accounts, the latest first. Errors: ErrUnavailable,
// ErrUnreadable.
func (s *Store) List(ctx context.Context, limit int64) ([]User, error) {
	ctx, cancel := mongoconn.Bounded(ctx)
	defer cancel()
	cursor, err := s.users.Find(ctx, bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: -1}}).SetLimit(limit))
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

// SetActive allows an account to log in, or forbids it, and returns it as it is
// then. The tickets of one that is forbidden are void; its sessions are not ended by
// this. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) SetActive(ctx context.Context, id string, active bool) (User, error) {
	change := set(
		bson.E{Key: "isActive", Value: active},
		bson.E{Key: "updatedAt", Value: s.timestamp()})
	if !active {
		change = append(change, noTickets)
	}
	return s.update(ctx, id, nil, change)
}

// SetPassword puts another password's hash in the place of what is there, and
// returns the account as it is then. Its tickets are void. Its sessions are not ended by
// this. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) SetPassword(ctx context.Context, id, hash string) (User, error) {
	return s.update(ctx, id, nil, append(set(
		bson.E{Key: "password", Value: hash},
		bson.E{Key: "updatedAt", Value: s.timestamp()}), noTickets))
}
