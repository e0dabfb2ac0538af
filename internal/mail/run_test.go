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
	"latchkey/internal/testkit"
)

// Each job is handled once, by one of several processes. No process handles more jobs at the same time
// than it has workers.
func TestRunOnce(t *testing.T) {
	t.Parallel()

	r := storetest.NewRedis(t)
	var mu sync.Mutex
	got := map[string]int{}

	for range 2 {
		q, _ := newQueue(t, r, QueueOptions{})
		var running atomic.Int32
		start(t, q, func(_ context.Context, job Job) error {
			if n := running.Add(1); n > 2 {
				t.Errorf("got %d running jobs, want at most 2", n)
			}
			defer running.Add(-1)
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

	testkit.Eventually(t, "the queue to be empty", isEmpty(t, q))
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	conn := r.Conn(t)
	for _, key := range []string{dueKey, jobsKey, attemptsKey} {
		if n, err := conn.Do("EXISTS", key); n != int64(0) || err != nil {
			t.Errorf("EXISTS %s: got %v, error %v, want 0", key, n, err)
		}
	}
}

// Jobs arrive unchanged, and the job that has been due longest comes first.
func TestRunOrder(t *testing.T) {
	t.Parallel()

	q, _ := newQueue(t, storetest.NewRedis(t), QueueOptions{Workers: 1})
	eventTime := time.Date(2026, 11, 22, 5, 26, 0, 0, time.UTC)
	fullJob := Job{
		ID: "z", Kind: EmailChanged, UserID: "u", To: "a@example.com", NewEmail: "b@example.com", OldEmail: "c@example.com",
		Device: "Firefox", IP: "192.0.2.1", At: eventTime, Created: eventTime.Add(time.Second),
	}

	q.now = func() time.Time { return eventTime.Add(time.Hour) }
	testkit.NoError(t, q.Push(t.Context(), fullJob))

	ids := []string{"z", "y", "x", "b", "c", "a"}
	push(t, q, ids[1:]...)
	if n, err := q.Len(t.Context()); n != len(ids) || err != nil {
		t.Errorf("got %d queued jobs, error %v, want %d", n, err, len(ids))
	}

	received := make(chan Job, len(ids))
	start(t, q, func(_ context.Context, job Job) error {
		received <- job
		return nil
	})

	if diff := cmp.Diff(fullJob, testkit.Receive(t, "a job", received)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	for _, want := range ids[1:] {
		if job := testkit.Receive(t, "a job", received); job.ID != want || !job.Created.Equal(q.now()) {
			t.Errorf("got job %s created %v, want job %s created %v", job.ID, job.Created, want, q.now())
		}
	}

	testkit.NoError(t, q.Push(t.Context(), Job{}))
	if id := testkit.Receive(t, "a job", received).ID; len(id) < 26 {
		t.Errorf("job without an ID: got ID %q, want a random one", id)
	}
}

// A failed job is retried with growing delays. A job that is rejected or too old is dropped. Each
// retry and each drop is logged.
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
		{name: "succeeds in the end", failures: []error{errors.New("first"), errors.New("second")}, attempts: 3},
		{name: "panic", failures: []error{nil}, attempts: 2},
		{name: "rejected", failures: []error{errors.New("first"), fmt.Errorf("550: %w", ErrRejected)}, attempts: 2, dropped: "550: " + ErrRejected.Error()},
		{name: "too old", age: 73 * time.Hour, attempts: 0, dropped: "too old"},
		{name: "too old for a retry", age: 72*time.Hour - time.Millisecond, failures: []error{errors.New("last")}, attempts: 1, dropped: "last"},
		{name: "older than the option", age: 2 * time.Hour, maxAge: time.Hour, attempts: 0, dropped: "too old"},
		{name: "almost too old", age: 71 * time.Hour, attempts: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()

			q, log := newQueue(t, storetest.NewRedis(t), QueueOptions{Backoff: 30 * time.Millisecond, MaxAge: tt.maxAge})
			now := time.Now()
			q.now = func() time.Time { return now }
			testkit.NoError(t, q.Push(t.Context(), Job{ID: "job", Kind: NewDevice, To: "ada@example.com", Created: now.Add(-tt.age)}))

			var attempts []time.Time
			start(t, q, func(context.Context, Job) error {
				attempts = append(attempts, time.Now())
				if len(attempts) > len(tt.failures) {
					return nil
				}

				err := tt.failures[len(attempts)-1]
				if err == nil {
					panic("ada@example.com")
				}

				return err
			})

			testkit.Eventually(t, "the queue to be empty", isEmpty(t, q))
			if len(attempts) != tt.attempts {
				t.Errorf("got %d attempts, want %d", len(attempts), tt.attempts)
			}

			for i, pause := range []time.Duration{30 * time.Millisecond, 60 * time.Millisecond} {
				if i+1 < len(attempts) && attempts[i+1].Sub(attempts[i]) < pause {
					t.Errorf("attempt %d: got a delay of %v, want at least %v", i+2, attempts[i+1].Sub(attempts[i]), pause)
				}
			}

			dropped := lines(t, log, "email dropped")
			if tt.dropped == "" && len(dropped) > 0 || tt.dropped != "" && (len(dropped) != 1 || dropped[0]["error"] != tt.dropped ||
				dropped[0]["id"] != "job" || dropped[0]["kind"] != "new_device" || dropped[0]["attempts"] != float64(max(1, tt.attempts))) {
				t.Errorf("got log lines about dropped jobs %v, want error %q", dropped, tt.dropped)
			}
			retries := lines(t, log, "email not sent; will retry")
			if len(retries) != max(0, tt.attempts-1) {
				t.Errorf("got log lines about retries %v, want %d", retries, max(0, tt.attempts-1))
			}
			if len(retries) > 0 && retries[0]["after"] != "30ms" {
				t.Errorf("got a retry after %v, want the readable form 30ms", retries[0]["after"])
			}
		})
	}

	q := NewQueue(nil, QueueOptions{})
	for attempts, want := range map[int]time.Duration{1: 10 * time.Second, 2: 20 * time.Second, 8: 1280 * time.Second, 9: 30 * time.Minute, 1e9: 30 * time.Minute} {
		if got := q.backoff(attempts); got != want {
			t.Errorf("backoff(%d): got %v, want %v", attempts, got, want)
		}
	}
}

// A malformed job is dropped and does not block other jobs.
func TestRunMalformedJob(t *testing.T) {
	t.Parallel()

	r := storetest.NewRedis(t)
	q, log := newQueue(t, r, QueueOptions{Workers: 1})
	conn := r.Conn(t)

	for id, value := range map[string]string{"broken": `{"email":"ada@example.com`, "invalid": `{"id":7,"email":"ada@example.com"}`} {
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
	received := make(chan Job, 9)
	start(t, q, func(_ context.Context, job Job) error {
		received <- job
		return nil
	})

	if job := testkit.Receive(t, "a job", received); job.ID != "job" {
		t.Errorf("got job %+v, want the valid job", job)
	}

	testkit.Eventually(t, "the queue to be empty", isEmpty(t, q))
	ids := map[string]bool{}

	for _, line := range lines(t, log, "email dropped") {
		ids[line["id"].(string)] = true
	}

	if got := slices.Sorted(maps.Keys(ids)); !slices.Equal(got, []string{"broken", "invalid"}) {
		t.Errorf("got jobs %v dropped, want broken and invalid", got)
	}
}

// A job is not sent again if its lease ended before it could be removed from Redis.
func TestRunRemembersSent(t *testing.T) {
	t.Parallel()

	q, _ := newQueue(t, storetest.NewRedis(t), QueueOptions{})
	push(t, q, "job")
	c, err := q.claim(t.Context(), "token")
	if c == nil || err != nil {
		t.Fatalf("claim: got %v, error %v, want the job", c, err)
	}

	calls := 0
	r := &run{Queue: q, handle: func(context.Context, Job) error {
		calls++
		return nil
	}}

	r.sent.Store(c.id, true)
	r.process(t.Context(), c)
	if calls != 0 {
		t.Errorf("process with a sent job: got %d calls of the handler, want 0", calls)
	}

	r.sent.Delete(c.id)
	r.process(t.Context(), c)
	if n, err := q.Len(t.Context()); calls != 1 || n != 0 || err != nil {
		t.Errorf("process with an unsent job: got %d calls of the handler, %d queued jobs, error %v, want 1 and 0",
			calls, n, err)
	}
}
