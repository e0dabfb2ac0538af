package telemetry

import (
	"context"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/event"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// mongoKey names a command under way: a number is one of its connection only.
type mongoKey struct {
	connection string
	request    int64
}

// MongoMonitor counts the commands of a client of MongoDB, and gives those a span whose
// context has one, also with a nil *Metrics. A command for which no server was found was
// never sent, and is not one: ObserveStore tells of that.
func (m *Metrics) MongoMonitor() *event.CommandMonitor {
	var spans sync.Map // of trace.Span by mongoKey
	ended := func(e *event.CommandFinishedEvent, outcome string, took time.Duration) {
		if m != nil {
			m.mongo.count(e.CommandName, outcome, took)
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
			ended(&e.CommandFinishedEvent, outcomeOK, e.Duration)
		},
		// What has failed is not passed on: MongoDB quotes the values of a document.
		Failed: func(_ context.Context, e *event.CommandFailedEvent) {
			ended(&e.CommandFinishedEvent, outcomeError, e.Duration)
		},
	}
}

// mongoSpan begins the span of a command. Of the command itself it has the collection,
// which is one of ours, and not the filter, which says whose document it is.
func mongoSpan(ctx context.Context, e *event.CommandStartedEvent) trace.Span {
	command := mongoCommands.of(e.CommandName)
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

// PoolMonitor counts the connections of a client of MongoDB. It is for one client: a
// second one counts into the same numbers. That of a nil *Metrics is nil, which the
// driver takes for none.
func (m *Metrics) PoolMonitor() *event.PoolMonitor {
	if m == nil {
		return nil
	}
	m.observe(func(emit func(int, float64)) {
		inUse := m.mongoInUse.Load()
		emit(0, float64(max(0, m.mongoOpen.Load()-inUse)))
		emit(1, float64(inUse))
	}, connections("mongo", "MongoDB")...)
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
