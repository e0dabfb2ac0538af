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

// inSpan returns a context that contains a span.
func inSpan() context.Context {
	return trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2},
	}))
}

// read returns the logged lines without time and level.
func read(t *testing.T, out *bytes.Buffer) []map[string]any {
	t.Helper()

	var all []map[string]any
	for line := range strings.Lines(out.String()) {
		one := map[string]any{}
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("got error %v for line %s", err, line)
		}

		delete(one, "time")
		delete(one, "level")
		all = append(all, one)
	}

	return all
}

func TestLogLinesContainTrace(t *testing.T) {
	t.Parallel()

	var out bytes.Buffer
	log := slog.New(LogHandler(slog.NewJSONHandler(&out, nil)))
	ctx := inSpan()
	log.InfoContext(ctx, "plain")
	log.With("a", 1).InfoContext(ctx, "with", "b", 2)
	log.WithGroup("g").InfoContext(ctx, "grouped", "c", 3)
	log.Info("without")
	log.DebugContext(ctx, "below the level")
	ids := func(more map[string]any) map[string]any {
		more["trace_id"], more["span_id"] = "01000000000000000000000000000000", "0200000000000000"
		return more
	}

	want := []map[string]any{
		ids(map[string]any{"msg": "plain"}),
		ids(map[string]any{"msg": "with", "a": 1., "b": 2.}),
		{"msg": "grouped", "g": ids(map[string]any{"c": 3.})},
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
		one := map[string]any{}
		testkit.NoError(t, json.Unmarshal(out.Bytes(), &one))

		return one
	})
}
