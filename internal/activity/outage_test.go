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

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/mongoconn"
)

// flushSoon flushes until MongoDB is found to be back.
func flushSoon(t *testing.T, r *Recorder) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		err := r.Flush(context.Background())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// Events of an outage, whichever kind it is, are in the collection once each when it is
// over, and nobody waits for it but who asks to.
func TestOutage(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*storetest.Proxy){"refuses": (*storetest.Proxy).Refuse, "hangs": (*storetest.Proxy).Silence} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			uri, proxy := storetest.ProxiedMongo(t)
			var log lockedBuffer
			r := newRecorder(t, uri, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
			recordAll(r, 0, 30)
			flush(t, r)
			fault(proxy)
			start := time.Now()
			recordAll(r, 30, 630)
			if took := time.Since(start); took > time.Second {
				t.Errorf("600 events took %v", took)
			}
			for range 3 {
				start = time.Now()
				if err := r.Flush(context.Background()); !errors.Is(err, mongoconn.ErrUnavailable) {
					t.Errorf("flush: %v", err)
				}
				if took := time.Since(start); took > 4*time.Second {
					t.Errorf("a flush took %v", took)
				}
			}
			start = time.Now()
			soon, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			if err := r.Flush(soon); !errors.Is(err, mongoconn.ErrUnavailable) || time.Since(start) > time.Second {
				t.Errorf("a flush of 20 ms: %v after %v", err, time.Since(start))
			}
			if _, err := r.ByUser(context.Background(), "u", "", 10); !errors.Is(err, mongoconn.ErrUnavailable) {
				t.Errorf("by user: %v", err)
			}
			recordAll(r, 630, 700)
			proxy.Refuse()
			proxy.Restore(t)
			flushSoon(t, r)
			assertOnce(t, uri, 700)
			if n := strings.Count(log.String(), "wait to be written"); n != 1 {
				t.Errorf("%d warnings of one outage", n)
			}
			if n := strings.Count(log.String(), "security event\""); n != 700 {
				t.Errorf("%d lines for 700 events", n)
			}
		})
	}
}

// Connections that die after an insert was done and before its answer is there: events
// are written again, and are there once.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	uri, proxy := storetest.ProxiedMongo(t)
	r := newRecorder(t, uri, Options{})
	recordAll(r, 0, 10)
	flush(t, r)
	var inserts sync.Map // connections on which one is under way
	var lost atomic.Int64
	proxy.Set(storetest.Faults{
		Command: func(client net.Conn, chunk []byte) bool {
			if bytes.Contains(chunk, []byte("insert\x00")) {
				inserts.Store(client, true)
			}
			return false
		},
		Reply: func(client net.Conn, _ []byte) bool {
			if _, ok := inserts.LoadAndDelete(client); !ok || lost.Add(1) > 3 {
				return false
			}
			_ = client.Close()
			return true
		},
	})
	recordAll(r, 10, 400)
	flushSoon(t, r)
	if lost.Load() < 3 {
		t.Errorf("%d answers were lost", lost.Load())
	}
	assertOnce(t, uri, 400)
}

// Of a buffer that is full the newest events are in the log only, which is said once
// and by how many.
func TestOverflow(t *testing.T) {
	t.Parallel()
	uri, proxy := storetest.ProxiedMongo(t)
	var log lockedBuffer
	r := newRecorder(t, uri, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	r.mu.Lock()
	r.room = 300
	r.mu.Unlock()
	proxy.Refuse()
	for i := 0; i < 450; i += 50 {
		recordAll(r, i, i+50)
	}
	proxy.Restore(t)
	flushSoon(t, r)
	assertOnce(t, uri, 300)
	if n := strings.Count(log.String(), "too many waited to be written\" count=150"); n != 1 {
		t.Errorf("%d lines of how many were dropped: %s", n, log.String())
	}
	if n := strings.Count(log.String(), "event=login"); n != 450 {
		t.Errorf("%d lines for 450 events", n)
	}
	recordAll(r, 300, 310) // there is room again
	flush(t, r)
	assertOnce(t, uri, 310)
}

// An event that MongoDB never takes does not hold up the others. FerretDB v1 refuses
// nothing but duplicates, so the answer about the last one is given another code.
func TestRefusedEvent(t *testing.T) {
	t.Parallel()
	uri, proxy := storetest.ProxiedMongo(t)
	var log lockedBuffer
	r := newRecorder(t, uri, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	_, err := storetest.Database(t, uri).Collection("activity").Indexes().CreateOne(context.Background(),
		mongo.IndexModel{Keys: bson.D{{Key: "sessionId", Value: 1}}, Options: options.Index().SetUnique(true)})
	if err != nil {
		t.Fatal(err)
	}
	duplicate, invalid := []byte("\x10code\x00\xf8\x2a\x00\x00"), []byte("\x10code\x00\x79\x00\x00\x00")
	var refused atomic.Int64
	proxy.Set(storetest.Faults{Reply: func(_ net.Conn, chunk []byte) bool {
		if i := bytes.LastIndex(chunk, duplicate); i >= 0 {
			copy(chunk[i:], invalid)
			refused.Add(1)
		}
		return false
	}})
	for _, e := range []Event{{RequestID: "0", SessionID: "a"}, {RequestID: "1", SessionID: "b"}, {RequestID: "x", SessionID: "a"}} {
		r.Record(context.Background(), e)
	}
	flushSoon(t, r)
	if n := strings.Count(log.String(), "MongoDB refuses them\" count=1"); n != 1 || refused.Load() != maxRefusals {
		t.Errorf("%d lines after %d refusals: %s", n, refused.Load(), log.String())
	}
	r.Record(context.Background(), Event{RequestID: "2", SessionID: "c"})
	flush(t, r)
	assertOnce(t, uri, 3)
}

// With MongoDB away, Close tries until its context ends, says what is lost, and then
// everything has ended.
func TestCloseAway(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*storetest.Proxy){"refuses": (*storetest.Proxy).Refuse, "hangs": (*storetest.Proxy).Silence} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			uri, proxy := storetest.ProxiedMongo(t)
			r := newRecorder(t, uri, Options{})
			flush(t, r)
			fault(proxy)
			recordAll(r, 0, 7)
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			start := time.Now()
			if err := r.Close(ctx); !errors.Is(err, mongoconn.ErrUnavailable) || !strings.Contains(err.Error(), "7 security events") {
				t.Errorf("close: %v", err)
			}
			if took := time.Since(start); took < 200*time.Millisecond || took > time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// MongoDB comes back while Close tries: nothing is lost.
func TestCloseDuringOutage(t *testing.T) {
	t.Parallel()
	uri, proxy := storetest.ProxiedMongo(t)
	r := newRecorder(t, uri, Options{})
	flush(t, r)
	proxy.Refuse()
	recordAll(r, 0, 500)
	if err := r.Flush(context.Background()); !errors.Is(err, mongoconn.ErrUnavailable) {
		t.Fatal(err)
	}
	closed := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		closed <- r.Close(ctx)
	}()
	proxy.Restore(t)
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
	assertOnce(t, uri, 500)
}

// Who waits in Flush cuts a pause short, but not so far that tries follow each other
// without end.
func TestRest(t *testing.T) {
	t.Parallel()
	life, stop := context.WithCancel(context.Background())
	r := &Recorder{life: life, hurry: make(chan struct{}, 1)}
	signal(r.hurry)
	start := time.Now()
	r.rest(time.Hour)
	if took := time.Since(start); took < minPause {
		t.Errorf("it took %v", took)
	}
	stop()
	r.rest(time.Hour)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
