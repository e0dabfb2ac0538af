package activity

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
)

// Who does something in a loop fills the log, and not the collection; no user is
// drowned by it, and what is of no user has one share, whatever address it comes from.
func TestManyOfOne(t *testing.T) {
	t.Parallel()
	uri := storetest.Mongo(t)
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var log lockedBuffer
	r := newRecorder(t, uri, Options{Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(&log, nil))})
	r.most, r.mostOfNobody = 5, 6
	ctx := context.Background()
	for range 20 {
		r.Record(ctx, Event{Name: SessionRotated, UserID: "eve", RequestID: "rotated"})
		r.Record(ctx, Event{Name: CrossOriginDenied, IP: "192.0.2.1", RequestID: "denied"})
	}
	r.Record(ctx, Event{Name: SessionRotated, UserID: "ann", RequestID: "ann"})
	r.Record(ctx, Event{Name: Login, UserID: "eve", RequestID: "login"})
	r.Record(ctx, Event{Name: CrossOriginDenied, IP: "192.0.2.2", RequestID: "other"})
	flush(t, r)
	got := stored(t, uri)
	for id, want := range map[string]int{"rotated": 5, "denied": 6, "ann": 1, "login": 1, "other": 0} {
		if got[id] != want {
			t.Errorf("%s is stored %d times, want %d", id, got[id], want)
		}
	}
	if n := strings.Count(log.String(), "security event\""); n != 43 {
		t.Errorf("%d lines in the log, want 43", n)
	}
	if n := strings.Count(log.String(), "too many of one kind"); n != 2 {
		t.Errorf("%d warnings, want 2", n)
	}
	now = now.Add(time.Minute)
	r.Record(ctx, Event{Name: SessionRotated, UserID: "eve", RequestID: "later"})
	flush(t, r)
	if got := stored(t, uri); got["later"] != 1 {
		t.Error("a minute later nothing is stored")
	}
}
