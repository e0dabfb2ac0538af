package httpapi

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkSession is GET /auth/session of someone who is signed in: what every request
// of an application costs that asks here first. With TEST_REDIS=server its Redis is a
// real one.
func BenchmarkSession(b *testing.B) {
	s := newSite(b, production)
	benchmark(b, s.signIn(), "/auth/session")
}

// BenchmarkMe is GET /auth/me, which asks MongoDB for the account as well. Where that is in
// the process (MONGODB_TEST_URI names another), its work is counted with ours.
func BenchmarkMe(b *testing.B) {
	s := newSite(b, production)
	benchmark(b, s.register("ann@example.com"), "/auth/me")
}

// production is a site as behind a proxy that speaks TLS.
var production = setup{
	cookie:  Cookie{Name: "__Host-sid", Secure: true, SameSite: http.SameSiteLaxMode},
	proxies: []string{"127.0.0.0/8"},
}

// benchmark has the whole router answer one request over and over.
func benchmark(b *testing.B, c *client, path string) {
	b.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.RemoteAddr = "127.0.0.1:40000"
	r.Header.Set("X-Forwarded-For", "203.0.113.7")
	r.AddCookie(&http.Cookie{Name: c.cookie.Name, Value: c.token})
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		w.status, w.bytes = 0, 0
		c.api.ServeHTTP(w, r)
		if w.status != http.StatusOK || w.bytes == 0 {
			b.Fatalf("GET %s: %d, %d bytes", path, w.status, w.bytes)
		}
	}
}

// discard keeps of an answer the headers, the status and the length. It allocates
// nothing, so that what is counted is the router's.
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
