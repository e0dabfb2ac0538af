package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// scope names this package as the one that makes the spans.
const scope = "latchkey/internal/telemetry"

// traced tells whether ctx has a span that is kept.
func traced(ctx context.Context) bool { return trace.SpanFromContext(ctx).IsRecording() }

// Span begins a span within the one of ctx, and returns a context that has it. Where ctx
// has none that is kept there is nothing to be part of, and nothing is begun: what polls
// a store all the time would fill the traces otherwise. End it with its End.
//
// Names and attributes leave this machine. Neither may have a secret, nor say who it is
// about: see the doc of the package.
func Span(ctx context.Context, name string, kind trace.SpanKind, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, noSpan
	}
	return parent.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attrs...))
}

// noSpan takes everything and keeps nothing.
var noSpan = trace.SpanFromContext(context.Background())

// endSpan ends the span of a command with what came of it. The error is not recorded:
// see outcomeOf.
func endSpan(span trace.Span, outcome string) {
	if outcome != outcomeOK {
		span.SetStatus(codes.Error, "")
		span.SetAttributes(attribute.String("error.type", outcome))
	}
	span.End()
}
