package telemetry

import (
	"context"
	"errors"
	"slices"
	"testing"
)

func TestQueueThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	m := NewMetrics()
	m.ObserveMailQueue(func(ctx context.Context) (int, error) {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("a scrape waits for ever")
		}
		return 0, errors.New("away")
	})
	if f := families(t, m)["latchkey_mails_queued"]; f != nil {
		t.Errorf("a queue that nobody knows of has the length %v", f)
	}
	// The last one that observes it counts, as where a server is made anew.
	m.ObserveMailQueue(func(context.Context) (int, error) { return 4, nil })
	if got := lines(families(t, m)["latchkey_mails_queued"]); !slices.Equal(got, []string{"latchkey_mails_queued 4"}) {
		t.Errorf("%v", got)
	}
}
