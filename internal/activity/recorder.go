package activity

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo"

	"latchkey/internal/mongoconn"
)

const (
	collection = "activity"
	// maxWaiting is how many events wait for MongoDB in this process, at most: some ten
	// megabytes, and minutes of an outage under load.
	maxWaiting = 10_000
)

// Options are the settings of a Recorder.
type Options struct {
	// Retention is how long an event is kept in the collection; 0 is for ever.
	Retention time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	Log *slog.Logger
}

// Recorder records events. It is safe for concurrent use.
type Recorder struct {
	options Options
	events  *mongo.Collection

	life   context.Context // of the goroutine
	stop   context.CancelFunc
	ended  sync.WaitGroup
	filled chan struct{} // something waits
	hurry  chan struct{} // someone waits for it to be written

	mu      sync.Mutex
	waiting []document // the first of them may be under way
	room    int        // how many may wait
	// most and mostOfNobody are for the collection in a minute, see many.
	most, mostOfNobody int
	dropped            int // how many found no room since the last were written
	closed             bool
	// sources counts the events of the minute, see many.
	sources map[string]int
	minute  int64
	// added and settled count the events that came in and that went out. Events keep
	// their order, so that one is written once settled is where added was after it.
	added, settled int64
	failures       int64 // tries that failed
	failure        error // the last of them
	tried          chan struct{}
}

// New returns a Recorder on a database, and starts what writes beside the requests. It
// connects when it has something to do. End it with Close. What prunes is Upkeep.
func New(db *mongo.Database, o Options) *Recorder {
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Recorder{
		options: o, events: db.Collection(collection), room: maxWaiting, most: maxOfOne, mostOfNobody: maxOfNobody,
		filled: make(chan struct{}, 1), hurry: make(chan struct{}, 1), tried: make(chan struct{}),
	}
	r.life, r.stop = context.WithCancel(context.Background())
	r.ended.Go(r.write)
	return r
}

// Record writes an event into the log and has it written into the collection soon. It
// waits for nothing and cannot fail. Of a buffer that is full, or a Recorder that was
// closed, the event is in the log only.
func (r *Recorder) Record(ctx context.Context, e Event) {
	e = e.cleaned()
	if e.At.IsZero() {
		e.At = r.options.Now()
	}
	e.At = e.At.UTC().Truncate(time.Millisecond)
	id := primitive.NewObjectIDFromTimestamp(e.At)
	e.ID = id.Hex()
	r.options.Log.LogAttrs(ctx, e.Name.level(), "security event", e.attrs()...)
	if r.many(e) {
		return
	}
	r.enqueue(newDocument(id, e))
	signal(r.filled)
}

const (
	// maxOfOne is how many events of one name and of one user the collection takes in a
	// minute: nobody may fill it by doing something in a loop that no limit stops, as
	// rotating a session.
	maxOfOne = 60
	// maxOfNobody is the same for all that is of no user: anyone can send it, from any
	// number of addresses.
	maxOfNobody = 300
	// maxUsers is how many are told apart. Those beyond, in one minute, are let pass: they
	// cannot be made so fast.
	maxUsers = 10_000
)

// many tells whether an event is for the log alone because there were too many like it.
func (r *Recorder) many(e Event) bool {
	source, most := string(e.Name)+" "+e.UserID, r.most
	if e.UserID == "" {
		most = r.mostOfNobody
	}
	minute := r.options.Now().Unix() / 60
	r.mu.Lock()
	defer r.mu.Unlock()
	if minute != r.minute {
		r.minute, r.sources = minute, map[string]int{}
	}
	if _, counted := r.sources[source]; !counted && e.UserID != "" && len(r.sources) >= maxUsers {
		return false
	}
	r.sources[source]++
	n := r.sources[source]
	if n == most+1 {
		r.options.Log.Warn("security events are in the log only: too many of one kind in a minute", "event", e.Name, "userId", e.UserID)
	}
	return n > most
}

func (r *Recorder) enqueue(d document) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.waiting) >= r.room {
		r.dropped++
		return
	}
	r.waiting = append(r.waiting, d)
	r.added++
}

// signal wakes who listens, now or when it next does.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Flush returns when the events that this process recorded before the call are in the
// collection, so that a client finds what it has just done. It gives up with ctx, and
// when a try to write fails. Events for which there was no room are not waited for.
// Errors: mongoconn.ErrUnavailable; the events are still written later.
func (r *Recorder) Flush(ctx context.Context) error {
	r.mu.Lock()
	target, failures := r.added, r.failures
	r.mu.Unlock()
	signal(r.hurry)
	for {
		r.mu.Lock()
		settled, failed, failure, tried := r.settled >= target, r.failures > failures, r.failure, r.tried
		r.mu.Unlock()
		switch {
		case settled:
			return nil
		case failed:
			return failure
		}
		select {
		case <-tried:
		case <-ctx.Done():
			return mongoconn.Unavailable(ctx.Err())
		case <-r.life.Done():
			return fmt.Errorf("%w: the recorder of events has ended", mongoconn.ErrUnavailable)
		}
	}
}

// Close writes what still waits, trying until ctx ends, and returns when the goroutine
// has ended. ctx must have an end. What is recorded afterwards is in the log only.
// Errors: mongoconn.ErrUnavailable, which says how many events are.
func (r *Recorder) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	err := r.Flush(ctx)
	for err != nil && ctx.Err() == nil && r.life.Err() == nil {
		err = r.Flush(ctx)
	}
	r.stop()
	r.ended.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	lost := len(r.waiting) + r.dropped
	r.waiting, r.dropped = nil, 0
	if lost == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d security events are in the log only", mongoconn.ErrUnavailable, lost)
}
