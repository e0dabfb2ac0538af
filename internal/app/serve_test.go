package app

import (
	"crypto/tls"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/internal/config"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// TestServerLimits pins the limits that keep a client from tying up the servers. By default, net/http
// has none.
func TestServerLimits(t *testing.T) {
	t.Parallel()

	certFile, keyFile := storetest.Certificate(t, t.TempDir())
	c, err := config.Load(map[string]string{
		"HOST":           "127.0.0.1",
		"PORT":           "0",
		"OPS_ADDR":       "127.0.0.1:0",
		"SESSION_SECRET": "Zm9ydHktdHdvIGNoYXJhY3RlcnMgb2YgcmFuZG9tbmVzcw",
		"MONGODB_URI":    "mongodb://127.0.0.1:1/x",
		"REDIS_URI":      "redis://127.0.0.1:1",
		"TLS_CERT_FILE":  certFile,
		"TLS_KEY_FILE":   keyFile,
	})
	testkit.NoError(t, err)

	a, err := New(t.Context(), c, nil, io.Discard)
	testkit.NoError(t, err)
	t.Cleanup(func() {
		_ = a.ops.listener.Close()
		_ = a.listener.Close()
		a.close()
	})

	type limits struct {
		ReadHeader, Read, Write, Idle time.Duration
		HeaderBytes                   int
		HTTP2                         http.HTTP2Config
	}
	http2 := http.HTTP2Config{
		MaxConcurrentStreams:          32,
		MaxReadFrameSize:              16 << 10,
		MaxReceiveBufferPerConnection: 64 << 10,
		MaxReceiveBufferPerStream:     32 << 10,
		WriteByteTimeout:              30 * time.Second,
	}
	for name, tc := range map[string]struct {
		server       *http.Server
		writeTimeout time.Duration
	}{
		"API": {a.server, 30 * time.Second},
		"ops": {a.ops.server, 150 * time.Second}, // profiles take up to two minutes
	} {
		want := limits{
			ReadHeader:  5 * time.Second,
			Read:        9 * time.Second,
			Write:       tc.writeTimeout,
			Idle:        2 * time.Minute,
			HeaderBytes: 32 << 10,
			HTTP2:       http2,
		}
		got := limits{
			ReadHeader:  tc.server.ReadHeaderTimeout,
			Read:        tc.server.ReadTimeout,
			Write:       tc.server.WriteTimeout,
			Idle:        tc.server.IdleTimeout,
			HeaderBytes: tc.server.MaxHeaderBytes,
			HTTP2:       *tc.server.HTTP2,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("limits of the %s server (-want +got):\n%s", name, diff)
		}
	}

	if a.server.ConnState == nil || a.server.TLSConfig.MinVersion != tls.VersionTLS12 {
		t.Error("the API server has no connection limit or no minimum TLS version")
	}
}
