package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"latchkey/internal/apitest"
	"latchkey/internal/httpapi"
)

// BenchmarkSession measures GET /auth/session, which applications call for every request.
// It uses a real Redis with TEST_REDIS=server.
func BenchmarkSession(b *testing.B) {
	s := apitest.New(b, production)
	benchmark(b, s.SignIn(), "/auth/session")
}

// BenchmarkMe measures GET /auth/me, which also reads the account from MongoDB. The
// in-process MongoDB is part of the result; MONGODB_TEST_URI names another one.
func BenchmarkMe(b *testing.B) {
	s := apitest.New(b, production)
	benchmark(b, s.Register("ann@example.com"), "/auth/me")
}

// production has the settings behind a proxy that terminates TLS.
var production = apitest.Options{
	Cookie:         httpapi.Cookie{Name: "__Host-sid", Secure: true, SameSite: http.SameSiteLaxMode},
	TrustedProxies: []string{"127.0.0.0/8"},
}

// benchmark sends one request to the router repeatedly.
func benchmark(b *testing.B, c *apitest.Client, path string) {
	b.Helper()

	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.RemoteAddr = "127.0.0.1:40000"
	r.Header.Set("X-Forwarded-For", "203.0.113.7")
	r.AddCookie(&http.Cookie{Name: c.Cookie.Name, Value: c.Token})
	w := &discard{header: http.Header{}}
	b.ReportAllocs()

	for b.Loop() {
		clear(w.header)
		w.status, w.bytes = 0, 0
		c.API.ServeHTTP(w, r)
		if w.status != http.StatusOK || w.bytes == 0 {
			b.Fatalf("GET %s: %d, %d bytes", path, w.status, w.bytes)
		}
	}
}

// discard stores only the status and the length of a response. It allocates nothing, so
// that all counted allocations are the router's.
type discard struct {
	header http.Header
	status int
	bytes  int
}

func (d *discard) Header() http.Header { return d.header }

func (d *discard) WriteHeader(status int) { d.status = status }

func (d *discard) Write(b []byte) (int, error) {
	d.bytes += len(b)

	return len(b), nil
}
