package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"

	"latchkey/internal/testkit"
)

// The tests in this file are not parallel because they use the environment and the global error
// handler of OpenTelemetry.

func TestSettingsOverrideEnvironment(t *testing.T) {
	t.Setenv("OTEL_SERVICE_NAME", "environment")
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off") // not in the settings
	c := newCollector(t)
	tracing := c.tracing(map[string]string{"OTEL_SERVICE_NAME": "settings", "OTEL_CANARY": "x"})
	_, span := tracing.Request(newRequest(), false)
	span.End("/", 200)
	shutdown(t, tracing)
	if c.resource["service.name"] != "settings" {
		t.Errorf("got service.name %q, want settings", c.resource["service.name"])
	}
	if got := os.Getenv("OTEL_SERVICE_NAME"); got != "environment" {
		t.Errorf("got OTEL_SERVICE_NAME=%q afterwards, want the original value", got)
	}
	if os.Getenv("OTEL_TRACES_SAMPLER") != "always_off" {
		t.Errorf("got OTEL_TRACES_SAMPLER=%q afterwards, want the original value", os.Getenv("OTEL_TRACES_SAMPLER"))
	}
	if _, there := os.LookupEnv("OTEL_CANARY"); there {
		t.Error("got OTEL_CANARY in the environment afterwards, want it to be removed")
	}
}

func TestOTelErrorsAreLogged(t *testing.T) {
	var out bytes.Buffer
	vars := map[string]string{
		"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_HEADERS": "key=canary%zz", "OTEL_TRACES_SAMPLER": "sometimes",
	}

	tracing, err := NewTracing(context.Background(), vars, slog.New(slog.NewJSONHandler(&out, nil)))
	testkit.NoError(t, err)
	defer func() { _ = tracing.Shutdown(context.Background()) }()
	for range 100 {
		otel.Handle(errors.New("refused " + strings.Repeat("x", 1<<20)))
	}

	otel.Handle(nil)
	got := out.String()
	if n := strings.Count(got, "\n"); n != maxErrorLines {
		t.Errorf("got %d lines, want %d", n, maxErrorLines)
	}

	for _, want := range []string{"escape header value", "unsupported sampler: sometimes", "refused"} {
		if !strings.Contains(got, want) {
			t.Errorf("got log %s, want it to contain %q", got, want)
		}
	}

	if strings.Contains(got, "canary") {
		t.Error("got the authorization header for the collector in the log")
	}
	if len(got) > 2000 {
		t.Errorf("got %d bytes of log, want at most 2000", len(got))
	}
}

func TestErrorLogLimitPerMinute(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1_000_000, 0)
	l := &errorLog{
		log:     slog.New(slog.NewTextHandler(&out, nil)),
		message: "trace export failed",
		now:     func() time.Time { return now },
	}

	for range 3 {
		for range 10 {
			l.Handle(errors.New("connection refused"))
		}

		now = now.Add(time.Minute)
	}

	if n := strings.Count(out.String(), "\n"); n != 3*maxErrorLines {
		t.Errorf("got %d lines, want %d", n, 3*maxErrorLines)
	}
}
