package user

import (
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
)

// unreadableError is an ErrUnreadable for one document.
type unreadableError struct {
	id     string
	reason string
}

// Error returns a message for the log. It contains no stored value except the _id, and not even that
// if it may be an email, which must not be logged.
func (e *unreadableError) Error() string {
	name := "document " + e.id
	if strings.Contains(e.id, "@") {
		name = "document whose _id may be an email (latchkey users list shows it)"
	}

	return fmt.Sprintf("%s of %s: %v: %s", name, collection, ErrUnreadable, e.reason)
}

// Unwrap returns ErrUnreadable.
func (e *unreadableError) Unwrap() error { return ErrUnreadable }

// unusableHash is the hash of an account whose password has another type than string. No
// password matches it, but unlike "" it does not mean that the account has none.
const unusableHash = "not a string"

// decode decodes an account. The _id must be an ObjectID, the email a string, isActive a
// boolean and the factors as in SecondFactors. Any other field may have an unexpected type, because another application or an
// import may have stored it: see decodeFields. Together with ErrUnreadable it returns the
// fields that are readable.
func decode(raw bson.Raw) (document, error) {
	var d document
	var unexpected []string
	if err := bson.Unmarshal(raw, &d); err != nil {
		d, unexpected = decodeFields(raw)
	}

	// The driver reads some strings as an ObjectID, but a query for that ObjectID does not find them.
	if _, isObjectID := raw.Lookup("_id").ObjectIDOK(); !isObjectID {
		d.ID = primitive.NilObjectID
	}
	if d.ID.IsZero() {
		d.otherID = documentID(raw)
	}

	reason := ""
	switch {
	case d.ID.IsZero():
		reason = "_id is not an ObjectID"
	case d.Email == "":
		reason = "email is not a string"
	case slices.Contains(unexpected, "isActive"):
		reason = "isActive is not a boolean"
	case slices.Contains(unexpected, factorsField):
		// An account whose factors are ignored could be used without them.
		reason = "factors has an unexpected type"
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

// documentID returns the _id of a document: an ObjectID in hex, others in extended JSON.
func documentID(raw bson.Raw) string {
	id := raw.Lookup("_id")
	if oid, ok := id.ObjectIDOK(); ok && oid != primitive.NilObjectID {
		return oid.Hex()
	}

	return id.String()
}

// parseDocumentID parses the result of documentID. It returns the text itself if that is neither an
// ObjectID nor JSON.
func parseDocumentID(text string) any {
	if oid, err := primitive.ObjectIDFromHex(text); err == nil {
		return oid
	}

	var parsed bson.D
	err := bson.UnmarshalExtJSON([]byte(`{"_id":`+text+`}`), false, &parsed)
	if err != nil || len(parsed) != 1 {
		return text
	}

	return parsed[0].Value
}
