package telemetry

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Outcomes of a command to a store.
const (
	outcomeOK      = "ok"
	outcomeTimeout = "timeout"
	outcomeError   = "error"
)

// outcomeOf returns the outcome of a command that returned err. The error itself is never exported,
// because errors from stores may quote a key or an email.
func outcomeOf(err error) string {
	if err == nil {
		return outcomeOK
	}

	var timeout interface{ Timeout() bool }
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return outcomeTimeout
	}

	return outcomeError
}

// RedisCommand is a running command; see Metrics.RedisCommand. The zero value does nothing.
type RedisCommand struct {
	metrics *Metrics
	name    string
	start   time.Time
	span    trace.Span // may be nil
}

// RedisCommand records the start of a command, such as "GET". The caller must call Done when the
// command has finished; only then is it counted. If ctx contains a span, the command gets a child
// span, even with a nil *Metrics. Keys and arguments are not recorded.
func (m *Metrics) RedisCommand(ctx context.Context, name string) RedisCommand {
	c := RedisCommand{metrics: m, name: redisCommands.label(name), start: time.Now()}
	if traced(ctx) {
		_, c.span = Span(ctx, c.name, trace.SpanKindClient,
			attribute.String("db.system.name", "redis"),
			attribute.String("db.operation.name", c.name))
	}

	return c
}

// Done records that the command has finished with err, which is nil on success.
func (c RedisCommand) Done(err error) {
	outcome := outcomeOf(err)
	if c.metrics != nil {
		c.metrics.redis.record(c.name, outcome, time.Since(c.start))
	}
	if c.span != nil {
		endSpan(c.span, outcome)
	}
}
