package mail

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// startLookups runs q.RunLookups until the test ends.
func startLookups(t testing.TB, q *Queue, lookUp func(context.Context, []Job) error) {
	t.Helper()

	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { q.RunLookups(ctx, lookUp) })

	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

func pushLookup(t testing.TB, q *Queue, to string) {
	t.Helper()

	testkit.NoError(t, q.PushLookup(context.Background(), Job{Kind: ResetPassword, To: to}))
}

func mailKeys(t testing.TB, conn redis.Conn) []string {
	t.Helper()

	keys, err := redis.Strings(conn.Do("KEYS", "mail:*"))
	testkit.NoError(t, err)

	return keys
}

// endLeases makes all requests due again.
func endLeases(t testing.TB, conn redis.Conn) {
	t.Helper()

	requests, err := redis.Strings(conn.Do("ZRANGE", lookupsKey, 0, -1))
	testkit.NoError(t, err)
	args := []any{lookupsKey, "XX"}
	for _, request := range requests {
		args = append(args, 1, request)
	}
	_, err = conn.Do("ZADD", args...)
	testkit.NoError(t, err)
}

// A flood of requests for email addresses without an account delays no email, and leaves nothing in
// Redis. Two processes share the work.
func TestLookupFlood(t *testing.T) {
	t.Parallel()
	const flood = 1500
	r := storetest.NewRedis(t)
	conn := r.Conn(t)
	q, _ := newQueue(t, r, QueueOptions{})
	other, _ := newQueue(t, r, QueueOptions{})

	testkit.Concurrently(20, func(n int) error {
		for i := range flood / 20 {
			pushLookup(t, q, fmt.Sprintf("nobody%d.%d@example.com", n, i))
		}

		return nil
	})

	// 1. An email is sent before any request is looked up.
	sent := make(chan string, 2)
	start(t, q, func(_ context.Context, job Job) error {
		sent <- job.To

		return nil
	})
	push(t, q, "one")
	if got := testkit.Receive(t, "the first email", sent); got != "ada@example.com" {
		t.Errorf("first email: got recipient %s, want ada@example.com", got)
	}

	// 2. Every request is looked up once. The last one is for an account.
	pushLookup(t, q, "bob@example.com")
	started := time.Now()
	var lookups atomic.Int64
	for _, queue := range []*Queue{q, other} {
		startLookups(t, queue, func(ctx context.Context, jobs []Job) error {
			lookups.Add(int64(len(jobs)))
			for _, job := range jobs {
				if job.To != "bob@example.com" {
					continue
				}
				if _, err := queue.PushThrottled(ctx, job, "bob", time.Minute); err != nil {
					return err
				}
			}

			return nil
		})
	}
	if got := testkit.Receive(t, "the second email", sent); got != "bob@example.com" {
		t.Errorf("second email: got recipient %s, want bob@example.com", got)
	}
	t.Logf("%d requests: the last email was sent after %v", flood, time.Since(started))

	testkit.Eventually(t, "an empty queue", isEmpty(t, q))
	// A batch is looked up again if Redis does not reply in time.
	if n := lookups.Load(); n < flood+1 || n > flood+1+2*lookupBatch {
		t.Errorf("got %d lookups, want %d or a few more", n, flood+1)
	}

	// 3. Only the two emails leave keys behind.
	for _, key := range mailKeys(t, conn) {
		if strings.HasPrefix(key, lookupsKey) {
			t.Errorf("key %s still exists", key)
		}
	}
	if keys := mailKeys(t, conn); len(keys) > 10 {
		t.Errorf("got %d keys, want at most 10: %q", len(keys), keys)
	}
}

// If too many requests are waiting, further ones are refused. A request that is already queued may
// be pushed again.
func TestLookupsAreBounded(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	conn := r.Conn(t)
	q, _ := newQueue(t, r, QueueOptions{})
	first := Job{ID: "1", Kind: ResetPassword, To: "ann@example.com", Created: time.Now()}
	testkit.NoError(t, q.PushLookup(context.Background(), first))

	args := []any{lookupsKey}
	for i := range maxLookups - 1 {
		args = append(args, i, i)
	}
	_, err := conn.Do("ZADD", args...)
	testkit.NoError(t, err)

	testkit.NoError(t, q.PushLookup(context.Background(), first))
	err = q.PushLookup(context.Background(), Job{Kind: ResetPassword, To: "bob@example.com"})
	if !errors.Is(err, ErrFull) {
		t.Errorf("PushLookup with a full queue: got error %v, want ErrFull", err)
	}
	if n, err := q.Len(context.Background()); n != maxLookups || err != nil {
		t.Errorf("Len: got %d, error %v, want %d", n, err, maxLookups)
	}
}

// A failed lookup is repeated until the request is too old. A malformed request is dropped.
func TestLookupFails(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	conn := r.Conn(t)
	q, log := newQueue(t, r, QueueOptions{MaxAge: time.Hour})

	_, err := conn.Do("ZADD", lookupsKey, 1, "{")
	testkit.NoError(t, err)
	old := Job{Kind: ResetPassword, To: "old@example.com", Created: time.Now().Add(-2 * time.Hour)}
	testkit.NoError(t, q.PushLookup(context.Background(), old))
	pushLookup(t, q, "ann@example.com")
	pushLookup(t, q, "bob@example.com")

	attempts := make(chan []Job, 10)
	startLookups(t, q, func(_ context.Context, jobs []Job) error {
		attempts <- jobs
		if len(attempts) == 1 {
			return errors.New("no store")
		}

		return nil
	})

	testkit.Eventually(t, "the failure in the log", func() bool { return strings.Contains(log.String(), "no store") })
	endLeases(t, conn)
	testkit.Eventually(t, "an empty queue", isEmpty(t, q))

	if len(attempts) != 2 {
		t.Fatalf("attempts: got %d, want 2, the second one after the end of the lease", len(attempts))
	}
	for range 2 {
		var recipients []string
		for _, job := range <-attempts {
			recipients = append(recipients, job.To)
		}
		slices.Sort(recipients)
		if want := []string{"ann@example.com", "bob@example.com"}; !slices.Equal(recipients, want) {
			t.Errorf("got requests for %q, want %q", recipients, want)
		}
	}

	for message, want := range map[string]int{
		"cannot look up the recipients of emails; will retry": 1,
		"email request dropped":                               2,
	} {
		if got := len(lines(t, log, message)); got != want {
			t.Errorf("log: got %q %d times, want %d", message, got, want)
		}
	}
}
