package user

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"latchkey/internal/mongoconn"
)

var (
	// ErrIdentityTaken says that an account elsewhere belongs to another account here.
	ErrIdentityTaken = errors.New("identity belongs to another user")
	// ErrAlreadyLinked says that another account of the same provider is linked already.
	ErrAlreadyLinked = errors.New("another identity of this provider is linked")
	// ErrNoIdentity says that an account has no identity of a provider.
	ErrNoIdentity = errors.New("no such identity")
	// ErrLastMethod says that nothing else is left to log in with.
	ErrLastMethod = errors.New("last way to log in")
)

// Claims are what a provider says of who has just signed in there.
type Claims struct {
	// Provider is the name of the provider in the settings.
	Provider string
	// Issuer and Subject are who it is (OpenID Connect Core section 5.7): neither ever
	// belongs to anyone else, which is true of no address.
	Issuer, Subject string
	// Email is empty where the provider gave none, or none that we accept.
	Email         Email
	EmailVerified bool
	Name, Picture string
	// AuthenticatedAt is when they proved to the provider who they are.
	AuthenticatedAt time.Time
}

// Identity is an account elsewhere by which the owner of an account logs in.
type Identity struct {
	Provider        string
	Issuer, Subject string
	UserID          string
	Email           Email // as the provider had it when it was linked
	CreatedAt       time.Time
	LastLogin       time.Time // zero where there was none
}

// identityDocument is an Identity in MongoDB, with the names of the guide's user.
type identityDocument struct {
	ID        primitive.ObjectID `bson:"_id"`
	UserID    primitive.ObjectID `bson:"userId"`
	Provider  string             `bson:"provider"`
	Issuer    string             `bson:"issuer"`
	Subject   string             `bson:"providerId"`
	Email     string             `bson:"email,omitempty"`
	CreatedAt time.Time          `bson:"createdAt"`
	LastLogin *time.Time         `bson:"lastLogin,omitempty"`
	// Pending is when it was proposed, see Propose, and Removing when its removal began,
	// see Unlink.
	Pending  *time.Time `bson:"pending,omitempty"`
	Removing *time.Time `bson:"removing,omitempty"`
}

func (d identityDocument) identity() Identity {
	i := Identity{
		Provider: d.Provider, Issuer: d.Issuer, Subject: d.Subject, UserID: d.UserID.Hex(),
		Email: Email(d.Email), CreatedAt: d.CreatedAt.UTC(),
	}
	if d.LastLogin != nil {
		i.LastLogin = d.LastLogin.UTC()
	}
	return i
}

const identities = "identities"

// EnsureIndexes makes the indexes of both collections, see EnsureIndex. Those of
// identities are the judges of two links at once: an account elsewhere belongs to one
// account here, which has one of each provider at most. Errors: ErrUnavailable.
func (s *Store) EnsureIndexes(ctx context.Context) error {
	return errors.Join(s.EnsureIndex(ctx), s.ensureIdentityIndexes(ctx))
}

func (s *Store) ensureIdentityIndexes(ctx context.Context) error {
	for _, names := range [][2]string{{"issuer", "providerId"}, {"userId", "provider"}} {
		if err := unique(ctx, s.identities, names[:]...); err != nil {
			return err
		}
	}
	return nil
}

func known(issuer, subject string) bson.D {
	return bson.D{{Key: "issuer", Value: issuer}, {Key: "providerId", Value: subject}}
}

// notPending is the condition that a link is made, and not only proposed.
var notPending = bson.E{Key: "pending", Value: nil}

// ByIdentity returns the account that an account elsewhere belongs to. Errors:
// ErrNotFound, ErrUnavailable.
func (s *Store) ByIdentity(ctx context.Context, issuer, subject string) (User, error) {
	i, err := s.findIdentity(ctx, append(known(issuer, subject), notPending))
	if err != nil {
		return User{}, err
	}
	u, err := s.ByID(ctx, i.UserID.Hex())
	if errors.Is(err, ErrNotFound) {
		// Of an account that was deleted while it was linked: it belongs to nobody now.
		err = errors.Join(ErrNotFound, s.dropIdentities(ctx, bson.D{{Key: "_id", Value: i.ID}}))
	}
	return u, err
}

func (s *Store) findIdentity(ctx context.Context, filter bson.D) (identityDocument, error) {
	ctx, cancel := mongoconn.Bounded(ctx)
	defer cancel()
	return oneIdentity(s.identities.FindOne(ctx, filter))
}

func oneIdentity(result *mongo.SingleResult) (identityDocument, error) {
	var d identityDocument
	err := result.Decode(&d)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return d, ErrNotFound
	}
	return d, mongoconn.Unavailable(err)
}

// Identities returns the accounts elsewhere by which an account logs in, the oldest
// first. Errors: ErrUnavailable.
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
	oid, _ := objectID(userID) // zero is the id of nobody
	ctx, cancel := mongoconn.Bounded(ctx)
	defer cancel()
	cursor, err := s.identities.Find(ctx, bson.D{{Key: "userId", Value: oid}, notPending}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		return nil, mongoconn.Unavailable(err)
	}
	var documents []identityDocument
	return documents, mongoconn.Unavailable(cursor.All(ctx, &documents))
}
