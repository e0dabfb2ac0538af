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
	// maxErrorLines is the maximum number of lines per minute. If a collector is down, each batch
	// is an error; if a scrape is interrupted, each metric is.
	maxErrorLines = 3
	// maxErrorText is the maximum length of an error in bytes. It may quote the collector.
	maxErrorText = 300
)

// errorLog writes the errors of OpenTelemetry and Prometheus to our log. By default they write
// to standard error, in a format of their own.
type errorLog struct {
	log     *slog.Logger
	message string
	now     func() time.Time

	mu     sync.Mutex
	minute int64
	lines  int // in this minute
}

// redirectOTelErrors makes OpenTelemetry log its errors to log. The setting is global to the
// process.
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

// allow reports whether another line may be logged in this minute.
func (l *errorLog) allow() bool {
	minute := l.now().Unix() / 60

	l.mu.Lock()
	defer l.mu.Unlock()

	if minute != l.minute {
		l.minute = minute
		l.lines = 0
	}
	l.lines++

	return l.lines <= maxErrorLines
}

// logSink is the log of OpenTelemetry. It passes only errors on, without their values: one of
// them is the authorization header for the collector.
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
