package app

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// The server waits for a store, however late it starts.
func TestWaitForLateStore(t *testing.T) {
	t.Parallel()

	for _, late := range []time.Duration{0, time.Second, 10 * storeStartTimeout} {
		synctest.Test(t, func(t *testing.T) {
			a := &App{parts: parts{log: slog.New(slog.DiscardHandler)}}
			started := time.Now()
			ping := func(context.Context) error {
				if time.Since(started) < late {
					return errors.New("refused")
				}

				return nil
			}

			ok := a.waitForStore(t.Context(), "mongodb", ping, mongoFix)
			if took := time.Since(started); !ok || took < late || took > late+maxRetryPause {
				t.Errorf("a store that is %v late: got %v after %v, want true within %v of its start", late, ok, took, maxRetryPause)
			}
		})
	}
}

// Waiting ends when the server stops.
func TestStopWaitingForStore(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()

		a := &App{parts: parts{log: slog.New(slog.DiscardHandler)}}
		started := time.Now()
		refused := func(context.Context) error { return errors.New("refused") }

		if a.waitForStore(ctx, "mongodb", refused, mongoFix) || time.Since(started) != time.Hour {
			t.Errorf("waitForStore returned after %v, want false after 1h", time.Since(started))
		}
	})
}
