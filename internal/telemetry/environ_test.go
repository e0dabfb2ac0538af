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
)

// Not parallel: they are about what a process has one of.

func TestSettingsWinOverTheEnvironment(t *testing.T) {
	t.Setenv("OTEL_SERVICE_NAME", "of-the-process")
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off") // and not in the settings
	c := newCollector(t)
	tracing := c.tracing(map[string]string{"OTEL_SERVICE_NAME": "of-the-settings", "OTEL_CANARY": "x"})
	_, span := tracing.Request(newRequest(), false)
	span.End("/", 200)
	shutdown(t, tracing)
	if c.resource["service.name"] != "of-the-settings" {
		t.Errorf("%v", c.resource)
	}
	if got := os.Getenv("OTEL_SERVICE_NAME"); got != "of-the-process" {
		t.Errorf("OTEL_SERVICE_NAME is %q afterwards", got)
	}
	if os.Getenv("OTEL_TRACES_SAMPLER") != "always_off" {
		t.Error("OTEL_TRACES_SAMPLER is gone")
	}
	if _, there := os.LookupEnv("OTEL_CANARY"); there {
		t.Error("OTEL_CANARY stays")
	}
}

func TestComplaintsGoIntoTheLog(t *testing.T) {
	var out bytes.Buffer
	vars := map[string]string{
		"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_HEADERS": "key=canary%zz", "OTEL_TRACES_SAMPLER": "sometimes",
	}
	tracing, err := NewTracing(context.Background(), vars, slog.New(slog.NewJSONHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tracing.Shutdown(context.Background()) }()
	for range 100 {
		otel.Handle(errors.New("refused " + strings.Repeat("x", 1<<20)))
	}
	otel.Handle(nil)
	got := out.String()
	if n := strings.Count(got, "\n"); n != maxComplaints {
		t.Errorf("%d lines, want %d", n, maxComplaints)
	}
	for _, want := range []string{"escape header value", "unsupported sampler: sometimes", "refused"} {
		if !strings.Contains(got, want) {
			t.Errorf("not in the log: %s", want)
		}
	}
	if strings.Contains(got, "canary") {
		t.Error("the log has what the collector knows us by")
	}
	if len(got) > 2000 {
		t.Errorf("%d bytes", len(got))
	}
}

func TestComplaintsOfTheNextMinute(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1_000_000, 0)
	c := &complaints{log: slog.New(slog.NewTextHandler(&out, nil)), about: "trouble with the traces", now: func() time.Time { return now }}
	for range 3 {
		for range 10 {
			c.Handle(errors.New("away"))
		}
		now = now.Add(time.Minute)
	}
	if n := strings.Count(out.String(), "\n"); n != 3*maxComplaints {
		t.Errorf("%d lines", n)
	}
}
