package user

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"latchkey/internal/mongoconn"
)

// EnsureEmailIndex creates the unique index on the email, which prevents two accounts with
// the same email. The guide's app creates the same index, and one with another name is as
// good. With many accounts it may take long, so only ctx limits its time.
//
// It fails if two accounts already have the same email, or another kind of index on the email
// exists. Create fails, too, until an operator has fixed that. Errors: ErrUnavailable, which is an
// IndexError if an operator has to fix something.
func (s *Store) EnsureEmailIndex(ctx context.Context) error {
	return ensureUniqueIndex(ctx, s.users, "email")
}

// EnsureIdentityIndexes creates the unique indexes of the identities. They ensure, even if
// links are made concurrently, that an external account is linked to only one user, and that a
// user has at most one account of each provider. Errors: see EnsureEmailIndex.
func (s *Store) EnsureIdentityIndexes(ctx context.Context) error {
	return errors.Join(
		ensureUniqueIndex(ctx, s.identities, "issuer", "providerId"),
		ensureUniqueIndex(ctx, s.identities, "userId", "provider"))
}

// IndexError is returned if MongoDB refuses to create a unique index. It wraps ErrUnavailable.
type IndexError struct {
	// Index is the index, like "users.email".
	Index string

	// Fix tells an operator what to do.
	Fix string

	// Err is the redacted error of MongoDB.
	Err error
}

// Is reports whether target is ErrUnavailable: without the index, accounts cannot be changed safely.
func (e *IndexError) Is(target error) bool { return target == ErrUnavailable }

// Error implements error.
func (e *IndexError) Error() string { return fmt.Sprintf("unique index on %s: %v", e.Index, e.Err) }

// Unwrap returns the cause.
func (e *IndexError) Unwrap() error { return e.Err }

func ensureUniqueIndex(ctx context.Context, c *mongo.Collection, fields ...string) error {
	ctx, cancel := mongoconn.WithLongTimeout(ctx)
	defer cancel()
	keys := bson.D{}
	for _, name := range fields {
		keys = append(keys, bson.E{Key: name, Value: 1})
	}

	index := mongo.IndexModel{Keys: keys, Options: options.Index().SetUnique(true)}
	err := mongoconn.Retry(ctx, func(ctx context.Context) error {
		_, err := c.Indexes().CreateOne(ctx, index)

		return err
	})
	if err == nil {
		return nil
	}

	var fromServer mongo.ServerError
	if !errors.As(err, &fromServer) {
		return fmt.Errorf("unique index on %s: %w", indexName(c, fields), mongoconn.Unavailable(err))
	}

	return checkUniqueIndex(ctx, c, fields, err)
}

func indexName(c *mongo.Collection, fields []string) string {
	return c.Name() + "." + strings.Join(fields, "+")
}

// checkUniqueIndex is called if MongoDB has refused to create an index. It returns nil if there
// is one already: it may have another name, or the user may lack the privilege to create one.
// Otherwise it returns what is wrong.
func checkUniqueIndex(ctx context.Context, c *mongo.Collection, fields []string, refused error) error {
	existing, err := storedIndexes(ctx, c)
	if err != nil {
		return mongoconn.Unavailable(err)
	}

	unusable := ""
	for _, i := range existing {
		if !i.isOn(fields) {
			continue
		}
		if i.isUsable() {
			return nil
		}
		unusable = i.Name
	}

	removeDuplicates := fmt.Sprintf("remove documents of %s with the same %s", c.Name(), strings.Join(fields, " and "))
	fix := "allow the user to create indexes, and " + removeDuplicates
	if mongo.IsDuplicateKeyError(refused) {
		fix = removeDuplicates
	}
	if unusable != "" {
		fix = fmt.Sprintf("drop the index %q of %s: it is not unique, or it is partial, sparse or has a collation", unusable, c.Name())
	}

	return &IndexError{
		Index: indexName(c, fields),
		Fix:   fix,
		Err:   mongoconn.Redact(refused),
	}
}

// storedIndex is an index as MongoDB lists it.
type storedIndex struct {
	Name      string   `bson:"name"`
	Key       bson.D   `bson:"key"`
	Unique    bool     `bson:"unique"`
	Sparse    bool     `bson:"sparse"`
	Partial   bson.Raw `bson:"partialFilterExpression"`
	Collation bson.Raw `bson:"collation"`
}

// storedIndexes returns the indexes of a collection. Its errors are those of the driver.
func storedIndexes(ctx context.Context, c *mongo.Collection) ([]storedIndex, error) {
	cursor, err := c.Indexes().List(ctx)
	if err != nil {
		return nil, err
	}

	var all []storedIndex
	err = cursor.All(ctx, &all)

	return all, err
}

// isOn reports whether the index is on exactly these fields, in this order.
func (i storedIndex) isOn(fields []string) bool {
	return slices.EqualFunc(i.Key, fields, func(e bson.E, field string) bool { return e.Key == field })
}

// isUsable reports whether the index prevents two documents with the same fields, byte by byte.
func (i storedIndex) isUsable() bool {
	return i.Unique && !i.Sparse && i.Partial == nil && i.Collation == nil
}

// explainDuplicate returns the error for an account that a unique index has rejected:
// ErrEmailTaken if another account has its email. Otherwise another application has left an
// index behind, and the error is ErrUnavailable with the names of the candidates.
func (s *Store) explainDuplicate(ctx context.Context, email Email, duplicate error) error {
	if err := s.CheckEmailFree(ctx, email, ""); err != nil {
		return err
	}

	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()
	existing, err := storedIndexes(ctx, s.users)
	if err != nil {
		return mongoconn.Unavailable(err)
	}

	var others []string
	for _, i := range existing {
		if i.Unique && !i.isOn([]string{"email"}) {
			others = append(others, i.Name)
		}
	}

	return fmt.Errorf("unique index of users that is not on the email rejected an account: %s: %w",
		strings.Join(others, ", "), mongoconn.Unavailable(duplicate))
}
