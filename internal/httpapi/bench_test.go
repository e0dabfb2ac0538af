package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"latchkey/internal/apitest"
)

// BenchmarkCheck measures a session check without the network. Run it with TEST_REDIS=server: without
// a real Redis, no session is kept in memory.
func BenchmarkCheck(b *testing.B) {
	s := apitest.New(b, apitest.Options{SessionCache: true, TrustedProxies: []string{"127.0.0.1/32"}})
	c := s.Register("ann@example.com")

	for _, path := range []string{"/auth/session", "/auth/verify", "/auth/me"} {
		b.Run(path, func(b *testing.B) {
			c.Do("GET", path, nil).Want(http.StatusOK)

			r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
			r.RemoteAddr = "127.0.0.1:1234"
			r.Header.Set("Cookie", "sid="+c.Token)
			r.Header.Set("User-Agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36")
			r.Header.Set("X-Forwarded-For", "203.0.113.7")
			w := &discard{header: http.Header{}}

			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				s.API.ServeHTTP(w, r)
			}

			if w.status != http.StatusOK {
				b.Errorf("status: got %d, want 200", w.status)
			}
		})
	}
}

// discard is a ResponseWriter that keeps only the status.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
