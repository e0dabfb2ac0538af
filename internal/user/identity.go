package user

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"latchkey/internal/mongoconn"
)

var (
	// ErrIdentityTaken is returned if an external account is linked to another user.
	ErrIdentityTaken = errors.New("identity belongs to another user")

	// ErrAlreadyLinked is returned if the user has already linked a different account of the
	// same provider.
	ErrAlreadyLinked = errors.New("another identity of this provider is linked")

	// ErrNoIdentity is returned if the user has not linked an account of the provider.
	ErrNoIdentity = errors.New("no such identity")

	// ErrLastMethod is returned if the user could no longer log in.
	ErrLastMethod = errors.New("last way to log in")
)

// Claims are what a provider asserts about a user who has just signed in there.
type Claims struct {
	// Provider is the name of the provider in the settings.
	Provider string

	// Issuer and Subject together identify the external account. Unlike an email, they are
	// never reassigned (OpenID Connect Core section 5.7).
	Issuer  string
	Subject string

	// Email is empty if the provider sent none, or an unsupported one.
	Email         Email
	EmailVerified bool

	Name    string
	Picture string

	// AuthenticatedAt is when the user authenticated with the provider.
	AuthenticatedAt time.Time
}

// Identity is an external account that a User has linked and can log in with.
type Identity struct {
	Provider  string    `bson:"provider"`
	Issuer    string    `bson:"issuer"`
	Subject   string    `bson:"providerId"` // named as in the guides
	UserID    string    `bson:"-"`
	Email     Email     `bson:"email,omitempty"` // the provider's email for the account at link time
	CreatedAt time.Time `bson:"createdAt"`
	LastLogin time.Time `bson:"lastLogin,omitempty"` // zero before the first login
}

// identityDocument is an Identity as stored in MongoDB.
type identityDocument struct {
	ID       primitive.ObjectID `bson:"_id"`
	UserID   primitive.ObjectID `bson:"userId"`
	Identity `bson:",inline"`

	// Pending is when ProposeLink created the link. ConfirmLink clears it; nil means confirmed.
	Pending *time.Time `bson:"pending,omitempty"`

	// Removing is when Unlink started removing the link.
	Removing *time.Time `bson:"removing,omitempty"`
}

func (d identityDocument) identity() Identity {
	i := d.Identity
	i.UserID = d.UserID.Hex()
	return i
}

const identities = "identities"

// isIdentity returns the filter for an external account.
func isIdentity(issuer, subject string) bson.D {
	return bson.D{
		{Key: "issuer", Value: issuer},
		{Key: "providerId", Value: subject},
	}
}

// notPending is the filter for confirmed links.
var notPending = bson.D{{Key: "pending", Value: nil}}

// ByIdentity returns the user that an external account is linked to. Errors: ErrNotFound,
// ErrUnavailable.
func (s *Store) ByIdentity(ctx context.Context, issuer, subject string) (User, error) {
	i, err := s.findIdentity(ctx, slices.Concat(isIdentity(issuer, subject), notPending))
	if err != nil {
		return User{}, err
	}

	u, err := s.ByID(ctx, i.UserID.Hex())
	if errors.Is(err, ErrNotFound) {
		// The user was deleted while the link was made.
		return User{}, errors.Join(ErrNotFound, s.deleteIdentities(ctx, bson.D{{Key: "_id", Value: i.ID}}))
	}

	return u, err
}

func (s *Store) findIdentity(ctx context.Context, filter bson.D) (identityDocument, error) {
	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()
	return decodeIdentity(findOne(ctx, s.identities, filter))
}

// decodeIdentity decodes the identity in the result of a query. Errors: ErrNotFound,
// ErrUnavailable.
func decodeIdentity(result *mongo.SingleResult) (identityDocument, error) {
	var d identityDocument
	err := result.Decode(&d)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return d, ErrNotFound
	}
	return d, mongoconn.Unavailable(err)
}

// Identities returns the external accounts of a user, oldest first. Errors: ErrUnavailable.
func (s *Store) Identities(ctx context.Context, userID string) ([]Identity, error) {
	documents, err := s.identitiesOf(ctx, userID)
	if err != nil {
		return nil, err
	}

	all := make([]Identity, len(documents))
	for i, d := range documents {
		all[i] = d.identity()
	}

	return all, nil
}

func (s *Store) identitiesOf(ctx context.Context, userID string) ([]identityDocument, error) {
	oid, err := objectID(userID)
	if err != nil {
		return nil, nil
	}

	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()
	filter := slices.Concat(bson.D{{Key: "userId", Value: oid}}, notPending)
	oldestFirst := bson.D{{Key: "_id", Value: 1}}
	var documents []identityDocument
	err = mongoconn.Retry(ctx, func(ctx context.Context) error {
		cursor, err := s.identities.Find(ctx, filter, options.Find().SetSort(oldestFirst))
		if err != nil {
			return err
		}

		return cursor.All(ctx, &documents)
	})

	return documents, mongoconn.Unavailable(err)
}

// RecordSignIn records that a user has just logged in with an external account, and returns
// the user. It resets the number of wrong passwords. u must be the account as it was read for the login.
// Errors: ErrNotFound if the external account is no longer linked, the user is disabled, or their email or
// factors were changed meanwhile; ErrUnavailable.
func (s *Store) RecordSignIn(ctx context.Context, u User, c Claims) (User, error) {
	if err := s.RecordIdentityLogin(ctx, u.ID, c); err != nil {
		return User{}, err
	}

	fields := []bson.E{{Key: "lastLogin", Value: s.timestamp()}}
	if c.Picture != "" {
		fields = append(fields, bson.E{Key: "picture", Value: c.Picture})
	}

	return s.update(ctx, u.ID, isUnchanged(u), slices.Concat(set(fields...), unset(failuresField)))
}

// RecordIdentityLogin records a login in an external account of a user. Errors: ErrNotFound if it is not
// linked to the user; ErrUnavailable.
func (s *Store) RecordIdentityLogin(ctx context.Context, userID string, c Claims) error {
	oid, err := objectID(userID)
	if err != nil {
		return err
	}

	filter := slices.Concat(
		isIdentity(c.Issuer, c.Subject),
		bson.D{{Key: "userId", Value: oid}},
		notPending)
	_, err = s.updateIdentity(ctx, filter, set(bson.E{Key: "lastLogin", Value: s.timestamp()}))

	return err
}

// isNotTrue returns the condition that a field is missing or false.
func isNotTrue(field string) bson.D {
	return bson.D{{Key: field, Value: bson.D{{Key: "$ne", Value: true}}}}
}

// isUnconfirmed returns the filter for an active account whose user has not proved ownership of its
// email.
func isUnconfirmed(email Email) bson.D {
	return slices.Concat(hasEmail(email), isNotTrue("ownerConfirmed"), isActive)
}

// hasNoPassword is the filter for accounts with an empty or missing password hash.
var hasNoPassword = bson.D{{Key: "password", Value: bson.D{{Key: "$in", Value: bson.A{"", nil}}}}}

// RemoveCredentials removes the password, the factors and the one-time tokens of an account whose user has
// not proved ownership of its email, so that its creator can no longer log in. It ends no sessions and
// removes no identities. Errors: ErrNotFound if the owner confirmed the email, the email was
// changed, or the account was disabled; ErrUnavailable.
func (s *Store) RemoveCredentials(ctx context.Context, id string, email Email) error {
	change := slices.Concat(
		s.setAndTouch(bson.E{Key: "password", Value: ""}),
		unset(append(securityFields(), tokensField, failuresField, "unlinked")...))

	_, err := s.update(ctx, id, isUnconfirmed(email), change)
	return err
}

// ClaimAccount hands an account over to the owner of its email, revokes all known devices, and marks
// the email as verified by its owner. The profile of its creator is replaced by p, even if p is empty.
// Call RemoveCredentials first. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) ClaimAccount(ctx context.Context, id string, email Email, p Profile) (User, error) {
	fields := append(verifiedByOwner(),
		bson.E{Key: "name", Value: p.Name},
		bson.E{Key: "picture", Value: p.Picture},
		bson.E{Key: "locale", Value: p.Locale},
		newDeviceGeneration())
	change := slices.Concat(
		s.setAndTouch(fields...),
		// A session of the creator may have requested more tokens, or added a factor, since
		// RemoveCredentials.
		unset(append(securityFields(), tokensField)...))

	return s.update(ctx, id, slices.Concat(isUnconfirmed(email), hasNoPassword), change)
}

// AddPassword gives an account its first password. It fails if the account has changed in
// any way since u was read: other changes compare the old hash, but an empty one is the same
// for all accounts without a password. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) AddPassword(ctx context.Context, u User, hash string) (User, error) {
	confirmed := bson.D{{Key: "ownerConfirmed", Value: true}}
	if !u.OwnerConfirmed {
		confirmed = isNotTrue("ownerConfirmed")
	}

	updatedAt := bson.E{Key: "updatedAt", Value: u.UpdatedAt}
	if u.UpdatedAt.IsZero() {
		updatedAt.Value = nil // missing
	}

	unchanged := slices.Concat(hasNoPassword, confirmed, bson.D{updatedAt}, isActive)

	return s.setPassword(ctx, u.ID, hash, unchanged)
}
