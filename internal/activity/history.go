package activity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"latchkey/internal/mongoconn"
)

// document is an event in the collection. What is empty is not there.
type document struct {
	ID        primitive.ObjectID `bson:"_id"`
	At        time.Time          `bson:"at"`
	Name      Name               `bson:"name"`
	UserID    string             `bson:"userId,omitempty"`
	SessionID string             `bson:"sessionId,omitempty"`
	RequestID string             `bson:"requestId,omitempty"`
	Route     string             `bson:"route,omitempty"`
	IP        string             `bson:"ip,omitempty"`
	UserAgent string             `bson:"userAgent,omitempty"`
	Device    string             `bson:"device,omitempty"`
	Origin    string             `bson:"origin,omitempty"`
	Provider  string             `bson:"provider,omitempty"`
	NewDevice bool               `bson:"newDevice,omitempty"`
	By        string             `bson:"by,omitempty"`
	Count     int                `bson:"count,omitempty"`
}

func newDocument(id primitive.ObjectID, e Event) document {
	return document{
		ID: id, At: e.At, Name: e.Name, UserID: e.UserID, SessionID: e.SessionID, RequestID: e.RequestID, Route: e.Route,
		IP: e.IP, UserAgent: e.UserAgent, Device: e.Device, Origin: e.Origin, Provider: e.Provider, NewDevice: e.NewDevice, By: e.By, Count: e.Count,
	}
}

func (d document) event() Event {
	return Event{
		ID: d.ID.Hex(), At: d.At.UTC(), Name: d.Name, UserID: d.UserID, SessionID: d.SessionID, RequestID: d.RequestID, Route: d.Route,
		IP: d.IP, UserAgent: d.UserAgent, Device: d.Device, Origin: d.Origin, Provider: d.Provider, NewDevice: d.NewDevice, By: d.By, Count: d.Count,
	}
}

// newestFirst is the order of a user's events. The time alone is none: several happen
// in one millisecond. The _id alone is none either: those of two processes are not in
// the order of time.
var newestFirst = bson.D{{Key: "at", Value: -1}, {Key: "_id", Value: -1}}

// ByUser returns at most limit events of a user, the newest first: those that come
// after the event whose ID is before, or from the newest on where that is "". None are
// returned that are older than the retention, and none after an event that is not the
// user's or is gone, because all after it are gone as well. What a Recorder has not
// written yet is not found: see Flush. Errors: mongoconn.ErrUnavailable.
func (r *Recorder) ByUser(ctx context.Context, userID, before string, limit int) ([]Event, error) {
	if limit < 1 { // 0 is no limit to MongoDB
		return nil, nil
	}
	ctx, cancel := mongoconn.Bounded(ctx)
	defer cancel()
	filter := bson.D{{Key: "userId", Value: userID}}
	if r.options.Retention > 0 {
		filter = append(filter, bson.E{Key: "at", Value: bson.D{{Key: "$gte", Value: r.oldest()}}})
	}
	if before != "" {
		last, err := r.one(ctx, userID, before)
		if errors.Is(err, mongo.ErrNoDocuments) {
			return nil, nil
		}
		if err != nil {
			return nil, mongoconn.Unavailable(err)
		}
		filter = append(filter, bson.E{Key: "$or", Value: bson.A{
			bson.D{{Key: "at", Value: bson.D{{Key: "$lt", Value: last.At}}}},
			bson.D{{Key: "at", Value: last.At}, {Key: "_id", Value: bson.D{{Key: "$lt", Value: last.ID}}}},
		}})
	}
	found, err := r.events.Find(ctx, filter, options.Find().SetSort(newestFirst).SetLimit(int64(limit)))
	if err != nil {
		return nil, mongoconn.Unavailable(err)
	}
	defer func() { _ = found.Close(ctx) }()
	var events []Event
	for found.Next(ctx) {
		var d document
		if err := found.Decode(&d); err != nil {
			return nil, fmt.Errorf("a document of %s: %w", collection, err)
		}
		events = append(events, d.event())
	}
	return events, mongoconn.Unavailable(found.Err())
}

// one returns one event of a user; mongo.ErrNoDocuments is none.
func (r *Recorder) one(ctx context.Context, userID, id string) (document, error) {
	var d document
	oid, err := primitive.ObjectIDFromHex(id)
	if err != nil {
		return d, mongo.ErrNoDocuments
	}
	err = r.events.FindOne(ctx, bson.D{{Key: "_id", Value: oid}, {Key: "userId", Value: userID}}).Decode(&d)
	return d, err
}
