package telemetry

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// A mail queue of unknown length has no value.
func TestUnknownQueueLength(t *testing.T) {
	t.Parallel()

	m := NewMetrics()
	m.ObserveMailQueue(func(ctx context.Context) (int, error) {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("got a context without a deadline, want one so that scrapes end")
		}

		return 0, errors.New("connection refused")
	})

	if f := families(t, m)["latchkey_mails_queued"]; f != nil {
		t.Errorf("got %v, want no value", f)
	}

	// A later call replaces the function.
	m.ObserveMailQueue(func(context.Context) (int, error) { return 4, nil })
	if got := lines(families(t, m)["latchkey_mails_queued"]); !slices.Equal(got, []string{"latchkey_mails_queued 4"}) {
		t.Errorf("got %q, want latchkey_mails_queued 4", got)
	}
}
