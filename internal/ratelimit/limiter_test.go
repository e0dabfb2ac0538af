package ratelimit

import (
	"context"
	"flag"
	"strconv"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/redisconn"
	"latchkey/internal/testkit"
)

var rounds = flag.Int("rounds", 20, "rounds of each race")

// clockError is the maximum difference between the Redis clock and the test's monotonic clock.
const clockError = 5 * time.Millisecond

// tenPerHour makes an event available again every six minutes, which is longer than a test.
var tenPerHour = Rule{Events: 10, Window: time.Hour}

func TestMain(m *testing.M) { storetest.Main(m) }

// newLimiter returns a Limiter with its own connections, as in a separate process.
func newLimiter(t *testing.T, r storetest.Redis) *Limiter {
	t.Helper()

	return New(conntest.Redis(t, r, redisconn.Options{}))
}

func take(t *testing.T, l *Limiter, key string, rule Rule) Budget {
	t.Helper()

	b, err := l.Take(context.Background(), key, rule)
	testkit.NoError(t, err)

	return b
}

// assertTTL fails the test unless the caller's key "k" expires within max.
func assertTTL(t *testing.T, conn redis.Conn, max time.Duration) {
	t.Helper()

	millis, err := redis.Int64(conn.Do("PTTL", "limit:{k}"))
	testkit.NoError(t, err)

	if got := time.Duration(millis) * time.Millisecond; got <= 0 || got > max {
		t.Errorf("got TTL %v, want more than 0 and at most %v", got, max)
	}
}

// assertCountdown fails the test unless got is what is left of the duration initial, after it has
// counted down since start or a little later.
func assertCountdown(t *testing.T, what string, got, initial time.Duration, start time.Time) {
	t.Helper()

	minimum := initial - time.Since(start) - clockError
	if got < minimum || got > initial {
		t.Errorf("got %s %v, want %v to %v", what, got, minimum, initial)
	}
}

// Of 100 concurrent events in two processes, exactly the budget is allowed.
func TestRaceForBudget(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	processes := []*Limiter{newLimiter(t, r), newLimiter(t, r)}

	for round := range *rounds {
		budgets := testkit.Concurrently(100, func(i int) Budget {
			b, err := processes[i%2].Take(context.Background(), "race:"+strconv.Itoa(round), tenPerHour)
			if err != nil {
				t.Errorf("round %d: Take: got error %v, want none", round, err)
			}

			return b
		})

		allowed := 0
		firstRefusals := 0
		for _, b := range budgets {
			if b.Allowed {
				allowed++
			}
			if b.FirstRefusal {
				firstRefusals++
			}
		}

		if allowed != 10 || firstRefusals != 1 || t.Failed() {
			t.Fatalf("round %d: got %d of 100 events allowed and %d first refusals, want 10 and 1", round, allowed, firstRefusals)
		}
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	l := newLimiter(t, r)
	conn := r.Conn(t)

	const interval = 6 * time.Minute
	const tick = 100 * time.Millisecond // the in-process Redis's clock moves in steps
	start := time.Now()

	for n := 1; n <= 13; n++ {
		b := take(t, l, "k", tenPerHour)

		wantAllowed := n <= 10
		wantRemaining := max(0, 10-n)
		wantFirstRefusal := n == 11
		if b.Allowed != wantAllowed || b.Remaining != wantRemaining || b.FirstRefusal != wantFirstRefusal {
			t.Errorf("event %d: got %+v, want Allowed %t, Remaining %d, FirstRefusal %t",
				n, b, wantAllowed, wantRemaining, wantFirstRefusal)
		}

		// A refused event does not extend the wait.
		wantReset := time.Duration(min(n, 10)) * interval
		assertCountdown(t, "Reset", b.Reset, wantReset, start)

		if wantAllowed && b.RetryAfter != 0 {
			t.Errorf("event %d: got RetryAfter %v, want 0", n, b.RetryAfter)
		}
		if !wantAllowed {
			assertCountdown(t, "RetryAfter", b.RetryAfter, interval, start)
		}

		millis, err := redis.Int64(conn.Do("PTTL", "limit:{k}"))
		testkit.NoError(t, err)
		assertCountdown(t, "TTL", time.Duration(millis)*time.Millisecond, wantReset, start.Add(-tick))
	}

	if b := take(t, l, "other", tenPerHour); b.Remaining != 9 {
		t.Errorf("another key: got Remaining %d, want 9", b.Remaining)
	}
}

// Events become available one by one, no faster than the rule says, however often a client
// tries.
func TestRefill(t *testing.T) {
	t.Parallel()
	l := newLimiter(t, storetest.NewRedis(t))

	const interval = 200 * time.Millisecond
	rule := Rule{Events: 4, Window: 4 * interval}
	start := time.Now()
	allowed := 0

	testkit.Eventually(t, "10 allowed events", func() bool {
		if take(t, l, "k", rule).Allowed {
			allowed++
		}

		elapsed := time.Since(start) + clockError
		if limit := rule.Events + int(elapsed/interval); allowed > limit {
			t.Fatalf("got %d events allowed after %v, want at most %d", allowed, elapsed, limit)
		}

		return allowed == 10
	})
}

// A stored value that is not a time is ignored.
func TestInvalidValue(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	l := newLimiter(t, r)
	conn := r.Conn(t)

	for _, command := range [][]any{
		{"SET", "limit:{k}", ""},
		{"SET", "limit:{k}", "soon"},
		{"SET", "limit:{k}", "-1"},
		{"SET", "limit:{k}", "nan"},
		{"SET", "limit:{k}", "inf"},
		{"SET", "limit:{k}", "1e300"},
		{"SET", "limit:{k}", "0x7fffffffffff"},
		{"SET", "limit:{k}", "1.5"},
		{"SET", "limit:{k}", long("9", 400)},
		{"SET", "limit:{k}", "r"},
		{"SET", "limit:{k}", "1r"},
		{"SET", "limit:{k}", "1rr"},
		{"SET", "limit:{k}", "1"}, // a valid time long ago, without a TTL
		{"RPUSH", "limit:{k}", "x"},
		{"HSET", "limit:{k}", "x", "y"},
	} {
		if _, err := conn.Do("DEL", "limit:{k}"); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Do(command[0].(string), command[1:]...); err != nil {
			t.Fatal(err)
		}

		if b := take(t, l, "k", tenPerHour); !b.Allowed || b.Remaining != 9 {
			t.Errorf("after %.60v: got %+v, want Allowed true and Remaining 9", command, b)
		}
		assertTTL(t, conn, 6*time.Minute)
	}
}

// A stored time that is too far in the future, from a clock that was ahead or a rule with a
// longer window, delays no client longer than the rule does.
func TestTimeTooFarInFuture(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	l := newLimiter(t, r)
	conn := r.Conn(t)

	future := time.Now().Add(1000 * time.Hour).UnixMicro()
	if _, err := conn.Do("SET", "limit:{k}", future); err != nil {
		t.Fatal(err)
	}

	start := time.Now()
	first := take(t, l, "k", tenPerHour)
	if first.Allowed || first.Reset != time.Hour || first.RetryAfter != 6*time.Minute {
		t.Errorf("first event: got %+v, want Allowed false, Reset 1h and RetryAfter 6m", first)
	}
	assertTTL(t, conn, time.Hour)

	second := take(t, l, "k", tenPerHour)
	assertCountdown(t, "Reset", second.Reset, time.Hour, start)
	if second.Reset >= first.Reset {
		t.Errorf("second event: got Reset %v, want less than the first event's %v", second.Reset, first.Reset)
	}

	third := take(t, l, "k", Rule{Events: 5, Window: time.Minute})
	if third.Allowed || third.RetryAfter > 12*time.Second {
		t.Errorf("third event, with a shorter rule: got %+v, want Allowed false and RetryAfter at most 12s",
			third)
	}
}

// If the number of events does not divide the window evenly, rounding never allows more than the
// rule does.
func TestUnevenRule(t *testing.T) {
	t.Parallel()
	l := newLimiter(t, storetest.NewRedis(t))

	const year = 365 * 24 * time.Hour
	for _, rule := range []Rule{{3, time.Hour}, {7, 24 * time.Hour}, {1, year}, {100_000, year}} {
		window := time.Duration(rule.interval()*int64(rule.Events)) * time.Microsecond
		if window < rule.Window {
			t.Errorf("%+v: got all events available after %v, want at least %v", rule, window, rule.Window)
		}

		for n := range min(rule.Events, 10) {
			want := rule.Events - 1 - n
			if b := take(t, l, strconv.Itoa(rule.Events), rule); !b.Allowed || b.Remaining != want {
				t.Errorf("%+v, event %d: got %+v, want Allowed true and Remaining %d", rule, n, b, want)
			}
		}
	}
}

func TestUnlimited(t *testing.T) {
	t.Parallel()
	l := newLimiter(t, storetest.Redis{Addr: "127.0.0.1:1"})

	if b := take(t, l, "k", Rule{}); !b.Allowed {
		t.Errorf("zero rule: got %+v, want Allowed true without using Redis", b)
	}
}
