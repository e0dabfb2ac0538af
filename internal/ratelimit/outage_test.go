package ratelimit

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/redisconn"
	"latchkey/internal/testkit"
)

// While Redis is down, no event is allowed and Take returns soon.
func TestRedisDown(t *testing.T) {
	t.Parallel()
	_, proxied, proxy := storetest.ProxiedRedis(t)
	l := New(conntest.Redis(t, proxied, redisconn.Options{Timeout: redisconn.DefaultTimeout}))
	isAllowed := func() bool {
		b, err := l.Take(context.Background(), "k", tenPerHour)

		return err == nil && b.Allowed
	}
	testkit.Eventually(t, "an allowed event before the outage", isAllowed)

	for name, startOutage := range map[string]func(){
		"no replies":         proxy.Blackhole,
		"connection refused": proxy.Refuse,
	} {
		startOutage()

		start := time.Now()
		b, err := l.Take(context.Background(), "k", tenPerHour)
		if b.Allowed || !errors.Is(err, redisconn.ErrUnavailable) {
			t.Errorf("%s: Take: got %+v, error %v, want Allowed false, ErrUnavailable", name, b, err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: Take: got an error after %v, want it within 2s", name, took)
		}

		proxy.Refuse() // close all connections
		proxy.Restore(t)
	}

	testkit.Eventually(t, "an allowed event after the outage", isAllowed)
}

// If a reply is lost, the script runs again and the event counts twice. It must never go uncounted.
func TestLostReply(t *testing.T) {
	t.Parallel()
	_, proxied, proxy := storetest.ProxiedRedis(t)
	l := newLimiter(t, proxied)
	take(t, l, "k", tenPerHour) // loads the script and learns the Redis clock

	var lost atomic.Bool
	proxy.Set(storetest.Faults{Reply: func(client net.Conn, _ []byte) bool {
		if !lost.CompareAndSwap(false, true) {
			return false
		}

		_ = client.Close()

		return true
	}})

	if b := take(t, l, "k", tenPerHour); !b.Allowed || b.Remaining != 7 {
		t.Errorf("got %+v, want Allowed true and Remaining 7", b)
	}
}
