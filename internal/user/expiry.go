package user

import (
	"context"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"latchkey/internal/mongoconn"
)

// expiringField marks an account that is being deleted because its email was not verified in time.
const expiringField = "expiring"

// isExpired returns the filter for accounts that were created before a time and have not verified their
// email. It excludes accounts that an operator has disabled: if they were deleted, their users could
// register again. It includes those whose deletion was interrupted.
func isExpired(created time.Time) bson.D {
	isActiveOrExpiring := bson.D{{Key: "$or", Value: bson.A{
		isActive,
		bson.D{{Key: expiringField, Value: true}},
	}}}

	return slices.Concat(
		isNotTrue("emailVerified"),
		bson.D{{Key: "createdAt", Value: bson.D{{Key: "$lt", Value: toMillis(created)}}}},
		isActiveOrExpiring)
}

// CountUnverified returns the number of accounts that were created before a time and have not verified
// their email. Errors: ErrUnavailable.
func (s *Store) CountUnverified(ctx context.Context, created time.Time) (int64, error) {
	ctx, cancel := mongoconn.WithLongTimeout(ctx)
	defer cancel()

	n, err := s.users.CountDocuments(ctx, isExpired(created))

	return n, mongoconn.Unavailable(err)
}

// Unverified returns the IDs of up to limit such accounts, in ascending order. They are greater than after,
// unless that is empty. Errors: ErrUnavailable.
func (s *Store) Unverified(ctx context.Context, created time.Time, after string, limit int64) ([]string, error) {
	ctx, cancel := mongoconn.WithLongTimeout(ctx)
	defer cancel()

	filter := isExpired(created)
	if after != "" {
		oid, err := objectID(after)
		if err != nil {
			return nil, err
		}
		filter = append(filter, bson.E{Key: "_id", Value: bson.D{{Key: "$gt", Value: oid}}})
	}

	onlyID := options.Find().
		SetProjection(bson.D{{Key: "_id", Value: 1}}).
		SetSort(bson.D{{Key: "_id", Value: 1}}).
		SetLimit(limit)
	cursor, err := s.users.Find(ctx, filter, onlyID)
	if err != nil {
		return nil, mongoconn.Unavailable(err)
	}
	defer func() { _ = cursor.Close(ctx) }()

	var ids []string
	for cursor.Next(ctx) {
		if id, ok := cursor.Current.Lookup("_id").ObjectIDOK(); ok { // nobody can sign in to others
			ids = append(ids, id.Hex())
		}
	}

	return ids, mongoconn.Unavailable(cursor.Err())
}

// BeginExpiry disables an account of Unverified, and revokes all known devices and one-time tokens. From
// then on its email cannot be verified, and nobody can log in. End its sessions next, and then call
// FinishExpiry. Errors: ErrNotFound if the email was verified or the account was disabled meanwhile;
// ErrUnavailable.
func (s *Store) BeginExpiry(ctx context.Context, id string, created time.Time) error {
	change := slices.Concat(
		set(bson.E{Key: "isActive", Value: false}, bson.E{Key: expiringField, Value: true}, newDeviceGeneration()),
		unset(tokensField))
	_, err := s.update(ctx, id, isExpired(created), change)

	return err
}

// FinishExpiry deletes an account after BeginExpiry, and its identities. It reports whether it has done so:
// another server may have been faster, or an operator may have enabled the account. Errors: ErrUnavailable.
func (s *Store) FinishExpiry(ctx context.Context, id string) (deleted bool, err error) {
	oid, err := objectID(id)
	if err != nil {
		return false, err
	}
	if err := s.UnlinkAll(ctx, id); err != nil {
		return false, err
	}
	defer s.invalidate(context.WithoutCancel(ctx), id)

	filter := slices.Concat(
		bson.D{{Key: "_id", Value: oid}, {Key: expiringField, Value: true}, {Key: "isActive", Value: false}},
		isNotTrue("emailVerified"))

	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()
	err = mongoconn.Retry(ctx, func(ctx context.Context) error {
		result, err := s.users.DeleteOne(ctx, filter)
		deleted = deleted || err == nil && result.DeletedCount > 0

		return err
	})

	return deleted, mongoconn.Unavailable(err)
}
