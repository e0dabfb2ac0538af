package activity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"latchkey/internal/mongoconn"
)

const (
	// maxBatch is how many events are written at once.
	maxBatch = 200
	// minPause and maxPause bound the time between two tries while MongoDB is away. Who
	// waits in Flush cuts a pause short, to minPause.
	minPause = 50 * time.Millisecond
	maxPause = 5 * time.Second
	// maxRefusals is how often events are offered to a MongoDB that answers and does not
	// want them: one that it never takes must not hold up those behind it.
	maxRefusals = 5
	// duplicateKey is the code of an error for an _id that is there already.
	duplicateKey = 11000
)

// write empties the buffer until the Recorder ends. Events of a batch that failed are
// written again under the same _id: those that had arrived all the same are refused as
// duplicates, and so every event is there once.
func (r *Recorder) write() {
	pause, failed, refusals := minPause, false, 0
	for r.life.Err() == nil {
		batch := r.next()
		if len(batch) == 0 {
			select {
			case <-r.filled:
			case <-r.hurry:
			case <-r.life.Done():
			}
			continue
		}
		refused, err := r.insert(batch)
		if refused > 0 {
			refusals++
		}
		if err != nil && refusals < maxRefusals {
			if !failed && r.life.Err() == nil {
				r.options.Log.Warn("security events wait to be written", "error", err)
			}
			failed = true
			r.fail(err)
			r.rest(pause)
			pause = min(2*pause, maxPause)
			continue
		}
		if err != nil {
			r.options.Log.Error("security events are in the log only: MongoDB refuses them", "count", refused, "error", err)
		}
		r.settle(len(batch))
		pause, failed, refusals = minPause, false, 0
	}
}

// next returns the events to write now. They stay in the buffer until they are settled.
func (r *Recorder) next() []document {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting[:min(len(r.waiting), maxBatch)]
}

// insert writes events. Of an error with refused it was these that MongoDB did not
// want, and the others are there; of another one it is unknown what is there.
func (r *Recorder) insert(batch []document) (refused int, err error) {
	ctx, cancel := mongoconn.Bounded(r.life)
	defer cancel()
	defer context.AfterFunc(r.life, cancel)() // Close does not wait for it
	documents := make([]any, len(batch))
	for i := range batch {
		documents[i] = &batch[i]
	}
	_, err = r.events.InsertMany(ctx, documents, options.InsertMany().SetOrdered(false))
	var bulk mongo.BulkWriteException
	if !errors.As(err, &bulk) {
		return 0, mongoconn.Unavailable(err)
	}
	// An error of the write concern alone says that they are there, and not yet on all
	// servers that should have them.
	for _, e := range bulk.WriteErrors {
		if e.Code != duplicateKey {
			refused++
			err = fmt.Errorf("code %d: %s", e.Code, e.Message)
		}
	}
	if refused == 0 {
		return 0, nil
	}
	return refused, mongoconn.Unavailable(err)
}

// settle removes the first n events from the buffer.
func (r *Recorder) settle(n int) {
	r.mu.Lock()
	r.waiting = r.waiting[n:]
	if len(r.waiting) == 0 {
		r.waiting = nil // the memory of a long outage
	}
	r.settled += int64(n)
	dropped := r.dropped
	r.dropped = 0
	r.announce()
	r.mu.Unlock()
	if dropped > 0 {
		r.options.Log.Warn("security events are in the log only: too many waited to be written", "count", dropped)
	}
}

// fail notes that a try has failed.
func (r *Recorder) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures++
	r.failure = err
	r.announce()
}

// announce tells who waits in Flush that a try has ended; r.mu is held.
func (r *Recorder) announce() {
	close(r.tried)
	r.tried = make(chan struct{})
}

// rest waits before the next try, for minPause at least: what fails at once would be
// tried without end.
func (r *Recorder) rest(pause time.Duration) {
	select {
	case <-time.After(minPause):
	case <-r.life.Done():
		return
	}
	select {
	case <-time.After(pause - minPause):
	case <-r.hurry:
	case <-r.life.Done():
	}
}
