package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestOps(t *testing.T) {
	t.Parallel()

	m := usedMetrics()
	visit(HTTP{}, m, nil)

	// Cancel the requests, because a profile takes 30 seconds otherwise.
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	h := Ops(m, func(context.Context) error { return nil }, []string{"example.com"}, slog.New(slog.DiscardHandler))

	for _, row := range []struct {
		method, path string
		status       int
		want         string // a part of the body
	}{
		{"GET", "/metrics", http.StatusOK, `latchkey_logins_total{outcome="busy"} 1`},
		{"GET", "/metrics", http.StatusOK, "process_resident_memory_bytes"},
		{"GET", "/metrics", http.StatusOK, "go_goroutines"},
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
		{"DELETE", "/healthz", http.StatusMethodNotAllowed, ""},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(row.method, row.path, http.NoBody).WithContext(cancelled))
		if w.Code != row.status || !strings.Contains(w.Body.String(), row.want) {
			t.Errorf("%s %s: got %d %.300s, want %d and a body that contains %q",
				row.method, row.path, w.Code, w.Body, row.status, row.want)
		}
		if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: got headers %v, want no-store and nosniff", row.method, row.path, w.Header())
		}

		for _, canary := range canaries {
			if strings.HasPrefix(row.path, "/metrics") && strings.Contains(w.Body.String(), canary) {
				t.Errorf("%s: got metrics containing %q, want no data of the request", row.path, canary)
			}
		}
	}
}

// If a store is down, the server is not ready. Without metrics, /metrics does not exist.
func TestNotReady(t *testing.T) {
	t.Parallel()

	h := Ops(nil, func(context.Context) error { return errors.New("Redis does not answer") }, []string{"example.com"}, nil)
	for path, want := range map[string]int{"/readyz": http.StatusServiceUnavailable, "/metrics": http.StatusNotFound} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
		if w.Code != want {
			t.Errorf("GET %s: got status %d, want %d", path, w.Code, want)
		}
		if body := w.Body.String(); path == "/readyz" && !strings.Contains(body, "Redis does not answer") {
			t.Errorf("GET %s: got body %q, want it to contain the error", path, body)
		}
	}
}

// Web pages in an operator's browser cannot use the listener, neither under a host name of their
// own that resolves to it (DNS rebinding) nor with cross-site requests.
func TestOpsRefusesWebPages(t *testing.T) {
	t.Parallel()

	h := Ops(usedMetrics(), func(context.Context) error { return nil }, []string{"ops.example.com"}, slog.New(slog.DiscardHandler))
	for _, tc := range []struct {
		host, header, value string
		status              int
	}{
		{"10.1.2.3:9090", "", "", http.StatusOK},
		{"api:9090", "", "", http.StatusOK},
		{"ops.example.com:9090", "Sec-Fetch-Site", "none", http.StatusOK},
		{"evil.example:9090", "", "", http.StatusMisdirectedRequest},
		{"10.1.2.3:9090", "Origin", "https://evil.example", http.StatusForbidden},
		{"localhost:9090", "Sec-Fetch-Site", "cross-site", http.StatusForbidden},
	} {
		for _, path := range []string{"/metrics", "/readyz", "/debug/pprof/", "/debug/pprof/cmdline"} {
			r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
			r.Host = tc.host
			if tc.header != "" {
				r.Header.Set(tc.header, tc.value)
			}

			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			refused := tc.status != http.StatusOK
			if w.Code != tc.status || refused && strings.Count(w.Body.String(), "\n") != 1 {
				t.Errorf("GET %s, Host %s, %s %s: got %d %.300s, want %d", path, tc.host, tc.header, tc.value, w.Code, w.Body, tc.status)
			}
		}
	}
}

// The process can record one profile at a time. A second request gets a clear error.
func TestConcurrentProfiles(t *testing.T) {
	t.Parallel()

	started := make(chan struct{})
	finish := make(chan struct{})
	h := oneAtATime(func(http.ResponseWriter, *http.Request) {
		close(started)
		<-finish
	})

	var first sync.WaitGroup
	first.Go(func() { h(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody)) })
	<-started

	second := httptest.NewRecorder()
	h(second, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	if second.Code != http.StatusServiceUnavailable || second.Header().Get("Retry-After") == "" || !strings.Contains(second.Body.String(), "in progress") {
		t.Errorf("second profile: got %d %v %s, want 503 with Retry-After and the reason", second.Code, second.Header(), second.Body)
	}

	close(finish)
	first.Wait()
}

// If a metric cannot be collected, the others are still served, and the error is only logged.
func TestOpsWithFailingMetric(t *testing.T) {
	t.Parallel()

	m := NewMetrics()
	m.registry.MustRegister(failingGauge{newGauge("failing", "Always fails.", nil)})
	var out bytes.Buffer
	w := httptest.NewRecorder()
	h := Ops(m, func(context.Context) error { return nil }, []string{"example.com"}, slog.New(slog.NewJSONHandler(&out, nil)))
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "latchkey_logins_total") || strings.Contains(w.Body.String(), "canary") {
		t.Errorf("got %d %s, want 200 with the other metrics and without the error", w.Code, w.Body)
	}
	if !strings.Contains(out.String(), "canary") {
		t.Errorf("got log %s, want it to contain the error", out.String())
	}
}

type failingGauge struct{ prometheus.Gauge }

func (g failingGauge) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(g.Desc(), errors.New("canary"))
}
