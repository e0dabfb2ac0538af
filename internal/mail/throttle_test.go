package mail

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
	"latchkey/internal/token"
)

// Of the jobs with the same throttle, one is accepted per interval, and after maxPerDay only one
// per slowInterval. A job that is pushed again after an error is still accepted.
func TestThrottle(t *testing.T) {
	t.Parallel()

	ctx := context.Background()
	r := storetest.NewRedis(t)
	q, _ := newQueue(t, r, QueueOptions{})
	conn := r.Conn(t)
	push := func(id, to, throttle string) bool {
		t.Helper()

		accepted, err := q.PushThrottled(ctx, Job{ID: id, Kind: ResetPassword, To: to}, throttle, time.Minute)
		testkit.NoError(t, err)

		return accepted
	}

	if !push("1", "ann@example.com", "a") {
		t.Error("first job: refused, want it accepted")
	}
	if push("2", "ann@example.com", "a") {
		t.Error("second job with the same throttle: accepted within a minute, want it refused")
	}
	if !push("1", "ann@example.com", "a") {
		t.Error("accepted job pushed again: refused, want it accepted")
	}
	if !push("3", "ann@example.com", "b") || !push("4", "eve@example.com", "c") {
		t.Error("jobs with other throttles: refused, want them accepted")
	}

	// Delete the key each time, as if the interval had passed.
	for i := range maxPerDay {
		if _, err := conn.Do("DEL", key("throttle", token.Hash("d"))); err != nil {
			t.Fatal(err)
		}

		if !push(fmt.Sprint("day", i), "ann@example.com", "d") {
			t.Errorf("job %d of the day: refused, want %d accepted", i+1, maxPerDay)
		}
	}

	if ttl, err := redis.Int64(conn.Do("PTTL", key("throttle", token.Hash("d")))); err != nil || ttl < slowInterval.Milliseconds()-60_000 {
		t.Errorf("after %d jobs: got a pause of %d ms, error %v, want about %v",
			maxPerDay, ttl, err, slowInterval)
	}
	if err := q.Push(ctx, Job{Kind: PasswordChanged, To: "ann@example.com"}); err != nil {
		t.Errorf("Push without a throttle: got error %v, want none", err)
	}
	if n, err := q.Len(ctx); err != nil || n != maxPerDay+4 {
		t.Errorf("got %d queued jobs, error %v, want %d", n, err, maxPerDay+4)
	}

	for _, name := range []string{key("throttle", token.Hash("a")), key("day", token.Hash("a"))} {
		if ttl, err := conn.Do("PTTL", name); err != nil || ttl.(int64) <= 0 {
			t.Errorf("PTTL %s: got %v, error %v, want the key to expire", name, ttl, err)
		}
	}
}
