package user

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	// ErrUnavailable says that MongoDB did not answer, or not in time. Whether a
	// write took effect is unknown.
	ErrUnavailable = errors.New("user store is unavailable")
)

const (
	collection      = "users"
	defaultDatabase = "latchkey"
	// opTimeout bounds every call, the choice of a server included, so that a
	// request with two calls answers within 3 seconds when MongoDB is away.
	opTimeout = 1400 * time.Millisecond
)

// Store keeps the accounts in MongoDB. It is safe for concurrent use.
type Store struct {
	client *mongo.Client
	users  *mongo.Collection
	now    func() time.Time

	indexMu    sync.Mutex
	indexReady bool
}

// Open returns a Store on the database that uri names (latchkey where it names
// none). It connects when it is first used; an error means that the uri is
// wrong, and does not hold it.
func Open(uri string, now func() time.Time) (*Store, error) {
	parsed, err := connstring.ParseAndValidate(uri)
	if err != nil {
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

// Ping asks MongoDB whether it answers and has the index that the accounts need.
// Errors: ErrUnavailable.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	if err := s.client.Ping(ctx, nil); err != nil {
		return unavailable(err)
	}
	return s.ensureIndex(ctx)
}

// ensureIndex makes the unique index on the address, once, and until it stands no
// account is made: it is what keeps two registrations of one address apart. It
// is the index that the guide's schema makes.
func (s *Store) ensureIndex(ctx context.Context) error {
	s.indexMu.Lock()
	defer s.indexMu.Unlock()
	if s.indexReady {
		return nil
	}
	_, err := s.users.Indexes().CreateOne(ctx, mongo.IndexModel{
		Keys:    bson.D{{Key: "email", Value: 1}},
		Options: options.Index().SetUnique(true),
	})
	if err != nil {
		return unavailable(fmt.Errorf("unique index on %s.email: %w", collection, err))
	}
	s.indexReady = true
	return nil
}

// Create makes an account of name, email and passwordHash and returns it.
// Errors: ErrEmailTaken, ErrUnavailable.
func (s *Store) Create(ctx context.Context, name string, email Email, passwordHash string) (User, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	if err := s.ensureIndex(ctx); err != nil {
		return User{}, err
	}
	now := s.timestamp()
	active := true
	d := document{
		ID: primitive.NewObjectID(), Name: name, Email: string(email), Password: passwordHash,
		IsActive: &active, CreatedAt: now, UpdatedAt: now,
	}
	if _, err := s.users.InsertOne(ctx, d); mongo.IsDuplicateKeyError(err) {
		return User{}, ErrEmailTaken
	} else if err != nil {
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
	return s.find(ctx, bson.D{{Key: "email", Value: string(email)}})
}

func (s *Store) find(ctx context.Context, filter bson.D) (User, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	return one(s.users.FindOne(ctx, filter))
}

// Rename gives an account another name and returns it as it is then. Errors:
// ErrNotFound, ErrUnavailable.
func (s *Store) Rename(ctx context.Context, id, name string) (User, error) {
	return s.update(ctx, id, nil, bson.D{
		{Key: "name", Value: name},
		{Key: "updatedAt", Value: s.timestamp()},
	})
}

// RecordLogin notes that the account has just logged in and returns it as it is
// then. An account that was disabled or deleted meanwhile is ErrNotFound. Errors:
// also ErrUnavailable.
func (s *Store) RecordLogin(ctx context.Context, id string) (User, error) {
	active := bson.D{{Key: "isActive", Value: bson.D{{Key: "$ne", Value: false}}}}
	return s.update(ctx, id, active, bson.D{{Key: "lastLogin", Value: s.timestamp()}})
}

// ReplaceHash puts a better hash of the same password in the place of old. Where
// old is no longer the hash, the password was changed meanwhile and nothing
// happens. Errors: ErrUnavailable.
func (s *Store) ReplaceHash(ctx context.Context, id, old, better string) error {
	_, err := s.update(ctx, id,
		bson.D{{Key: "password", Value: old}},
		bson.D{{Key: "password", Value: better}})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// Delete removes an account. One that is not there is no error. Errors:
// ErrUnavailable.
func (s *Store) Delete(ctx context.Context, id string) error {
	oid, err := primitive.ObjectIDFromHex(id)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
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
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
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
	var d document
	if err := result.Decode(&d); err != nil {
		return User{}, fmt.Errorf("a document of %s is not an account: %w", collection, err)
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
