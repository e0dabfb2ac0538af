package telemetry

import (
	"context"
	"reflect"
	"testing"

	"go.mongodb.org/mongo-driver/event"
)

// Every method of a nil *Metrics and a nil *Tracing can be called.
func TestNilDoesNothing(t *testing.T) {
	t.Parallel()

	for _, of := range []any{(*Metrics)(nil), (*Tracing)(nil)} {
		v := reflect.ValueOf(of)
		for i := range v.NumMethod() {
			name := v.Type().Method(i).Name
			method := v.Method(i)
			var args []reflect.Value
			for j := range method.Type().NumIn() {
				in := method.Type().In(j)
				switch {
				case method.Type().IsVariadic() && j == method.Type().NumIn()-1:
				case in == reflect.TypeFor[context.Context]():
					args = append(args, reflect.ValueOf(context.Background()))
				default:
					args = append(args, reflect.Zero(in))
				}
			}

			func() {
				defer func() {
					if p := recover(); p != nil {
						t.Errorf("%s of a nil %T: got panic %v", name, of, p)
					}
				}()

				method.Call(args)
			}()
		}
	}

	var m *Metrics
	m.RedisCommand(context.Background(), "GET").Done(nil)
	RedisCommand{}.Done(nil)
	RequestSpan{}.End("/", 500)
	monitor := m.MongoMonitor()
	monitor.Started(context.Background(), &event.CommandStartedEvent{})
	monitor.Succeeded(context.Background(), &event.CommandSucceededEvent{})
	monitor.Failed(context.Background(), &event.CommandFailedEvent{})
	if m.PoolMonitor() != nil {
		t.Error("PoolMonitor of a nil *Metrics: got a monitor, want nil")
	}
}
