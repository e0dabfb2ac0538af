package telemetry

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
)

const (
	// maxErrorLines is the maximum number of lines logged per minute. While a collector is down,
	// each batch of spans fails; if a scrape is interrupted, each metric does.
	maxErrorLines = 3
	// maxErrorText is the maximum length of a logged error in bytes. An error may quote the
	// collector's response.
	maxErrorText = 300
)

// errorLog writes errors from OpenTelemetry and Prometheus to our log. By default, both libraries
// write them to standard error, in their own formats.
type errorLog struct {
	log     *slog.Logger
	message string
	now     func() time.Time

	mu     sync.Mutex
	minute int64 // the Unix time of the last error, in minutes
	errors int   // the number of errors in that minute
}

// redirectOTelErrors makes OpenTelemetry write its errors to log, in the whole process.
func redirectOTelErrors(log *slog.Logger) {
	l := &errorLog{log: log, message: "trace export failed", now: time.Now}
	otel.SetErrorHandler(l)
	otel.SetLogger(logr.New(logSink{l}))
}

// Handle implements otel.ErrorHandler.
func (l *errorLog) Handle(err error) {
	if err == nil || !l.allow() {
		return
	}

	text := err.Error()
	text = strings.ToValidUTF8(text[:min(len(text), maxErrorText)], "")
	l.log.Warn(l.message, "error", text)
}

// allow counts an error and reports whether it may still be logged in this minute.
func (l *errorLog) allow() bool {
	minute := l.now().Unix() / 60

	l.mu.Lock()
	defer l.mu.Unlock()

	if minute != l.minute {
		l.minute = minute
		l.errors = 0
	}
	l.errors++

	return l.errors <= maxErrorLines
}

// logSink receives OpenTelemetry's own log. It passes on only errors, without their key-value pairs:
// one of those is the authorization header for the collector.
type logSink struct{ *errorLog }

// Init implements logr.LogSink.
func (logSink) Init(logr.RuntimeInfo) {}

// Enabled implements logr.LogSink.
func (logSink) Enabled(int) bool { return false }

// Info implements logr.LogSink.
func (logSink) Info(int, string, ...any) {}

// Error implements logr.LogSink.
func (s logSink) Error(err error, msg string, _ ...any) {
	if err == nil {
		err = errors.New("unknown")
	}

	s.Handle(fmt.Errorf("%s: %w", msg, err))
}

// WithValues implements logr.LogSink.
func (s logSink) WithValues(...any) logr.LogSink { return s }

// WithName implements logr.LogSink.
func (s logSink) WithName(string) logr.LogSink { return s }
