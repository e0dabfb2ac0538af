package telemetry

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestAccessLog(t *testing.T) {
	t.Parallel()

	var out bytes.Buffer
	c := export(t, nil, HTTP{Log: slog.New(LogHandler(slog.NewJSONHandler(&out, nil)))}, nil)

	for _, canary := range canaries {
		if strings.Contains(out.String(), canary) && canary != "203.0.113.77" {
			t.Errorf("got log %s, want it not to contain %q", out.String(), canary)
		}
	}

	got := read(t, &out)
	if len(got) != 1 {
		t.Fatalf("got %d log lines, want 1: %v", len(got), got)
	}
	if took, _ := got[0]["durationMs"].(float64); took <= 0 {
		t.Errorf("got durationMs %v, want more than 0", got[0]["durationMs"])
	}
	if want := traceIDOf(c.spans["GET /auth/sessions/{id}"]); got[0]["trace_id"] != want {
		t.Errorf("got trace_id %v, want %s, the request's trace", got[0]["trace_id"], want)
	}

	for _, name := range []string{"durationMs", "trace_id", "span_id"} {
		delete(got[0], name)
	}

	want := map[string]any{
		"msg": "request", "method": "GET", "route": "/auth/sessions/{id}", "status": 503., "bytes": 5.,
		"requestId": "request-1", "ip": "203.0.113.77",
	}

	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("log line (-want +got)\n%s", diff)
	}
}

// responses maps paths to handlers, and to the status and the body size that HTTP must observe.
var responses = map[string]struct {
	handler http.HandlerFunc
	status  int
	bytes   float64
}{
	"/empty":    {func(http.ResponseWriter, *http.Request) {}, http.StatusOK, 0},
	"/body":     {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "four") }, http.StatusOK, 4},
	"/probe":    {func(http.ResponseWriter, *http.Request) {}, http.StatusOK, 0},
	"/notready": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, http.StatusServiceUnavailable, 0},
	"/hints": {func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusNoContent)
	}, http.StatusNoContent, 0},
	"/flushed": {func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		if err := http.NewResponseController(w).Flush(); err != nil {
			panic(err)
		}
	}, http.StatusAccepted, 0},
	"/panic": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, http.StatusInternalServerError, 0},
	"/panic-after-header": {func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		panic(http.ErrAbortHandler)
	}, http.StatusOK, 0},
}

func TestResponsesAreObserved(t *testing.T) {
	t.Parallel()

	for path, row := range responses {
		var out bytes.Buffer
		m := NewMetrics()
		m.Routes(path)
		h := HTTP{
			Metrics: m, Log: slog.New(slog.NewJSONHandler(&out, nil)), Quiet: []string{"/probe", "/notready"},
			Route: func(r *http.Request) string { return r.URL.Path },
		}.complete()

		func() {
			defer func() {
				if p, _ := recover().(error); p != nil && !errors.Is(p, http.ErrAbortHandler) {
					t.Errorf("%s: got panic %v, want none or %v", path, p, http.ErrAbortHandler)
				}
			}()

			handler := func(w http.ResponseWriter, r *http.Request) {
				if got := testutil.ToFloat64(m.inFlight); got != 1 {
					t.Errorf("%s: got %v requests in flight during the request, want 1", path, got)
				}

				row.handler(w, r)
			}

			h.Middleware(http.HandlerFunc(handler)).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodHead, path, http.NoBody))
		}()

		if got := testutil.ToFloat64(m.requests.WithLabelValues("HEAD", path, statusText(row.status))); got != 1 {
			t.Errorf("%s: got %v requests with status %d, want 1", path, got, row.status)
		}
		if got := testutil.ToFloat64(m.inFlight); got != 0 {
			t.Errorf("%s: got %v requests in flight after the request, want 0", path, got)
		}

		lines := read(t, &out)
		if path == "/probe" {
			if len(lines) != 0 {
				t.Errorf("%s: got log lines %v, want none", path, lines)
			}
			continue
		}
		if len(lines) != 1 || lines[0]["bytes"] != row.bytes || lines[0]["status"] != float64(row.status) {
			t.Errorf("%s: got log lines %v, want one with status %d and %v bytes",
				path, lines, row.status, row.bytes)
		}
	}
}
