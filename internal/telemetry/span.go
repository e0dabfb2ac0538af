package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// scope is the instrumentation scope of all spans.
const scope = "latchkey/internal/telemetry"

// traced reports whether ctx contains a span that is recorded.
func traced(ctx context.Context) bool { return trace.SpanFromContext(ctx).IsRecording() }

// Span starts a child of the span in ctx, and returns the child and a context that contains it. The
// caller must end the child. If ctx contains no recorded span, Span does nothing: otherwise
// background polling would fill the traces.
//
// Names and attributes are sent to the collector. They must contain neither secrets nor
// personal data; see the package documentation.
func Span(ctx context.Context, name string, kind trace.SpanKind, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, noSpan
	}

	return parent.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attrs...))
}

// noSpan is a span that is never recorded.
var noSpan = trace.SpanFromContext(context.Background())

// endSpan records a command's outcome in its span, and ends the span.
func endSpan(span trace.Span, outcome string) {
	if outcome != outcomeOK {
		span.SetStatus(codes.Error, "")
		span.SetAttributes(attribute.String("error.type", outcome))
	}

	span.End()
}
