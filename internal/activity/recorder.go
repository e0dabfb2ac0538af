package activity

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/mongo"
	"golang.org/x/sync/singleflight"

	"latchkey/internal/mongoconn"
)

const (
	collection = "activity"
	// maxBuffered is the maximum number of events that wait to be stored: about 10 MB, enough for
	// a MongoDB outage of a few minutes under load.
	maxBuffered = 10_000
)

// Options are the settings of a Recorder.
type Options struct {
	// Retention is how long events are kept in the collection. Zero means forever.
	Retention time.Duration
	// Now is the clock. The default is time.Now.
	Now func() time.Time
	Log *slog.Logger
}

// Recorder records events. It is safe for concurrent use.
type Recorder struct {
	options Options
	db      *mongoconn.Database
	events  *mongo.Collection

	ctx      context.Context // ends when the Recorder is closed
	cancel   context.CancelFunc
	writer   sync.WaitGroup
	wake     chan struct{}      // signals that the buffer is not empty
	attempts singleflight.Group // runs attempt

	// failing and rejections are used only in attempt, which never runs concurrently.
	failing    bool
	rejections int

	mu     sync.Mutex
	buffer []document // attempt may be writing the first ones
	size   int        // the maximum length of buffer
	closed bool
	// dropped is the number of events that did not fit into the buffer since the last batch.
	dropped int

	// hour, counts and the limits belong to throttled.
	hour           int64
	counts         map[string]int
	maxCounts      int
	userLimit      int
	anonymousLimit int

	// added and removed count the events that have entered and left the buffer. Events leave in
	// order, so an event has left once removed reaches the value that added had after the event.
	added   int64
	removed int64
}

// New returns a Recorder for a database and starts the goroutine that writes events. It
// connects when the first event is recorded. Call Close to stop it, and Maintain to remove old
// events.
func New(db *mongoconn.Database, o Options) *Recorder {
	if o.Now == nil {
		o.Now = time.Now
	}

	r := &Recorder{
		options:        o,
		db:             db,
		events:         db.Collection(collection),
		wake:           make(chan struct{}, 1),
		size:           maxBuffered,
		maxCounts:      maxCounts,
		userLimit:      maxPerUser,
		anonymousLimit: maxAnonymous,
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.writer.Go(r.write)

	return r
}

// Record logs an event and queues it for the collection. It does not block and cannot fail: if the
// buffer is full, the event is throttled or the Recorder is closed, the event is only logged. An
// event with Once set that is recorded again is logged with the same ID.
func (r *Recorder) Record(ctx context.Context, e Event) {
	e = e.cleaned()
	if e.At.IsZero() {
		e.At = r.options.Now()
	}
	e.At = e.At.UTC().Truncate(time.Millisecond)

	id := e.newID()
	e.ID = id.Hex()

	r.options.Log.LogAttrs(ctx, e.Name.level(), "security event", e.attrs()...)
	if r.throttled(e) {
		return
	}

	r.mu.Lock()
	defer r.mu.Unlock()

	if r.closed || len(r.buffer) >= r.size {
		r.dropped++
		return
	}
	r.buffer = append(r.buffer, document{ID: id, Event: e})
	r.added++

	select {
	case r.wake <- struct{}{}:
	default:
	}
}

const (
	// maxPerUser is the number of events with the same name that are stored per user and hour.
	// It protects the collection from users who repeat an action that is not rate-limited, such
	// as rotating a session or changing their name: each kind of event adds at most 600 KB a day.
	maxPerUser = 60
	// maxAnonymous is the same limit for events without a user: anyone can cause these, from any
	// number of IPs.
	maxAnonymous = 1000
	// maxCounts is the maximum number of counters, which take about 10 MB. Beyond it, all counters
	// start again at zero. A client would need tens of thousands of accounts to force that, and gain
	// only a few more stored events.
	maxCounts = 100_000
)

// throttled counts an event and reports whether it must only be logged, because there were too many
// such events in the current hour.
func (r *Recorder) throttled(e Event) bool {
	key := string(e.Name) + " " + e.UserID
	limit := r.userLimit
	if e.UserID == "" {
		limit = r.anonymousLimit
	}
	hour := r.options.Now().Unix() / 3600

	r.mu.Lock()
	defer r.mu.Unlock()

	_, isCounted := r.counts[key]
	isFull := !isCounted && len(r.counts) >= r.maxCounts
	if hour != r.hour || isFull {
		r.hour = hour
		r.counts = map[string]int{}
	}

	r.counts[key]++
	n := r.counts[key]
	if n == limit+1 {
		r.options.Log.Warn("security events not stored: too many in an hour", "event", e.Name, "userId", e.UserID)
	}

	return n > limit
}

// Flush waits until the events that this process recorded before the call are stored, so that
// clients can read what they have just done. It returns early when ctx ends or an attempt to
// write fails. It does not wait for events that did not fit into the buffer. Errors:
// mongoconn.ErrUnavailable; the events are still stored later.
func (r *Recorder) Flush(ctx context.Context) error {
	r.mu.Lock()
	target := r.added
	r.mu.Unlock()

	for !r.hasRemoved(target) {
		select {
		case result := <-r.attempts.DoChan("", r.attempt):
			if result.Err != nil {
				return result.Err
			}
		case <-ctx.Done():
			return mongoconn.Unavailable(ctx.Err())
		case <-r.ctx.Done():
			return fmt.Errorf("%w: recorder is closed", mongoconn.ErrUnavailable)
		}
	}

	return nil
}

// hasRemoved reports whether at least target events have left the buffer.
func (r *Recorder) hasRemoved(target int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()

	return r.removed >= target
}

// Close writes the buffered events, retrying until ctx ends, and stops the goroutine. ctx must
// have a deadline. Later events are only logged. Errors: mongoconn.ErrUnavailable with the
// number of events that were not stored.
func (r *Recorder) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()

	// 1. Write the buffered events.
	err := r.Flush(ctx)
	for err != nil && ctx.Err() == nil && r.ctx.Err() == nil {
		err = r.Flush(ctx)
	}

	// 2. Stop the goroutine, and wait for an attempt that may still be running.
	r.cancel()
	r.writer.Wait()
	_, _, _ = r.attempts.Do("", r.attempt)

	// 3. Count the lost events.
	r.mu.Lock()
	defer r.mu.Unlock()

	lost := len(r.buffer) + r.dropped
	r.buffer = nil
	r.dropped = 0
	if lost == 0 {
		return nil
	}

	return fmt.Errorf("%w: %d security events not stored", mongoconn.ErrUnavailable, lost)
}
