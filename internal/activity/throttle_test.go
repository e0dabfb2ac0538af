package activity

import (
	"context"
	"log/slog"
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
	if n := strings.Count(log.String(), "too many in a minute"); n != 2 {
		t.Errorf("got %d warnings about throttled events, want 2", n)
	}

	now = now.Add(time.Minute)
	r.Record(ctx, Event{Name: SessionRotated, UserID: "eve", RequestID: "later"})
	flush(t, r)
	if got := countByRequest(t, uri); got["later"] != 1 {
		t.Errorf("got %d stored events one minute later, want 1", got["later"])
	}
}
