package user

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"latchkey/internal/mongoconn"
)

// Invitation lets somebody create an account with an email. There is at most one for each email.
type Invitation struct {
	Email Email `bson:"_id"`

	// Name is the name that the form for the new account suggests. It may be empty.
	Name string `bson:"name,omitempty"`

	CreatedAt time.Time `bson:"createdAt"`
	Expires   time.Time `bson:"expires"`

	// TokenHash is the hash of the one-time token in the link. It is empty until the link is made.
	TokenHash string `bson:"hash,omitempty"`
}

const invitations = "invitations"

// Fields of a stored invitation that is being used: the ID of the account, and the time.
const (
	usedByField = "usedBy"
	usedAtField = "usedAt"
)

// Invite stores an invitation. It replaces an earlier one for the same email, whose link stops working.
// Errors: ErrEmailTaken if there is an account with the email; ErrUnavailable.
func (s *Store) Invite(ctx context.Context, i Invitation) error {
	if err := s.CheckEmailFree(ctx, i.Email, ""); err != nil {
		return err
	}

	i.CreatedAt = s.timestamp()
	i.Expires = toMillis(i.Expires)

	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()
	err := mongoconn.Retry(ctx, func(ctx context.Context) error {
		_, err := s.invitations.ReplaceOne(ctx, isFor(i.Email), i, options.Replace().SetUpsert(true))

		return err
	})

	return mongoconn.Unavailable(err)
}

func isFor(email Email) bson.D { return bson.D{{Key: "_id", Value: string(email)}} }

// isOpen returns the filter for the invitation for an email, if it has not expired.
func (s *Store) isOpen(email Email) bson.D {
	notExpired := bson.E{Key: "expires", Value: bson.D{{Key: "$gt", Value: s.timestamp()}}}

	return append(isFor(email), notExpired)
}

func hasInvitationToken(hash string) bson.D { return bson.D{{Key: "hash", Value: hash}} }

// Invitation returns the invitation for an email. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) Invitation(ctx context.Context, email Email) (Invitation, error) {
	return s.findInvitation(ctx, s.isOpen(email))
}

// InvitationByToken returns the invitation for an email with a one-time token. Errors: ErrNotFound,
// ErrUnavailable.
func (s *Store) InvitationByToken(ctx context.Context, email Email, hash string) (Invitation, error) {
	return s.findInvitation(ctx, slices.Concat(s.isOpen(email), hasInvitationToken(hash)))
}

func (s *Store) findInvitation(ctx context.Context, filter bson.D) (Invitation, error) {
	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()

	return decodeInvitation(findOne(ctx, s.invitations, filter))
}

func decodeInvitation(result *mongo.SingleResult) (Invitation, error) {
	var i Invitation
	err := result.Decode(&i)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return Invitation{}, ErrNotFound
	}

	return i, mongoconn.Unavailable(err)
}

// Invitations returns all invitations, newest first. Errors: ErrUnavailable.
func (s *Store) Invitations(ctx context.Context) ([]Invitation, error) {
	ctx, cancel := mongoconn.WithLongTimeout(ctx)
	defer cancel()
	open := bson.D{{Key: "expires", Value: bson.D{{Key: "$gt", Value: s.timestamp()}}}}
	newestFirst := bson.D{{Key: "createdAt", Value: -1}, {Key: "_id", Value: 1}}

	cursor, err := s.invitations.Find(ctx, open, options.Find().SetSort(newestFirst))
	if err != nil {
		return nil, mongoconn.Unavailable(err)
	}

	var all []Invitation
	err = cursor.All(ctx, &all)

	return all, mongoconn.Unavailable(err)
}

// IssueInvitationToken adds the hash of a new token, when its link is about to be sent, and a new expiry.
// Errors: ErrNotFound, ErrUnavailable.
func (s *Store) IssueInvitationToken(ctx context.Context, email Email, hash string, expires time.Time) error {
	return s.updateInvitation(ctx, s.isOpen(email), set(
		bson.E{Key: "hash", Value: hash},
		bson.E{Key: "expires", Value: toMillis(expires)}))
}

// TakeInvitation reserves the invitation with a token for a new account with the given ID, so that only
// one account can be created with it. Call RemoveInvitation once the account exists, and
// ReleaseInvitation if it cannot be created. Otherwise, the reservation ends after pendingTTL. Errors:
// ErrNotFound, ErrUnavailable.
func (s *Store) TakeInvitation(ctx context.Context, email Email, hash, userID string) error {
	return s.takeInvitation(ctx, email, userID, hasInvitationToken(hash))
}

// TakeInvitationOf is like TakeInvitation for a user who has proved ownership of the email in another way
// than with the token.
func (s *Store) TakeInvitationOf(ctx context.Context, email Email, userID string) error {
	return s.takeInvitation(ctx, email, userID, nil)
}

func (s *Store) takeInvitation(ctx context.Context, email Email, userID string, filter bson.D) error {
	isFree := bson.D{{Key: "$or", Value: bson.A{
		bson.D{{Key: usedByField, Value: bson.D{{Key: "$in", Value: bson.A{nil, userID}}}}}, // userID if a reply was lost
		bson.D{{Key: usedAtField, Value: s.longAgo()}},
	}}}

	return s.updateInvitation(ctx, slices.Concat(s.isOpen(email), filter, isFree), set(
		bson.E{Key: usedByField, Value: userID},
		bson.E{Key: usedAtField, Value: s.timestamp()}))
}

// ReleaseInvitation ends the reservation of an invitation for an account that was not created. Errors:
// ErrUnavailable.
func (s *Store) ReleaseInvitation(ctx context.Context, email Email, userID string) error {
	isTaken := append(isFor(email), bson.E{Key: usedByField, Value: userID})
	err := s.updateInvitation(ctx, isTaken, unset(usedByField, usedAtField))
	if errors.Is(err, ErrNotFound) {
		return nil
	}

	return err
}

func (s *Store) updateInvitation(ctx context.Context, filter, change bson.D) error {
	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()

	var result *mongo.SingleResult
	_ = mongoconn.Retry(ctx, func(ctx context.Context) error {
		result = s.invitations.FindOneAndUpdate(ctx, filter, change)

		return result.Err()
	})
	_, err := decodeInvitation(result)

	return err
}

// RemoveInvitation deletes the invitation for an email, and reports whether there was one. Errors:
// ErrUnavailable.
func (s *Store) RemoveInvitation(ctx context.Context, email Email) (bool, error) {
	n, err := s.deleteInvitations(ctx, isFor(email))

	return n > 0, err
}

// PruneInvitations deletes the invitations that have expired. Errors: ErrUnavailable.
func (s *Store) PruneInvitations(ctx context.Context) error {
	expired := bson.D{{Key: "expires", Value: bson.D{{Key: "$lte", Value: s.timestamp()}}}}
	_, err := s.deleteInvitations(ctx, expired)

	return err
}

func (s *Store) deleteInvitations(ctx context.Context, filter bson.D) (deleted int64, err error) {
	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()

	err = mongoconn.Retry(ctx, func(ctx context.Context) error {
		result, err := s.invitations.DeleteMany(ctx, filter)
		if err == nil {
			deleted += result.DeletedCount
		}

		return err
	})

	return deleted, mongoconn.Unavailable(err)
}
