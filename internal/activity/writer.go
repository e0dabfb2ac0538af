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
	// gatherTime is how long the writer waits for more events before it writes, so that busy servers
	// need fewer inserts than requests. Flush does not wait. If the process dies, the events that are
	// waiting are only in the log.
	gatherTime = 200 * time.Millisecond
	// maxBatch is the maximum number of events per insert.
	maxBatch = 200
	// minPause and maxPause limit the writer's pauses between attempts while MongoDB is down. A call
	// to Flush does not wait for the writer's next attempt, but it also starts no attempt within
	// minPause of a failed one.
	minPause = 50 * time.Millisecond
	maxPause = 5 * time.Second
	// maxRejections is the number of attempts to write a batch if MongoDB rejects part of it each
	// time. An event that is always rejected must not block the events behind it.
	maxRejections = 5
	// duplicateKey is the error code for an existing _id.
	duplicateKey = 11000
)

// write writes the buffered events until the Recorder is closed.
func (r *Recorder) write() {
	for r.ctx.Err() == nil {
		select {
		case <-r.wake:
		case <-r.ctx.Done():
		}

		r.sleep(gatherTime)

		pause := minPause
		for r.Flush(r.ctx) != nil && r.ctx.Err() == nil {
			r.sleep(pause)
			pause = min(2*pause, maxPause)
		}
	}
}

// attempt writes a batch of events. After a failure, the next attempt writes the same events with
// the same _id. If the failed attempt has stored them after all, MongoDB rejects them as
// duplicates, so each event is stored once.
func (r *Recorder) attempt() (any, error) {
	batch := r.nextBatch()
	if len(batch) == 0 {
		return nil, nil
	}

	rejected, err := r.insert(batch)
	if rejected > 0 {
		r.rejections++
	}

	if err != nil && r.rejections < maxRejections {
		if !r.failing && r.ctx.Err() == nil {
			r.options.Log.Warn("cannot store security events; will retry", "error", err)
		}
		r.failing = true
		r.sleep(minPause)

		return nil, err
	}
	if err != nil {
		r.options.Log.Error("security events not stored: rejected by MongoDB", "count", rejected, "error", err)
	}

	r.removeFirst(len(batch))
	r.failing = false
	r.rejections = 0

	return nil, nil
}

// sleep waits for d or until the Recorder is closed.
func (r *Recorder) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.ctx.Done():
	}
}

// nextBatch returns the first events of the buffer without removing them.
func (r *Recorder) nextBatch() []document {
	r.mu.Lock()
	defer r.mu.Unlock()

	return r.buffer[:min(len(r.buffer), maxBatch)]
}

// insert stores events. If it returns an error and rejected is greater than zero, MongoDB has
// rejected that many events and stored the others. If rejected is zero, it is unknown which
// events are stored.
func (r *Recorder) insert(batch []document) (rejected int, err error) {
	ctx, cancel := r.db.WithTimeout(r.ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)() // Close does not wait for the insert

	documents := make([]any, len(batch))
	for i := range batch {
		documents[i] = &batch[i]
	}

	_, err = r.events.InsertMany(ctx, documents, options.InsertMany().SetOrdered(false))
	var bulk mongo.BulkWriteException
	if !errors.As(err, &bulk) {
		return 0, mongoconn.Unavailable(err)
	}

	return rejections(bulk)
}

// rejections returns the number of events that MongoDB has rejected, and the last reason. A
// duplicate does not count, because the event is already stored. A write concern error without
// write errors means that the events are stored, but not yet on enough servers.
func rejections(bulk mongo.BulkWriteException) (rejected int, err error) {
	for _, e := range bulk.WriteErrors {
		if e.Code != duplicateKey {
			rejected++
			err = fmt.Errorf("code %d: %w", e.Code, e.WriteError)
		}
	}

	return rejected, mongoconn.Unavailable(err)
}

// removeFirst removes the first n events from the buffer.
func (r *Recorder) removeFirst(n int) {
	r.mu.Lock()
	r.buffer = r.buffer[n:]
	if len(r.buffer) == 0 {
		r.buffer = nil // releases the memory after a long outage
	}
	r.removed += int64(n)
	dropped := r.dropped
	r.dropped = 0
	r.mu.Unlock()

	if dropped > 0 {
		r.options.Log.Warn("security events not stored: buffer full", "count", dropped)
	}
}
