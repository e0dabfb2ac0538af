package user

import (
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
)

// unreadableError is an ErrUnreadable for one document.
type unreadableError struct {
	id     string
	reason string
}

// Error returns a message for the log. It contains no stored value except the _id, and that only if
// it is an ObjectID: another application may use the email as the _id.
func (e *unreadableError) Error() string {
	name := "document"
	if IsID(e.id) {
		name += " " + e.id
	}

	return fmt.Sprintf("%s of %s: %v: %s", name, collection, ErrUnreadable, e.reason)
}

// Unwrap returns ErrUnreadable.
func (e *unreadableError) Unwrap() error { return ErrUnreadable }

// unusableHash is the hash of an account whose password has another type than string. No
// password matches it, but unlike "" it does not mean that the account has none.
const unusableHash = "not a string"

// decode decodes an account. The _id must be an ObjectID, the email a string and isActive a
// boolean. Any other field may have an unexpected type, because another application or an
// import may have stored it: see decodeFields. Together with ErrUnreadable it returns the
// fields that are readable.
func decode(raw bson.Raw) (document, error) {
	var d document
	var unexpected []string
	if err := bson.Unmarshal(raw, &d); err != nil {
		d, unexpected = decodeFields(raw)
	}

	reason := ""
	switch {
	case d.ID.IsZero():
		reason = "_id is not an ObjectID"
	case d.Email == "":
		reason = "email is not a string"
	case slices.Contains(unexpected, "isActive"):
		reason = "isActive is not a boolean"
	default:
		return d, nil
	}

	return d, &unreadableError{id: documentID(raw), reason: reason}
}

// decodeFields decodes the fields of a document one by one, and returns the names of those
// with an unexpected type. Such a field is read as absent, but a password as one that nobody
// knows.
func decodeFields(raw bson.Raw) (d document, unexpected []string) {
	elements, _ := raw.Elements() // of a document that is cut off, those before the cut
	for _, e := range elements {
		field, err := bson.Marshal(bson.D{{Key: e.Key(), Value: e.Value()}})
		if err == nil {
			err = bson.Unmarshal(field, &d)
		}
		if err != nil {
			unexpected = append(unexpected, e.Key())
		}
	}

	if slices.Contains(unexpected, "password") {
		d.PasswordHash = unusableHash
	}

	return d, unexpected
}

// documentID returns the _id of a document: an ObjectID in hex, others as JSON.
func documentID(raw bson.Raw) string {
	id := raw.Lookup("_id")
	if oid, ok := id.ObjectIDOK(); ok && oid != primitive.NilObjectID {
		return oid.Hex()
	}

	return id.String()
}
