package telemetry

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/slogtest"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"latchkey/internal/testkit"
)

func newRequest() *http.Request { return httptest.NewRequest(http.MethodGet, "/", http.NoBody) }

func traceIDOf(span *otlp.Span) string { return hex.EncodeToString(span.GetTraceId()) }

// spanContext returns a context that contains a span.
func spanContext() context.Context {
	return trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2},
	}))
}

// read returns the fields of each log line, without time and level.
func read(t *testing.T, out *bytes.Buffer) []map[string]any {
	t.Helper()

	var lines []map[string]any
	for line := range strings.Lines(out.String()) {
		fields := map[string]any{}
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("got log line %s, error %v, want JSON", line, err)
		}

		delete(fields, "time")
		delete(fields, "level")
		lines = append(lines, fields)
	}

	return lines
}

func TestLogLinesContainTrace(t *testing.T) {
	t.Parallel()

	var out bytes.Buffer
	log := slog.New(LogHandler(slog.NewJSONHandler(&out, nil)))
	ctx := spanContext()
	log.InfoContext(ctx, "plain")
	log.With("a", 1).InfoContext(ctx, "with", "b", 2)
	log.WithGroup("g").InfoContext(ctx, "grouped", "c", 3)
	log.Info("without")
	log.DebugContext(ctx, "below the level")
	withIDs := func(fields map[string]any) map[string]any {
		fields["trace_id"], fields["span_id"] = "01000000000000000000000000000000", "0200000000000000"
		return fields
	}

	want := []map[string]any{
		withIDs(map[string]any{"msg": "plain"}),
		withIDs(map[string]any{"msg": "with", "a": 1., "b": 2.}),
		{"msg": "grouped", "g": withIDs(map[string]any{"c": 3.})},
		{"msg": "without"},
	}

	if diff := cmp.Diff(want, read(t, &out)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestLogHandlerConformsToSlog(t *testing.T) {
	t.Parallel()

	var out bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.Reset()
		return LogHandler(slog.NewJSONHandler(&out, nil))
	}, func(t *testing.T) map[string]any {
		fields := map[string]any{}
		testkit.NoError(t, json.Unmarshal(out.Bytes(), &fields))

		return fields
	})
}
