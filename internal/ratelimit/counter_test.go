package ratelimit

import (
	"context"
	"errors"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/redisconn"
	"latchkey/internal/testkit"
)

// A counter is exact, never falls below what the caller knows, and ignores values that are not
// counts.
func TestCount(t *testing.T) {
	t.Parallel()

	r := storetest.NewRedis(t)
	conn := r.Conn(t)
	l := newLimiter(t, r)
	period := "first"
	count := func(atLeast int) int {
		t.Helper()

		n, err := l.Count(context.Background(), "k", period, atLeast, time.Hour)
		testkit.NoError(t, err)

		return n
	}

	do := func(command string, args ...any) {
		t.Helper()

		_, err := conn.Do(command, args...)
		testkit.NoError(t, err)
	}

	for _, step := range []struct {
		stored        any // before the step, or nil to leave it as it is
		atLeast, want int
	}{
		{nil, 0, 1},
		{nil, 0, 2},
		{nil, 10, 11},
		{nil, 5, 12},
		{"", 3, 4},
		{"many first", 0, 1},
		{"-5 first", 0, 1},
		{"1e3 first", 0, 1},
		{"5", 0, 1},
		{"5 second", 0, 1},
		{"5 first", 0, 6},
		{"9999999999 first", 7, 8},
	} {
		if step.stored != nil {
			do("SET", "limit:{k}", step.stored)
		}
		if got := count(step.atLeast); got != step.want {
			t.Errorf("%+v: got %d", step, got)
		}
		assertTTL(t, conn, time.Hour)
	}

	do("DEL", "limit:{k}")
	do("LPUSH", "limit:{k}", "x")
	if got := count(0); got != 1 {
		t.Errorf("count over a list: got %d, want 1", got)
	}

	period = "second"
	if got := count(0); got != 1 {
		t.Errorf("count in a new period: got %d, want 1", got)
	}

	do("DEL", "limit:{k}")
	testkit.Concurrently(50, func(int) int { return count(0) })
	if got := count(0); got != 51 {
		t.Errorf("after 50 concurrent events: got %d, want 51", got)
	}
}

func TestCountRedisDown(t *testing.T) {
	t.Parallel()

	l := newLimiter(t, storetest.Redis{Addr: "127.0.0.1:1"})
	if n, err := l.Count(context.Background(), "k", "p", 0, time.Hour); !errors.Is(err, redisconn.ErrUnavailable) {
		t.Errorf("got %d, error %v, want ErrUnavailable", n, err)
	}
}
