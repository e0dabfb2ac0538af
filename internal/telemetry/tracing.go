package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// flushTimeout bounds the last delivery of spans, at the end of the process.
const flushTimeout = time.Second

// Tracing makes the spans of requests and delivers them, beside the requests, by
// OTLP over HTTP. A collector that is away costs them nothing: spans wait in a buffer
// of a fixed size, and those for which there is no room are dropped. A nil *Tracing
// does nothing.
type Tracing struct {
	provider *sdktrace.TracerProvider
	batches  sdktrace.SpanProcessor
	exporter *otlptrace.Exporter
	tracer   trace.Tracer
}

// NewTracing returns what the variables ask for that OpenTelemetry has for it (OTEL_SDK_DISABLED,
// OTEL_TRACES_EXPORTER, OTEL_EXPORTER_OTLP_*, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES,
// OTEL_TRACES_SAMPLER, OTEL_BSP_*, OTEL_SPAN_*): a nil *Tracing unless there is
// OTEL_TRACES_EXPORTER or the address of a collector. vars are all settings, whether
// they come from the environment or from a file.
//
// Connecting is left for later. An error names the variable and not its value, in which
// there may be a password.
func NewTracing(ctx context.Context, vars map[string]string, log *slog.Logger) (*Tracing, error) {
	return newTracing(ctx, vars, log)
}

func newTracing(ctx context.Context, vars map[string]string, log *slog.Logger, options ...otlptracehttp.Option) (*Tracing, error) {
	on, err := wanted(vars)
	if err != nil || !on {
		return nil, err
	}
	version, _ := build()
	complain(log)
	t := &Tracing{}
	inEnviron(vars, func() {
		if t.exporter, err = otlptracehttp.New(ctx, options...); err != nil {
			return
		}
		var about *resource.Resource
		// Nothing of the process: its arguments and its user are nobody's business.
		about, err = resource.New(ctx,
			resource.WithAttributes(attribute.String("service.name", "latchkey"), attribute.String("service.version", version)),
			resource.WithTelemetrySDK(), resource.WithFromEnv())
		if errors.Is(err, resource.ErrPartialResource) { // a slip in OTEL_RESOURCE_ATTRIBUTES
			otel.Handle(err)
			err = nil
		}
		if err != nil {
			return
		}
		t.batches = sdktrace.NewBatchSpanProcessor(t.exporter)
		t.provider = sdktrace.NewTracerProvider(sdktrace.WithResource(about), sdktrace.WithSpanProcessor(t.batches),
			sdktrace.WithoutPanicRecording()) // what a panic says may quote anything
		t.tracer = t.provider.Tracer(scope)
	})
	if err != nil {
		return nil, fmt.Errorf("OTEL_*: %w", err)
	}
	return t, nil
}

// maxBatching is the most that OTEL_BSP_* may say: spans, or milliseconds.
const maxBatching = 100_000

// wanted tells whether the variables ask for traces.
func wanted(vars map[string]string) (bool, error) {
	given := func(name string) string { return strings.TrimSpace(vars[name]) }
	exporter := given("OTEL_TRACES_EXPORTER")
	if exporter == "none" || strings.EqualFold(given("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	if exporter != "" && exporter != "otlp" {
		return false, errors.New("OTEL_TRACES_EXPORTER: must be otlp or none")
	}
	on := exporter != ""
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		address := given(name)
		if address == "" {
			continue
		}
		on = true
		// OpenTelemetry takes "collector:4318" for a path, and says nothing.
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return false, fmt.Errorf("%s: must be a URL, as http://collector:4318", name)
		}
	}
	// OpenTelemetry makes what it is told to, however large, or panics.
	for _, name := range []string{"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT"} {
		if n, err := strconv.Atoi(given(name)); given(name) != "" && (err != nil || n < 1 || n > maxBatching) {
			return false, fmt.Errorf("%s: must be a whole number from 1 to %d", name, maxBatching)
		}
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"} {
		if p := given(name); on && p != "" && p != "http/protobuf" && p != "http/json" {
			return false, fmt.Errorf("%s: must be http/protobuf or http/json", name)
		}
	}
	return on, nil
}

// Shutdown delivers what waits, and ends: when ctx does, or after a second. What was not
// delivered by then is lost, which is the error.
func (t *Tracing) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	err := t.provider.Shutdown(ctx)
	if err != nil {
		// Cuts short the delivery that is under way, and ends the goroutine that makes it.
		_ = t.exporter.Shutdown(ctx)
		_ = t.batches.Shutdown(ctx)
		return fmt.Errorf("the last spans are lost: %w", err)
	}
	return nil
}

// RequestSpan is the span of a request. The zero value is none.
type RequestSpan struct {
	span   trace.Span
	method string
}

// Request begins the span of a request and returns the request that has it in its
// context. Where trusted says that a proxy of ours has sent it, it goes on with the trace
// of its traceparent (W3C Trace Context). From anybody else it begins one of its own:
// who writes that header would decide what is kept, and could write into any trace. So
// that proxy has to write the header itself or to drop it, as nginx does not by default.
func (t *Tracing) Request(r *http.Request, trusted bool) (*http.Request, RequestSpan) {
	if t == nil {
		return r, RequestSpan{}
	}
	ctx := r.Context()
	if trusted {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))
	}
	name, method := r.Method, httpMethods.of(r.Method)
	if method == other {
		name, method = "HTTP", "_OTHER" // as OpenTelemetry has it for methods that are not HTTP's
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", method)))
	return r.WithContext(ctx), RequestSpan{span, name}
}

// End ends the span of a request with the router's pattern, "" where none fits, and with
// the status of the answer.
func (s RequestSpan) End(route string, status int) {
	if s.span == nil {
		return
	}
	if route != "" {
		s.span.SetName(s.method + " " + route)
		s.span.SetAttributes(attribute.String("http.route", route))
	}
	s.span.SetAttributes(attribute.Int("http.response.status_code", status))
	if status >= http.StatusInternalServerError {
		s.span.SetStatus(codes.Error, "")
		s.span.SetAttributes(attribute.String("error.type", statusText(status)))
	}
	s.span.End()
}
