package ratelimit

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/redisconn"
)

// With Redis away nothing is allowed and nobody waits for long.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	_, proxied, proxy := storetest.ProxiedRedis(t)
	l := newLimiter(t, proxied)
	take(t, l, "k", tenPerHour)
	for name, fault := range map[string]func(){"silent": proxy.Silence, "refuses": proxy.Refuse} {
		fault()
		start := time.Now()
		b, err := l.Take(context.Background(), "k", tenPerHour)
		if b.Allowed || !errors.Is(err, ErrUnavailable) || !errors.Is(err, redisconn.ErrUnavailable) {
			t.Errorf("%s: %+v, %v", name, b, err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
		proxy.Refuse()
		proxy.Restore(t)
	}
	if b := take(t, l, "k", tenPerHour); !b.Allowed {
		t.Errorf("afterwards: %+v", b)
	}
}

// An event of which the answer was lost is sent again and counts twice, never not at
// all.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	_, proxied, proxy := storetest.ProxiedRedis(t)
	l := newLimiter(t, proxied)
	take(t, l, "k", tenPerHour) // the script and the clock of Redis are known now
	var lost atomic.Bool
	proxy.Set(storetest.Faults{Reply: func(client net.Conn, _ []byte) bool {
		if !lost.CompareAndSwap(false, true) {
			return false
		}
		_ = client.Close()
		return true
	}})
	if b := take(t, l, "k", tenPerHour); !b.Allowed || b.Remaining != 7 {
		t.Errorf("got %+v, want 7 remaining", b)
	}
}
