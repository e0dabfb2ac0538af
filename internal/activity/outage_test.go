package activity

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/mongoconn"
	"latchkey/internal/testkit"
)

// mongoFaults are the ways in which MongoDB can be down.
var mongoFaults = map[string]func(*storetest.Proxy){
	"refuses": (*storetest.Proxy).Refuse,
	"hangs":   (*storetest.Proxy).Blackhole,
}

// productionRecorder returns a Recorder with the timeout used in production, the URI of its database,
// the proxy in front of MongoDB, and the Recorder's log.
func productionRecorder(t *testing.T) (*Recorder, string, *storetest.Proxy, *testkit.Buffer) {
	t.Helper()

	uri, proxy := storetest.ProxiedMongo(t)
	db := conntest.Mongo(t, mongoconn.Options{URI: uri, Timeout: mongoconn.DefaultTimeout})
	log := new(testkit.Buffer)

	return newRecorderOn(t, db, Options{Log: slog.New(slog.NewTextHandler(log, nil))}), uri, proxy, log
}

// flushSoon calls Flush until it succeeds. MongoDB must be available, or about to be.
func flushSoon(t *testing.T, r *Recorder) {
	t.Helper()
	testkit.Eventually(t, "Flush to succeed", func() bool { return r.Flush(context.Background()) == nil })
}

// Events recorded during an outage are stored exactly once after it. During the outage, Record does not
// block, and Flush fails within its timeout.
func TestOutage(t *testing.T) {
	t.Parallel()

	for name, fault := range mongoFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			r, uri, proxy, log := productionRecorder(t)
			recordAll(r, 0, 30)
			flush(t, r)
			fault(proxy)
			start := time.Now()
			recordAll(r, 30, 630)
			if took := time.Since(start); took > time.Second {
				t.Errorf("Record: got 600 events recorded in %v, want at most 1s", took)
			}

			for range 3 {
				start = time.Now()
				if err := r.Flush(context.Background()); !errors.Is(err, mongoconn.ErrUnavailable) {
					t.Errorf("Flush: got error %v, want ErrUnavailable", err)
				}

				if took := time.Since(start); took > 4*time.Second {
					t.Errorf("Flush: got an error after %v, want it within 4s", took)
				}
			}

			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			start = time.Now()
			if err := r.Flush(ctx); !errors.Is(err, mongoconn.ErrUnavailable) || time.Since(start) > time.Second {
				t.Errorf("Flush with a timeout of 20ms: got error %v after %v, want ErrUnavailable within 1s",
					err, time.Since(start))
			}
			if _, err := r.ByUser(context.Background(), "u", "", 10); !errors.Is(err, mongoconn.ErrUnavailable) {
				t.Errorf("ByUser: got error %v, want ErrUnavailable", err)
			}

			if n := strings.Count(log.String(), "cannot store security events"); n != 1 {
				t.Errorf("got %d warnings about the outage, want 1", n)
			}

			recordAll(r, 630, 700)
			proxy.Refuse()
			proxy.Restore(t)
			flushSoon(t, r)
			assertOnce(t, uri, 700)
			if n := strings.Count(log.String(), "security event\""); n != 700 {
				t.Errorf("got %d log lines about events, want 700", n)
			}
		})
	}
}

// If the connection breaks after an insert and before its reply, the events are written again,
// and each is stored once.
func TestLostReplies(t *testing.T) {
	t.Parallel()

	uri, proxy := storetest.ProxiedMongo(t)
	r := newRecorder(t, uri, Options{})
	recordAll(r, 0, 10)
	flush(t, r)
	var inserts sync.Map // connections with an insert in progress
	var lostReplies atomic.Int64
	proxy.Set(storetest.Faults{
		Command: func(client net.Conn, chunk []byte) bool {
			if bytes.Contains(chunk, []byte("insert\x00")) {
				inserts.Store(client, true)
			}

			return false
		},
		Reply: func(client net.Conn, _ []byte) bool {
			if _, ok := inserts.LoadAndDelete(client); !ok || lostReplies.Add(1) > 3 {
				return false
			}

			_ = client.Close()

			return true
		},
	})

	recordAll(r, 10, 400)
	flushSoon(t, r)
	if n := lostReplies.Load(); n < 3 {
		t.Errorf("got %d lost replies, want at least 3", n)
	}

	assertOnce(t, uri, 400)
}

// Events of several requests share an insert, even if the requests are not concurrent.
func TestFewInserts(t *testing.T) {
	t.Parallel()

	uri, proxy := storetest.ProxiedMongo(t)
	r := newRecorder(t, uri, Options{})
	recordAll(r, 0, 1)
	flush(t, r) // creates the collection

	var inserts atomic.Int64
	proxy.Set(storetest.Faults{Command: func(_ net.Conn, chunk []byte) bool {
		inserts.Add(int64(bytes.Count(chunk, []byte("insert\x00"))))

		return false
	}})

	const events = 40
	start := time.Now()
	for i := 1; i < events; i++ {
		recordAll(r, i, i+1)
		countByRequest(t, uri) // takes as long as an insert
	}
	flush(t, r)

	maxInserts := int64(time.Since(start)/gatherTime) + 2
	if n := inserts.Load(); n == 0 || n > maxInserts {
		t.Errorf("inserts for %d events: got %d, want 1 to %d", events, n, maxInserts)
	}
	assertOnce(t, uri, events)
}

// If the buffer is full, further events are only logged. After the outage, their number is logged once.
func TestOverflow(t *testing.T) {
	t.Parallel()

	r, uri, proxy, log := productionRecorder(t)
	r.mu.Lock()
	r.size = 300
	r.mu.Unlock()
	proxy.Refuse()

	for i := 0; i < 450; i += 50 {
		recordAll(r, i, i+50)
	}

	proxy.Restore(t)
	flushSoon(t, r)
	assertOnce(t, uri, 300)
	if n := strings.Count(log.String(), "buffer full\" count=150"); n != 1 {
		t.Errorf("got %d warnings about 150 dropped events, want 1: %s", n, log.String())
	}
	if n := strings.Count(log.String(), "event=login"); n != 450 {
		t.Errorf("got %d log lines about events, want 450", n)
	}

	recordAll(r, 300, 310) // they fit into the buffer again
	flush(t, r)
	assertOnce(t, uri, 310)
}

// An event that MongoDB always rejects does not block other events. FerretDB v1 rejects only
// duplicates, so the test replaces the error code in the reply.
func TestRejectedEvent(t *testing.T) {
	t.Parallel()

	r, uri, proxy, log := productionRecorder(t)
	_, err := storetest.Database(t, uri).Collection("activity").Indexes().CreateOne(context.Background(),
		mongo.IndexModel{Keys: bson.D{{Key: "sessionId", Value: 1}}, Options: options.Index().SetUnique(true)})
	testkit.NoError(t, err)

	duplicateCode := []byte("\x10code\x00\xf8\x2a\x00\x00")
	otherCode := []byte("\x10code\x00\x79\x00\x00\x00")
	var rejections atomic.Int64
	proxy.Set(storetest.Faults{Reply: func(_ net.Conn, chunk []byte) bool {
		if i := bytes.LastIndex(chunk, duplicateCode); i >= 0 {
			copy(chunk[i:], otherCode)
			rejections.Add(1)
		}

		return false
	}})

	start := time.Now()
	for _, e := range []Event{{RequestID: "0", SessionID: "a"}, {RequestID: "1", SessionID: "b"}, {RequestID: "x", SessionID: "a"}} {
		r.Record(context.Background(), e)
	}

	flushSoon(t, r) // does not wait for the writer's pauses, but for minPause between attempts
	if took := time.Since(start); took < (maxRejections-1)*minPause {
		t.Errorf("got %d attempts within %v, want a pause of %v between them", maxRejections, took, minPause)
	}
	if n := strings.Count(log.String(), "rejected by MongoDB\" count=1"); n != 1 || rejections.Load() != maxRejections {
		t.Errorf("got %d log lines about a rejected event after %d rejections, want 1 after %d: %s",
			n, rejections.Load(), maxRejections, log.String())
	}

	r.Record(context.Background(), Event{RequestID: "2", SessionID: "c"})
	flush(t, r)
	assertOnce(t, uri, 3)
}

// The reason for a rejection, which is logged, does not quote the values of the event.
func TestRejectionHidesValues(t *testing.T) {
	t.Parallel()

	quoting := func(code int) mongo.BulkWriteError {
		return mongo.BulkWriteError{WriteError: mongo.WriteError{
			Code:    code,
			Message: `Document failed validation: { email: "ann@example.com" }`,
		}}
	}

	n, err := rejections(mongo.BulkWriteException{WriteErrors: []mongo.BulkWriteError{quoting(121), quoting(duplicateKey)}})
	if n != 1 || !errors.Is(err, mongoconn.ErrUnavailable) || !strings.Contains(err.Error(), "code 121: Document failed validation") {
		t.Errorf("got %d rejections, error %v, want 1 and the reason", n, err)
	}
	if strings.Contains(err.Error(), "ann@") {
		t.Errorf("got error %v, want it not to contain the email", err)
	}

	if n, err := rejections(mongo.BulkWriteException{WriteErrors: []mongo.BulkWriteError{quoting(duplicateKey)}}); n != 0 || err != nil {
		t.Errorf("duplicates: got %d rejections, error %v, want none", n, err)
	}
}

// While MongoDB is down, Close retries until its context ends. Its error contains the number of lost
// events.
func TestCloseWhileDown(t *testing.T) {
	t.Parallel()

	for name, fault := range mongoFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			r, _, proxy, _ := productionRecorder(t)
			flush(t, r)
			fault(proxy)
			recordAll(r, 0, 7)
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			start := time.Now()
			if err := r.Close(ctx); !errors.Is(err, mongoconn.ErrUnavailable) || !strings.Contains(err.Error(), "7 security events") {
				t.Errorf("Close: got error %v, want ErrUnavailable with 7 lost events", err)
			}

			if took := time.Since(start); took < 200*time.Millisecond || took > time.Second {
				t.Errorf("Close: got an error after %v, want it after about 300ms", took)
			}
		})
	}
}

// If MongoDB becomes available while Close retries, no event is lost.
func TestCloseDuringOutage(t *testing.T) {
	t.Parallel()

	r, uri, proxy, _ := productionRecorder(t)
	flush(t, r)
	proxy.Refuse()
	recordAll(r, 0, 500)
	if err := r.Flush(context.Background()); !errors.Is(err, mongoconn.ErrUnavailable) {
		t.Fatalf("Flush: got error %v, want ErrUnavailable", err)
	}

	closeErr := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		closeErr <- r.Close(ctx)
	}()

	proxy.Restore(t)
	if err := <-closeErr; err != nil {
		t.Errorf("Close: got error %v, want none", err)
	}

	assertOnce(t, uri, 500)
}
