package activity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"

	"latchkey/internal/mongoconn"
)

const (
	// upkeepInterval is how often old events are removed.
	upkeepInterval = time.Hour
	// upkeepRetry is how soon it is tried again where that failed.
	upkeepRetry = time.Minute
	// upkeepTimeout bounds one time. It is beside the requests, and after a long while
	// without a server there may be much to remove.
	upkeepTimeout = time.Minute
)

// EnsureIndexes makes the index behind a user's list and the one behind Prune. It
// takes as long as ctx gives it: over many events that is a while. Upkeep does it every
// hour: a collection that was dropped or restored may have lost them. Errors: mongoconn.ErrUnavailable.
func (r *Recorder) EnsureIndexes(ctx context.Context) error {
	// One at a time: FerretDB v1 closes the connection where it is asked for several
	// that are there already.
	for _, keys := range []bson.D{
		append(bson.D{{Key: "userId", Value: 1}}, newestFirst...),
		{{Key: "at", Value: 1}},
	} {
		if _, err := r.events.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: keys}); err != nil {
			return mongoconn.Unavailable(fmt.Errorf("index of %s: %w", collection, err))
		}
	}
	return nil
}

// Prune removes the events that are older than the retention and returns how many
// they were. It takes as long as ctx gives it. Upkeep does it every hour, so that the
// retention holds wherever a server runs; it does no harm that all of them do. Errors: mongoconn.ErrUnavailable; some may be gone then.
func (r *Recorder) Prune(ctx context.Context) (int64, error) {
	if r.options.Retention <= 0 {
		return 0, nil
	}
	gone, err := r.events.DeleteMany(ctx, bson.D{{Key: "at", Value: bson.D{{Key: "$lt", Value: r.oldest()}}}})
	if err != nil {
		return 0, mongoconn.Unavailable(err)
	}
	return gone.DeletedCount, nil
}

// oldest is the time of the oldest event that is to be kept.
func (r *Recorder) oldest() time.Time { return r.options.Now().Add(-r.options.Retention) }

// Upkeep makes the indexes and prunes, at once and every hour, until ctx ends. Any
// number of processes may.
func (r *Recorder) Upkeep(ctx context.Context) {
	failed := false
	for {
		wait := upkeepInterval
		err := r.keepUp(ctx)
		if err != nil {
			wait = upkeepRetry
			if !failed && ctx.Err() == nil {
				r.options.Log.Warn("old security events could not be removed", "error", err)
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

func (r *Recorder) keepUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, upkeepTimeout)
	defer cancel()
	indexes := r.EnsureIndexes(ctx) // without them it is slow, and done all the same
	_, err := r.Prune(ctx)
	return errors.Join(indexes, err)
}
