package telemetry

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
)

var environMu sync.Mutex

// inEnviron calls f while the environment of the process has, of the names that begin
// with OTEL_, those of vars and no others. OpenTelemetry reads its variables there and
// nowhere else, when its parts are made; what stands in a .env file is not there.
func inEnviron(vars map[string]string, f func()) {
	environMu.Lock()
	defer environMu.Unlock()
	for _, kv := range os.Environ() {
		if name, value, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "OTEL_") {
			defer func() { _ = os.Setenv(name, value) }()
			_ = os.Unsetenv(name)
		}
	}
	for name, value := range vars {
		if strings.HasPrefix(name, "OTEL_") {
			// This runs before what is deferred above, so that what was there comes back.
			defer func() { _ = os.Unsetenv(name) }()
			_ = os.Setenv(name, value)
		}
	}
	f()
}

const (
	// maxComplaints is how many lines there are in a minute. A collector that is away would
	// have one for every batch, a scrape that breaks off one for every metric.
	maxComplaints = 3
	// maxComplaint is how much of one is kept, in bytes: it quotes what the collector says.
	maxComplaint = 300
)

// complaints takes what OpenTelemetry and Prometheus have to say, in place of their
// writing to the standard error in a form of their own.
type complaints struct {
	log   *slog.Logger
	about string
	now   func() time.Time

	mu     sync.Mutex
	minute int64
	n      int
}

// complain has OpenTelemetry complain to log. It has one place for that in a process.
func complain(log *slog.Logger) {
	c := &complaints{log: log, about: "trouble with the traces", now: time.Now}
	otel.SetErrorHandler(c)
	otel.SetLogger(logr.New(sink{c}))
}

// Handle implements otel.ErrorHandler.
func (c *complaints) Handle(err error) {
	if err == nil {
		return
	}
	minute := c.now().Unix() / 60
	c.mu.Lock()
	if minute != c.minute {
		c.minute, c.n = minute, 0
	}
	c.n++
	n := c.n
	c.mu.Unlock()
	if n > maxComplaints {
		return
	}
	text := err.Error()
	text = strings.ToValidUTF8(text[:min(len(text), maxComplaint)], "")
	c.log.Warn(c.about, "error", text)
}

// sink is where OpenTelemetry logs. Only errors go on, and without the values that come
// with them: one is the header with which the collector knows us.
type sink struct{ *complaints }

// Init implements logr.LogSink.
func (sink) Init(logr.RuntimeInfo) {}

// Enabled implements logr.LogSink.
func (sink) Enabled(int) bool { return false }

// Info implements logr.LogSink.
func (sink) Info(int, string, ...any) {}

// Error implements logr.LogSink.
func (s sink) Error(err error, msg string, _ ...any) {
	if err == nil {
		err = errors.New("unknown")
	}
	s.Handle(fmt.Errorf("%s: %w", msg, err))
}

// WithValues implements logr.LogSink.
func (s sink) WithValues(...any) logr.LogSink { return s }

// WithName implements logr.LogSink.
func (s sink) WithName(string) logr.LogSink { return s }
