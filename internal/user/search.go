package user

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/bsontype"
	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo/options"

	"latchkey/internal/mongoconn"
)

// ErrBadPosition is returned for a position that is not the ID of an account.
var ErrBadPosition = errors.New("not the ID of an account")

// Page selects a part of a list of accounts.
type Page struct {
	// After is the last account of the previous page, or "" for the first page.
	After string

	// Limit is the maximum number of accounts.
	Limit int64
}

// newestFirst is the order of the lists whose positions are IDs.
var newestFirst = bson.D{{Key: "_id", Value: -1}}

// List returns accounts, newest first. page.After is the ID of a Listed. Errors: ErrBadPosition,
// ErrUnavailable.
func (s *Store) List(ctx context.Context, page Page) ([]Listed, error) {
	older, err := olderThan(page.After)
	if err != nil {
		return nil, err
	}

	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()

	return s.findAll(ctx, older, newestFirst, page.Limit)
}

// ListWithFactors returns accounts that have a second factor, newest first. page.After is the ID of a
// Listed. MongoDB reads accounts until the page is full, which may be all of them, so only ctx limits the
// time. Errors: ErrBadPosition, ErrUnavailable.
func (s *Store) ListWithFactors(ctx context.Context, page Page) ([]Listed, error) {
	older, err := olderThan(page.After)
	if err != nil {
		return nil, err
	}

	ctx, cancel := mongoconn.WithLongTimeout(ctx)
	defer cancel()
	filter := bson.D{{Key: "$and", Value: bson.A{bson.D{exists(factorsField)}, older}}}

	return s.findAll(ctx, filter, newestFirst, page.Limit)
}

// SearchEmails returns the accounts whose email begins with a text, sorted by email. page.After is an
// email. MongoDB reads only these accounts, because there is an index. Errors: ErrUnavailable.
func (s *Store) SearchEmails(ctx context.Context, prefix string, page Page) ([]Listed, error) {
	prefix = strings.ToLower(strings.TrimSpace(prefix))

	// MongoDB compares strings byte by byte, and no email contains the last code point.
	const last = "\U0010FFFF"
	bounds := bson.D{{Key: "$gte", Value: prefix}, {Key: "$lt", Value: prefix + last}}
	if page.After != "" {
		bounds = append(bounds, bson.E{Key: "$gt", Value: page.After})
	}

	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()
	byEmail := bson.D{{Key: "email", Value: 1}}

	return s.findAll(ctx, bson.D{{Key: "email", Value: bounds}}, byEmail, page.Limit)
}

// Search returns the accounts with a text anywhere in their email or name, ignoring case, newest
// first. page.After is the ID of a Listed. MongoDB reads accounts until the page is full, which may
// be all of them, so only ctx limits the time. Errors: ErrBadPosition, ErrUnavailable.
func (s *Store) Search(ctx context.Context, text string, page Page) ([]Listed, error) {
	older, err := olderThan(page.After)
	if err != nil {
		return nil, err
	}

	contains := primitive.Regex{Pattern: regexp.QuoteMeta(strings.TrimSpace(text)), Options: "i"}
	matches := bson.D{{Key: "$or", Value: bson.A{
		bson.D{{Key: "email", Value: contains}},
		bson.D{{Key: "name", Value: contains}},
	}}}

	ctx, cancel := mongoconn.WithLongTimeout(ctx)
	defer cancel()
	filter := bson.D{{Key: "$and", Value: bson.A{matches, older}}}

	return s.findAll(ctx, filter, newestFirst, page.Limit)
}

// findAll returns up to limit accounts that match a filter. Errors: ErrUnavailable.
func (s *Store) findAll(ctx context.Context, filter, order bson.D, limit int64) ([]Listed, error) {
	cursor, err := s.users.Find(ctx, filter, options.Find().SetSort(order).SetLimit(limit))
	if err != nil {
		return nil, mongoconn.Unavailable(err)
	}
	defer func() { _ = cursor.Close(ctx) }()

	var users []Listed
	for cursor.Next(ctx) {
		u, _ := newListed(decode(cursor.Current))
		users = append(users, u)
	}

	return users, mongoconn.Unavailable(cursor.Err())
}

// typesInOrder are the types that an _id can have, in the order in which MongoDB sorts them, by their
// names in a query. A comparison such as $lt finds only values of the same type.
var typesInOrder = []struct {
	name  string
	types []bsontype.Type
}{
	{"null", []bsontype.Type{bson.TypeNull}},
	{"number", []bsontype.Type{bson.TypeDouble, bson.TypeInt32, bson.TypeInt64, bson.TypeDecimal128}},
	{"string", []bsontype.Type{bson.TypeString}},
	{"object", []bsontype.Type{bson.TypeEmbeddedDocument}},
	{"binData", []bsontype.Type{bson.TypeBinary}},
	{"objectId", []bsontype.Type{bson.TypeObjectID}},
	{"bool", []bsontype.Type{bson.TypeBoolean}},
	{"date", []bsontype.Type{bson.TypeDateTime}},
	{"timestamp", []bsontype.Type{bson.TypeTimestamp}},
}

// olderThan returns the filter for the accounts that follow the one with the given ID in a list that
// begins with the newest, or for all accounts if id is "". Errors: ErrBadPosition.
func olderThan(id string) (bson.D, error) {
	if id == "" {
		return bson.D{}, nil
	}

	value := parseDocumentID(id)
	if value == id { // it could be parsed neither as an ObjectID nor as JSON
		return nil, ErrBadPosition
	}
	own, _, err := bson.MarshalValue(value)
	if err != nil {
		return nil, ErrBadPosition
	}

	var lower bson.A
	for _, group := range typesInOrder {
		if slices.Contains(group.types, own) {
			break
		}

		lower = append(lower, group.name)
	}

	less := bson.D{{Key: "_id", Value: bson.D{{Key: "$lt", Value: value}}}}
	if len(lower) == 0 {
		return less, nil
	}

	return bson.D{{Key: "$or", Value: bson.A{
		less,
		bson.D{{Key: "_id", Value: bson.D{{Key: "$type", Value: lower}}}},
	}}}, nil
}
