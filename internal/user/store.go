package user

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/x/mongo/driver/connstring"
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
	ErrUnavailable = errors.New("user store is unavailable")
)

const (
	collection      = "users"
	defaultDatabase = "latchkey"
	// opTimeout bounds every call, the choice of a server included, so that a
	// request with two calls answers within 3 seconds when MongoDB is away.
	opTimeout = 1200 * time.Millisecond
)

// Store keeps the accounts in MongoDB. It is safe for concurrent use.
type Store struct {
	client *mongo.Client
	users  *mongo.Collection
	now    func() time.Time
}

// Open returns a Store on the database that uri names (latchkey where it names
// none). It connects when it is first used, but a mongodb+srv host is
// resolved now. An error means that the uri is wrong, and does not hold it.
func Open(uri string, now func() time.Time) (*Store, error) {
	parsed, err := connstring.ParseAndValidate(uri)
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return nil, fmt.Errorf("the MongoDB URI: %s cannot be resolved", dns.Name)
	}
	if err != nil {
		// The parser's text may quote the password.
		return nil, errors.New("the MongoDB URI cannot be used")
	}
	database := parsed.Database
	if database == "" {
		database = defaultDatabase
	}
	client, err := mongo.Connect(context.Background(), options.Client().
		ApplyURI(uri).
		SetAppName("latchkey").
		SetServerSelectionTimeout(opTimeout).
		SetConnectTimeout(opTimeout))
	if err != nil {
		return nil, errors.New("the MongoDB URI cannot be used")
	}
	return &Store{client: client, users: client.Database(database).Collection(collection), now: now}, nil
}

// Close ends the connections.
func (s *Store) Close(ctx context.Context) error { return s.client.Disconnect(ctx) }

// bounded gives one call its time limit. It is not given up when ctx is
// cancelled: a client that goes away must not leave half of something behind,
// nor cost a connection.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), opTimeout)
}

// Ping asks MongoDB whether it answers. Errors: ErrUnavailable.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	return unavailable(s.client.Ping(ctx, nil))
}

// EnsureIndex makes the unique index on the address, which is what keeps two
// registrations of one address apart; it is the one that the guide's schema
// makes. It takes as long as ctx gives it: over many accounts that is a while.
// Two accounts of one address, or an index on it that is not unique, make it
// impossible, and then no account is made. Errors: ErrUnavailable.
func (s *Store) EnsureIndex(ctx context.Context) error {
	_, err := s.users.Indexes().CreateOne(ctx, mongo.IndexModel{
		Keys:    bson.D{{Key: "email", Value: 1}},
		Options: options.Index().SetUnique(true),
	})
	if err != nil {
		return unavailable(fmt.Errorf("unique index on %s.email: %w", collection, err))
	}
	return nil
}

// Create makes an account of name, email and passwordHash and returns it.
// Errors: ErrEmailTaken, ErrUnavailable.
func (s *Store) Create(ctx context.Context, name string, email Email, passwordHash string) (User, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	// Each time, although it is there: it costs little beside the hash, and a
	// collection that was dropped or restored meanwhile may have lost it.
	if err := s.EnsureIndex(ctx); err != nil {
		return User{}, err
	}
	if other := email.spellings()[1:]; len(other) > 0 {
		// An account of the guide's app, from before the canonical form.
		if _, err := s.ByEmail(ctx, email); err == nil {
			return User{}, ErrEmailTaken
		} else if !errors.Is(err, ErrNotFound) {
			return User{}, err
		}
	}
	now := s.timestamp()
	active := true
	d := document{
		ID: primitive.NewObjectID(), Name: name, Email: string(email), Password: passwordHash,
		IsActive: &active, CreatedAt: now, UpdatedAt: now,
	}
	_, err := s.users.InsertOne(ctx, d)
	switch {
	case mongo.IsDuplicateKeyError(err):
		return User{}, ErrEmailTaken
	case err != nil:
		// It may be there all the same, and the next try would get ErrEmailTaken.
		_ = s.Delete(ctx, d.ID.Hex())
		return User{}, unavailable(err)
	}
	return d.user(), nil
}

// ByID returns the account of an id. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) ByID(ctx context.Context, id string) (User, error) {
	oid, err := primitive.ObjectIDFromHex(id)
	if err != nil {
		return User{}, ErrNotFound
	}
	return s.find(ctx, bson.D{{Key: "_id", Value: oid}})
}

// ByEmail returns the account of an address. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) ByEmail(ctx context.Context, email Email) (User, error) {
	return s.find(ctx, bson.D{{Key: "email", Value: bson.D{{Key: "$in", Value: email.spellings()}}}})
}

func (s *Store) find(ctx context.Context, filter bson.D) (User, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	return one(s.users.FindOne(ctx, filter))
}

// isActive is the condition that an account was not disabled.
var isActive = bson.D{{Key: "isActive", Value: bson.D{{Key: "$ne", Value: false}}}}

// Rename gives an account another name and returns it as it is then. One that is
// disabled is ErrNotFound. Errors: also ErrUnavailable.
func (s *Store) Rename(ctx context.Context, id, name string) (User, error) {
	return s.update(ctx, id, isActive, bson.D{
		{Key: "name", Value: name},
		{Key: "updatedAt", Value: s.timestamp()},
	})
}

// RecordLogin notes that the account has just logged in with the password of a
// hash, and returns it as it is then. An account that was disabled or deleted
// meanwhile, or has another password now, is ErrNotFound. Errors: also
// ErrUnavailable.
func (s *Store) RecordLogin(ctx context.Context, id, passwordHash string) (User, error) {
	unchanged := append(bson.D{{Key: "password", Value: passwordHash}}, isActive...)
	return s.update(ctx, id, unchanged, bson.D{{Key: "lastLogin", Value: s.timestamp()}})
}

// ReplaceHash puts a better hash of the same password in the place of old. Where
// old is no longer the hash it is ErrNotFound and nothing happens: the password was
// changed meanwhile, or another login was faster. Errors: also ErrUnavailable.
func (s *Store) ReplaceHash(ctx context.Context, id, old, better string) error {
	_, err := s.update(ctx, id,
		bson.D{{Key: "password", Value: old}},
		bson.D{{Key: "password", Value: better}})
	return err
}

// Delete removes an account. One that is not there is no error. Errors:
// ErrUnavailable.
func (s *Store) Delete(ctx context.Context, id string) error {
	oid, err := primitive.ObjectIDFromHex(id)
	if err != nil {
		return nil
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err = s.users.DeleteOne(ctx, bson.D{{Key: "_id", Value: oid}})
	return unavailable(err)
}

// update sets members of the account of id where it also meets the conditions,
// and returns it as it is then.
func (s *Store) update(ctx context.Context, id string, conditions, set bson.D) (User, error) {
	oid, err := primitive.ObjectIDFromHex(id)
	if err != nil {
		return User{}, ErrNotFound
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	return one(s.users.FindOneAndUpdate(ctx,
		append(bson.D{{Key: "_id", Value: oid}}, conditions...),
		bson.D{{Key: "$set", Value: set}},
		options.FindOneAndUpdate().SetReturnDocument(options.After)))
}

func one(result *mongo.SingleResult) (User, error) {
	if err := result.Err(); errors.Is(err, mongo.ErrNoDocuments) {
		return User{}, ErrNotFound
	} else if err != nil {
		return User{}, unavailable(err)
	}
	return decode(result.Decode)
}

// decode reads an account from what a query has found.
func decode(from func(any) error) (User, error) {
	var d document
	if err := from(&d); err != nil {
		return User{}, fmt.Errorf("a document of %s: %w: %w", collection, ErrUnreadable, err)
	}
	return d.user(), nil
}

// timestamp is now as MongoDB keeps it.
func (s *Store) timestamp() time.Time { return s.now().UTC().Truncate(time.Millisecond) }

func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
