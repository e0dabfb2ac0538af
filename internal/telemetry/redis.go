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

// outcomeOf says which one an error is. The error itself goes nowhere from here: that of
// a store may quote what it was asked, and so a key or an address.
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

// RedisCommand is a command under way, see Metrics.RedisCommand. The zero value is none.
type RedisCommand struct {
	metrics *Metrics
	name    string
	began   time.Time
	span    trace.Span // nil where there is none
}

// RedisCommand notes that a command of a name begins, as "GET". It is counted, and has a
// span where ctx has one, also with a nil *Metrics. Its key and its arguments are not for
// here. The end is Done.
func (m *Metrics) RedisCommand(ctx context.Context, name string) RedisCommand {
	c := RedisCommand{metrics: m, name: redisCommands.of(name), began: time.Now()}
	if traced(ctx) {
		_, c.span = Span(ctx, c.name, trace.SpanKindClient,
			attribute.String("db.system.name", "redis"), attribute.String("db.operation.name", c.name))
	}
	return c
}

// Done ends the command with what came of it.
func (c RedisCommand) Done(err error) {
	outcome := outcomeOf(err)
	if c.metrics != nil {
		c.metrics.redis.count(c.name, outcome, time.Since(c.began))
	}
	if c.span != nil {
		endSpan(c.span, outcome)
	}
}
