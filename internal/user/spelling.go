package user

import (
	"context"
	"errors"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"latchkey/internal/mongoconn"
)

// An import or another application may have stored emails that are not canonical, such as
// "Ann@Example.com". Queries do not find these accounts, and a second account could get the
// same email. An exact query cannot find them without an index that ignores case, so they are
// made canonical once, when a server starts.

// EmailReport describes accounts whose stored email is not canonical.
type EmailReport struct {
	Fixed   int      // accounts whose email was made canonical
	Strays  []string // IDs of accounts whose email is in another spelling
	Invalid []string // IDs of accounts whose email ParseEmail refuses
}

var (
	// plainAtom is like atom, but lower case.
	plainAtom = strings.Replace(atom, "A-Z", "", 1)
	// plainEmail matches emails that are canonical unless they are too long. It excludes hosts with
	// "--", which IDNA restricts. \z is not $, which also matches before a final line feed.
	plainEmail = primitive.Regex{Pattern: `^` + plainAtom + `(\.` + plainAtom + `)*@([a-z0-9]+(-[a-z0-9]+)*\.)+[a-z]+\z`}
	// longEmail matches every email that exceeds a limit of ParseEmail, and others.
	longEmail = primitive.Regex{Pattern: `^.{65}`}
	// maybeStray matches every email that is not canonical, and others. With it, most emails do not
	// leave MongoDB.
	maybeStray = bson.D{{Key: "$or", Value: bson.A{
		bson.D{{Key: "email", Value: bson.D{{Key: "$type", Value: "string"}, {Key: "$not", Value: plainEmail}}}},
		bson.D{{Key: "email", Value: longEmail}},
	}}}
)

// strayEmail is an account whose stored email is not canonical.
type strayEmail struct {
	id        string
	stored    string
	canonical Email // empty if the stored one is invalid
}

// CheckEmails finds the accounts whose stored email is not canonical. With many accounts it may
// take long, so only ctx limits its time. Errors: ErrUnavailable.
func (s *Store) CheckEmails(ctx context.Context) (EmailReport, error) {
	strays, err := s.strayEmails(ctx)

	var report EmailReport
	for _, stray := range strays {
		report.add(stray)
	}

	return report, err
}

// FixEmails makes stored emails canonical. An account stays as it is if another account has the same email,
// or if MongoDB rejects the change. Call EnsureEmailIndex first: the index prevents two accounts from getting
// the same email. Errors: ErrUnavailable; some emails may have been fixed.
func (s *Store) FixEmails(ctx context.Context) (EmailReport, error) {
	strays, err := s.strayEmails(ctx)

	var report EmailReport
	for _, stray := range strays {
		if ctx.Err() != nil {
			return report, mongoconn.Unavailable(ctx.Err())
		}

		fixed, err := s.fixEmail(ctx, stray)
		switch {
		case err != nil:
			return report, err
		case fixed:
			report.Fixed++
		default:
			report.add(stray)
		}
	}

	return report, err
}

func (r *EmailReport) add(stray strayEmail) {
	if stray.canonical == "" {
		r.Invalid = append(r.Invalid, stray.id)
	} else {
		r.Strays = append(r.Strays, stray.id)
	}
}

// fixEmail makes the email of an account canonical, and reports whether it did.
func (s *Store) fixEmail(ctx context.Context, stray strayEmail) (bool, error) {
	if stray.canonical == "" {
		return false, nil
	}

	err := s.CheckEmailFree(ctx, stray.canonical, stray.id)
	if err == nil {
		unchanged := bson.D{{Key: "email", Value: stray.stored}}
		_, err = s.update(ctx, stray.id, unchanged, s.setAndTouch(bson.E{Key: "email", Value: string(stray.canonical)}))
	}
	if errors.Is(err, ErrUnavailable) && errors.Is(s.CheckEmailFree(ctx, stray.canonical, stray.id), ErrEmailTaken) {
		err = ErrEmailTaken // meanwhile
	}

	switch {
	case errors.Is(err, ErrEmailTaken), isRejected(err):
		return false, nil
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrUnreadable):
		return true, nil // another server has changed it, or the account has other faults, too
	}

	return err == nil, err
}

// isRejected reports whether MongoDB rejected a change of this one document, for example because of
// another unique index or a validator of the collection.
func isRejected(err error) bool {
	const unauthorized = 13 // rejects every change

	var fromServer mongo.ServerError

	return errors.As(err, &fromServer) && !fromServer.HasErrorCode(unauthorized) && !isTemporary(fromServer)
}

// isTemporary reports whether an error is due to a failover or a lost connection.
func isTemporary(err mongo.ServerError) bool {
	return err.HasErrorLabel("RetryableWriteError") || err.HasErrorLabel("NetworkError")
}

// strayEmails finds the accounts whose stored email is not canonical. Errors: ErrUnavailable.
func (s *Store) strayEmails(ctx context.Context) ([]strayEmail, error) {
	ctx, cancel := mongoconn.WithLongTimeout(ctx)
	defer cancel()
	onlyEmail := options.Find().SetProjection(bson.D{{Key: "email", Value: 1}})
	cursor, err := s.users.Find(ctx, maybeStray, onlyEmail)
	if err != nil {
		return nil, mongoconn.Unavailable(err)
	}
	defer func() { _ = cursor.Close(ctx) }()

	var strays []strayEmail
	for cursor.Next(ctx) {
		stored, isString := cursor.Current.Lookup("email").StringValueOK()
		id, isObjectID := cursor.Current.Lookup("_id").ObjectIDOK()
		if !isString || !isObjectID {
			continue // unreadable: see decode
		}

		canonical, err := ParseEmail(stored)
		if err == nil && slices.Contains(canonical.spellings(), stored) {
			continue
		}
		strays = append(strays, strayEmail{id: id.Hex(), stored: stored, canonical: canonical})
	}

	return strays, mongoconn.Unavailable(cursor.Err())
}
