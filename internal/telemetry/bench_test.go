package telemetry

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestRequestAllocatesNothing(t *testing.T) {
	m := NewMetrics()
	m.Routes("/auth/session")
	if n := testing.AllocsPerRun(1000, func() { m.Request(http.MethodGet, "/auth/session", http.StatusOK, time.Millisecond) }); n != 0 {
		t.Errorf("got %v allocations per request, want 0", n)
	}
	if n := testing.AllocsPerRun(1000, func() { m.RedisCommand(context.Background(), "GET").Done(nil) }); n != 0 {
		t.Errorf("got %v allocations per command, want 0", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	m := NewMetrics()
	m.Routes("/auth/session")
	b.ReportAllocs()

	for b.Loop() {
		m.Request(http.MethodGet, "/auth/session", http.StatusOK, time.Millisecond)
	}
}

func BenchmarkRequestParallel(b *testing.B) {
	m := NewMetrics()
	m.Routes("/auth/session")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Request(http.MethodGet, "/auth/session", http.StatusOK, time.Millisecond)
		}
	})
}

func BenchmarkRedisCommand(b *testing.B) {
	m := NewMetrics()
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		m.RedisCommand(ctx, "GET").Done(nil)
	}
}

func BenchmarkMiddleware(b *testing.B) {
	m := NewMetrics()
	m.Routes("/")
	h := HTTP{Metrics: m, Route: func(*http.Request) string { return "/" }}.complete().
		Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := newRequest()
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}
