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

// fakeCollector is an OpenTelemetry collector that keeps the spans it receives, by name.
type fakeCollector struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	raw      bytes.Buffer // everything received, including headers
	spans    map[string]*otlp.Span
	resource map[string]string
}

func (c *fakeCollector) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	var request collector.ExportTraceServiceRequest
	if err := errors.Join(err, proto.Unmarshal(raw, &request)); err != nil {
		c.t.Errorf("read an export request: got error %v, want none", err)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	_ = r.Header.Write(&c.raw)
	c.raw.Write(raw)

	for _, group := range request.GetResourceSpans() {
		c.resource = attributeTexts(group.GetResource().GetAttributes())
		for _, scope := range group.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				c.spans[span.GetName()] = span
			}
		}
	}
}

// attributeTexts returns the string attributes, and the integer ones, which are HTTP statuses, as text.
func attributeTexts(attrs []*common.KeyValue) map[string]string {
	texts := map[string]string{}
	for _, kv := range attrs {
		texts[kv.GetKey()] = kv.GetValue().GetStringValue()
		if n := kv.GetValue().GetIntValue(); n != 0 {
			texts[kv.GetKey()] = statusText(int(n))
		}
	}

	return texts
}

// export sends a request through h, like visit, and returns the collector that received its spans.
// vars are settings of the tracing, in addition to the collector's endpoint.
func export(t *testing.T, vars map[string]string, h HTTP, change func(*http.Request)) *fakeCollector {
	t.Helper()

	c := &fakeCollector{t: t, spans: map[string]*otlp.Span{}}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)

	all := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL}
	maps.Copy(all, vars)

	var err error
	h.Tracing, err = NewTracing(context.Background(), all, slog.New(slog.DiscardHandler))
	testkit.NoError(t, err)

	visit(h, nil, change)
	shutdown(t, h.Tracing)

	return c
}

func shutdown(t *testing.T, tracing *Tracing) {
	t.Helper()

	testkit.NoError(t, tracing.Shutdown(context.Background()))
}
