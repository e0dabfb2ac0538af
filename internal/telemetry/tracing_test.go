package telemetry

import (
	"bytes"
	"context"
	"encoding/hex"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/event"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"

	"latchkey/internal/testkit"
)

// canaries are secrets and personal data in a request and its commands. None of them may be exported.
var canaries = []string{"canary-query", "canary-cookie", "canary-id", "canary-key", "canary-argument", "canary@example.com", "canary-failure", "canary-agent", "203.0.113.77"}

// complete sets the fields that a test does not use.
func (h HTTP) complete() HTTP {
	if h.Log == nil {
		h.Log = slog.New(slog.DiscardHandler)
	}
	if h.Route == nil {
		h.Route = func(*http.Request) string { return "" }
	}
	if h.ClientIP == nil {
		h.ClientIP = func(*http.Request) string { return "" }
	}
	if h.Trusted == nil {
		h.Trusted = func(*http.Request) bool { return false }
	}

	return h
}

// visit sends a request through h to a route that uses both stores. change, which may be nil, modifies
// the request.
func visit(h HTTP, m *Metrics, change func(*http.Request)) {
	monitor := m.MongoMonitor()
	router := http.NewServeMux()
	router.HandleFunc("GET /auth/sessions/{id}", func(w http.ResponseWriter, r *http.Request) {
		m.RedisCommand(r.Context(), "GET").Done(nil)
		m.RedisCommand(r.Context(), "canary-argument").Done(context.DeadlineExceeded)
		filter, _ := bson.Marshal(bson.D{{Key: "find", Value: "users"}, {Key: "filter", Value: bson.D{{Key: "email", Value: "canary@example.com"}}}})
		monitor.Started(r.Context(), &event.CommandStartedEvent{Command: filter, CommandName: "find", DatabaseName: "latchkey", RequestID: 1, ConnectionID: "a"})
		monitor.Started(r.Context(), &event.CommandStartedEvent{CommandName: "insert", DatabaseName: "latchkey", RequestID: 1, ConnectionID: "b"})
		monitor.Succeeded(r.Context(), &event.CommandSucceededEvent{CommandFinishedEvent: event.CommandFinishedEvent{CommandName: "find", RequestID: 1, ConnectionID: "a"}})
		monitor.Failed(r.Context(), &event.CommandFailedEvent{Failure: "dup key: canary-failure", CommandFinishedEvent: event.CommandFinishedEvent{CommandName: "insert", RequestID: 1, ConnectionID: "b"}})
		http.Error(w, "down", http.StatusServiceUnavailable)
	})

	h.Metrics = m
	h.Route = func(r *http.Request) string {
		_, path, _ := strings.Cut(r.Pattern, " ")
		return path
	}

	h.ClientIP = func(*http.Request) string { return "203.0.113.77" }
	r := httptest.NewRequest(http.MethodGet, "/auth/sessions/canary-id?token=canary-query", http.NoBody)
	r.Header.Set("Cookie", "__Host-sid=canary-cookie")
	r.Header.Set("User-Agent", "canary-agent")
	if change != nil {
		change(r)
	}

	w := httptest.NewRecorder()
	w.Header().Set("X-Request-Id", "request-1")
	h.complete().Middleware(router).ServeHTTP(w, r)
}

func TestRequestSpans(t *testing.T) {
	t.Parallel()

	c := export(t, map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "x-key=collectors-secret", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test"}, HTTP{}, nil)

	const serverKind = "SPAN_KIND_SERVER"
	const clientKind = "SPAN_KIND_CLIENT"
	want := map[string]map[string]string{
		"GET /auth/sessions/{id}": {"kind": serverKind, "status": "STATUS_CODE_ERROR", "http.request.method": "GET", "http.route": "/auth/sessions/{id}", "http.response.status_code": "503", "error.type": "503"},
		"GET":                     {"kind": clientKind, "status": "STATUS_CODE_UNSET", "db.system.name": "redis", "db.operation.name": "GET"},
		"other":                   {"kind": clientKind, "status": "STATUS_CODE_ERROR", "db.system.name": "redis", "db.operation.name": "other", "error.type": "timeout"},
		"find users":              {"kind": clientKind, "status": "STATUS_CODE_UNSET", "db.system.name": "mongodb", "db.namespace": "latchkey", "db.operation.name": "find", "db.collection.name": "users"},
		"insert":                  {"kind": clientKind, "status": "STATUS_CODE_ERROR", "db.system.name": "mongodb", "db.namespace": "latchkey", "db.operation.name": "insert", "error.type": "error"},
	}

	got := map[string]map[string]string{}
	root := c.spans["GET /auth/sessions/{id}"]

	for name, span := range c.spans {
		got[name] = attributeTexts(span.GetAttributes())
		got[name]["kind"], got[name]["status"] = span.GetKind().String(), span.GetStatus().GetCode().String()
		if !bytes.Equal(span.GetTraceId(), root.GetTraceId()) || span != root && !bytes.Equal(span.GetParentSpanId(), root.GetSpanId()) {
			t.Errorf("span %s: got trace %x and parent %x, want trace %x and parent %x",
				name, span.GetTraceId(), span.GetParentSpanId(), root.GetTraceId(), root.GetSpanId())
		}
		if len(span.GetEvents()) > 0 || span.GetStatus().GetMessage() != "" {
			t.Errorf("span %s: got events %v and status message %q, want neither",
				name, span.GetEvents(), span.GetStatus().GetMessage())
		}
	}

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("spans (-want +got)\n%s", diff)
	}
	if c.resource["service.name"] != "latchkey" || c.resource["deployment.environment.name"] != "test" {
		t.Errorf("got resource %v, want service.name latchkey and deployment.environment.name test",
			c.resource)
	}
	if !strings.Contains(c.raw.String(), "X-Key: collectors-secret") {
		t.Error("got an export without the header X-Key, want the configured header")
	}

	for _, canary := range canaries {
		if strings.Contains(c.raw.String(), canary) {
			t.Errorf("got an export containing %q, want no data of the request", canary)
		}
	}
}

// The traceparent header is used only if the request is trusted: otherwise clients could add spans to
// any trace and force sampling.
func TestTraceparentOnlyIfTrusted(t *testing.T) {
	t.Parallel()

	const traceID = "0af7651916cd43dd8448eb211c80319c"
	const parentID = "b7ad6b7169203331"
	for _, trusted := range []bool{true, false} {
		h := HTTP{Trusted: func(*http.Request) bool { return trusted }}
		c := export(t, nil, h, func(r *http.Request) { r.Header.Set("Traceparent", "00-"+traceID+"-"+parentID+"-01") })
		span := c.spans["GET /auth/sessions/{id}"]
		gotTrace := traceIDOf(span)
		gotParent := hex.EncodeToString(span.GetParentSpanId())

		if trusted && (gotTrace != traceID || gotParent != parentID) {
			t.Errorf("trusted request: got trace %s and parent %q, want trace %s and parent %s, as in the header",
				gotTrace, gotParent, traceID, parentID)
		}
		if !trusted && (gotTrace == traceID || gotParent != "") {
			t.Errorf("untrusted request: got trace %s and parent %q, want a new trace without a parent",
				gotTrace, gotParent)
		}
	}
}

func TestUnknownMethod(t *testing.T) {
	t.Parallel()

	c := export(t, nil, HTTP{}, func(r *http.Request) { r.Method = "CANARY" })
	span, ok := c.spans["HTTP"]
	if !ok {
		t.Fatalf("got spans %v, want one named HTTP", slices.Collect(maps.Keys(c.spans)))
	}
	if got := attributeTexts(span.GetAttributes()); got["http.request.method"] != "_OTHER" || got["http.route"] != "" {
		t.Errorf("span HTTP: got attributes %v, want http.request.method _OTHER and no http.route", got)
	}
	if strings.Contains(c.raw.String(), "CANARY") {
		t.Error("client-supplied method reached the collector")
	}
}

func TestSampler(t *testing.T) {
	t.Parallel()

	c := export(t, map[string]string{"OTEL_TRACES_SAMPLER": "always_off"}, HTTP{}, nil)
	if len(c.spans) > 0 {
		t.Errorf("got spans %v, want none", c.spans)
	}
}

func TestTracingEnabled(t *testing.T) {
	t.Parallel()

	const endpoint = "http://127.0.0.1:1"
	for name, row := range map[string]struct {
		vars map[string]string
		want string // "on", "off", or a part of the error
	}{
		"nothing":                   {map[string]string{}, "off"},
		"endpoint":                  {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, "on"},
		"endpoint for traces":       {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint + "/x"}, "on"},
		"exporter otlp":             {map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, "on"},
		"exporter none":             {map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, "off"},
		"disabled":                  {map[string]string{"OTEL_SDK_DISABLED": "TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, "off"},
		"unsupported exporter":      {map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER"},
		"gRPC":                      {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL"},
		"negative batch":            {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "-1"}, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"},
		"huge queue":                {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_MAX_QUEUE_SIZE": "1000000000000"}, "OTEL_BSP_MAX_QUEUE_SIZE"},
		"JSON":                      {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "on"},
		"gRPC, disabled":            {map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "off"},
		"no scheme":                 {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "canary:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT"},
		"invalid URL with a secret": {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:canary%zz@x"}, "OTEL_EXPORTER_OTLP_ENDPOINT"},
		"malformed attributes":      {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_RESOURCE_ATTRIBUTES": "a"}, "on"},
		"surrounding spaces":        {map[string]string{"OTEL_TRACES_EXPORTER": " otlp "}, "on"},
	} {
		tracing, err := NewTracing(context.Background(), row.vars, slog.New(slog.DiscardHandler))
		got := "off"
		switch {
		case err != nil:
			got = row.want
			if !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: got error %v, want it to name %s without the value", name, err, row.want)
			}
		case tracing != nil:
			got = "on"
			_ = tracing.Shutdown(context.Background())
		}

		if got != row.want {
			t.Errorf("%s: got %s, want %s", name, got, row.want)
		}
	}
}

// hangingCollector is the transport to a collector that accepts requests and never responds.
type hangingCollector struct{ started, cancelled chan struct{} }

func (h hangingCollector) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case h.started <- struct{}{}:
	default:
	}

	<-r.Context().Done()

	select {
	case h.cancelled <- struct{}{}:
	default:
	}

	return nil, r.Context().Err()
}

// A collector that hangs does not delay requests, and delays Shutdown no longer than its timeout. The
// clock in a synctest bubble advances only while all goroutines are blocked, so any wait is visible. A
// leaked goroutine would fail the test.
func TestHangingCollector(t *testing.T) {
	t.Parallel()

	vars := map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1", "OTEL_BSP_MAX_QUEUE_SIZE": "8"}
	for name, row := range map[string]struct {
		timeout time.Duration
		want    time.Duration
	}{
		"own timeout":           {time.Hour, flushTimeout},
		"caller's timeout":      {time.Second, time.Second},
		"context already ended": {0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := hangingCollector{make(chan struct{}, 1), make(chan struct{}, 1)}
			tracing, err := NewTracing(context.Background(), vars, slog.New(slog.DiscardHandler), otlptracehttp.WithHTTPClient(&http.Client{Transport: h}))
			testkit.NoError(t, err)

			start := time.Now()
			visit(HTTP{Tracing: tracing}, nil, nil)
			<-h.started

			for range 1000 {
				visit(HTTP{Tracing: tracing}, nil, nil)
			}

			if took := time.Since(start); took > 0 {
				t.Errorf("%s: got requests delayed by %v, want no delay", name, took)
			}

			ctx, cancel := context.WithTimeout(context.Background(), row.timeout)
			defer cancel()
			if err := tracing.Shutdown(ctx); err == nil {
				t.Errorf("%s: Shutdown: got no error, want one for the lost spans", name)
			}

			if took := time.Since(start); took != row.want {
				t.Errorf("%s: Shutdown: got an error after %v, want it after %v", name, took, row.want)
			}

			<-h.cancelled
			visit(HTTP{Tracing: tracing}, nil, nil)
		})
	}
}
