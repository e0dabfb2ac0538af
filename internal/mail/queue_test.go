package mail

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/redisconn"
	"latchkey/internal/testkit"
)

func TestMain(m *testing.M) { storetest.MainParallel(m) }

// pausedMessage is logged when Redis becomes unavailable.
const pausedMessage = "email queue paused: Redis is unavailable"

// lines returns the log lines with the given message.
func lines(t testing.TB, log *testkit.Buffer, message string) []map[string]any {
	t.Helper()

	var matches []map[string]any
	for line := range strings.Lines(log.String()) {
		var fields map[string]any
		testkit.NoError(t, json.Unmarshal([]byte(line), &fields))

		if fields["msg"] == message {
			matches = append(matches, fields)
		}
	}

	return matches
}

// newQueue returns the queue of one process, with short intervals.
func newQueue(t testing.TB, r storetest.Redis, o QueueOptions) (*Queue, *testkit.Buffer) {
	t.Helper()

	log := &testkit.Buffer{}
	o.Log = slog.New(slog.NewJSONHandler(log, nil))
	if o.Interval == 0 {
		o.Interval = 10 * time.Millisecond
	}

	client := conntest.Redis(t, r, redisconn.Options{})
	t.Cleanup(func() {
		if strings.Contains(log.String(), "@") {
			t.Errorf("got log %s\nwant it not to contain an email address", log.String())
		}
	})

	return NewQueue(client, o), log
}

// start runs a queue until the test ends or stop is called.
func start(t testing.TB, q *Queue, handle func(context.Context, Job) error) (stop func()) {
	t.Helper()

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})

	go func() {
		defer close(ended)
		q.Run(ctx, handle)
	}()

	stop = func() {
		cancel()
		<-ended
	}

	t.Cleanup(stop)

	return stop
}

// Push pushes a job without a throttle.
func (q *Queue) Push(ctx context.Context, job Job) error {
	_, err := q.PushThrottled(ctx, job, "", 0)

	return err
}

func push(t testing.TB, q *Queue, ids ...string) {
	t.Helper()

	for _, id := range ids {
		testkit.NoError(t, q.Push(t.Context(), Job{ID: id, Kind: NewDevice, To: "ada@example.com", Device: "Firefox"}))
	}
}

// isEmpty returns a condition for testkit.Eventually: no job is queued.
func isEmpty(t testing.TB, q *Queue) func() bool {
	return func() bool {
		n, err := q.Len(t.Context())
		return n == 0 && err == nil
	}
}

// Every script may run twice, as happens when a reply is lost.
func TestScriptsTwice(t *testing.T) {
	t.Parallel()

	q, _ := newQueue(t, storetest.NewRedis(t), QueueOptions{})
	ctx := t.Context()
	push(t, q, "one", "two", "one")
	first, err := q.claim(ctx, "token")
	testkit.NoError(t, err)

	again, err := q.claim(ctx, "token")
	if err != nil || first == nil || again == nil || again.id != "one" || again.lease != first.lease || again.attempts != 1 {
		t.Errorf("claim twice with the same token: got %+v and then %+v, error %v, want job one in its first attempt both times",
			first, again, err)
	}

	other, err := q.claim(ctx, "other")
	if err != nil || other == nil || other.id != "two" {
		t.Errorf("claim with another token: got %+v, error %v, want job two", other, err)
	}
	if c, err := q.claim(ctx, "third"); c != nil || err != nil {
		t.Errorf("claim without a due job: got %+v, error %v, want nil", c, err)
	}

	for range 2 {
		testkit.NoError(t, q.remove(ctx, "one"))
	}

	push(t, q, "one") // again, after it is done
	if n, err := q.Len(ctx); n != 1 || err != nil {
		t.Errorf("got %d queued jobs, error %v, want 1", n, err)
	}
	testkit.NoError(t, q.postpone(ctx, other, 0))

	second, err := q.claim(ctx, "fourth")
	if err != nil || second == nil || second.attempts != 2 {
		t.Fatalf("claim after postpone: got %+v, error %v, want the second attempt", second, err)
	}

	// An old lease cannot postpone the job.
	testkit.NoError(t, q.postpone(ctx, other, 0))
	if c, err := q.claim(ctx, "fifth"); c != nil || err != nil {
		t.Errorf("claim after postpone with an old lease: got %+v, error %v, want nil", c, err)
	}
}
