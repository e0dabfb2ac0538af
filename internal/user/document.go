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

// document is a User as stored in MongoDB.
type document struct {
	ID       primitive.ObjectID `bson:"_id"`
	User     `bson:",inline"`
	IsActive *bool                      `bson:"isActive"` // nil means true, as in the guide's app
	Tokens   map[TokenKind]OneTimeToken `bson:"tickets,omitempty"`

	// otherID is the _id of an unreadable document if that is not an ObjectID: see documentID.
	otherID string
}

// tokensField is the field of document.Tokens. Its name is kept for existing databases.
const tokensField = "tickets"

// user returns the account, or the zero User if there is no document. Of an unreadable document it
// returns the readable fields and the ID as documentID returns it.
func (d document) user() User {
	u := d.User
	u.ID = d.otherID
	u.Active = d.IsActive == nil || *d.IsActive
	if !d.ID.IsZero() {
		u.ID = d.ID.Hex()
	}
	if u.ID == "" {
		return User{}
	}

	if u.CreatedAt.IsZero() && !d.ID.IsZero() {
		u.CreatedAt = d.ID.Timestamp()
	}

	return u
}

// isActive is the filter for accounts that are not disabled. It excludes values of other
// types, with which an account is unreadable: see decode.
var isActive = bson.D{{Key: "isActive", Value: bson.D{{Key: "$in", Value: bson.A{true, nil, 1}}}}}

// hasEmail returns the filter for the account with an email.
func hasEmail(email Email) bson.D {
	return bson.D{{Key: "email", Value: bson.D{{Key: "$in", Value: email.spellings()}}}}
}

// objectID parses a User.ID. It returns ErrNotFound if the ID is malformed, because no
// account has such an ID.
func objectID(id string) (primitive.ObjectID, error) {
	oid, err := primitive.ObjectIDFromHex(id)
	if err != nil {
		return primitive.NilObjectID, ErrNotFound
	}
	return oid, nil
}

// findDocument returns the account that matches a filter. Errors: ErrNotFound,
// ErrUnreadable, ErrUnavailable.
func (s *Store) findDocument(ctx context.Context, filter bson.D) (document, error) {
	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()
	return decodeResult(findOne(ctx, s.users, filter))
}

// findOne finds a document that matches a filter. If the reply is lost, it tries again.
func findOne(ctx context.Context, c *mongo.Collection, filter bson.D) *mongo.SingleResult {
	var result *mongo.SingleResult
	_ = mongoconn.Retry(ctx, func(ctx context.Context) error {
		result = c.FindOne(ctx, filter)

		return result.Err()
	})

	return result
}

// update changes the account with the given ID if it matches a filter, and returns the
// changed account. Together with ErrUnreadable it returns what is readable of it. Errors:
// ErrNotFound, ErrUnreadable, ErrUnavailable.
func (s *Store) update(ctx context.Context, id string, filter, change bson.D) (User, error) {
	d, err := s.updateDocument(ctx, id, filter, change)
	return d.user(), err
}

// updateDocument is like update, but returns the whole document.
func (s *Store) updateDocument(ctx context.Context, id string, filter, change bson.D) (document, error) {
	oid, err := objectID(id)
	if err != nil {
		return document{}, err
	}

	return s.updateWithID(ctx, id, bson.E{Key: "_id", Value: oid}, filter, change)
}

// updateWithID is like updateDocument, but also takes the condition for the _id.
func (s *Store) updateWithID(ctx context.Context, id string, hasID bson.E, filter, change bson.D) (document, error) {
	if showsIn(change) {
		defer s.invalidate(context.WithoutCancel(ctx), id) // also after an error: the change may have been made
	}

	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()
	returnNew := options.FindOneAndUpdate().SetReturnDocument(options.After)

	var result *mongo.SingleResult
	_ = mongoconn.Retry(ctx, func(ctx context.Context) error {
		withID := slices.Concat(bson.D{hasID}, filter)
		result = s.users.FindOneAndUpdate(ctx, withID, change, returnNew)
		filter = orDone(filter, change)

		return result.Err()
	})

	return decodeResult(result)
}

// orDone returns the filter for the second run of an update whose reply was lost. The account may
// no longer match the filter, because the first run has made the change. The values that the change
// sets, such as a password hash or a time, identify such an account.
func orDone(filter, change bson.D) bson.D {
	for _, e := range change {
		if done, ok := e.Value.(bson.D); ok && e.Key == "$set" && len(filter) > 0 {
			return bson.D{{Key: "$or", Value: bson.A{filter, done}}}
		}
	}

	return filter
}

// insert stores a new document with a new _id. If the reply is lost, it tries again, and
// recognizes the document. Its errors are those of the driver.
func insert(ctx context.Context, c *mongo.Collection, id primitive.ObjectID, document any) error {
	isRetry := false

	return mongoconn.Retry(ctx, func(ctx context.Context) error {
		_, err := c.InsertOne(ctx, document)
		if isRetry && mongo.IsDuplicateKeyError(err) {
			found := c.FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Err()
			if !errors.Is(found, mongo.ErrNoDocuments) {
				return found // nil if the document is there; if unknown, nobody else has taken its email
			}
		}
		isRetry = true

		return err
	})
}

// set returns an update that sets fields.
func set(fields ...bson.E) bson.D { return bson.D{{Key: "$set", Value: bson.D(fields)}} }

// unset returns an update that removes fields.
func unset(names ...string) bson.D {
	fields := bson.D{}
	for _, name := range names {
		fields = append(fields, bson.E{Key: name, Value: ""})
	}
	return bson.D{{Key: "$unset", Value: fields}}
}

// setAndTouch returns an update that sets fields and updatedAt.
func (s *Store) setAndTouch(fields ...bson.E) bson.D {
	return set(append(fields, bson.E{Key: "updatedAt", Value: s.timestamp()})...)
}

// decodeResult decodes the account in the result of a query.
func decodeResult(result *mongo.SingleResult) (document, error) {
	raw, err := result.Raw()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return document{}, ErrNotFound
	}
	if err != nil {
		return document{}, mongoconn.Unavailable(err)
	}

	return decode(raw)
}

// timestamp returns the current time with the precision of MongoDB.
func (s *Store) timestamp() time.Time { return toMillis(s.now()) }

// toMillis returns t in UTC with the precision of MongoDB.
func toMillis(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
