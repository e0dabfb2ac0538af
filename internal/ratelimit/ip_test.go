package ratelimit

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// twoPerDay is a rule under which no event becomes available again during a test.
var twoPerDay = Rule{Events: 2, Window: 24 * time.Hour}

// takeIP counts an event of a client at an IP.
func takeIP(t *testing.T, l *Limiter, ip string, rule, base Rule) Budget {
	t.Helper()

	b, err := l.TakeIP(context.Background(), "login:ip", ip, rule, base)
	testkit.NoError(t, err)

	return b
}

// limitKeys returns the keys of rate limits in Redis.
func limitKeys(t *testing.T, conn redis.Conn) []string {
	t.Helper()

	keys, err := redis.Strings(conn.Do("KEYS", "limit:*"))
	testkit.NoError(t, err)

	return keys
}

// A client with a whole network has no more than 8 budgets in a /56, and 32 in a /48. IPs in an
// IPv4 network share nothing.
func TestNetworkBudgets(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		ip      func(i int) string // of the i-th client
		rule    Rule               // if it is not twoPerDay
		allowed int                // of 200 clients with one event each
	}{
		"one /64":                   {func(i int) string { return fmt.Sprintf("2001:db8::%x", i+1) }, Rule{}, 2},
		"one /56":                   {func(i int) string { return fmt.Sprintf("2001:db8:0:%x::1", i) }, Rule{}, 16},
		"one /48":                   {func(i int) string { return fmt.Sprintf("2001:db8:0:%x::1", i<<8) }, Rule{}, 64},
		"one /48, a zone":           {func(i int) string { return fmt.Sprintf("2001:db8:0:%x::1%%eth%d", i<<8, i) }, Rule{}, 64},
		"several /48":               {func(i int) string { return fmt.Sprintf("2001:db8:%x::1", i) }, Rule{}, 200},
		"one IPv4 network":          {func(i int) string { return fmt.Sprintf("192.0.2.%d", i) }, Rule{}, 200},
		"IPv4 in IPv6 notation":     {func(i int) string { return fmt.Sprintf("::ffff:192.0.2.%d", i) }, Rule{}, 200},
		"/56, larger rule of a /64": {func(i int) string { return fmt.Sprintf("2001:db8:0:%x::1", i) }, Rule{20, 24 * time.Hour}, 20},
		"/48, larger rule of a /64": {func(i int) string { return fmt.Sprintf("2001:db8:0:%x::1", i<<8) }, Rule{20, 24 * time.Hour}, 64},
		"/48, far larger rule":      {func(i int) string { return fmt.Sprintf("2001:db8:0:%x::1", i<<8) }, Rule{100, 24 * time.Hour}, 100},
		"one /64, even larger rule": {func(i int) string { return fmt.Sprintf("2001:db8::%x", i+1) }, Rule{150, 24 * time.Hour}, 150},
		"invalid IPs, one for each": {func(i int) string { return fmt.Sprintf("unknown %d", i) }, Rule{}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := storetest.NewRedis(t)
			l := newLimiter(t, r)
			rule := tc.rule
			if rule.Unlimited() {
				rule = twoPerDay
			}

			allowed := 0
			firstRefusals := 0
			for i := range 200 {
				b := takeIP(t, l, tc.ip(i), rule, twoPerDay)
				if b.Allowed {
					allowed++
				} else if b.RetryAfter <= 0 || b.Remaining != 0 {
					t.Errorf("event %d: got %+v, want a RetryAfter", i, b)
				}
				if b.FirstRefusal {
					firstRefusals++
				}
			}

			if want := min(1, 200-tc.allowed); allowed != tc.allowed || firstRefusals != want {
				t.Errorf("got %d events allowed and %d first refusals, want %d and %d", allowed, firstRefusals, tc.allowed, want)
			}

			// A refused event leaves nothing behind: at most one key per allowed event and network.
			if keys := limitKeys(t, r.Conn(t)); len(keys) > 3*allowed {
				t.Errorf("got %d keys in Redis, want at most %d", len(keys), 3*allowed)
			}
		})
	}
}

// TakeIP returns the budget that will be used up first. If a network has used up its budget,
// refused events do not count against the clients' own budgets.
func TestTightestBudget(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	l := newLimiter(t, r)

	check := func(ip string, want Budget) {
		t.Helper()
		got := takeIP(t, l, ip, twoPerDay, twoPerDay)
		want.Reset = got.Reset
		want.RetryAfter = got.RetryAfter
		if got != want || got.Allowed == (got.RetryAfter > 0) {
			t.Errorf("%s: got %+v, want %+v and a RetryAfter only if it is refused", ip, got, want)
		}
	}
	own := twoPerDay
	small := Rule{16, 24 * time.Hour}
	large := Rule{64, 24 * time.Hour}

	check("2001:db8:0:1::1", Budget{Rule: own, Allowed: true, Remaining: 1})
	check("2001:db8:0:1::2", Budget{Rule: own, Allowed: true, Remaining: 0})
	check("2001:db8:0:1::3", Budget{Rule: own, FirstRefusal: true})
	check("2001:db8:0:1::4", Budget{Rule: own})

	// 13 of the 16 events of the /56 are left, since the refused events did not count.
	for i := 2; i < 15; i++ {
		takeIP(t, l, fmt.Sprintf("2001:db8:0:%x::1", i), twoPerDay, twoPerDay)
	}
	check("2001:db8:0:f0::1", Budget{Rule: small, IsNetwork: true, Allowed: true, Remaining: 0})
	check("2001:db8:0:f1::1", Budget{Rule: small, IsNetwork: true, FirstRefusal: true})
	check("2001:db8:0:f2::1", Budget{Rule: small, IsNetwork: true})

	// 48 events of the /48 are left.
	for i := 1; i < 48; i++ {
		takeIP(t, l, fmt.Sprintf("2001:db8:0:%x::1", i<<8), twoPerDay, twoPerDay)
	}
	check("2001:db8:0:f000::1", Budget{Rule: large, IsNetwork: true, Allowed: true, Remaining: 0})
	check("2001:db8:0:f100::1", Budget{Rule: large, IsNetwork: true, FirstRefusal: true})
	check("2001:db8:0:f200::1", Budget{Rule: large, IsNetwork: true})
	check("2001:db8:1::1", Budget{Rule: own, Allowed: true, Remaining: 1})
}

// All budgets of an IP are in one slot of a Redis Cluster, and different clients have different
// keys.
func TestNetworkKeys(t *testing.T) {
	t.Parallel()
	r := storetest.NewRedis(t)
	l := newLimiter(t, r)
	takeIP(t, l, "2001:db8:77:1234::1", twoPerDay, twoPerDay)
	takeIP(t, l, "192.0.2.1", twoPerDay, twoPerDay)

	want := map[string]bool{
		"limit:{login:ip:192.0.2.1}":                              true,
		"limit:{login:ip:2001:db8:77::/48}:2001:db8:77:1234::/64": true,
		"limit:{login:ip:2001:db8:77::/48}:2001:db8:77:1200::/56": true,
		"limit:{login:ip:2001:db8:77::/48}:2001:db8:77::/48":      true,
	}
	keys := limitKeys(t, r.Conn(t))
	for _, key := range keys {
		if !want[key] {
			t.Errorf("got key %s, want one of %v", key, want)
		}
	}
	if len(keys) != len(want) {
		t.Errorf("got keys %q, want %d", keys, len(want))
	}
}
