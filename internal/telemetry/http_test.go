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
	c := newCollector(t)
	tracing := c.tracing(nil)
	log := slog.New(Handler(slog.NewJSONHandler(&out, nil)))
	visit(HTTP{Tracing: tracing, Log: AccessLog(log)}, NewMetrics(), func(*http.Request) {})
	shutdown(t, tracing)
	for _, canary := range canaries {
		if strings.Contains(out.String(), canary) && canary != "203.0.113.77" {
			t.Errorf("%s is in the log", canary)
		}
	}
	got := read(t, &out)
	if len(got) != 1 {
		t.Fatalf("%d lines: %v", len(got), got)
	}
	if took, _ := got[0]["durationMs"].(float64); took <= 0 {
		t.Errorf("durationMs is %v", got[0]["durationMs"])
	}
	if got[0]["trace_id"] != traceIDOf(c.spans["GET /auth/sessions/{id}"]) {
		t.Errorf("trace_id is %v", got[0]["trace_id"])
	}
	for _, name := range []string{"durationMs", "trace_id", "span_id"} {
		delete(got[0], name)
	}
	want := map[string]any{
		"msg": "request", "method": "GET", "route": "/auth/sessions/{id}", "status": 503., "bytes": 5.,
		"requestId": "request-1", "ip": "203.0.113.77",
	}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// answers are what a handler may do with a request, and what is seen of it.
var answers = map[string]struct {
	handler http.HandlerFunc
	status  int
	bytes   float64
}{
	"/nothing":  {func(http.ResponseWriter, *http.Request) {}, http.StatusOK, 0},
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
	"/broken": {func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		panic(http.ErrAbortHandler)
	}, http.StatusOK, 0},
}

func TestAnswersAreSeen(t *testing.T) {
	t.Parallel()
	for path, row := range answers {
		var out bytes.Buffer
		m := NewMetrics()
		m.Routes(path)
		h := HTTP{
			Metrics: m, Log: AccessLog(slog.New(slog.NewJSONHandler(&out, nil)), "/probe", "/notready"),
			Route: func(r *http.Request) string { return r.URL.Path },
		}
		func() {
			defer func() {
				if p, _ := recover().(error); p != nil && !errors.Is(p, http.ErrAbortHandler) {
					t.Errorf("%s: %v", path, p)
				}
			}()
			h.Middleware(row.handler).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodHead, path, http.NoBody))
		}()
		if got := testutil.ToFloat64(m.requests.WithLabelValues("HEAD", path, statusText(row.status))); got != 1 {
			t.Errorf("%s: counted %v times as a %d", path, got, row.status)
		}
		if got := testutil.ToFloat64(m.inFlight); got != 0 {
			t.Errorf("%s: %v are in flight", path, got)
		}
		lines := read(t, &out)
		if path == "/probe" {
			if len(lines) != 0 {
				t.Errorf("%s: %v", path, lines)
			}
			continue
		}
		if len(lines) != 1 || lines[0]["bytes"] != row.bytes || lines[0]["status"] != float64(row.status) {
			t.Errorf("%s: %v", path, lines)
		}
	}
}

func TestInFlight(t *testing.T) {
	t.Parallel()
	m := NewMetrics()
	h := HTTP{Metrics: m}.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if got := testutil.ToFloat64(m.inFlight); got != 1 {
			t.Errorf("%v are in flight", got)
		}
	}))
	h.ServeHTTP(httptest.NewRecorder(), newRequest())
}
