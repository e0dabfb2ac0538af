package user

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo"

	"latchkey/internal/coherence"
	"latchkey/internal/mongoconn"
)

var (
	// ErrNotFound is returned if no account matches, or the account is disabled and the
	// method requires an active one.
	ErrNotFound = errors.New("no such user")

	// ErrEmailTaken is returned if another account has the email.
	ErrEmailTaken = errors.New("email already registered")

	// ErrUnreadable is returned if a stored account cannot be used, because its _id, email,
	// isActive or factors have an unexpected type. The fields that are readable are returned with it.
	ErrUnreadable = errors.New("unreadable account")

	// ErrUnavailable is returned if MongoDB failed or did not reply in time. A write may have
	// taken effect.
	ErrUnavailable = mongoconn.ErrUnavailable
)

const collection = "users"

// Store stores the accounts in MongoDB. It is safe for concurrent use.
type Store struct {
	db         *mongoconn.Database
	users      *mongo.Collection
	identities *mongo.Collection
	now        func() time.Time

	invitations *mongo.Collection

	preparation *preparation // nil if RequirePreparation was not called

	cache  *coherence.Cache // nil if UseCache was not called
	maxAge time.Duration
}

// New returns a Store that uses db. It does not connect yet.
func New(db *mongoconn.Database, now func() time.Time) *Store {
	return &Store{
		db:         db,
		users:      db.Collection(collection),
		identities: db.Collection(identities),
		now:        now,

		invitations: db.Collection(invitations),
	}
}

// Ping checks that MongoDB replies, whether or not Prepare has succeeded. Errors: ErrUnavailable.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()
	return mongoconn.Unavailable(s.users.Database().Client().Ping(ctx, nil))
}

// CheckReady checks that MongoDB accepts reads and writes of accounts, with a write that changes nothing.
// Errors: ErrUnavailable.
func (s *Store) CheckReady(ctx context.Context) error {
	_, err := s.ByIDOnPrimary(ctx, NewID())
	if errors.Is(err, ErrNotFound) {
		return nil
	}

	return err
}

// CheckWrites creates an account that nobody can log in to, finds, changes and deletes it. Another
// application may have left rules in the collection that prevent that. Errors: ErrUnavailable.
func (s *Store) CheckWrites(ctx context.Context) (err error) {
	id := NewID()
	u, err := s.Create(ctx, User{ID: id, Name: "latchkey doctor", Email: Email("doctor-" + id + "@latchkey.invalid")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Delete(ctx, u.ID)) }()

	if _, err := s.ByEmail(ctx, u.Email); err != nil {
		return err
	}
	_, err = s.UpdateProfile(ctx, u.ID, Profile{Name: u.Name})

	return err
}

// NewID returns a new User.ID.
func NewID() string { return primitive.NewObjectID().Hex() }

// Create stores u as a new active account and returns it. If u has no ID, it gets one.
// Errors: ErrEmailTaken, ErrUnavailable.
func (s *Store) Create(ctx context.Context, u User) (User, error) {
	oid, err := objectID(cmp.Or(u.ID, NewID()))
	if err != nil {
		return User{}, err
	}

	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()

	// Ensure the index every time, because the collection may have been dropped or restored
	// without it. That is cheap compared with hashing the password.
	if err := s.EnsureEmailIndex(ctx); err != nil {
		return User{}, err
	}
	if err := s.preparation.wait(ctx); err != nil {
		return User{}, err
	}

	// The index treats two spellings as different emails.
	if len(u.Email.spellings()) > 1 {
		if err := s.CheckEmailFree(ctx, u.Email, ""); err != nil {
			return User{}, err
		}
	}

	u.CreatedAt = s.timestamp()
	u.UpdatedAt = u.CreatedAt
	active := true
	d := document{ID: oid, User: u, IsActive: &active}

	err = insert(ctx, s.users, oid, d)
	if mongo.IsDuplicateKeyError(err) {
		return User{}, s.explainDuplicate(ctx, u.Email, err)
	}
	if err != nil {
		// MongoDB may have stored the account nevertheless, and another attempt would fail
		// with ErrEmailTaken.
		_ = s.Delete(ctx, d.ID.Hex())

		return User{}, mongoconn.Unavailable(err)
	}

	return d.user(), nil
}

// CheckEmailFree checks that no account other than id has the email in any spelling. Only
// the index protects against concurrent changes. Errors: ErrEmailTaken, ErrUnavailable.
func (s *Store) CheckEmailFree(ctx context.Context, email Email, id string) error {
	u, err := s.ByEmail(ctx, email)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if errors.Is(err, ErrUnreadable) || err == nil && u.ID != id {
		return ErrEmailTaken
	}

	return err
}

// ByID returns the account with an ID. Errors: ErrNotFound, ErrUnreadable, ErrUnavailable.
func (s *Store) ByID(ctx context.Context, id string) (User, error) {
	oid, err := objectID(id)
	if err != nil {
		return User{}, err
	}
	return s.find(ctx, bson.D{{Key: "_id", Value: oid}})
}

// ByIDOnPrimary returns the account with an ID. It reads with a write that changes nothing,
// because only the primary accepts one. A connection string can lead to a secondary, where a
// new account may be missing. Call it before an action that relies on the account being gone.
// Errors: ErrNotFound, ErrUnavailable.
func (s *Store) ByIDOnPrimary(ctx context.Context, id string) (User, error) {
	return s.update(ctx, id, nil, unset(tokensField+".none"))
}

// ByEmail returns the account with an email. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) ByEmail(ctx context.Context, email Email) (User, error) {
	return s.find(ctx, hasEmail(email))
}

// ByEmails returns the accounts that have one of the canonical emails, keyed by canonical email. It
// uses a single query, and leaves out unreadable accounts. Errors: ErrUnavailable.
func (s *Store) ByEmails(ctx context.Context, emails []Email) (map[Email]User, error) {
	spellings := []string{}
	for _, email := range emails {
		spellings = append(spellings, email.spellings()...)
	}

	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()
	filter := bson.D{{Key: "email", Value: bson.D{{Key: "$in", Value: spellings}}}}
	cursor, err := s.users.Find(ctx, filter)
	if err != nil {
		return nil, mongoconn.Unavailable(err)
	}
	defer func() { _ = cursor.Close(ctx) }()

	found := map[Email]User{}
	for cursor.Next(ctx) {
		d, err := decode(cursor.Current)
		if err != nil {
			continue
		}
		if canonical, err := ParseEmail(string(d.Email)); err == nil {
			found[canonical] = d.user()
		}
	}

	return found, mongoconn.Unavailable(cursor.Err())
}

func (s *Store) find(ctx context.Context, filter bson.D) (User, error) {
	d, err := s.findDocument(ctx, filter)
	return d.user(), err
}

// Profile contains the fields that users choose freely.
type Profile struct {
	Name    string
	Picture string // URL
	Locale  string // see User.Locale
}

// UpdateProfile changes the fields of an active account that are set in p. Errors: ErrNotFound,
// ErrUnavailable.
func (s *Store) UpdateProfile(ctx context.Context, id string, p Profile) (User, error) {
	var fields []bson.E
	for _, field := range []bson.E{{Key: "name", Value: p.Name}, {Key: "picture", Value: p.Picture}, {Key: "locale", Value: p.Locale}} {
		if field.Value != "" {
			fields = append(fields, field)
		}
	}

	return s.update(ctx, id, isActive, s.setAndTouch(fields...))
}

// RecordLogin records that a user has just logged in, and returns the account. It resets the number
// of wrong passwords. u must be the account as it was read for the login. Errors: ErrNotFound if it
// was disabled or deleted, or its email, password or factors were changed meanwhile; ErrUnavailable.
func (s *Store) RecordLogin(ctx context.Context, u User) (User, error) {
	unchanged := slices.Concat(
		isUnchanged(u),
		bson.D{{Key: "password", Value: u.PasswordHash}})
	change := slices.Concat(set(bson.E{Key: "lastLogin", Value: s.timestamp()}), unset(failuresField))

	return s.update(ctx, u.ID, unchanged, change)
}

// ReplaceHash replaces a password hash by a stronger hash of the same password. Errors:
// ErrNotFound if the stored hash is not old, because the password was changed or another
// login has already replaced it; ErrUnavailable.
func (s *Store) ReplaceHash(ctx context.Context, id, old, stronger string) error {
	_, err := s.update(ctx, id,
		bson.D{{Key: "password", Value: old}},
		set(bson.E{Key: "password", Value: stronger}))
	return err
}

// ChangePassword replaces a password hash, and revokes all known devices and one-time tokens.
// Errors: ErrNotFound if the stored hash is not old or the account is disabled; ErrUnavailable.
func (s *Store) ChangePassword(ctx context.Context, id, old, hash string) (User, error) {
	filter := slices.Concat(bson.D{{Key: "password", Value: old}}, isActive)
	return s.setPassword(ctx, id, hash, filter)
}

// setPassword replaces the password hash of the account with the given ID if it matches a filter,
// sets more fields, resets the number of wrong passwords, and revokes all known devices and
// one-time tokens.
func (s *Store) setPassword(ctx context.Context, id, hash string, filter bson.D, fields ...bson.E) (User, error) {
	fields = append(fields, bson.E{Key: "password", Value: hash}, newDeviceGeneration())
	change := slices.Concat(s.setAndTouch(fields...), unset(tokensField, failuresField))
	return s.update(ctx, id, filter, change)
}

// Delete removes an account, if it exists, and its identities. The account may be unreadable and have
// the ID of a Listed. Delete removes the identities first, so that the account is gone only if Delete
// succeeds. Errors: ErrUnavailable.
func (s *Store) Delete(ctx context.Context, id string) error {
	// If an identity is linked after this, ByIdentity removes it later.
	if err := s.UnlinkAll(ctx, id); err != nil {
		return err
	}
	defer s.invalidate(context.WithoutCancel(ctx), id)

	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()
	err := mongoconn.Retry(ctx, func(ctx context.Context) error {
		_, err := s.users.DeleteOne(ctx, bson.D{hasDocumentID(id)})

		return err
	})

	return mongoconn.Unavailable(err)
}
