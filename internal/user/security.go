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

// newDeviceGeneration returns the field that makes all known devices of an account unknown. A
// random value is used instead of a counter, so that it never repeats, even after a backup was
// restored, and replaces a value of any type.
func newDeviceGeneration() bson.E {
	return bson.E{Key: "deviceGeneration", Value: rand.Text()}
}

// RevokeDevices makes all known devices of an account unknown and revokes a pending change of its
// email, which one of them may have requested. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) RevokeDevices(ctx context.Context, id string) (User, error) {
	change := slices.Concat(set(newDeviceGeneration()), unset(EmailChangeToken.path()))

	return s.update(ctx, id, nil, change)
}

// RecordFailures stores the number of wrong passwords since the last login of u, which must be the
// account as it was read for the attempt. A login or a new password resets it. Errors: ErrNotFound if
// that has happened meanwhile, or the account has this number or a higher one already;
// ErrUnavailable.
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

// notAtLeast returns the condition that a field has neither the value nor a greater one.
func notAtLeast(value any) bson.D {
	return bson.D{{Key: "$not", Value: bson.D{{Key: "$gte", Value: value}}}}
}
