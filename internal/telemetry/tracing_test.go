package telemetry

import (
	"bytes"
	"context"
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
)

// What must not leave this machine, each where a careless line would take it from.
var canaries = []string{"canary-query", "canary-cookie", "canary-id", "canary-key", "canary-argument", "canary@example.com", "canary-failure", "canary-agent", "203.0.113.77"}

// visit sends one request through HTTP to a router with a route that asks both stores.
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
		http.Error(w, "away", http.StatusServiceUnavailable)
	})
	h.Metrics = m
	h.Route = func(r *http.Request) string { _, path, _ := strings.Cut(r.Pattern, " "); return path }
	h.RequestID = func(header http.Header) string { return header.Get("X-Request-Id") }
	h.ClientIP = func(*http.Request) string { return "203.0.113.77" }
	r := httptest.NewRequest(http.MethodGet, "/auth/sessions/canary-id?token=canary-query", http.NoBody)
	r.Header.Set("Cookie", "__Host-sid=canary-cookie")
	r.Header.Set("User-Agent", "canary-agent")
	change(r)
	w := httptest.NewRecorder()
	w.Header().Set("X-Request-Id", "request-1")
	h.Middleware(router).ServeHTTP(w, r)
}

func TestSpansOfARequest(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	tracing := c.tracing(map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "x-key=collectors-secret", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test"})
	visit(HTTP{Tracing: tracing}, NewMetrics(), func(*http.Request) {})
	shutdown(t, tracing)

	server, db := "SPAN_KIND_SERVER", "SPAN_KIND_CLIENT"
	want := map[string]map[string]string{
		"GET /auth/sessions/{id}": {"kind": server, "status": "STATUS_CODE_ERROR", "http.request.method": "GET", "http.route": "/auth/sessions/{id}", "http.response.status_code": "503", "error.type": "503"},
		"GET":                     {"kind": db, "status": "STATUS_CODE_UNSET", "db.system.name": "redis", "db.operation.name": "GET"},
		"other":                   {"kind": db, "status": "STATUS_CODE_ERROR", "db.system.name": "redis", "db.operation.name": "other", "error.type": "timeout"},
		"find users":              {"kind": db, "status": "STATUS_CODE_UNSET", "db.system.name": "mongodb", "db.namespace": "latchkey", "db.operation.name": "find", "db.collection.name": "users"},
		"insert":                  {"kind": db, "status": "STATUS_CODE_ERROR", "db.system.name": "mongodb", "db.namespace": "latchkey", "db.operation.name": "insert", "error.type": "error"},
	}
	got := map[string]map[string]string{}
	root := c.spans["GET /auth/sessions/{id}"]
	for name, span := range c.spans {
		got[name] = textOf(span.GetAttributes())
		got[name]["kind"], got[name]["status"] = span.GetKind().String(), span.GetStatus().GetCode().String()
		if !bytes.Equal(span.GetTraceId(), root.GetTraceId()) || span != root && !bytes.Equal(span.GetParentSpanId(), root.GetSpanId()) {
			t.Errorf("%s is not within the request", name)
		}
		if len(span.GetEvents()) > 0 || span.GetStatus().GetMessage() != "" {
			t.Errorf("%s says more than it may: %v", name, span)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if c.resource["service.name"] != "latchkey" || c.resource["deployment.environment.name"] != "test" {
		t.Errorf("resource: %v", c.resource)
	}
	if !strings.Contains(c.raw.String(), "X-Key: collectors-secret") {
		t.Error("the collector was not shown the header that it asks for")
	}
	for _, canary := range canaries {
		if strings.Contains(c.raw.String(), canary) {
			t.Errorf("%s left this machine", canary)
		}
	}
}

// A stranger who could choose the trace could write into anybody's, and would decide
// what is kept.
func TestTraceparentOfTheProxyOnly(t *testing.T) {
	t.Parallel()
	const given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, trusted := range []bool{true, false} {
		c := newCollector(t)
		tracing := c.tracing(nil)
		h := HTTP{Tracing: tracing, Trusted: func(*http.Request) bool { return trusted }}
		visit(h, nil, func(r *http.Request) { r.Header.Set("Traceparent", given) })
		shutdown(t, tracing)
		span := c.spans["GET /auth/sessions/{id}"]
		id := traceIDOf(span)
		if continued := id == "0af7651916cd43dd8448eb211c80319c"; continued != trusted || (len(span.GetParentSpanId()) > 0) != trusted {
			t.Errorf("trusted %v: trace %s, parent %x", trusted, id, span.GetParentSpanId())
		}
	}
}

func TestMethodOfNobody(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	tracing := c.tracing(nil)
	visit(HTTP{Tracing: tracing}, nil, func(r *http.Request) { r.Method = "CANARY" })
	shutdown(t, tracing)
	if got := textOf(c.spans["HTTP"].GetAttributes()); got["http.request.method"] != "_OTHER" || got["http.route"] != "" {
		t.Errorf("%v of %v", got, slices.Collect(maps.Keys(c.spans)))
	}
	if strings.Contains(c.raw.String(), "CANARY") {
		t.Error("a client names a span")
	}
}

func TestSampler(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	tracing := c.tracing(map[string]string{"OTEL_TRACES_SAMPLER": "always_off"})
	visit(HTTP{Tracing: tracing}, nil, func(*http.Request) {})
	shutdown(t, tracing)
	if len(c.spans) > 0 {
		t.Errorf("%v", c.spans)
	}
}

func TestWhetherThereAreTraces(t *testing.T) {
	t.Parallel()
	const here = "http://127.0.0.1:1"
	for name, row := range map[string]struct {
		vars map[string]string
		want string // "on", "off", or what the error has
	}{
		"nothing is set":         {map[string]string{}, "off"},
		"a name alone":           {map[string]string{"OTEL_SERVICE_NAME": "x"}, "off"},
		"a collector":            {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": here}, "on"},
		"one for traces":         {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": here + "/x"}, "on"},
		"the one at its place":   {map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, "on"},
		"none":                   {map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": here}, "off"},
		"disabled":               {map[string]string{"OTEL_SDK_DISABLED": "TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT": here}, "off"},
		"not disabled":           {map[string]string{"OTEL_SDK_DISABLED": "false", "OTEL_EXPORTER_OTLP_ENDPOINT": here}, "on"},
		"an exporter we lack":    {map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER"},
		"gRPC":                   {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": here, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL"},
		"a batch below zero":     {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": here, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "-1"}, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"},
		"a queue of all memory":  {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": here, "OTEL_BSP_MAX_QUEUE_SIZE": "1000000000000"}, "OTEL_BSP_MAX_QUEUE_SIZE"},
		"JSON":                   {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": here, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "on"},
		"gRPC where it is off":   {map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "off"},
		"no scheme":              {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "canary:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT"},
		"a secret, no URL":       {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:canary%zz@x"}, "OTEL_EXPORTER_OTLP_ENDPOINT"},
		"with a header":          {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": here, "OTEL_EXPORTER_OTLP_HEADERS": "a=b"}, "on"},
		"attributes with a slip": {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": here, "OTEL_RESOURCE_ATTRIBUTES": "a"}, "on"},
		"spaces around the name": {map[string]string{"OTEL_TRACES_EXPORTER": " otlp "}, "on"},
	} {
		tracing, err := NewTracing(context.Background(), row.vars, slog.New(slog.DiscardHandler))
		got := "off"
		switch {
		case err != nil:
			if got = row.want; !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: %v", name, err)
			}
		case tracing != nil:
			got = "on"
			_ = tracing.Shutdown(context.Background())
		}
		if got != row.want {
			t.Errorf("%s: %s, want %s", name, got, row.want)
		}
	}
}

// hanging is a collector that takes a request and never answers.
type hanging struct{ began, cut chan struct{} }

func (h hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case h.began <- struct{}{}:
	default:
	}
	<-r.Context().Done()
	select {
	case h.cut <- struct{}{}:
	default:
	}
	return nil, r.Context().Err()
}

// The clock of the bubble stands still as long as anything runs: if a request waited for
// the collector it would move, and if something were left running the test would not end.
func TestCollectorThatHangs(t *testing.T) {
	t.Parallel()
	vars := map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1", "OTEL_BSP_MAX_QUEUE_SIZE": "8"}
	for name, row := range map[string]struct {
		patience, took time.Duration
	}{"of ours": {time.Hour, flushTimeout}, "of the caller": {time.Second, time.Second}, "none": {0, 0}} {
		synctest.Test(t, func(t *testing.T) {
			h := hanging{make(chan struct{}, 1), make(chan struct{}, 1)}
			tracing, err := newTracing(context.Background(), vars, slog.New(slog.DiscardHandler), otlptracehttp.WithHTTPClient(&http.Client{Transport: h}))
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			visit(HTTP{Tracing: tracing}, nil, func(*http.Request) {})
			<-h.began
			for range 1000 {
				visit(HTTP{Tracing: tracing}, nil, func(*http.Request) {})
			}
			if took := time.Since(began); took > 0 {
				t.Errorf("%s: requests have waited for %v", name, took)
			}
			ctx, cancel := context.WithTimeout(context.Background(), row.patience)
			defer cancel()
			if err := tracing.Shutdown(ctx); err == nil {
				t.Errorf("%s: spans that were lost are no error", name)
			}
			if took := time.Since(began); took != row.took {
				t.Errorf("%s: the end took %v, want %v", name, took, row.took)
			}
			<-h.cut
			visit(HTTP{Tracing: tracing}, nil, func(*http.Request) {})
		})
	}
}
