package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"

	"latchkey/internal/testkit"
)

// The tests in this file are not parallel because they use the environment and OpenTelemetry's global
// error handler.

func TestSettingsOverrideEnvironment(t *testing.T) {
	t.Setenv("OTEL_SERVICE_NAME", "environment")
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off") // not in the settings
	c := export(t, map[string]string{"OTEL_SERVICE_NAME": "settings", "OTEL_CANARY": "x"}, HTTP{}, nil)
	if c.resource["service.name"] != "settings" {
		t.Errorf("got service.name %q, want settings", c.resource["service.name"])
	}
	if got := os.Getenv("OTEL_SERVICE_NAME"); got != "environment" {
		t.Errorf("after NewTracing: got OTEL_SERVICE_NAME=%q, want environment", got)
	}
	if got := os.Getenv("OTEL_TRACES_SAMPLER"); got != "always_off" {
		t.Errorf("after NewTracing: got OTEL_TRACES_SAMPLER=%q, want always_off", got)
	}
	if got, ok := os.LookupEnv("OTEL_CANARY"); ok {
		t.Errorf("after NewTracing: got OTEL_CANARY=%q, want it unset, as before", got)
	}
}

// OpenTelemetry's errors are logged without secrets, and only a few per minute. The clock in a synctest
// bubble starts on a full minute.
func TestOTelErrorsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		vars := map[string]string{
			"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_HEADERS": "key=canary%zz", "OTEL_TRACES_SAMPLER": "sometimes",
		}

		tracing, err := NewTracing(context.Background(), vars, slog.New(slog.NewJSONHandler(&out, nil)))
		testkit.NoError(t, err)
		defer shutdown(t, tracing)

		const minutes = 3
		for range minutes {
			for range 100 {
				otel.Handle(errors.New("refused " + strings.Repeat("x", 1<<20)))
			}

			time.Sleep(time.Minute)
		}

		otel.Handle(nil)
		got := out.String()
		if n := strings.Count(got, "\n"); n != minutes*maxErrorLines {
			t.Errorf("got %d log lines, want %d", n, minutes*maxErrorLines)
		}
		if len(got) > minutes*2000 {
			t.Errorf("got %d bytes of log, want at most %d", len(got), minutes*2000)
		}

		for _, want := range []string{"escape header value", "unsupported sampler: sometimes", "refused"} {
			if !strings.Contains(got, want) {
				t.Errorf("got log %s, want it to contain %q", got, want)
			}
		}

		if strings.Contains(got, "canary") {
			t.Errorf("got log %s, want it not to contain the collector's authorization header", got)
		}
	})
}
