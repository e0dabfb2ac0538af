package ratelimit

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/redisconn"
)

// rounds is how often the race for the last event is run; 200 for the full number.
var rounds = flag.Int("rounds", 20, "rounds of each race")

func TestMain(m *testing.M) { storetest.Main(m) }

// newLimiter returns a Limiter with connections of its own, as a process has.
func newLimiter(t *testing.T, r storetest.Redis) *Limiter {
	t.Helper()
	conns := redisconn.New(redisconn.Options{
		Addr: r.Addr, DB: r.DB, Sentinels: r.Sentinels, Master: r.Master, Cluster: r.Cluster,
		Log: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(conns.Close)
	return New(conns)
}

func take(t *testing.T, l *Limiter, key string, rule Rule) Budget {
	t.Helper()
	b, err := l.Take(context.Background(), key, rule)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tenPerHour gives an event back every six minutes: none during a test.
var tenPerHour = Rule{Events: 10, Window: time.Hour}

// Of a hundred events at once, through two processes, exactly the budget is allowed.
func TestRaceForBudget(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	processes := []*Limiter{newLimiter(t, r), newLimiter(t, r)}
	for round := range *rounds {
		var allowed, first, failed atomic.Int64
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range 100 {
			wg.Go(func() {
				<-start
				b, err := processes[i%2].Take(context.Background(), "race:"+strconv.Itoa(round), tenPerHour)
				if err != nil {
					failed.Add(1)
					t.Errorf("round %d: %v", round, err)
				}
				if b.Allowed {
					allowed.Add(1)
				}
				if b.FirstRefused {
					first.Add(1)
				}
			})
		}
		close(start)
		wg.Wait()
		if allowed.Load() != 10 || first.Load() != 1 || failed.Load() != 0 {
			t.Fatalf("round %d: %d of 100 were allowed, want 10; %d were refused first, want 1; %d failed", round, allowed.Load(), first.Load(), failed.Load())
		}
	}
}

// between fails unless want-elapsed <= got <= want, where elapsed is since start.
func between(t *testing.T, what string, got, want time.Duration, start time.Time) {
	t.Helper()
	// The clock that Redis reads may be a little off the monotonic one.
	if least := want - time.Since(start) - 5*time.Millisecond; got < least || got > want {
		t.Errorf("%s is %v, want %v to %v", what, got, least, want)
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	l, conn := newLimiter(t, r), r.Conn(t)
	const each = 6 * time.Minute
	start := time.Now()
	for n := 1; n <= 13; n++ {
		b := take(t, l, "k", tenPerHour)
		if want := max(0, 10-n); b.Allowed != (n <= 10) || b.Remaining != want || b.FirstRefused != (n == 11) {
			t.Errorf("event %d: %+v, want %d remaining", n, b, want)
		}
		// What is refused changes nothing, so that the 13th is as the 11th.
		between(t, "the reset", b.Reset, time.Duration(min(n, 10))*each, start)
		if n <= 10 && b.RetryAfter != 0 {
			t.Errorf("event %d was allowed and is to be retried: %+v", n, b)
		} else if n > 10 {
			between(t, "the retry", b.RetryAfter, each, start)
		}
		ttl, err := redis.Int64(conn.Do("PTTL", "limit:{k}"))
		if err != nil {
			t.Fatal(err)
		}
		// The in-process Redis moves its clock in steps of 50 ms.
		between(t, "the life of the key", time.Duration(ttl)*time.Millisecond, time.Duration(min(n, 10))*each, start.Add(-100*time.Millisecond))
	}
	if b := take(t, l, "other", tenPerHour); b.Remaining != 9 {
		t.Errorf("another key: %+v", b)
	}
}

// Events come back one by one and no faster, however hard a client tries.
func TestRefill(t *testing.T) {
	t.Parallel()
	l := newLimiter(t, storetest.NewRedis(t))
	rule := Rule{Events: 4, Window: 800 * time.Millisecond}
	start, allowed, first, tried := time.Now(), 0, 0, 0
	var last Budget
	for deadline := start.Add(20 * time.Second); allowed < 10; tried++ {
		if last = take(t, l, "k", rule); last.Allowed {
			allowed++
		}
		if last.FirstRefused {
			first++
		}
		// The clock that Redis reads may be a little off the monotonic one.
		if most := 4 + int((time.Since(start)+5*time.Millisecond)/(200*time.Millisecond)); allowed > most {
			t.Fatalf("%d were allowed after %v, want at most %d", allowed, time.Since(start), most)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d tries were allowed after %v: the last is %+v", allowed, tried, time.Since(start), last)
		}
	}
	// Once after the burst, and once after each that came back, but the last.
	if first < 1 || first > 6 {
		t.Errorf("%d events were the first to be refused", first)
	}
	t.Logf("10 of %d tries in %v", tried, time.Since(start))
}

// RetryAfter is when the next event is allowed: not before, and soon after.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	l := newLimiter(t, storetest.NewRedis(t))
	rule := Rule{Events: 1, Window: 300 * time.Millisecond}
	start := time.Now()
	take(t, l, "k", rule)
	b := take(t, l, "k", rule)
	if b.Allowed || b.RetryAfter != b.Reset {
		t.Fatalf("the second event: %+v", b)
	}
	for deadline := start.Add(20 * time.Second); !take(t, l, "k", rule).Allowed; {
		if time.Now().After(deadline) {
			t.Fatal("never allowed again")
		}
	}
	// The in-process Redis forgets a key up to 50 ms early.
	if took := time.Since(start); took < rule.Window-60*time.Millisecond {
		t.Errorf("allowed again after %v", took)
	}
}

// Whatever stands under the key, the next event gets an answer.
func TestForeignValue(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	l, conn := newLimiter(t, r), r.Conn(t)
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
		{"SET", "limit:{k}", "1"}, // long ago, and it never expires
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
			t.Errorf("%.60v: %+v", command, b)
		}
		if ttl, err := redis.Int64(conn.Do("PTTL", "limit:{k}")); ttl <= 0 || ttl > 360_000 || err != nil {
			t.Errorf("%.60v: the key lives for %d ms, %v", command, ttl, err)
		}
	}
}

// A time from a clock that was ahead, or from a rule with a longer window, holds
// nobody up for longer than the rule.
func TestTimeAstray(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	l, conn := newLimiter(t, r), r.Conn(t)
	ahead := time.Now().Add(1000 * time.Hour).UnixMicro()
	if _, err := conn.Do("SET", "limit:{k}", ahead); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	b := take(t, l, "k", tenPerHour)
	if b.Allowed || b.Reset != time.Hour || b.RetryAfter != 6*time.Minute {
		t.Errorf("got %+v", b)
	}
	if ttl, err := redis.Int64(conn.Do("PTTL", "limit:{k}")); ttl <= 0 || ttl > time.Hour.Milliseconds() || err != nil {
		t.Errorf("the key lives for %d ms, %v", ttl, err)
	}
	// It is counted down from there.
	again := take(t, l, "k", tenPerHour)
	between(t, "the reset", again.Reset, time.Hour, start)
	if again.Reset >= b.Reset {
		t.Errorf("the wait does not pass: %v, then %v", b.Reset, again.Reset)
	}
	// A shorter rule in the place of this one applies at once.
	if b := take(t, l, "k", Rule{Events: 5, Window: time.Minute}); b.Allowed || b.RetryAfter > 12*time.Second {
		t.Errorf("under a shorter rule: %+v", b)
	}
}

// A window that its events do not divide is rounded against the client.
func TestUnevenRule(t *testing.T) {
	t.Parallel()
	l := newLimiter(t, storetest.NewRedis(t))
	for _, rule := range []Rule{{3, time.Hour}, {7, 24 * time.Hour}, {1, maxWindow}, {100_000, maxWindow}} {
		if whole := rule.interval() * int64(rule.Events); whole < rule.Window.Microseconds() {
			t.Errorf("%+v: all are back after %d us", rule, whole)
		}
		for n := range min(rule.Events, 10) {
			if b := take(t, l, strconv.Itoa(rule.Events), rule); !b.Allowed || b.Remaining != rule.Events-1-n {
				t.Errorf("%+v, event %d: %+v", rule, n, b)
			}
		}
	}
}

func TestUnlimited(t *testing.T) {
	t.Parallel()
	nowhere := newLimiter(t, storetest.Redis{Addr: "127.0.0.1:1"})
	if b := take(t, nowhere, "k", Rule{}); !b.Allowed {
		t.Errorf("the zero rule: %+v", b)
	}
	for _, rule := range []Rule{{0, time.Hour}, {10, 0}, {-1, time.Hour}, {10, -time.Hour}, {10, time.Microsecond}, {10, maxWindow + 1}} {
		b, err := nowhere.Take(context.Background(), "k", rule)
		if b.Allowed || !errors.Is(err, ErrRule) || rule.Unlimited() {
			t.Errorf("%+v: %+v, %v", rule, b, err)
		}
	}
}
