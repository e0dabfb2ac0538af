package httpapi_test

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// The stores are checked once a second, however many requests there are, because anybody can call
// GET /readyz.
func TestReadinessIsShared(t *testing.T) {
	t.Parallel()

	_, redis, proxy := storetest.ProxiedRedis(t)
	s := apitest.New(t, apitest.Options{Redis: &redis})
	var checks atomic.Int64
	proxy.Set(storetest.Faults{Command: func(_ net.Conn, chunk []byte) bool {
		if bytes.Contains(chunk, []byte("EVALSHA")) && bytes.Contains(chunk, []byte("latchkey-check")) {
			checks.Add(1)
		}

		return false
	}})

	readyz := func(int) apitest.Response { return s.NewClient().Do("GET", "/readyz", nil).Want(200) }
	testkit.Concurrently(10, readyz)
	checks.Store(0) // the first script is sent again, because the clock of Redis is unknown
	s.Advance(time.Minute)
	testkit.Concurrently(50, readyz)

	// On a busy machine 50 requests may take several seconds.
	if n := checks.Load(); n < 1 || n > 10 {
		t.Errorf("checks for 50 requests: got %d, want about 1", n)
	}
}

// A client that disconnects during a check does not make the server look unready to others.
func TestReadinessOutlivesClient(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	disconnected, disconnect := context.WithCancel(t.Context())
	disconnect()

	testkit.NoError(t, s.API.Ready(disconnected))
	s.NewClient().Do("GET", "/readyz", nil).Want(200)
}
