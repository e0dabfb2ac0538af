package mail

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
)

// Of what can be asked for again and again one job is taken in an interval, and after so
// many in a day they slow down, without ever stopping.
// What is pushed again after an error is the same job still.
func TestPace(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := storetest.NewRedis(t)
	q, _ := newQueue(t, r, QueueOptions{})
	conn := r.Conn(t)
	pushed := func(id, to, pace string) bool {
		t.Helper()
		taken, err := q.PushPaced(ctx, Job{ID: id, Kind: ResetPassword, Email: to}, pace, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return taken
	}
	if !pushed("1", "ann@example.com", "a") || pushed("2", "ann@example.com", "a") {
		t.Error("the pace of one in a minute is not kept")
	}
	if !pushed("1", "ann@example.com", "a") {
		t.Error("a job that was taken is refused when it is pushed again")
	}
	if !pushed("3", "ann@example.com", "b") || !pushed("4", "eve@example.com", "c") {
		t.Error("one pace slows another")
	}
	// As if the interval was over each time.
	for i := range maxPerDay {
		if _, err := conn.Do("DEL", paceKey("d")); err != nil {
			t.Fatal(err)
		}
		if !pushed(fmt.Sprint("day", i), "ann@example.com", "d") {
			t.Errorf("the mail %d of the day is refused", i)
		}
	}
	if left, err := redis.Int64(conn.Do("PTTL", paceKey("d"))); err != nil || left < slowPace.Milliseconds()-60_000 {
		t.Errorf("after %d mails the next one may come in %d ms, %v", maxPerDay, left, err)
	}
	if err := q.Push(ctx, Job{Kind: PasswordChanged, Email: "ann@example.com"}); err != nil {
		t.Error(err)
	}
	if n, err := q.Len(ctx); err != nil || n != maxPerDay+4 {
		t.Errorf("%d jobs, %v; want %d", n, err, maxPerDay+4)
	}
	for _, key := range []string{paceKey("a"), dayKey("a")} {
		if left, err := conn.Do("PTTL", key); err != nil || left.(int64) <= 0 {
			t.Errorf("%s stays for ever: %v, %v", key, left, err)
		}
	}
}
