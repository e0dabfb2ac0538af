package mail

import (
	"context"
	"fmt"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
)

// Of what anyone can ask for one job is taken in an interval, and so many in a day.
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
	taken := 2
	for i := range 2 * maxPerDay {
		if pushed(fmt.Sprint("more", i), "ann@example.com", fmt.Sprint("more", i)) {
			taken++
		}
	}
	if taken != maxPerDay {
		t.Errorf("%d mails to one address in a day, want %d", taken, maxPerDay)
	}
	if err := q.Push(ctx, Job{Kind: PasswordChanged, Email: "ann@example.com"}); err != nil {
		t.Error(err)
	}
	if n, err := q.Len(ctx); err != nil || n != maxPerDay+2 {
		t.Errorf("%d jobs, %v; want %d", n, err, maxPerDay+2)
	}
	for _, key := range []string{paceKey("a"), dayKey("ann@example.com")} {
		if left, err := conn.Do("PTTL", key); err != nil || left.(int64) <= 0 {
			t.Errorf("%s stays for ever: %v, %v", key, left, err)
		}
	}
}
