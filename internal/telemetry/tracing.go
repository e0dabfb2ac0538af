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

	"latchkey/internal/buildinfo"
)

// flushTimeout limits the export of the last spans when the process ends.
const flushTimeout = time.Second

// Tracing creates spans for requests and exports them with OTLP over HTTP, in the background.
// An unavailable collector does not slow down requests: spans wait in a buffer of fixed size
// and are dropped when it is full. A nil *Tracing does nothing.
type Tracing struct {
	provider *sdktrace.TracerProvider
	batches  sdktrace.SpanProcessor
	exporter *otlptrace.Exporter
	tracer   trace.Tracer
}

// NewTracing returns a Tracing that is configured by OpenTelemetry's standard variables
// (OTEL_SDK_DISABLED, OTEL_TRACES_EXPORTER, OTEL_EXPORTER_OTLP_*, OTEL_SERVICE_NAME,
// OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, OTEL_BSP_*, OTEL_SPAN_*). vars contains all
// settings, whether from the environment or from a file. Without OTEL_TRACES_EXPORTER or an
// endpoint, NewTracing returns nil.
//
// It does not connect yet. Errors name the variable but not its value, which may contain a
// password. The options are passed to the exporter.
func NewTracing(ctx context.Context, vars map[string]string, log *slog.Logger, options ...otlptracehttp.Option) (*Tracing, error) {
	enabled, err := tracingEnabled(vars)
	if err != nil || !enabled {
		return nil, err
	}

	redirectOTelErrors(log)

	t := &Tracing{}
	withOTelEnv(vars, func() { err = t.init(ctx, options) })
	if err != nil {
		return nil, fmt.Errorf("OTEL_*: %w", err)
	}

	return t, nil
}

func (t *Tracing) init(ctx context.Context, options []otlptracehttp.Option) error {
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return err
	}

	// Do not add process attributes: the command line may contain secrets.
	res, err := resource.New(ctx,
		resource.WithAttributes(
			attribute.String("service.name", "latchkey"),
			attribute.String("service.version", buildinfo.Version())),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv())
	if errors.Is(err, resource.ErrPartialResource) { // OTEL_RESOURCE_ATTRIBUTES is malformed
		otel.Handle(err)
		err = nil
	}
	if err != nil {
		return err
	}

	t.exporter = exporter
	t.batches = sdktrace.NewBatchSpanProcessor(t.exporter)
	t.provider = sdktrace.NewTracerProvider(
		sdktrace.WithResource(res),
		sdktrace.WithSpanProcessor(t.batches),
		sdktrace.WithoutPanicRecording()) // the text of a panic may quote anything
	t.tracer = t.provider.Tracer(scope)

	return nil
}

// maxBatchSetting is the maximum value of an OTEL_BSP_* variable, in spans or milliseconds.
const maxBatchSetting = 100_000

// tracingEnabled reports whether the variables enable tracing, and rejects values that
// OpenTelemetry would misinterpret.
func tracingEnabled(vars map[string]string) (bool, error) {
	value := func(name string) string { return strings.TrimSpace(vars[name]) }

	exporter := value("OTEL_TRACES_EXPORTER")
	if exporter == "none" || strings.EqualFold(value("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	if exporter != "" && exporter != "otlp" {
		return false, errors.New("OTEL_TRACES_EXPORTER: must be otlp or none")
	}
	enabled := exporter != ""

	// OpenTelemetry silently treats "collector:4318" as a path.
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		endpoint := value(name)
		if endpoint == "" {
			continue
		}

		enabled = true
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return false, fmt.Errorf("%s: must be a URL such as http://collector:4318", name)
		}
	}

	// OpenTelemetry allocates buffers of any size, and panics on negative sizes.
	for _, name := range []string{"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT"} {
		if value(name) == "" {
			continue
		}

		n, err := strconv.Atoi(value(name))
		if err != nil || n < 1 || n > maxBatchSetting {
			return false, fmt.Errorf("%s: must be a whole number from 1 to %d", name, maxBatchSetting)
		}
	}

	for _, name := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"} {
		protocol := value(name)
		isSupported := protocol == "" || protocol == "http/protobuf" || protocol == "http/json"
		if enabled && !isSupported {
			return false, fmt.Errorf("%s: must be http/protobuf or http/json", name)
		}
	}

	return enabled, nil
}

// Shutdown exports the remaining spans and stops. It takes at most one second, or less if
// ctx is done first. If spans are lost, it returns an error.
func (t *Tracing) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}

	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()

	if err := t.provider.Shutdown(ctx); err != nil {
		// Cancel the running export, and stop its goroutine.
		_ = t.exporter.Shutdown(ctx)
		_ = t.batches.Shutdown(ctx)

		return fmt.Errorf("spans lost at shutdown: %w", err)
	}

	return nil
}

// RequestSpan is the span of a request. The zero value does nothing.
type RequestSpan struct {
	span   trace.Span
	method string
}

// Request starts a span for a request and returns the request with the span in its context. trusted
// reports whether one of our proxies sent the request. If so, the span continues the trace in the
// traceparent header (W3C Trace Context). Otherwise the span starts a new trace: with the header,
// clients could add spans to any trace and force sampling. A trusted proxy must therefore set or
// remove the header itself. By default, nginx passes it on.
func (t *Tracing) Request(r *http.Request, trusted func(*http.Request) bool) (*http.Request, RequestSpan) {
	if t == nil {
		return r, RequestSpan{}
	}

	ctx := r.Context()
	if trusted(r) {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))
	}

	name := r.Method
	method := httpMethods.label(r.Method)
	if method == other {
		// OpenTelemetry's convention for unknown methods.
		name = "HTTP"
		method = "_OTHER"
	}

	ctx, span := t.tracer.Start(ctx, name,
		trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", method)))

	return r.WithContext(ctx), RequestSpan{span, name}
}

// End ends the span. route is the matched pattern, or "" if none matched.
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
