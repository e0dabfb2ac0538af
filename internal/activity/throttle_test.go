package activity

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// Events that are repeated too often are only logged. Each user has a limit per event name, and
// events without a user share one limit, whatever their IPs.
func TestThrottle(t *testing.T) {
	t.Parallel()

	uri := storetest.Mongo(t)
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var log testkit.Buffer
	r := newRecorder(t, uri, Options{Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(&log, nil))})
	r.userLimit = 5
	r.anonymousLimit = 6
	ctx := context.Background()

	for range 20 {
		r.Record(ctx, Event{Name: SessionRotated, UserID: "eve", RequestID: "rotated"})
		r.Record(ctx, Event{Name: CrossOriginDenied, IP: "192.0.2.1", RequestID: "denied"})
	}

	r.Record(ctx, Event{Name: SessionRotated, UserID: "ann", RequestID: "ann"})
	r.Record(ctx, Event{Name: Login, UserID: "eve", RequestID: "login"})
	r.Record(ctx, Event{Name: CrossOriginDenied, IP: "192.0.2.2", RequestID: "other"})
	flush(t, r)
	got := countByRequest(t, uri)

	for id, want := range map[string]int{"rotated": 5, "denied": 6, "ann": 1, "login": 1, "other": 0} {
		if got[id] != want {
			t.Errorf("request ID %s: got %d stored events, want %d", id, got[id], want)
		}
	}

	if n := strings.Count(log.String(), "security event\""); n != 43 {
		t.Errorf("got %d log lines about events, want 43", n)
	}
	if n := strings.Count(log.String(), "too many in an hour"); n != 2 {
		t.Errorf("got %d warnings about throttled events, want 2", n)
	}

	now = now.Add(time.Hour)
	r.Record(ctx, Event{Name: SessionRotated, UserID: "eve", RequestID: "later"})
	flush(t, r)
	if got := countByRequest(t, uri); got["later"] != 1 {
		t.Errorf("got %d stored events one hour later, want 1", got["later"])
	}
}

// A signed-in user can repeat some actions without a rate limit. Together, their events take up at
// most 2.5 MB of the collection per day.
func TestThrottleBoundsStorage(t *testing.T) {
	t.Parallel()

	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	r := &Recorder{
		options:        Options{Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)},
		maxCounts:      maxCounts,
		userLimit:      maxPerUser,
		anonymousLimit: maxAnonymous,
	}

	stored := 0
	unlimited := []Name{ProfileUpdated, SessionRotated, SessionsRevoked, SessionRevoked}
	for range 24 * 60 {
		for range 100 {
			for _, name := range unlimited {
				if !r.throttled(Event{Name: name, UserID: "eve"}) {
					stored++
				}
			}
		}
		now = now.Add(time.Minute)
	}

	const bytesPerEvent = 400
	if size := stored * bytesPerEvent; size > 2_500_000 {
		t.Errorf("got %d bytes of events in a day, want at most 2.5 MB", size)
	}
}

// The counters take a bounded amount of memory, and every user stays limited.
func TestThrottleBoundsMemory(t *testing.T) {
	t.Parallel()

	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	r := &Recorder{
		options:   Options{Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)},
		maxCounts: 10,
		userLimit: 1,
	}

	for i := range 1000 {
		user := strconv.Itoa(i)
		r.throttled(Event{Name: Login, UserID: user})
		if isThrottled := r.throttled(Event{Name: Login, UserID: user}); !isThrottled || len(r.counts) > 10 {
			t.Fatalf("user %d, second event: got throttled %t with %d counters, want true with at most 10",
				i, isThrottled, len(r.counts))
		}
	}
}
