package user

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo"

	"latchkey/internal/mongoconn"
)

// pendingTTL is how long a two-step change may stay unfinished. Afterwards it counts as
// abandoned.
const pendingTTL = time.Minute

// longAgo returns the condition that a time is more than pendingTTL ago.
func (s *Store) longAgo() bson.D {
	return bson.D{{Key: "$lt", Value: s.timestamp().Add(-pendingTTL)}}
}

// LinkProposal is a link to an external account that is not yet confirmed. Nobody can log in
// with it.
type LinkProposal struct{ id primitive.ObjectID }

// ProposeLink prepares a link to an external account. The caller can then check whether the link is
// still allowed, and either call ConfirmLink or WithdrawLink. If the external account is already
// linked to the user, linked is true and there is nothing to confirm. Errors: ErrNotFound,
// ErrIdentityTaken, ErrAlreadyLinked, ErrUnavailable. ErrUnavailable is also returned while another
// proposal is in the way.
func (s *Store) ProposeLink(ctx context.Context, userID string, c Claims) (p LinkProposal, linked bool, err error) {
	oid, err := objectID(userID)
	if err != nil {
		return LinkProposal{}, false, err
	}

	indexCtx, cancel := s.db.WithTimeout(ctx)
	defer cancel()
	if err := s.EnsureIdentityIndexes(indexCtx); err != nil {
		return LinkProposal{}, false, err
	}

	const attempts = 2
	for range attempts {
		// 1. Insert the proposal. The indexes reject it if another link is in the way.
		p, err := s.insertProposal(ctx, oid, c)
		if err == nil {
			return p, false, nil
		}
		if !mongo.IsDuplicateKeyError(err) {
			// MongoDB may have stored the proposal, which would block another attempt.
			return LinkProposal{}, false, errors.Join(mongoconn.Unavailable(err), s.WithdrawLink(ctx, p))
		}

		// 2. Find out whether the external account is already linked.
		owner, err := s.ByIdentity(ctx, c.Issuer, c.Subject)
		if err == nil && owner.ID == userID {
			return LinkProposal{}, true, nil
		}
		if err == nil {
			return LinkProposal{}, false, ErrIdentityTaken
		}
		if !errors.Is(err, ErrNotFound) {
			return LinkProposal{}, false, err
		}

		// 3. Remove links that are of no use any more, and try again.
		if err := s.deleteStaleLinks(ctx, oid, c); err != nil {
			return LinkProposal{}, false, err
		}
	}

	// 4. Another link of the user is in the way, or a proposal that may still be confirmed. After
	//    a crash, the proposal stays in the way until pendingTTL has passed.
	_, err = s.findIdentity(ctx, slices.Concat(ofProvider(oid, c.Provider), notPending))
	switch {
	case err == nil:
		return LinkProposal{}, false, ErrAlreadyLinked
	case errors.Is(err, ErrNotFound):
		return LinkProposal{}, false, fmt.Errorf("%w: another link to the external account or the provider is still pending", ErrUnavailable)
	}

	return LinkProposal{}, false, err
}

// ofProvider returns the filter for a user's links to a provider.
func ofProvider(userID primitive.ObjectID, provider string) bson.D {
	return bson.D{
		{Key: "userId", Value: userID},
		{Key: "provider", Value: provider},
	}
}

// insertProposal stores a new proposal. Its errors are those of the driver.
func (s *Store) insertProposal(ctx context.Context, userID primitive.ObjectID, c Claims) (LinkProposal, error) {
	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()
	now := s.timestamp()
	d := identityDocument{
		ID:     primitive.NewObjectID(),
		UserID: userID,
		Identity: Identity{
			Provider:  c.Provider,
			Issuer:    c.Issuer,
			Subject:   c.Subject,
			Email:     c.Email,
			CreatedAt: now,
		},
		Pending: &now,
	}
	err := insert(ctx, s.identities, d.ID, d)

	return LinkProposal{id: d.ID}, err
}

// deleteStaleLinks deletes links that would block a new one: abandoned proposals, and the
// user's identity at an issuer that the provider no longer has.
func (s *Store) deleteStaleLinks(ctx context.Context, userID primitive.ObjectID, c Claims) error {
	links := ofProvider(userID, c.Provider)
	abandoned := bson.D{{Key: "pending", Value: s.longAgo()}}
	otherIssuer := bson.D{{Key: "issuer", Value: bson.D{{Key: "$ne", Value: c.Issuer}}}}

	return errors.Join(
		s.deleteIdentities(ctx, slices.Concat(isIdentity(c.Issuer, c.Subject), abandoned)),
		s.deleteIdentities(ctx, slices.Concat(links, abandoned)),
		s.deleteIdentities(ctx, slices.Concat(links, otherIssuer)))
}

// ConfirmLink turns a proposal into a link. Errors: ErrNotFound if the proposal was withdrawn
// or deleted; ErrUnavailable.
func (s *Store) ConfirmLink(ctx context.Context, p LinkProposal) error {
	_, err := s.updateIdentity(ctx, bson.D{{Key: "_id", Value: p.id}}, unset("pending"))
	return err
}

// WithdrawLink deletes a proposal. If that fails, the proposal does no harm and expires.
// Errors: ErrUnavailable.
func (s *Store) WithdrawLink(ctx context.Context, p LinkProposal) error {
	return s.deleteIdentities(ctx, bson.D{{Key: "_id", Value: p.id}})
}

// Unlink removes the user's external account of a provider and returns it. From then on a
// matching email does not link it again: see User.Unlinked. issuers maps the names of the
// configured providers to their issuers. Errors: ErrNotFound, ErrNoIdentity, ErrUnavailable;
// ErrLastMethod if the user could not log in any more.
func (s *Store) Unlink(ctx context.Context, userID, provider string, issuers map[string]string) (Identity, error) {
	oid, err := objectID(userID)
	if err != nil {
		return Identity{}, err
	}

	// 1. Mark the link. A marked link does not count as a way to log in, so that two
	//    concurrent calls cannot each rely on the link that the other one removes.
	filter := slices.Concat(ofProvider(oid, provider), notPending)
	now := s.timestamp()
	marked, err := s.markRemoving(ctx, filter, &now)
	if errors.Is(err, ErrNotFound) {
		return Identity{}, ErrNoIdentity
	}
	if err != nil {
		return Identity{}, err
	}

	// 2. Check that the user can still log in without it.
	canLogIn, err := s.canLogInWithout(ctx, userID, marked.ID, issuers)
	if err != nil {
		return Identity{}, err
	}
	if !canLogIn {
		// If this fails, the mark expires.
		_, _ = s.markRemoving(ctx, filter, nil)
		return Identity{}, ErrLastMethod
	}

	// 3. Remember the provider, and delete the link.
	remember := bson.D{{Key: "$addToSet", Value: bson.D{{Key: "unlinked", Value: provider}}}}
	if _, err := s.update(ctx, userID, nil, remember); err != nil {
		return Identity{}, err
	}

	return marked.identity(), s.deleteIdentities(ctx, bson.D{{Key: "_id", Value: marked.ID}})
}

// markRemoving sets the time at which the removal of a link started, or clears it if since is
// nil.
func (s *Store) markRemoving(ctx context.Context, filter bson.D, since *time.Time) (identityDocument, error) {
	return s.updateIdentity(ctx, filter, set(bson.E{Key: "removing", Value: since}))
}

// updateIdentity changes the identity that matches a filter, and returns it as it was before. The
// identity must still match after the change: if the reply is lost, the update runs again.
// Errors: ErrNotFound, ErrUnavailable.
func (s *Store) updateIdentity(ctx context.Context, filter, change bson.D) (identityDocument, error) {
	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()

	var result *mongo.SingleResult
	_ = mongoconn.Retry(ctx, func(ctx context.Context) error {
		result = s.identities.FindOneAndUpdate(ctx, filter, change)

		return result.Err()
	})

	return decodeIdentity(result)
}

// canLogInWithout reports whether a user could log in without one of their identities.
func (s *Store) canLogInWithout(ctx context.Context, userID string, identity primitive.ObjectID, issuers map[string]string) (bool, error) {
	u, err := s.ByID(ctx, userID)
	if err != nil {
		return false, err
	}

	if u.PasswordHash != "" {
		return true, nil
	}

	documents, err := s.identitiesOf(ctx, userID)
	if err != nil {
		return false, err
	}

	for _, d := range documents {
		beingRemoved := d.Removing != nil && s.now().Sub(*d.Removing) <= pendingTTL
		isConfigured := issuers[d.Provider] == d.Issuer
		if d.ID != identity && !beingRemoved && isConfigured {
			return true, nil
		}
	}

	return false, nil
}

// ClearUnlinked reverts the effect of Unlink on User.Unlinked, after the user has linked an
// account of the provider again. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) ClearUnlinked(ctx context.Context, userID, provider string) error {
	change := bson.D{{Key: "$pull", Value: bson.D{{Key: "unlinked", Value: provider}}}}
	_, err := s.update(ctx, userID, nil, change)
	return err
}

// UnlinkAll removes all identities of a user. Errors: ErrUnavailable.
func (s *Store) UnlinkAll(ctx context.Context, userID string) error {
	oid, err := objectID(userID)
	if err != nil {
		return nil //nolint:nilerr // an account that cannot exist has no identities
	}
	return s.deleteIdentities(ctx, bson.D{{Key: "userId", Value: oid}})
}

func (s *Store) deleteIdentities(ctx context.Context, filter bson.D) error {
	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()
	err := mongoconn.Retry(ctx, func(ctx context.Context) error {
		_, err := s.identities.DeleteMany(ctx, filter)

		return err
	})

	return mongoconn.Unavailable(err)
}
