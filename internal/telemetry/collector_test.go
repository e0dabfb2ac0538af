package telemetry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"latchkey/internal/testkit"
)

// fakeCollector is an OpenTelemetry collector that keeps the spans.
type fakeCollector struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	raw      bytes.Buffer // everything received, including headers
	spans    map[string]*otlp.Span
	resource map[string]string
}

func newCollector(t *testing.T) *fakeCollector {
	c := &fakeCollector{t: t, spans: map[string]*otlp.Span{}}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)

	return c
}

func (c *fakeCollector) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	var in collector.ExportTraceServiceRequest
	if err := errors.Join(err, proto.Unmarshal(raw, &in)); err != nil {
		c.t.Errorf("got error %v, want none", err)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	_ = r.Header.Write(&c.raw)
	c.raw.Write(raw)

	for _, of := range in.GetResourceSpans() {
		c.resource = textOf(of.GetResource().GetAttributes())
		for _, scope := range of.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				c.spans[span.GetName()] = span
			}
		}
	}
}

func textOf(attrs []*common.KeyValue) map[string]string {
	texts := map[string]string{}
	for _, kv := range attrs {
		texts[kv.GetKey()] = kv.GetValue().GetStringValue()
		if n := kv.GetValue().GetIntValue(); n != 0 {
			texts[kv.GetKey()] = statusText(int(n))
		}
	}

	return texts
}

// tracing returns a Tracing that exports to the collector when it is shut down.
func (c *fakeCollector) tracing(vars map[string]string) *Tracing {
	c.t.Helper()
	all := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL}
	maps.Copy(all, vars)
	tracing, err := NewTracing(context.Background(), all, slog.New(slog.DiscardHandler))
	if err != nil || tracing == nil {
		c.t.Fatalf("got %v, error %v, want a Tracing", tracing, err)
	}

	return tracing
}

func shutdown(t *testing.T, tracing *Tracing) {
	t.Helper()

	testkit.NoError(t, tracing.Shutdown(context.Background()))
}
