package activity

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// Pages of any size contain each of a user's events once and in order, even if several happened in
// the same millisecond and were recorded by two processes. They contain no other users' events.
func TestPages(t *testing.T) {
	t.Parallel()

	ctx := context.Background()
	uri := storetest.Mongo(t)
	processes := []*Recorder{newRecorder(t, uri, Options{}), newRecorder(t, uri, Options{})}
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

	for i := range 24 {
		eventTime := start.Add(time.Duration(i/8) * time.Millisecond)
		if i%7 == 0 {
			eventTime = eventTime.Add(-time.Hour) // recorded with a delay
		}

		for _, user := range []string{"u", "v", ""} {
			processes[i%2].Record(ctx, Event{At: eventTime, Name: Login, UserID: user, RequestID: strconv.Itoa(i)})
		}
	}

	for _, r := range processes {
		flush(t, r)
	}

	all, err := processes[0].ByUser(ctx, "u", "", 1000)
	if err != nil || len(all) != 24 {
		t.Fatalf("ByUser: got %d events, error %v, want 24", len(all), err)
	}

	if !slices.IsSortedFunc(all, func(a, b Event) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(b.ID, a.ID)) }) {
		t.Errorf("ByUser: got %+v, want the newest event first", all)
	}

	for _, size := range []int{1, 5, 8, 24, 25} {
		var got []Event
		for before := ""; len(got) <= len(all); {
			page, err := processes[1].ByUser(ctx, "u", before, size)
			if err != nil || len(page) > size {
				t.Fatalf("page size %d: got %d events, error %v, want at most %d", size, len(page), err, size)
			}

			if len(page) == 0 {
				break
			}

			got = append(got, page...)
			before = page[len(page)-1].ID
		}

		if diff := gocmp.Diff(all, got); diff != "" {
			t.Errorf("page size %d: (-want +got)\n%s", size, diff)
		}
	}

	others, err := processes[0].ByUser(ctx, "v", "", 1)
	if err != nil || len(others) != 1 {
		t.Fatalf("ByUser for another user: got %d events, error %v, want 1", len(others), err)
	}

	for _, q := range []struct {
		user, before string
		limit        int
	}{
		{"nobody", "", 10}, {"", "", 10}, {"u", "", 0}, {"u", "", -1},
		{"u", others[0].ID, 10}, {"u", "x", 10}, {"u", "65f000000000000000000000", 10},
	} {
		if got, err := processes[0].ByUser(ctx, q.user, q.before, q.limit); err != nil || len(got) != 0 {
			t.Errorf("ByUser with %+v: got %d events, error %v, want none", q, len(got), err)
		}
	}
}

// Events older than the retention are not returned. Prune removes them, and so does Maintain
// when a server starts.
func TestRetention(t *testing.T) {
	t.Parallel()

	ctx := context.Background()
	uri := storetest.Mongo(t)
	var now atomic.Pointer[time.Time]
	setNow := func(t time.Time) { now.Store(&t) }
	o := Options{Retention: 24 * time.Hour, Now: func() time.Time { return *now.Load() }}
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	setNow(start)
	writer := newRecorder(t, uri, Options{})
	r := &Recorder{options: o, db: writer.db, events: writer.events} // does not run Maintain

	for i := range 4 {
		writer.Record(ctx, Event{At: start.Add(time.Duration(i) * time.Hour), Name: Login, UserID: "u", RequestID: strconv.Itoa(i)})
	}

	flush(t, writer)
	assertEvents := func(want ...string) {
		t.Helper()

		var got []string
		events, err := r.ByUser(ctx, "u", "", 10)

		for _, e := range events {
			got = append(got, e.RequestID)
		}

		if err != nil || !slices.Equal(got, want) {
			t.Errorf("ByUser: got events %v, error %v, want %v", got, err, want)
		}
	}

	assertEvents("3", "2", "1", "0")
	all, err := r.ByUser(ctx, "u", "", 10)
	testkit.NoError(t, err)

	setNow(start.Add(25 * time.Hour)) // event 1 is exactly as old as the retention
	assertEvents("3", "2", "1")

	for _, want := range []int64{1, 0} {
		if n, err := r.Prune(ctx); n != want || err != nil {
			t.Errorf("Prune: got %d events removed, error %v, want %d", n, err, want)
		}
	}

	assertEvents("3", "2", "1")
	if page, err := r.ByUser(ctx, "u", all[3].ID, 10); len(page) != 0 || err != nil {
		t.Errorf("ByUser after a removed event: got %v, error %v, want no events", page, err)
	}

	setNow(start.Add(26*time.Hour + time.Minute))
	maintainCtx, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() { newRecorder(t, uri, o).Maintain(maintainCtx) })
	t.Cleanup(func() {
		stop()
		group.Wait()
	})

	testkit.Eventually(t, "one event after pruning", func() bool { return len(countByRequest(t, uri)) == 1 })
	setNow(start.Add(10000 * time.Hour))
	unlimited := newRecorder(t, uri, Options{Now: o.Now})
	if n, err := unlimited.Prune(ctx); n != 0 || err != nil || len(countByRequest(t, uri)) != 1 {
		t.Errorf("Prune without a retention: got %d events removed, error %v, want 0", n, err)
	}
}

// An event that an earlier release stored under a name that has changed since has the current name.
func TestRenamedEvents(t *testing.T) {
	t.Parallel()

	ctx := context.Background()
	r := newRecorder(t, storetest.Mongo(t), Options{})
	for old := range renamed {
		r.Record(ctx, Event{Name: old, UserID: "u"})
	}
	flush(t, r)

	events, err := r.ByUser(ctx, "u", "", 10)
	if err != nil || len(events) != len(renamed) {
		t.Fatalf("ByUser: got %d events, error %v, want %d", len(events), err, len(renamed))
	}
	for _, e := range events {
		if !slices.Contains(Names, e.Name) {
			t.Errorf("ByUser: got event name %s, want a current one", e.Name)
		}
	}
}

func TestIndexes(t *testing.T) {
	t.Parallel()

	ctx := context.Background()
	uri := storetest.Mongo(t)
	r := newRecorder(t, uri, Options{})

	for range 2 {
		testkit.NoError(t, r.EnsureIndexes(ctx))
	}

	cursor, err := storetest.Database(t, uri).Collection("activity").Indexes().List(ctx)
	testkit.NoError(t, err)

	var all []struct{ Key bson.D }
	testkit.NoError(t, cursor.All(ctx, &all))

	var got []string
	for _, index := range all {
		got = append(got, fmt.Sprint(index.Key))
	}

	slices.Sort(got)
	if want := []string{"[{_id 1}]", "[{at 1}]", "[{userId 1} {at -1} {_id -1}]"}; !slices.Equal(got, want) {
		t.Errorf("got indexes %q, want %q", got, want)
	}
}
