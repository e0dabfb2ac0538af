package user

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo"

	"latchkey/internal/mongoconn"
)

// stepTime is for how long something that was begun in one step, and is to be ended in
// another, may be under way. What is older broke off.
const stepTime = time.Minute

// Proposal is a link that opens nothing yet.
type Proposal struct{ id primitive.ObjectID }

// Propose begins to link the account elsewhere that claims are of to an account: nothing
// can be done with the link before it is confirmed, so that whoever proposes it can first
// make sure that it may be. Where the two are linked already, there is nothing to confirm.
// Errors: ErrIdentityTaken, ErrAlreadyLinked, ErrUnavailable.
func (s *Store) Propose(ctx context.Context, userID string, c Claims) (p Proposal, linked bool, err error) {
	oid, err := objectID(userID)
	if err != nil {
		return Proposal{}, false, err
	}
	indexing, cancel := mongoconn.Bounded(ctx)
	defer cancel()
	if err := s.ensureIdentityIndexes(indexing); err != nil {
		return Proposal{}, false, err
	}
	for range 2 {
		now := s.timestamp()
		d := identityDocument{
			ID: primitive.NewObjectID(), UserID: oid, Provider: c.Provider, Issuer: c.Issuer, Subject: c.Subject,
			Email: string(c.Email), CreatedAt: now, Pending: &now,
		}
		err = s.insertIdentity(ctx, d)
		if !mongo.IsDuplicateKeyError(err) {
			return Proposal{d.ID}, false, mongoconn.Unavailable(err)
		}
		switch owner, err := s.ByIdentity(ctx, c.Issuer, c.Subject); {
		case err == nil && owner.ID == userID:
			return Proposal{}, true, nil
		case err == nil:
			return Proposal{}, false, ErrIdentityTaken
		case !errors.Is(err, ErrNotFound):
			return Proposal{}, false, err
		}
		if err := s.dropObstacles(ctx, oid, c); err != nil {
			return Proposal{}, false, err
		}
	}
	return Proposal{}, false, ErrAlreadyLinked
}

func (s *Store) insertIdentity(ctx context.Context, d identityDocument) error {
	ctx, cancel := mongoconn.Bounded(ctx)
	defer cancel()
	_, err := s.identities.InsertOne(ctx, d)
	return err
}

// dropObstacles removes what is in the way of a link and worth nothing: proposals that
// broke off, and the account's identity at an issuer that the provider had before.
func (s *Store) dropObstacles(ctx context.Context, userID primitive.ObjectID, c Claims) error {
	brokeOff := bson.E{Key: "pending", Value: bson.D{{Key: "$lt", Value: s.timestamp().Add(-stepTime)}}}
	mine := bson.D{{Key: "userId", Value: userID}, {Key: "provider", Value: c.Provider}}
	return errors.Join(
		s.dropIdentities(ctx, append(known(c.Issuer, c.Subject), brokeOff)),
		s.dropIdentities(ctx, append(mine[:2:2], brokeOff)),
		s.dropIdentities(ctx, append(mine[:2:2], bson.E{Key: "issuer", Value: bson.D{{Key: "$ne", Value: c.Issuer}}})))
}

// Confirm makes a link of a proposal. One that was withdrawn, or removed with all
// identities of the account, is ErrNotFound. Errors: also ErrUnavailable.
func (s *Store) Confirm(ctx context.Context, p Proposal) error {
	ctx, cancel := mongoconn.Bounded(ctx)
	defer cancel()
	result := s.identities.FindOneAndUpdate(ctx, bson.D{{Key: "_id", Value: p.id}},
		bson.D{{Key: "$unset", Value: bson.D{{Key: "pending", Value: ""}}}})
	_, err := oneIdentity(result)
	return err
}

// Withdraw takes a proposal back. Errors: ErrUnavailable; then it is worth nothing all the
// same.
func (s *Store) Withdraw(ctx context.Context, p Proposal) error {
	return s.dropIdentities(ctx, bson.D{{Key: "_id", Value: p.id}})
}

// Unlink removes the account elsewhere of a provider from an account and returns it. From
// then on it is linked by its owner from inside only, and not by its address again: see
// User.Unlinked. issuers are those of the providers by which one can log in at the time, by
// their names. Errors: ErrNoIdentity; ErrLastMethod where the account could not log in
// without it; ErrUnavailable.
//
// Of two at once each must see the other, or both would find that something is left.
// So what is to be removed is marked first, and what is marked does not count.
func (s *Store) Unlink(ctx context.Context, userID, provider string, issuers map[string]string) (Identity, error) {
	oid, err := objectID(userID)
	if err != nil {
		return Identity{}, err
	}
	this := bson.D{{Key: "userId", Value: oid}, {Key: "provider", Value: provider}, notPending}
	now := s.timestamp()
	marked, err := s.mark(ctx, this, &now)
	if errors.Is(err, ErrNotFound) {
		return Identity{}, ErrNoIdentity
	}
	if err != nil {
		return Identity{}, err
	}
	switch another, err := s.hasOther(ctx, userID, marked.ID, issuers); {
	case err != nil:
		return Identity{}, err
	case !another:
		// The mark counts for a while only, so it may stay.
		_, _ = s.mark(ctx, this, nil)
		return Identity{}, ErrLastMethod
	}
	if _, err := s.update(ctx, userID, nil, bson.D{{Key: "$addToSet", Value: bson.D{{Key: "unlinked", Value: provider}}}}); err != nil {
		return Identity{}, err
	}
	return marked.identity(), s.dropIdentities(ctx, bson.D{{Key: "_id", Value: marked.ID}})
}

// mark notes when a removal began, or that it is off.
func (s *Store) mark(ctx context.Context, which bson.D, since *time.Time) (identityDocument, error) {
	ctx, cancel := mongoconn.Bounded(ctx)
	defer cancel()
	return oneIdentity(s.identities.FindOneAndUpdate(ctx, which, set(bson.E{Key: "removing", Value: since})))
}

// hasOther tells whether an account can log in without one of its identities.
func (s *Store) hasOther(ctx context.Context, userID string, without primitive.ObjectID, issuers map[string]string) (bool, error) {
	u, err := s.ByID(ctx, userID)
	if err != nil || u.PasswordHash != "" {
		return err == nil, err
	}
	documents, err := s.identitiesOf(ctx, userID)
	for _, d := range documents {
		stays := d.Removing == nil || s.now().Sub(*d.Removing) > stepTime
		if d.ID != without && stays && issuers[d.Provider] == d.Issuer {
			return true, nil
		}
	}
	return false, err
}

// Relinked notes that the owner of an account has linked one of a provider again. Errors:
// ErrNotFound, ErrUnavailable.
func (s *Store) Relinked(ctx context.Context, userID, provider string) error {
	_, err := s.update(ctx, userID, nil, bson.D{{Key: "$pull", Value: bson.D{{Key: "unlinked", Value: provider}}}})
	return err
}

// UnlinkAll removes all identities of an account. Errors: ErrUnavailable.
func (s *Store) UnlinkAll(ctx context.Context, userID string) error {
	oid, _ := objectID(userID)
	return s.dropIdentities(ctx, bson.D{{Key: "userId", Value: oid}})
}

func (s *Store) dropIdentities(ctx context.Context, which bson.D) error {
	ctx, cancel := mongoconn.Bounded(ctx)
	defer cancel()
	_, err := s.identities.DeleteMany(ctx, which)
	return mongoconn.Unavailable(err)
}
