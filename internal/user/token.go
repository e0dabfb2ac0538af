package user

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"

	"latchkey/internal/mongoconn"
)

// TokenKind is the purpose of a one-time token. An account has at most one of each kind.
type TokenKind string

// The kinds of one-time tokens.
const (
	ResetToken       TokenKind = "reset"  // sets a new password
	VerifyToken      TokenKind = "verify" // verifies the account's email
	EmailChangeToken TokenKind = "change" // verifies a new email and changes the account to it
)

// field returns the name of a field of this kind's token in a document.
func (k TokenKind) field(name string) string { return k.path() + "." + name }

// path returns the name of this kind's token in a document.
func (k TokenKind) path() string { return tokensField + "." + string(k) }

// OneTimeToken is the stored part of a one-time token that was emailed to the owner of an
// account. It is part of the account's document. A newer token of the same kind replaces it,
// and a change of the password or the email revokes all tokens.
//
// A single update both uses up a token and makes the change that it allows, so that it works
// only once and never partially (OWASP ASVS 5.0 2.3.3, 6.5.1).
type OneTimeToken struct {
	// Hash is the hash of the token; only the email contains the token itself. It is empty
	// until the email is sent.
	Hash string `bson:"hash"`

	// RequestID identifies the request for an email that is sent later.
	RequestID string `bson:"ask,omitempty"`

	// Email is the new email of an EmailChangeToken.
	Email   Email     `bson:"email,omitempty"`
	Expires time.Time `bson:"expires"`
}

// PutToken stores a one-time token in an active account that still has the given email.
// Errors: ErrNotFound, ErrUnavailable.
func (s *Store) PutToken(ctx context.Context, id string, email Email, kind TokenKind, t OneTimeToken) error {
	t.Expires = toMillis(t.Expires)
	filter := slices.Concat(bson.D{{Key: "email", Value: string(email)}}, isActive)

	change := set(bson.E{Key: kind.path(), Value: t})
	_, err := s.update(ctx, id, filter, change)

	var fromServer mongo.ServerError
	if errors.As(err, &fromServer) && fromServer.HasErrorCode(pathNotViable) {
		// Another application has stored something else in the field.
		if _, err := s.update(ctx, id, filter, unset(tokensField)); err != nil {
			return err
		}
		_, err = s.update(ctx, id, filter, change)
	}

	return err
}

// pathNotViable is the code of the error that a field cannot be set because the one that
// should contain it is not a document.
const pathNotViable = 28

// IssueToken adds the hash and the expiry of t to the stored EmailChangeToken with the given
// request ID, when its email is about to be sent, and returns the new email of the token. The
// token must be sent to that email and no other. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) IssueToken(ctx context.Context, id, requestID string, t OneTimeToken) (Email, error) {
	const kind = EmailChangeToken
	filter := slices.Concat(bson.D{{Key: kind.field("ask"), Value: requestID}}, isActive)

	d, err := s.updateDocument(ctx, id, filter, set(
		bson.E{Key: kind.field("hash"), Value: t.Hash},
		bson.E{Key: kind.field("expires"), Value: toMillis(t.Expires)}))
	if err == nil && d.Tokens[kind].Email == "" {
		err = ErrNotFound // a field of the token has an unexpected type
	}

	return d.Tokens[kind].Email, err
}

// PendingEmailChange returns the request ID of the EmailChangeToken for a new email, if it
// has not expired. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) PendingEmailChange(ctx context.Context, id string, email Email) (requestID string, err error) {
	oid, err := objectID(id)
	if err != nil {
		return "", err
	}

	filter := slices.Concat(
		bson.D{
			{Key: "_id", Value: oid},
			{Key: EmailChangeToken.field("email"), Value: string(email)},
		},
		s.notExpired(EmailChangeToken),
		isActive)
	d, err := s.findDocument(ctx, filter)

	if err != nil {
		return "", err
	}

	pending, ok := d.Tokens[EmailChangeToken]
	if !ok {
		return "", ErrNotFound // a field of the token has an unexpected type
	}

	return pending.RequestID, nil
}

// ByToken returns the active account with a one-time token, and the token's email. Errors:
// ErrNotFound, ErrUnavailable.
func (s *Store) ByToken(ctx context.Context, id string, kind TokenKind, hash string) (User, Email, error) {
	oid, err := objectID(id)
	if err != nil {
		return User{}, "", err
	}

	filter := slices.Concat(bson.D{{Key: "_id", Value: oid}}, s.hasToken(kind, hash))
	d, err := s.findDocument(ctx, filter)
	if err != nil {
		return User{}, "", err
	}

	token, ok := d.Tokens[kind]
	if !ok {
		return User{}, "", ErrNotFound // a field of the token has an unexpected type
	}

	return d.user(), token.Email, nil
}

// hasToken returns the filter for active accounts with a token that has not expired.
func (s *Store) hasToken(kind TokenKind, hash string) bson.D {
	return slices.Concat(
		bson.D{{Key: kind.field("hash"), Value: hash}},
		s.notExpired(kind),
		isActive)
}

// notExpired returns the filter for accounts whose token of a kind has not expired.
func (s *Store) notExpired(kind TokenKind) bson.D {
	return bson.D{{Key: kind.field("expires"), Value: bson.D{{Key: "$gt", Value: s.timestamp()}}}}
}

// RevokeToken removes the token of a kind if it has the given request ID, or in any case if
// requestID is empty. Errors: ErrUnavailable.
func (s *Store) RevokeToken(ctx context.Context, id string, kind TokenKind, requestID string) error {
	var filter bson.D
	if requestID != "" {
		filter = bson.D{{Key: kind.field("ask"), Value: requestID}}
	}

	_, err := s.update(ctx, id, filter, unset(kind.path()))
	if errors.Is(err, ErrNotFound) {
		return nil
	}

	return err
}

// RevokeAllTokens removes the tokens of a kind from all accounts. Errors: ErrUnavailable.
func (s *Store) RevokeAllTokens(ctx context.Context, kind TokenKind) error {
	ctx, cancel := mongoconn.WithLongTimeout(ctx)
	defer cancel()
	hasTokens := bson.D{{Key: tokensField, Value: bson.D{{Key: "$exists", Value: true}}}}
	_, err := s.users.UpdateMany(ctx, hasTokens, unset(kind.path()))
	return mongoconn.Unavailable(err)
}

// verifiedByOwner returns the fields to set when the user of an account has proved ownership of its
// email.
func verifiedByOwner() []bson.E {
	return []bson.E{
		{Key: "emailVerified", Value: true},
		{Key: "ownerConfirmed", Value: true},
	}
}

// ResetPassword uses a ResetToken to replace the password hash, and revokes all known devices. It
// also marks the email as verified by its owner, because the token was sent to it. Errors:
// ErrNotFound if the token is not valid; ErrUnavailable.
func (s *Store) ResetPassword(ctx context.Context, id, tokenHash, passwordHash string) (User, error) {
	return s.setPassword(ctx, id, passwordHash, s.hasToken(ResetToken, tokenHash), verifiedByOwner()...)
}

// VerifyEmail uses a VerifyToken to mark the email as verified. byOwner is set if it was used in
// a session of the account, or on a device that has logged in to it: see User.OwnerConfirmed.
// Errors: ErrNotFound if the token is not valid; ErrUnavailable.
func (s *Store) VerifyEmail(ctx context.Context, id, tokenHash string, byOwner bool) (User, error) {
	fields := []bson.E{{Key: "emailVerified", Value: true}}
	if byOwner {
		fields = verifiedByOwner()
	}

	change := slices.Concat(s.setAndTouch(fields...), unset(VerifyToken.path()))
	return s.update(ctx, id, s.hasToken(VerifyToken, tokenHash), change)
}

// ChangeEmail uses an EmailChangeToken to change the email, and revokes all known devices and all
// other one-time tokens. byOwner is as in VerifyEmail. Errors: ErrNotFound if the token is not
// valid; ErrEmailTaken, ErrUnavailable.
func (s *Store) ChangeEmail(ctx context.Context, id, tokenHash string, email Email, byOwner bool) (User, error) {
	if err := s.awaitPreparation(ctx); err != nil {
		return User{}, err
	}
	if err := s.CheckEmailFree(ctx, email, id); err != nil {
		return User{}, err
	}

	change := slices.Concat(
		s.setAndTouch(
			bson.E{Key: "email", Value: string(email)},
			bson.E{Key: "emailVerified", Value: true},
			bson.E{Key: "ownerConfirmed", Value: byOwner},
			newDeviceGeneration()),
		unset(tokensField))
	u, err := s.update(ctx, id, s.hasToken(EmailChangeToken, tokenHash), change)

	// The index may have rejected the update. Not every server returns a duplicate key error,
	// and another index of the collection may have caused one.
	if errors.Is(err, ErrUnavailable) && errors.Is(s.CheckEmailFree(ctx, email, id), ErrEmailTaken) {
		return User{}, ErrEmailTaken
	}

	return u, err
}
