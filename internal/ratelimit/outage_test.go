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

// While Redis is down, nothing is allowed and nobody waits long.
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
			t.Errorf("%s: got %+v, %v; want ErrUnavailable", name, b, err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: got an error after %v, want at most 2s", name, took)
		}

		proxy.Refuse() // close all connections
		proxy.Restore(t)
	}

	testkit.Eventually(t, "an allowed event after the outage", isAllowed)
}

// If a reply is lost, the event is sent again and counts twice. It must not be missing.
func TestLostReply(t *testing.T) {
	t.Parallel()
	_, proxied, proxy := storetest.ProxiedRedis(t)
	l := newLimiter(t, proxied)
	take(t, l, "k", tenPerHour) // loads the script and learns the clock of Redis

	var lost atomic.Bool
	proxy.Set(storetest.Faults{Reply: func(client net.Conn, _ []byte) bool {
		if !lost.CompareAndSwap(false, true) {
			return false
		}

		_ = client.Close()

		return true
	}})

	if b := take(t, l, "k", tenPerHour); !b.Allowed || b.Remaining != 7 {
		t.Errorf("got %+v, want allowed with 7 remaining", b)
	}
}
