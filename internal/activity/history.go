package activity

import (
	"cmp"
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

// document is an event as stored in the collection.
type document struct {
	ID    primitive.ObjectID `bson:"_id"`
	Event `bson:",inline"`
}

// renamed maps the names that earlier releases stored to the current ones.
var renamed = map[Name]Name{
	"password_reset_asked": PasswordResetRequested,
	"email_verify_asked":   EmailVerifyRequested,
	"email_change_asked":   EmailChangeRequested,
}

func (d document) event() Event {
	e := d.Event
	e.ID = d.ID.Hex()
	e.Name = cmp.Or(renamed[e.Name], e.Name)
	e.At = e.At.UTC()

	return e
}

// newestFirst is the order of a user's events. It needs both fields: several events can happen in
// the same millisecond, and IDs from different processes are not ordered by time.
var newestFirst = bson.D{{Key: "at", Value: -1}, {Key: "_id", Value: -1}}

// ByUser returns up to limit of a user's events, newest first. If before is not "", it is the ID of
// an event, and ByUser returns the events after that one in this order. If the user has no event
// with this ID, for example because it was removed, ByUser returns no events. Events that are older
// than the retention are not returned. To include events that were just recorded, call Flush first.
// Errors: mongoconn.ErrUnavailable.
func (r *Recorder) ByUser(ctx context.Context, userID, before string, limit int) ([]Event, error) {
	if limit < 1 { // MongoDB treats 0 as no limit
		return nil, nil
	}

	ctx, cancel := r.db.WithTimeout(ctx)
	defer cancel()

	filter := bson.D{{Key: "userId", Value: userID}}
	if r.options.Retention > 0 {
		filter = append(filter, bson.E{Key: "at", Value: bson.D{{Key: "$gte", Value: r.cutoff()}}})
	}

	if before != "" {
		var last document
		id, _ := primitive.ObjectIDFromHex(before) // no event has the zero ID
		err := r.events.FindOne(ctx, bson.D{{Key: "_id", Value: id}, {Key: "userId", Value: userID}}).Decode(&last)
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

	cursor, err := r.events.Find(ctx, filter, options.Find().SetSort(newestFirst).SetLimit(int64(limit)))
	if err != nil {
		return nil, mongoconn.Unavailable(err)
	}

	var documents []document
	if err := cursor.All(ctx, &documents); err != nil {
		return nil, mongoconn.Unavailable(err)
	}

	events := make([]Event, len(documents))
	for i, d := range documents {
		events[i] = d.event()
	}

	return events, nil
}

const (
	// maintenanceInterval is the time between two maintenance runs.
	maintenanceInterval = time.Hour
	// maintenanceRetry is the delay after a failed run.
	maintenanceRetry = time.Minute
	// maintenanceTimeout limits one run. It is long because no user is waiting, and there may be
	// many events to remove if no server was running for a while.
	maintenanceTimeout = time.Minute
)

// EnsureIndexes creates the indexes for ByUser and Prune. With many events this can take a
// while; it is limited only by ctx. Maintain calls it every hour, because a collection that
// was dropped or restored may have lost its indexes. Errors: mongoconn.ErrUnavailable.
func (r *Recorder) EnsureIndexes(ctx context.Context) error {
	// Create one index at a time: FerretDB v1 closes the connection if several indexes in one
	// command already exist.
	for _, keys := range []bson.D{
		append(bson.D{{Key: "userId", Value: 1}}, newestFirst...),
		{{Key: "at", Value: 1}},
	} {
		if _, err := r.events.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: keys}); err != nil {
			return mongoconn.Unavailable(fmt.Errorf("create index on %s: %w", collection, err))
		}
	}

	return nil
}

// Prune removes events that are older than the retention and returns the number of events removed.
// It is limited only by ctx. Errors: mongoconn.ErrUnavailable; some events may have been removed.
func (r *Recorder) Prune(ctx context.Context) (int64, error) {
	if r.options.Retention <= 0 {
		return 0, nil
	}

	result, err := r.events.DeleteMany(ctx, bson.D{{Key: "at", Value: bson.D{{Key: "$lt", Value: r.cutoff()}}}})
	if err != nil {
		return 0, mongoconn.Unavailable(err)
	}

	return result.DeletedCount, nil
}

// cutoff returns the time before which events are removed.
func (r *Recorder) cutoff() time.Time { return r.options.Now().Add(-r.options.Retention) }

// Maintain creates the indexes and removes old events, immediately and then every hour, until
// ctx ends. Any number of processes may run it at the same time.
func (r *Recorder) Maintain(ctx context.Context) {
	failed := false

	for {
		wait := maintenanceInterval
		err := r.maintainOnce(ctx)
		if err != nil {
			wait = maintenanceRetry
			if !failed && ctx.Err() == nil {
				r.options.Log.Warn("cannot remove old security events", "error", err)
			}
		}
		failed = err != nil

		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

func (r *Recorder) maintainOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maintenanceTimeout)
	defer cancel()

	// Prune even without the indexes, which only make it faster.
	indexErr := r.EnsureIndexes(ctx)
	_, err := r.Prune(ctx)

	return errors.Join(indexErr, err)
}
