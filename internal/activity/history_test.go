package activity

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/devstore/storetest"
)

// Pages of any size give every event of a user once, in order, although many happened
// in one millisecond and two processes recorded them; and nobody else's.
func TestPages(t *testing.T) {
	t.Parallel()
	ctx, uri := context.Background(), storetest.Mongo(t)
	processes := []*Recorder{newRecorder(t, uri, Options{}), newRecorder(t, uri, Options{})}
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for i := range 24 {
		at := start.Add(time.Duration(i/8) * time.Millisecond)
		if i%7 == 0 {
			at = at.Add(-time.Hour) // recorded late
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
		t.Fatalf("%d events, %v", len(all), err)
	}
	if !slices.IsSortedFunc(all, func(a, b Event) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(b.ID, a.ID)) }) {
		t.Errorf("out of order: %+v", all)
	}
	for _, size := range []int{1, 5, 8, 24, 25} {
		var got []Event
		for before := ""; len(got) <= len(all); {
			page, err := processes[1].ByUser(ctx, "u", before, size)
			if err != nil || len(page) > size {
				t.Fatalf("a page of %d: %d events, %v", size, len(page), err)
			}
			if len(page) == 0 {
				break
			}
			got = append(got, page...)
			before = page[len(page)-1].ID
		}
		if diff := gocmp.Diff(all, got); diff != "" {
			t.Errorf("in pages of %d: %s", size, diff)
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
			t.Errorf("%+v: %d events, %v", q, len(got), err)
		}
	}
}

// What is older than the retention is not shown, and goes: by Prune, and by itself
// when a server starts.
func TestRetention(t *testing.T) {
	t.Parallel()
	ctx, uri := context.Background(), storetest.Mongo(t)
	var now atomic.Pointer[time.Time]
	set := func(at time.Time) { now.Store(&at) }
	o := Options{Retention: 24 * time.Hour, Now: func() time.Time { return *now.Load() }}
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	set(start)
	writer := newRecorder(t, uri, Options{})
	r := &Recorder{options: o, events: writer.events} // prunes when it is told to
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
			t.Errorf("got %v, %v; want %v", got, err, want)
		}
	}
	assert("3", "2", "1", "0")
	first, err := r.ByUser(ctx, "u", "", 10)
	if err != nil {
		t.Fatal(err)
	}
	set(start.Add(25 * time.Hour)) // the second is exactly as old as may be
	assert("3", "2", "1")
	for _, want := range []int64{1, 0} {
		if n, err := r.Prune(ctx); n != want || err != nil {
			t.Errorf("pruned %d, %v; want %d", n, err, want)
		}
	}
	assert("3", "2", "1")
	if page, err := r.ByUser(ctx, "u", first[3].ID, 10); len(page) != 0 || err != nil {
		t.Errorf("after an event that is gone: %v, %v", page, err)
	}
	set(start.Add(26*time.Hour + time.Minute))
	keeping, stop := context.WithCancel(ctx)
	kept := make(chan struct{})
	go func() { defer close(kept); newRecorder(t, uri, o).Upkeep(keeping) }()
	t.Cleanup(func() { stop(); <-kept })
	for deadline := time.Now().Add(20 * time.Second); len(stored(t, uri)) != 1; {
		if time.Now().After(deadline) {
			t.Fatalf("it has not pruned: %v", stored(t, uri))
		}
	}
	set(start.Add(10000 * time.Hour))
	forever := newRecorder(t, uri, Options{Now: o.Now})
	if n, err := forever.Prune(ctx); n != 0 || err != nil || len(stored(t, uri)) != 1 {
		t.Errorf("without a retention: pruned %d, %v", n, err)
	}
}

func TestIndexes(t *testing.T) {
	t.Parallel()
	ctx, uri := context.Background(), storetest.Mongo(t)
	r := newRecorder(t, uri, Options{})
	for range 2 {
		if err := r.EnsureIndexes(ctx); err != nil {
			t.Fatal(err)
		}
	}
	found, err := storetest.Database(t, uri).Collection("activity").Indexes().List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var all []struct{ Key bson.D }
	if err := found.All(ctx, &all); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, index := range all {
		text := ""
		for _, member := range index.Key {
			n, _ := member.Value.(int32)
			text += member.Key + ":" + strconv.Itoa(int(n)) + " "
		}
		got = append(got, text)
	}
	slices.Sort(got)
	if want := []string{"_id:1 ", "at:1 ", "userId:1 at:-1 _id:-1 "}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
