package user

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/bson"
)

// failuresField is the field of User.FailedPasswords.
const failuresField = "failedPasswords"

// newDeviceGeneration returns the field to set in order to revoke all known devices of an account.
// Its value is random, not a counter, so that it never repeats, even after a backup was restored,
// and can replace a value of any type.
func newDeviceGeneration() bson.E {
	return bson.E{Key: "deviceGeneration", Value: rand.Text()}
}

// RevokeDevices revokes all known devices of an account and a pending change of its email, which
// one of them may have requested. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) RevokeDevices(ctx context.Context, id string) (User, error) {
	change := slices.Concat(set(newDeviceGeneration()), unset(EmailChangeToken.path()))

	return s.update(ctx, id, nil, change)
}

// RecordFailures stores the number of wrong passwords since the last login of u, which must be the
// account as it was read for the attempt. A login or a new password resets the number. Errors:
// ErrNotFound if that has happened meanwhile, or if the account already has this number or a higher
// one; ErrUnavailable.
func (s *Store) RecordFailures(ctx context.Context, u User, failures int) error {
	lastLogin := bson.E{Key: "lastLogin", Value: u.LastLogin}
	if u.LastLogin.IsZero() {
		lastLogin.Value = notAtLeast(time.Unix(0, 0)) // missing, or not a time
	}

	filter := bson.D{
		lastLogin,
		{Key: "password", Value: u.PasswordHash},
		{Key: failuresField, Value: notAtLeast(failures)},
	}
	_, err := s.update(ctx, u.ID, filter, set(bson.E{Key: failuresField, Value: failures}))

	return err
}

// notAtLeast returns the condition that a field has neither the given value nor a greater one.
func notAtLeast(value any) bson.D {
	return bson.D{{Key: "$not", Value: bson.D{{Key: "$gte", Value: value}}}}
}
