package user

import (
	"context"
	"errors"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/bson"
)

// The methods in this file are for operators.

// Listed is an account that may be unreadable.
type Listed struct {
	// User is the account. If it is unreadable, the fields that cannot be read are empty, and the
	// ID is the _id in extended JSON if that is not an ObjectID.
	User

	// Unreadable is the reason why the account cannot be used, or "".
	Unreadable string
}

// Err returns an ErrUnreadable if the account is unreadable.
func (l Listed) Err() error {
	if l.Unreadable == "" {
		return nil
	}

	return &unreadableError{id: l.ID, reason: l.Unreadable}
}

// newListed returns the account in a document, given the error of decoding it. Errors: err, unless that
// is an ErrUnreadable.
func newListed(d document, err error) (Listed, error) {
	var unreadable *unreadableError
	if errors.As(err, &unreadable) {
		return Listed{User: d.user(), Unreadable: unreadable.reason}, nil
	}

	return Listed{User: d.user()}, err
}

// hasDocumentID returns the condition for the document with the given ID, which is that of a Listed.
// With $in, an _id that is a document is not taken for an operator.
func hasDocumentID(id string) bson.E {
	return bson.E{Key: "_id", Value: bson.D{{Key: "$in", Value: bson.A{parseDocumentID(id)}}}}
}

// Find returns the account with an email or an ID, even if it is unreadable. It takes the ID of a
// Listed, an _id that is a string without its quotes, and an unsupported email exactly as it is stored.
// Errors: ErrBadEmail, ErrNotFound, ErrUnavailable.
func (s *Store) Find(ctx context.Context, ref string) (Listed, error) {
	filters := []bson.D{
		{hasDocumentID(ref)},
		{{Key: "_id", Value: ref}},
		{{Key: "email", Value: ref}},
	}
	email, badEmail := ParseEmail(ref)
	if badEmail == nil {
		filters = slices.Insert(filters, 0, hasEmail(email))
	}

	for _, filter := range filters {
		found, err := newListed(s.findDocument(ctx, filter))
		if !errors.Is(err, ErrNotFound) {
			return found, err
		}
	}

	isJSON := strings.HasPrefix(ref, `"`) || strings.HasPrefix(ref, "{")
	if badEmail != nil && strings.Contains(ref, "@") && !isJSON {
		return Listed{}, badEmail
	}

	return Listed{}, ErrNotFound
}

// SetActive enables or disables an account, which may be unreadable and have the ID of a Listed.
// Disabling also revokes all known devices and one-time tokens, but ends no sessions. Either stops a
// deletion that BeginExpiry has begun. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) SetActive(ctx context.Context, id string, active bool) (Listed, error) {
	field := bson.E{Key: "isActive", Value: active}
	change := slices.Concat(s.setAndTouch(field), unset(expiringField))
	if !active {
		change = slices.Concat(s.setAndTouch(field, newDeviceGeneration()), unset(tokensField, expiringField))
	}

	return newListed(s.updateWithID(ctx, id, hasDocumentID(id), nil, change))
}

// MarkVerified marks the email of an account as verified, and revokes the link that was sent to it. email is
// the one that was verified: the account may have another one by now. It does not prove that the
// user of the account owns the email: see User.OwnerConfirmed. Errors: ErrNotFound, ErrUnreadable,
// ErrUnavailable.
func (s *Store) MarkVerified(ctx context.Context, id string, email Email) (User, error) {
	change := slices.Concat(s.setAndTouch(bson.E{Key: "emailVerified", Value: true}), unset(VerifyToken.path()))

	verified, err := s.update(ctx, id, hasEmail(email), change)
	if err != nil {
		return verified, err
	}

	// BeginExpiry may have disabled the account, which FinishExpiry does not delete any more.
	isExpiring := bson.D{{Key: expiringField, Value: true}}
	enabled, err := s.update(ctx, id, isExpiring, slices.Concat(set(bson.E{Key: "isActive", Value: true}), unset(expiringField)))
	if errors.Is(err, ErrNotFound) {
		return verified, nil
	}

	return enabled, err
}

// SetPassword replaces the password hash of an account, and revokes all known devices and one-time
// tokens. It ends no sessions. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) SetPassword(ctx context.Context, id, hash string) (User, error) {
	return s.setPassword(ctx, id, hash, nil)
}
