package user

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/mongoconn"
)

// TicketKind is what a ticket is good for. An account has one of each at most.
type TicketKind string

// The kinds of tickets.
const (
	ResetTicket  TicketKind = "reset"  // sets another password
	VerifyTicket TicketKind = "verify" // shows that the owner reads mail at the address
	ChangeTicket TicketKind = "change" // shows it of another address, and makes it the account's
)

// Ticket is what is kept of a one-time token that was mailed to the owner of an
// account. It stands in the account itself: a newer one takes its place, a change of
// the password or the address takes all away, and the step that uses it is the one
// that does what it is for, so that it is used once, and wholly or not at all (OWASP
// ASVS 5.0 2.3.3, 6.5.1).
type Ticket struct {
	// Hash is that of the token; the token itself is in the mail alone. It is empty
	// before the mail is sent.
	Hash string `bson:"hash"`
	// Ask names what was asked for, where the mail comes later.
	Ask string `bson:"ask,omitempty"`
	// Email is the new address, in a ChangeTicket.
	Email   Email     `bson:"email,omitempty"`
	Expires time.Time `bson:"expires"`
}

const tickets = "tickets"

// noTickets is a change that makes all tickets void.
var noTickets = bson.E{Key: "$unset", Value: bson.D{{Key: tickets, Value: ""}}}

// PutTicket gives an account that may log in a ticket, if its address still is email.
// Errors: ErrNotFound, ErrUnavailable.
func (s *Store) PutTicket(ctx context.Context, id string, email Email, kind TicketKind, t Ticket) error {
	t.Expires = t.Expires.UTC().Truncate(time.Millisecond)
	same := append(bson.D{{Key: "email", Value: string(email)}}, isActive...)
	_, err := s.update(ctx, id, same, set(bson.E{Key: tickets + "." + string(kind), Value: t}))
	return err
}

// Asked returns what names the change to an address that an account has been asked for
// and that has not been made. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) Asked(ctx context.Context, id string, email Email) (ask string, err error) {
	oid, err := objectID(id)
	if err != nil {
		return "", err
	}
	const change = tickets + "." + string(ChangeTicket)
	d, err := s.findDocument(ctx, append(bson.D{
		{Key: "_id", Value: oid},
		{Key: change + ".email", Value: string(email)},
		{Key: change + ".expires", Value: bson.D{{Key: "$gt", Value: s.timestamp()}}},
	}, isActive...))
	return d.Tickets[ChangeTicket].Ask, err
}

// DropTickets takes the tickets of a kind back from all accounts. Errors:
// ErrUnavailable.
func (s *Store) DropTickets(ctx context.Context, kind TicketKind) error {
	ctx, cancel := mongoconn.Unhurried(ctx)
	defer cancel()
	_, err := s.users.UpdateMany(ctx, bson.D{{Key: tickets, Value: bson.D{{Key: "$exists", Value: true}}}},
		bson.D{{Key: "$unset", Value: bson.D{{Key: tickets + "." + string(kind), Value: ""}}}})
	return mongoconn.Unavailable(err)
}

// FillTicket adds the token of a mail that is being sent to a ticket that was put for
// it, as long as that is there. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) FillTicket(ctx context.Context, id string, kind TicketKind, ask string, t Ticket) error {
	_, err := s.update(ctx, id, append(bson.D{{Key: tickets + "." + string(kind) + ".ask", Value: ask}}, isActive...), set(
		bson.E{Key: tickets + "." + string(kind) + ".hash", Value: t.Hash},
		bson.E{Key: tickets + "." + string(kind) + ".expires", Value: t.Expires.UTC().Truncate(time.Millisecond)}))
	return err
}

// DropTicket takes a ticket back that was put for a mail; with ask "" whichever there
// is. One that is not there is no error. Errors: ErrUnavailable.
func (s *Store) DropTicket(ctx context.Context, id string, kind TicketKind, ask string) error {
	var this bson.D
	if ask != "" {
		this = bson.D{{Key: tickets + "." + string(kind) + ".ask", Value: ask}}
	}
	_, err := s.update(ctx, id, this,
		bson.D{{Key: "$unset", Value: bson.D{{Key: tickets + "." + string(kind), Value: ""}}}})
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return err
}

// holds is the condition that an account has a ticket that has not expired, and may
// log in.
func (s *Store) holds(kind TicketKind, hash string) bson.D {
	return append(bson.D{
		{Key: tickets + "." + string(kind) + ".hash", Value: hash},
		{Key: tickets + "." + string(kind) + ".expires", Value: bson.D{{Key: "$gt", Value: s.timestamp()}}},
	}, isActive...)
}

// ByTicket returns the account of an id that has a ticket, and the address of that.
// Errors: ErrNotFound, ErrUnavailable.
func (s *Store) ByTicket(ctx context.Context, id string, kind TicketKind, hash string) (User, Email, error) {
	oid, err := objectID(id)
	if err != nil {
		return User{}, "", err
	}
	d, err := s.findDocument(ctx, append(bson.D{{Key: "_id", Value: oid}}, s.holds(kind, hash)...))
	if err != nil {
		return User{}, "", err
	}
	return d.user(), d.Tickets[kind].Email, nil
}

// ResetPassword uses a ResetTicket: the account gets another password's hash. Whoever
// has the ticket reads mail at the address, so that is verified, too. Errors:
// ErrNotFound where the ticket is not good any more; ErrUnavailable.
func (s *Store) ResetPassword(ctx context.Context, id, ticketHash, passwordHash string) (User, error) {
	return s.update(ctx, id, s.holds(ResetTicket, ticketHash), append(set(
		bson.E{Key: "password", Value: passwordHash},
		bson.E{Key: "emailVerified", Value: true},
		bson.E{Key: "updatedAt", Value: s.timestamp()}), noTickets))
}

// VerifyEmail uses a VerifyTicket. Errors: ErrNotFound where it is not good any more;
// ErrUnavailable.
func (s *Store) VerifyEmail(ctx context.Context, id, ticketHash string) (User, error) {
	return s.update(ctx, id, s.holds(VerifyTicket, ticketHash), append(set(
		bson.E{Key: "emailVerified", Value: true},
		bson.E{Key: "updatedAt", Value: s.timestamp()}),
		bson.E{Key: "$unset", Value: bson.D{{Key: tickets + "." + string(VerifyTicket), Value: ""}}}))
}

// ChangeEmail uses a ChangeTicket: email, which is that of the ticket, becomes the
// account's. Errors: ErrNotFound where the ticket is not good any more; ErrEmailTaken;
// ErrUnavailable.
func (s *Store) ChangeEmail(ctx context.Context, id, ticketHash string, email Email) (User, error) {
	if err := s.free(ctx, email, id); err != nil {
		return User{}, err
	}
	u, err := s.update(ctx, id, s.holds(ChangeTicket, ticketHash), append(set(
		bson.E{Key: "email", Value: string(email)},
		bson.E{Key: "emailVerified", Value: true},
		bson.E{Key: "updatedAt", Value: s.timestamp()}), noTickets))
	if errors.Is(err, ErrUnavailable) && errors.Is(s.free(ctx, email, id), ErrEmailTaken) {
		// The index has refused it: not every server of the protocol says so.
		err = ErrEmailTaken
	}
	return u, err
}

// ChangePassword puts the hash of another password in the place of old. Errors:
// ErrNotFound where old is not the hash any more, or the account may not log in;
// ErrUnavailable.
func (s *Store) ChangePassword(ctx context.Context, id, old, hash string) (User, error) {
	return s.update(ctx, id, append(bson.D{{Key: "password", Value: old}}, isActive...), append(set(
		bson.E{Key: "password", Value: hash},
		bson.E{Key: "updatedAt", Value: s.timestamp()}), noTickets))
}
