package user

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"latchkey/internal/mongoconn"
)

var (
	// ErrNotFound says that there is no such account, or none that may log in
	// where only such are asked for.
	ErrNotFound = errors.New("no such user")
	// ErrEmailTaken says that another account has the address.
	ErrEmailTaken = errors.New("email already registered")
	// ErrUnreadable says that a document is there and is no account: a member has
	// another type than the guide's app gives it.
	ErrUnreadable = errors.New("not an account")
	// ErrUnavailable says that MongoDB did not answer, or not in time. Whether a
	// write took effect is unknown.
	ErrUnavailable = mongoconn.ErrUnavailable
)

const collection = "users"

// Store keeps the accounts in MongoDB. It is safe for concurrent use.
type Store struct {
	users      *mongo.Collection
	identities *mongo.Collection
	now        func() time.Time
}

// New returns a Store in a database. It is not asked until it is needed.
func New(db *mongo.Database, now func() time.Time) *Store {
	return &Store{users: db.Collection(collection), identities: db.Collection(identities), now: now}
}

// Ping asks MongoDB whether it answers. Errors: ErrUnavailable.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := mongoconn.Bounded(ctx)
	defer cancel()
	return mongoconn.Unavailable(s.users.Database().Client().Ping(ctx, nil))
}

// EnsureIndex makes the unique index on the address, which is what keeps two
// registrations of one address apart; it is the one that the guide's schema
// makes. It takes as long as ctx gives it: over many accounts that is a while.
// Two accounts of one address, or an index on it that is not unique, make it
// impossible, and then no account is made. Errors: ErrUnavailable.
func (s *Store) EnsureIndex(ctx context.Context) error { return unique(ctx, s.users, "email") }

// unique makes a unique index on members of the documents of a collection.
func unique(ctx context.Context, c *mongo.Collection, members ...string) error {
	keys := bson.D{}
	for _, name := range members {
		keys = append(keys, bson.E{Key: name, Value: 1})
	}
	ctx, cancel := mongoconn.Unhurried(ctx)
	defer cancel()
	_, err := c.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: keys, Options: options.Index().SetUnique(true)})
	if err != nil {
		return mongoconn.Unavailable(fmt.Errorf("unique index on %s.%s: %w", c.Name(), strings.Join(members, "+"), err))
	}
	return nil
}

// Create makes an account of the name, the address, the picture and the hash of u and
// returns it. Errors: ErrEmailTaken, ErrUnavailable.
func (s *Store) Create(ctx context.Context, u User) (User, error) {
	ctx, cancel := mongoconn.Bounded(ctx)
	defer cancel()
	// Each time, although it is there: it costs little beside the hash, and a
	// collection that was dropped or restored meanwhile may have lost it.
	if err := s.EnsureIndex(ctx); err != nil {
		return User{}, err
	}
	if len(u.Email.spellings()) > 1 {
		// An account of the guide's app, from before the canonical form, is another one to
		// the index.
		if err := s.free(ctx, u.Email, ""); err != nil {
			return User{}, err
		}
	}
	now := s.timestamp()
	active := true
	d := document{
		ID: primitive.NewObjectID(), Name: u.Name, Email: string(u.Email), EmailVerified: u.EmailVerified,
		Picture: u.Picture, Password: u.PasswordHash, IsActive: &active, CreatedAt: now, UpdatedAt: now,
	}
	_, err := s.users.InsertOne(ctx, d)
	switch {
	case mongo.IsDuplicateKeyError(err):
		return User{}, ErrEmailTaken
	case err != nil:
		// It may be there all the same, and the next try would get ErrEmailTaken.
		_ = s.Delete(ctx, d.ID.Hex())
		return User{}, mongoconn.Unavailable(err)
	}
	return d.user(), nil
}

// free makes sure that no account but that of an id has the address, in whatever form.
// The index is the judge of two at once. Errors: ErrEmailTaken, ErrUnavailable.
func (s *Store) free(ctx context.Context, email Email, id string) error {
	switch u, err := s.ByEmail(ctx, email); {
	case err == nil && u.ID != id:
		return ErrEmailTaken
	case err == nil, errors.Is(err, ErrNotFound):
		return nil
	default:
		return err
	}
}

// ByID returns the account of an id. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) ByID(ctx context.Context, id string) (User, error) {
	oid, err := objectID(id)
	if err != nil {
		return User{}, err
	}
	return s.find(ctx, bson.D{{Key: "_id", Value: oid}})
}

// ByEmail returns the account of an address. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) ByEmail(ctx context.Context, email Email) (User, error) {
	return s.find(ctx, bson.D{{Key: "email", Value: bson.D{{Key: "$in", Value: email.spellings()}}}})
}

func (s *Store) find(ctx context.Context, filter bson.D) (User, error) {
	d, err := s.findDocument(ctx, filter)
	if err != nil {
		return User{}, err
	}
	return d.user(), nil
}

func (s *Store) findDocument(ctx context.Context, filter bson.D) (document, error) {
	ctx, cancel := mongoconn.Bounded(ctx)
	defer cancel()
	return one(s.users.FindOne(ctx, filter))
}

// objectID reads an id. What is none is the id of nobody.
func objectID(id string) (primitive.ObjectID, error) {
	oid, err := primitive.ObjectIDFromHex(id)
	if err != nil {
		err = ErrNotFound
	}
	return oid, err
}

// isActive is the condition that an account was not disabled.
var isActive = bson.D{{Key: "isActive", Value: bson.D{{Key: "$ne", Value: false}}}}

// Rename gives an account another name and returns it as it is then. One that is
// disabled is ErrNotFound. Errors: also ErrUnavailable.
func (s *Store) Rename(ctx context.Context, id, name string) (User, error) {
	return s.update(ctx, id, isActive, set(
		bson.E{Key: "name", Value: name},
		bson.E{Key: "updatedAt", Value: s.timestamp()}))
}

// RecordLogin notes that the account has just logged in with the password of a
// hash, and returns it as it is then. An account that was disabled or deleted
// meanwhile, or has another password now, is ErrNotFound. Errors: also
// ErrUnavailable.
func (s *Store) RecordLogin(ctx context.Context, id, passwordHash string) (User, error) {
	unchanged := append(bson.D{{Key: "password", Value: passwordHash}}, isActive...)
	return s.update(ctx, id, unchanged, set(bson.E{Key: "lastLogin", Value: s.timestamp()}))
}

// ReplaceHash puts a better hash of the same password in the place of old. Where
// old is no longer the hash it is ErrNotFound and nothing happens: the password was
// changed meanwhile, or another login was faster. Errors: also ErrUnavailable.
func (s *Store) ReplaceHash(ctx context.Context, id, old, better string) error {
	_, err := s.update(ctx, id,
		bson.D{{Key: "password", Value: old}},
		set(bson.E{Key: "password", Value: better}))
	return err
}

// Delete removes an account and what links others to it. One that is not there is no
// error. Errors: ErrUnavailable.
func (s *Store) Delete(ctx context.Context, id string) error {
	oid, err := primitive.ObjectIDFromHex(id)
	if err != nil {
		return nil
	}
	ctx, cancel := mongoconn.Bounded(ctx)
	defer cancel()
	if _, err := s.users.DeleteOne(ctx, bson.D{{Key: "_id", Value: oid}}); err != nil {
		return mongoconn.Unavailable(err)
	}
	// A link that is made meanwhile is to nobody: see ByIdentity.
	return s.UnlinkAll(ctx, id)
}

// update changes the account of id where it also meets the conditions, and returns it
// as it is then.
func (s *Store) update(ctx context.Context, id string, conditions, change bson.D) (User, error) {
	oid, err := objectID(id)
	if err != nil {
		return User{}, err
	}
	ctx, cancel := mongoconn.Bounded(ctx)
	defer cancel()
	result := s.users.FindOneAndUpdate(ctx,
		append(bson.D{{Key: "_id", Value: oid}}, conditions...), change,
		options.FindOneAndUpdate().SetReturnDocument(options.After))
	if mongo.IsDuplicateKeyError(result.Err()) {
		return User{}, ErrEmailTaken
	}
	d, err := one(result)
	if err != nil {
		return User{}, err
	}
	return d.user(), nil
}

// set is a change that gives members a value.
func set(members ...bson.E) bson.D { return bson.D{{Key: "$set", Value: bson.D(members)}} }

func one(result *mongo.SingleResult) (document, error) {
	if err := result.Err(); errors.Is(err, mongo.ErrNoDocuments) {
		return document{}, ErrNotFound
	} else if err != nil {
		return document{}, mongoconn.Unavailable(err)
	}
	return decode(result.Decode)
}

// decode reads an account from what a query has found.
func decode(from func(any) error) (document, error) {
	var d document
	if err := from(&d); err != nil {
		return document{}, fmt.Errorf("a document of %s: %w: %w", collection, ErrUnreadable, err)
	}
	return d, nil
}

// timestamp is now as MongoDB keeps it.
func (s *Store) timestamp() time.Time { return s.now().UTC().Truncate(time.Millisecond) }
