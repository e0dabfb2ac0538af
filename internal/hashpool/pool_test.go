package hashpool

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/telemetry"
)

// The clock in a synctest bubble advances only while all goroutines are blocked, so a job takes exactly
// as long as it sleeps.

// mustDo runs a job that must not be refused.
func mustDo(t *testing.T, p *Pool, work func()) {
	t.Helper()

	if err := p.do(t.Context(), Anyone, work); err != nil {
		t.Errorf("do: got error %v, want the job to run", err)
	}
}

// block occupies a slot of p until release is called.
func block(t *testing.T, p *Pool) (release func()) {
	t.Helper()
	started := make(chan struct{})
	finish := make(chan struct{})
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		mustDo(t, p, func() { close(started); <-finish })
	}()
	select {
	case <-started:
	case <-returned: // the job was refused
	}

	return sync.OnceFunc(func() { close(finish); <-returned })
}

func TestPoolOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(1, time.Hour)
		release := block(t, p)
		var order []int // written by the only worker
		for i := range 10 {
			go mustDo(t, p, func() { order = append(order, i) })
			synctest.Wait() // wait until it is queued
		}

		release()
		p.Close()
		if !slices.Equal(order, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
			t.Errorf("got jobs run in order %v, want the order of the calls", order)
		}

		if n := p.Hashes(); n != 11 {
			t.Errorf("Hashes: got %d, want 11", n)
		}
	})
}

// The pool runs as many jobs in parallel as it has slots.
func TestPoolSlots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(3, time.Hour)
		defer p.Close()
		start := time.Now()
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() { mustDo(t, p, func() { time.Sleep(time.Second) }) })
		}

		wg.Wait()
		if took := time.Since(start); took != 4*time.Second {
			t.Errorf("12 jobs of 1s in 3 slots: got them finished after %v, want 4s", took)
		}
	})
}

// A job that would wait too long is refused immediately.
func TestPoolBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(2, 5*time.Second+time.Millisecond) // no job starts at exactly the limit
		defer p.Close()
		work := func() { time.Sleep(time.Second) }
		for range 100 { // brings the average to one second
			mustDo(t, p, work)
		}

		var wg sync.WaitGroup
		var refusals atomic.Int64
		for range 30 {
			wg.Go(func() {
				start := time.Now()
				switch err := p.do(t.Context(), Anyone, work); {
				case errors.Is(err, ErrBusy) && time.Since(start) == 0:
					refusals.Add(1)
				case err != nil || time.Since(start) > 6*time.Second:
					t.Errorf("do: got error %v after %v, want ErrBusy at once or no error within 6s",
						err, time.Since(start))
				}
			})
		}

		synctest.Wait()
		if !p.Busy(Anyone) {
			t.Error("Busy with a full queue: got false, want true")
		}

		time.Sleep(3 * time.Second)
		synctest.Wait()
		if p.Busy(Anyone) {
			t.Error("Busy after six finished jobs: got true, want false")
		}

		wg.Wait()
		if n := refusals.Load(); n < 18 || n > 20 {
			t.Errorf("got %d of 30 jobs refused, want 18 to 20: the slots finish 10 jobs in 5s", n)
		}
	})
}

// A job that does not have to wait is accepted, however long earlier jobs took. Otherwise the
// average could never recover.
func TestPoolIdleIsNotBusy(t *testing.T) {
	t.Parallel()
	p := newPool(2, time.Second)
	defer p.Close()
	p.average = time.Hour
	release := block(t, p)
	defer release()
	if p.Busy(Anyone) {
		t.Error("Busy with a free slot: got true, want false")
	}
	defer block(t, p)()
	if !p.Busy(Anyone) {
		t.Error("Busy with a wait of an hour: got false, want true")
	}
}

func TestPoolQueueIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(1, time.Hour)
		p.average = 0 // so that only the length of the queue matters
		release := block(t, p)
		var finished atomic.Int64
		for range maxQueue {
			go func() { _ = p.do(t.Context(), Anyone, func() { finished.Add(1) }) }()
		}

		synctest.Wait()
		if err := p.do(t.Context(), Anyone, func() { t.Error("the refused job ran") }); !errors.Is(err, ErrBusy) {
			t.Errorf("do with a full queue: got error %v, want ErrBusy", err)
		}

		release()
		p.Close()
		if n := finished.Load(); n != maxQueue {
			t.Errorf("got %d jobs finished, want %d", n, maxQueue)
		}
	})
}

// A job that is cancelled in the queue never runs. A job that has started is completed.
func TestPoolCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(1, time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		runningErr := make(chan error, 1)
		queuedErr := make(chan error, 1)
		started := false
		go func() {
			runningErr <- p.do(ctx, Anyone, func() { started = true; time.Sleep(time.Second) })
		}()
		synctest.Wait()
		go func() {
			queuedErr <- p.do(ctx, Anyone, func() { t.Error("the cancelled job ran") })
		}()
		synctest.Wait()
		start := time.Now()
		cancel()
		if err := <-queuedErr; !errors.Is(err, context.Canceled) || time.Since(start) != 0 {
			t.Errorf("do with a queued job: got error %v after %v, want Canceled at once",
				err, time.Since(start))
		}

		if p.Waiting() != 0 {
			t.Errorf("got %d jobs in the queue, want 0", p.Waiting())
		}
		if err := <-runningErr; err != nil || !started || time.Since(start) != time.Second {
			t.Errorf("do with a running job: got error %v after %v, started %t, want no error after 1s, true",
				err, time.Since(start), started)
		}
		if err := p.do(ctx, Anyone, func() { t.Error("the cancelled job ran") }); !errors.Is(err, context.Canceled) {
			t.Errorf("do with a cancelled context: got error %v, want Canceled", err)
		}

		p.Close()
		if n := p.Hashes(); n != 1 {
			t.Errorf("Hashes: got %d, want 1", n)
		}
	})
}

// If a job panics, so does the caller of do. The worker continues.
func TestPoolPanic(t *testing.T) {
	t.Parallel()
	p := newPool(1, time.Hour)
	defer p.Close()
	func() {
		defer func() {
			err, _ := recover().(error)
			if err == nil || !strings.HasPrefix(err.Error(), "panic: string\n") || !strings.Contains(err.Error(), "TestPoolPanic") {
				t.Errorf("do: got panic %v, want the type and the stack of the job's panic", err)
			}
			if err != nil && strings.Contains(err.Error(), "out of salt") {
				t.Errorf("do: got panic %v, want it not to quote a value, which could be a password", err)
			}
		}()
		_ = p.do(t.Context(), Anyone, func() { panic("out of salt") })
		t.Error("do: got no panic, want the job's")
	}()
	mustDo(t, p, func() {})
}

func TestPoolClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(2, time.Hour)
		var finished atomic.Int64
		for range 6 {
			go func() { _ = p.do(t.Context(), Anyone, func() { time.Sleep(time.Second); finished.Add(1) }) }()
		}

		synctest.Wait()
		p.Close()
		if n := finished.Load(); n != 6 {
			t.Errorf("Close: got %d jobs finished when it returned, want 6", n)
		}
		if err := p.do(t.Context(), Anyone, func() { t.Error("a job ran after Close") }); !errors.Is(err, ErrBusy) || !p.Busy(Anyone) {
			t.Errorf("do after Close: got error %v, Busy %t, want ErrBusy, true", err, p.Busy(Anyone))
		}

		p.Close()
		newPool(2, time.Hour).Close() // a pool that never ran a job
	})
}

func TestNew(t *testing.T) {
	t.Parallel()

	p := New(5, telemetry.NewMetrics())
	defer p.Close()
	if p.slots != defaultSlots() || p.maxWait != maxHashWait || p.metrics == nil {
		t.Errorf("New: got %d slots, maxWait %v, metrics %p, want %d, %v, the given metrics",
			p.slots, p.maxWait, p.metrics, defaultSlots(), maxHashWait)
	}

	hash, err := p.Hash(t.Context(), Anyone, "password")
	if err != nil || !strings.HasPrefix(hash, "hs256$2a$05$") {
		t.Errorf("Hash: got %q, error %v, want a hash with prefix hs256 and cost 5", hash, err)
	}

	if n := p.Hashes(); n != 1 {
		t.Errorf("Hashes: got %d, want 1", n)
	}
}
