package mail

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/redisconn"
)

func TestMain(m *testing.M) { storetest.MainOfMany(m) }

// waits is what the log says of a Redis that is away.
const waits = "mail waits until Redis is back"

// logged is a log that tests read.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// lines are those with a message.
func (l *logged) lines(t testing.TB, message string) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []map[string]any
	for line := range strings.Lines(l.text.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		if fields["msg"] == message {
			found = append(found, fields)
		}
	}
	return found
}

// newQueue returns the queue in a Redis as one process has it, with short times.
func newQueue(t testing.TB, r storetest.Redis, o QueueOptions) (*Queue, *logged) {
	t.Helper()
	log := &logged{}
	o.Log = slog.New(slog.NewJSONHandler(log, nil))
	if o.Interval == 0 {
		o.Interval = 10 * time.Millisecond
	}
	client := redisconn.New(redisconn.Options{
		Addr: r.Addr, DB: r.DB, Sentinels: r.Sentinels, Master: r.Master, Cluster: r.Cluster, Log: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(client.Close)
	t.Cleanup(func() {
		if strings.Contains(log.text.String(), "@") {
			t.Errorf("an address is in the log:\n%s", log.text.String())
		}
	})
	return NewQueue(client, o), log
}

// start runs a queue until the test ends, or the function that it returns is called.
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

// Push is PushPaced for tests that are not about the pace.
func (q *Queue) Push(ctx context.Context, job Job) error {
	_, err := q.PushPaced(ctx, job, "", 0)
	return err
}

func push(t testing.TB, q *Queue, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := q.Push(t.Context(), Job{ID: id, Kind: NewDevice, Email: "ada@example.com", Device: "Firefox"}); err != nil {
			t.Fatal(err)
		}
	}
}

// eventually waits for something that other goroutines do.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not yet: %s", what)
		}
	}
}

func empty(t testing.TB, q *Queue) func() bool {
	return func() bool {
		n, err := q.Len(t.Context())
		return n == 0 && err == nil
	}
}

// next waits for a value.
func next[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// Every script may be run again, because an answer was lost or late.
func TestScriptsTwice(t *testing.T) {
	t.Parallel()
	q, _ := newQueue(t, storetest.NewRedis(t), QueueOptions{})
	ctx := t.Context()
	push(t, q, "one", "two", "one")
	first, err := q.claim(ctx, "token")
	if err != nil {
		t.Fatal(err)
	}
	again, err := q.claim(ctx, "token")
	if err != nil || first == nil || again == nil || again.id != "one" || again.lease != first.lease || again.attempts != 1 {
		t.Errorf("the same claim: %+v and then %+v, %v", first, again, err)
	}
	other, err := q.claim(ctx, "other")
	if err != nil || other == nil || other.id != "two" {
		t.Errorf("another claim: %+v, %v", other, err)
	}
	if none, err := q.claim(ctx, "third"); none != nil || err != nil {
		t.Errorf("a claim of nothing: %+v, %v", none, err)
	}
	for range 2 {
		if err := q.remove(ctx, "one"); err != nil {
			t.Fatal(err)
		}
	}
	push(t, q, "one") // again, after it was done
	if n, err := q.Len(ctx); n != 1 || err != nil {
		t.Errorf("%d jobs, %v", n, err)
	}
	if err := q.postpone(ctx, other, 0); err != nil {
		t.Fatal(err)
	}
	retried, err := q.claim(ctx, "fourth")
	if err != nil || retried == nil || retried.attempts != 2 {
		t.Fatalf("postponed: %+v, %v", retried, err)
	}
	// Whose lease is over has no say.
	if err := q.postpone(ctx, other, 0); err != nil {
		t.Fatal(err)
	}
	if early, err := q.claim(ctx, "fifth"); early != nil || err != nil {
		t.Errorf("somebody else's lease was ended: %+v, %v", early, err)
	}
}

// overdue tells whether the first job is due, on the clock of Redis.
func overdue(conn redis.Conn) (bool, error) {
	first, err := redis.Strings(conn.Do("ZRANGE", dueKey, 0, 0, "WITHSCORES"))
	if err != nil || len(first) != 2 {
		return false, err
	}
	now, err := redis.Strings(conn.Do("TIME"))
	if err != nil {
		return false, err
	}
	due, err := strconv.ParseFloat(first[1], 64)
	seconds, secondsErr := strconv.ParseFloat(now[0], 64)
	return due < seconds*1e6, errors.Join(err, secondsErr)
}
