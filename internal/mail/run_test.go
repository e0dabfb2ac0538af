package mail

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/internal/devstore/storetest"
)

// Of several processes one has each job, which is as it was pushed, and no process
// has more in hand than it may.
func TestRunOnce(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	var mu sync.Mutex
	got := map[string]int{}
	for range 2 {
		q, _ := newQueue(t, r, QueueOptions{})
		var inHand atomic.Int32
		start(t, q, func(_ context.Context, job Job) error {
			if n := inHand.Add(1); n > 2 {
				t.Errorf("%d in hand", n)
			}
			defer inHand.Add(-1)
			mu.Lock()
			defer mu.Unlock()
			got[job.ID]++
			return nil
		})
	}
	q, _ := newQueue(t, r, QueueOptions{})
	want := map[string]int{}
	for i := range 50 {
		id := fmt.Sprint("job", i)
		want[id] = 1
		push(t, q, id)
	}
	eventually(t, "the queue is empty", empty(t, q))
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	conn := r.Conn(t)
	for _, key := range []string{dueKey, jobsKey, attemptsKey} {
		if n, err := conn.Do("EXISTS", key); n != int64(0) || err != nil {
			t.Errorf("%s is left, %v", key, err)
		}
	}
}

// A job comes out as it went in, and those that are due longest come first.
func TestRunOrder(t *testing.T) {
	t.Parallel()
	q, _ := newQueue(t, storetest.NewRedis(t), QueueOptions{Workers: 1})
	at := time.Date(2026, 11, 22, 5, 26, 0, 0, time.UTC)
	full := Job{
		ID: "z", Kind: EmailChanged, UserID: "u", Email: "a@example.com", Name: "Ada", NewEmail: "b@example.com", OldEmail: "c@example.com",
		Device: "Firefox", IP: "192.0.2.1", At: at, Created: at.Add(time.Second),
	}
	q.now = func() time.Time { return at.Add(time.Hour) }
	if err := q.Push(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	ids := []string{"z", "y", "x", "b", "c", "a"}
	push(t, q, ids[1:]...)
	if n, err := q.Len(t.Context()); n != len(ids) || err != nil {
		t.Errorf("%d jobs, %v", n, err)
	}
	came := make(chan Job, len(ids))
	start(t, q, func(_ context.Context, job Job) error {
		came <- job
		return nil
	})
	if diff := cmp.Diff(full, next(t, came)); diff != "" {
		t.Error(diff)
	}
	for _, want := range ids[1:] {
		if job := next(t, came); job.ID != want || !job.Created.Equal(q.now()) {
			t.Errorf("%s came, created %v, and not %s", job.ID, job.Created, want)
		}
	}
	if err := q.Push(t.Context(), Job{}); err != nil || len(next(t, came).ID) < 26 {
		t.Errorf("an ID of its own: %v", err)
	}
}

// What fails is tried again after a pause that grows, and what may not be tried again
// or is too old is dropped: each with one line in the log.
func TestRunFailures(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		maxAge   time.Duration
		age      time.Duration
		failures []error
		attempts int
		dropped  string
	}{
		{name: "mended", failures: []error{errors.New("first"), errors.New("second")}, attempts: 3},
		{name: "panic", failures: []error{nil}, attempts: 2},
		{name: "rejected", failures: []error{errors.New("first"), fmt.Errorf("550: %w", ErrRejected)}, attempts: 2, dropped: "550: " + ErrRejected.Error()},
		{name: "too old", age: 73 * time.Hour, attempts: 0, dropped: "too old"},
		{name: "too old next time", age: 72*time.Hour - time.Millisecond, failures: []error{errors.New("last")}, attempts: 1, dropped: "last"},
		{name: "too old by the options", age: 2 * time.Hour, maxAge: time.Hour, attempts: 0, dropped: "too old"},
		{name: "not too old", age: 71 * time.Hour, attempts: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			q, log := newQueue(t, storetest.NewRedis(t), QueueOptions{Backoff: 30 * time.Millisecond, MaxAge: tt.maxAge})
			now := time.Now()
			q.now = func() time.Time { return now }
			if err := q.Push(t.Context(), Job{ID: "job", Kind: NewDevice, Email: "ada@example.com", Created: now.Add(-tt.age)}); err != nil {
				t.Fatal(err)
			}
			var tries []time.Time
			start(t, q, func(context.Context, Job) error {
				tries = append(tries, time.Now())
				if len(tries) > len(tt.failures) {
					return nil
				}
				err := tt.failures[len(tries)-1]
				if err == nil {
					panic("ada@example.com")
				}
				return err
			})
			eventually(t, "the queue is empty", empty(t, q))
			if len(tries) != tt.attempts {
				t.Errorf("%d attempts", len(tries))
			}
			for i, pause := range []time.Duration{30 * time.Millisecond, 60 * time.Millisecond} {
				if i+1 < len(tries) && tries[i+1].Sub(tries[i]) < pause {
					t.Errorf("attempt %d came %v after the one before", i+2, tries[i+1].Sub(tries[i]))
				}
			}
			dropped := log.lines(t, "mail was dropped")
			if tt.dropped == "" && len(dropped) > 0 || tt.dropped != "" && (len(dropped) != 1 || dropped[0]["error"] != tt.dropped ||
				dropped[0]["id"] != "job" || dropped[0]["kind"] != "new_device" || dropped[0]["attempts"] != float64(max(1, tt.attempts))) {
				t.Errorf("dropped: %v", dropped)
			}
			if again := log.lines(t, "mail was not sent and will be tried again"); len(again) != max(0, tt.attempts-1) {
				t.Errorf("tried again: %v", again)
			}
		})
	}
	q := NewQueue(nil, QueueOptions{})
	for attempts, want := range map[int]time.Duration{1: 10 * time.Second, 2: 20 * time.Second, 8: 1280 * time.Second, 9: 30 * time.Minute, 1e9: 30 * time.Minute} {
		if got := q.pause(attempts); got != want {
			t.Errorf("after %d attempts %v, not %v", attempts, got, want)
		}
	}
}

// What is in the queue and no job of ours is dropped, and holds nothing up.
func TestRunUndecodable(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	q, log := newQueue(t, r, QueueOptions{Workers: 1})
	conn := r.Conn(t)
	for id, value := range map[string]string{"broken": `{"email":"ada@example.com`, "strange": `{"id":7,"email":"ada@example.com"}`} {
		for _, command := range [][]any{{"HSET", jobsKey, id, value}, {"ZADD", dueKey, 1, id}} {
			if _, err := conn.Do(command[0].(string), command[1:]...); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := conn.Do("ZADD", dueKey, 0, "without a job"); err != nil {
		t.Fatal(err)
	}
	push(t, q, "job")
	came := make(chan Job, 9)
	start(t, q, func(_ context.Context, job Job) error {
		came <- job
		return nil
	})
	if job := next(t, came); job.ID != "job" {
		t.Errorf("%+v came", job)
	}
	eventually(t, "the queue is empty", empty(t, q))
	ids := map[string]bool{}
	for _, line := range log.lines(t, "mail was dropped") {
		ids[line["id"].(string)] = true
	}
	if got := slices.Sorted(maps.Keys(ids)); !slices.Equal(got, []string{"broken", "strange"}) {
		t.Errorf("dropped: %v", got)
	}
}
