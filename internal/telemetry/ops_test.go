package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestOps(t *testing.T) {
	t.Parallel()
	m := used()
	visit(HTTP{}, m, func(*http.Request) {})
	wrong := error(nil)
	gone, cancel := context.WithCancel(context.Background()) // or a profile would take 30 seconds
	cancel()
	h := Ops(m, func(context.Context) error { return wrong }, slog.New(slog.DiscardHandler))
	for _, row := range []struct {
		method, path string
		status       int
		has          string
	}{
		{"GET", "/metrics", http.StatusOK, `latchkey_logins_total{outcome="busy"} 1`},
		{"HEAD", "/metrics", http.StatusOK, ""},
		{"GET", "/metrics", http.StatusOK, "process_resident_memory_bytes"},
		{"POST", "/metrics", http.StatusMethodNotAllowed, ""},
		{"GET", "/healthz", http.StatusOK, "ok"},
		{"GET", "/readyz", http.StatusOK, "ready"},
		{"GET", "/debug/pprof/", http.StatusOK, "goroutine"},
		{"GET", "/debug/pprof/goroutine?debug=1", http.StatusOK, "TestOps"},
		{"GET", "/debug/pprof/heap", http.StatusOK, ""},
		{"GET", "/debug/pprof/cmdline", http.StatusOK, ""},
		{"GET", "/debug/pprof/symbol", http.StatusOK, ""},
		{"POST", "/debug/pprof/symbol", http.StatusOK, ""},
		{"GET", "/debug/pprof/profile", http.StatusOK, ""},
		{"GET", "/debug/pprof/trace", http.StatusOK, ""},
		{"GET", "/debug/pprof/nothing", http.StatusNotFound, ""},
		{"GET", "/debug/vars", http.StatusNotFound, ""},
		{"GET", "/", http.StatusNotFound, ""},
		{"GET", "/auth/me", http.StatusNotFound, ""},
		{"GET", "/metrics/", http.StatusNotFound, ""},
		{"DELETE", "/healthz", http.StatusMethodNotAllowed, ""},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(row.method, row.path, http.NoBody).WithContext(gone))
		if w.Code != row.status || !strings.Contains(w.Body.String(), row.has) {
			t.Errorf("%s %s: %d %.300s", row.method, row.path, w.Code, w.Body)
		}
		if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: %v", row.method, row.path, w.Header())
		}
		for _, canary := range canaries {
			if strings.HasPrefix(row.path, "/metrics") && strings.Contains(w.Body.String(), canary) {
				t.Errorf("%s is in the metrics", canary)
			}
		}
	}
	wrong = errors.New("Redis does not answer")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", http.NoBody))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "Redis does not answer") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// One metric that cannot be collected must not take the others with it, nor say why to
// who asks.
func TestOpsWithATroubledMetric(t *testing.T) {
	t.Parallel()
	m := NewMetrics()
	m.registry.MustRegister(troubled{})
	var out bytes.Buffer
	w := httptest.NewRecorder()
	h := Ops(m, func(context.Context) error { return nil }, slog.New(slog.NewJSONHandler(&out, nil)))
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "latchkey_logins_total") || strings.Contains(w.Body.String(), "canary") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if !strings.Contains(out.String(), "canary") {
		t.Errorf("not in the log: %s", out.String())
	}
}

type troubled struct{}

func (troubled) Describe(to chan<- *prometheus.Desc) { to <- describe("troubled", "Nothing.", nil) }

func (troubled) Collect(to chan<- prometheus.Metric) {
	to <- prometheus.NewInvalidMetric(describe("troubled", "Nothing.", nil), errors.New("canary"))
}

func TestOpsWithoutMetrics(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	Ops(nil, func(context.Context) error { return nil }, nil).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	if w.Code != http.StatusNotFound {
		t.Error(w.Code)
	}
}
