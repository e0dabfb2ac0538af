package user

import (
	"context"
	"errors"
	"slices"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"latchkey/internal/mongoconn"
)

// The methods in this file are for operators.

// Listed is an account in a list.
type Listed struct {
	User

	// Unreadable is the reason why the account cannot be used, or "". In that case only the ID
	// is set, to the _id as JSON if it is not an ObjectID.
	Unreadable string
}

// List returns up to limit accounts, newest first. Errors: ErrUnavailable.
func (s *Store) List(ctx context.Context, limit int64) ([]Listed, error) {
	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()
	newestFirst := bson.D{{Key: "_id", Value: -1}}
	cursor, err := s.users.Find(ctx, bson.D{}, options.Find().SetSort(newestFirst).SetLimit(limit))
	if err != nil {
		return nil, mongoconn.Unavailable(err)
	}
	defer func() { _ = cursor.Close(ctx) }()

	var users []Listed
	for cursor.Next(ctx) {
		users = append(users, newListed(cursor.Current))
	}

	return users, mongoconn.Unavailable(cursor.Err())
}

func newListed(raw bson.Raw) Listed {
	d, err := decode(raw)

	var unreadable *unreadableError
	if errors.As(err, &unreadable) {
		return Listed{User: User{ID: unreadable.id}, Unreadable: unreadable.reason}
	}

	return Listed{User: d.user()}
}

// SetActive enables or disables an account, even an unreadable one. Disabling also revokes all known devices
// and one-time tokens, but ends no sessions. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) SetActive(ctx context.Context, id string, active bool) (User, error) {
	field := bson.E{Key: "isActive", Value: active}
	change := s.setAndTouch(field)
	if !active {
		change = slices.Concat(s.setAndTouch(field, newDeviceGeneration()), unset(tokensField))
	}

	u, err := s.update(ctx, id, nil, change)
	if errors.Is(err, ErrUnreadable) {
		err = nil // it was changed, and its ID is readable because it matched
	}

	return u, err
}

// SetPassword replaces the password hash of an account, and revokes all known devices and one-time
// tokens. It ends no sessions. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) SetPassword(ctx context.Context, id, hash string) (User, error) {
	return s.setPassword(ctx, id, hash, nil)
}
