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

// Pages of any size contain each event of a user once and in order, even if several happened
// in the same millisecond and were recorded by two processes. They contain no events of other
// users.
func TestPages(t *testing.T) {
	t.Parallel()

	ctx := context.Background()
	uri := storetest.Mongo(t)
	processes := []*Recorder{newRecorder(t, uri, Options{}), newRecorder(t, uri, Options{})}
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

	for i := range 24 {
		at := start.Add(time.Duration(i/8) * time.Millisecond)
		if i%7 == 0 {
			at = at.Add(-time.Hour) // recorded with a delay
		}

		for _, user := range []string{"u", "v", ""} {
			processes[i%2].Record(ctx, Event{At: at, Name: Login, UserID: user, RequestID: strconv.Itoa(i)})
		}
	}

	for _, r := range processes {
		flush(t, r)
	}

	all, err := processes[0].ByUser(ctx, "u", "", 1000)
	if err != nil || len(all) != 24 {
		t.Fatalf("got %d events, error %v, want 24", len(all), err)
	}

	if !slices.IsSortedFunc(all, func(a, b Event) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(b.ID, a.ID)) }) {
		t.Errorf("got %+v, want the newest first", all)
	}

	for _, size := range []int{1, 5, 8, 24, 25} {
		var got []Event
		for before := ""; len(got) <= len(all); {
			page, err := processes[1].ByUser(ctx, "u", before, size)
			if err != nil || len(page) > size {
				t.Fatalf("page size %d: got %d events, error %v", size, len(page), err)
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
		t.Fatal(others, err)
	}

	for _, q := range []struct {
		user, before string
		limit        int
	}{
		{"nobody", "", 10}, {"", "", 10}, {"u", "", 0}, {"u", "", -1},
		{"u", others[0].ID, 10}, {"u", "x", 10}, {"u", "65f000000000000000000000", 10},
	} {
		if got, err := processes[0].ByUser(ctx, q.user, q.before, q.limit); err != nil || len(got) != 0 {
			t.Errorf("%+v: got %d events, error %v, want none", q, len(got), err)
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
	set := func(at time.Time) { now.Store(&at) }
	o := Options{Retention: 24 * time.Hour, Now: func() time.Time { return *now.Load() }}
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	set(start)
	writer := newRecorder(t, uri, Options{})
	r := &Recorder{options: o, db: writer.db, events: writer.events} // does not prune by itself

	for i := range 4 {
		writer.Record(ctx, Event{At: start.Add(time.Duration(i) * time.Hour), Name: Login, UserID: "u", RequestID: strconv.Itoa(i)})
	}

	flush(t, writer)
	assert := func(want ...string) {
		t.Helper()

		var got []string
		events, err := r.ByUser(ctx, "u", "", 10)

		for _, e := range events {
			got = append(got, e.RequestID)
		}

		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got events %v, error %v, want %v", got, err, want)
		}
	}

	assert("3", "2", "1", "0")
	first, err := r.ByUser(ctx, "u", "", 10)
	testkit.NoError(t, err)

	set(start.Add(25 * time.Hour)) // event 1 is exactly as old as the retention
	assert("3", "2", "1")

	for _, want := range []int64{1, 0} {
		if n, err := r.Prune(ctx); n != want || err != nil {
			t.Errorf("got %d pruned, error %v, want %d", n, err, want)
		}
	}

	assert("3", "2", "1")
	if page, err := r.ByUser(ctx, "u", first[3].ID, 10); len(page) != 0 || err != nil {
		t.Errorf("after a removed event: got %v, error %v, want none", page, err)
	}

	set(start.Add(26*time.Hour + time.Minute))
	maintaining, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() { newRecorder(t, uri, o).Maintain(maintaining) })
	t.Cleanup(func() {
		stop()
		group.Wait()
	})

	testkit.Eventually(t, "one event after pruning", func() bool { return len(stored(t, uri)) == 1 })
	set(start.Add(10000 * time.Hour))
	forever := newRecorder(t, uri, Options{Now: o.Now})
	if n, err := forever.Prune(ctx); n != 0 || err != nil || len(stored(t, uri)) != 1 {
		t.Errorf("without a retention: got %d pruned, error %v, want 0", n, err)
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

	found, err := storetest.Database(t, uri).Collection("activity").Indexes().List(ctx)
	testkit.NoError(t, err)

	var all []struct{ Key bson.D }
	testkit.NoError(t, found.All(ctx, &all))

	var got []string
	for _, index := range all {
		got = append(got, fmt.Sprint(index.Key))
	}

	slices.Sort(got)
	if want := []string{"[{_id 1}]", "[{at 1}]", "[{userId 1} {at -1} {_id -1}]"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
