package telemetry

import (
	"context"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/event"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// mongoKey identifies a running command. Request IDs are only unique per connection.
type mongoKey struct {
	connection string
	request    int64
}

// MongoMonitor returns a monitor that counts a MongoDB client's commands. If a command's context
// contains a span, the command gets a child span, even with a nil *Metrics. Commands that are not
// sent because no server is available are not counted; ObserveStore exports that state.
func (m *Metrics) MongoMonitor() *event.CommandMonitor {
	var spans sync.Map // mongoKey -> trace.Span

	finish := func(e *event.CommandFinishedEvent, outcome string, took time.Duration) {
		if m != nil {
			m.mongo.record(e.CommandName, outcome, took)
		}

		if span, ok := spans.LoadAndDelete(mongoKey{e.ConnectionID, e.RequestID}); ok {
			endSpan(span.(trace.Span), outcome)
		}
	}

	return &event.CommandMonitor{
		Started: func(ctx context.Context, e *event.CommandStartedEvent) {
			if traced(ctx) {
				spans.Store(mongoKey{e.ConnectionID, e.RequestID}, mongoSpan(ctx, e))
			}
		},
		Succeeded: func(_ context.Context, e *event.CommandSucceededEvent) {
			finish(&e.CommandFinishedEvent, outcomeOK, e.Duration)
		},
		// The error is dropped because it may quote the values in a document.
		Failed: func(_ context.Context, e *event.CommandFailedEvent) {
			finish(&e.CommandFinishedEvent, outcomeError, e.Duration)
		},
	}
}

// mongoSpan starts the span for a command. The span contains the collection's name, but not the
// filter, which identifies a user.
func mongoSpan(ctx context.Context, e *event.CommandStartedEvent) trace.Span {
	command := mongoCommands.label(e.CommandName)
	name := command
	attrs := []attribute.KeyValue{
		attribute.String("db.system.name", "mongodb"),
		attribute.String("db.namespace", e.DatabaseName),
		attribute.String("db.operation.name", command),
	}

	if collection, ok := e.Command.Lookup(e.CommandName).StringValueOK(); ok && command != other {
		name += " " + collection
		attrs = append(attrs, attribute.String("db.collection.name", collection))
	}

	_, span := Span(ctx, name, trace.SpanKindClient, attrs...)

	return span
}

// PoolMonitor returns a monitor that counts a MongoDB client's connections. Use it for one client
// only, because all clients share the counters. With a nil *Metrics it returns nil,
// which the driver accepts.
func (m *Metrics) PoolMonitor() *event.PoolMonitor {
	if m == nil {
		return nil
	}

	m.observeConnections("mongo", "MongoDB", func() (idle, inUse int) {
		inUse = int(m.mongoInUse.Load())
		idle = max(0, int(m.mongoOpen.Load())-inUse)

		return idle, inUse
	})

	return &event.PoolMonitor{Event: func(e *event.PoolEvent) {
		switch e.Type {
		case event.ConnectionCreated:
			m.mongoOpen.Add(1)
		case event.ConnectionClosed:
			m.mongoOpen.Add(-1)
		case event.GetSucceeded:
			m.mongoInUse.Add(1)
		case event.ConnectionReturned:
			m.mongoInUse.Add(-1)
		}
	}}
}
