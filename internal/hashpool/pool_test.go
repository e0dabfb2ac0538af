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

// In synctest.Test the clock advances only while all goroutines are blocked, so that a job takes
// exactly as long as it sleeps.

// mustDo runs a job that must not be refused.
func mustDo(t *testing.T, p *Pool, work func()) {
	t.Helper()

	if err := p.do(t.Context(), work); err != nil {
		t.Errorf("got error %v, want the job done", err)
	}
}

// block occupies a slot of p until release is called.
func block(t *testing.T, p *Pool) (release func()) {
	t.Helper()
	begun, end, returned := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(returned)
		mustDo(t, p, func() { close(begun); <-end })
	}()
	select {
	case <-begun:
	case <-returned: // refused
	}

	return sync.OnceFunc(func() { close(end); <-returned })
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
			t.Errorf("got order %v, want that of the calls", order)
		}

		if n := p.Hashes(); n != 11 {
			t.Errorf("got %d jobs counted, want 11", n)
		}
	})
}

// The pool runs as many jobs in parallel as it has slots.
func TestPoolSlots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(3, time.Hour)
		defer p.Close()
		began := time.Now()
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() { mustDo(t, p, func() { time.Sleep(time.Second) }) })
		}

		wg.Wait()
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("12 jobs of 1s in 3 slots: got %v, want 4s", took)
		}
	})
}

// A job that would wait too long is refused immediately.
func TestPoolBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(2, 5*time.Second)
		defer p.Close()
		second := func() { time.Sleep(time.Second) }
		for range 100 { // now the average is a second
			mustDo(t, p, second)
		}

		var wg sync.WaitGroup
		var refused atomic.Int64
		for range 30 {
			wg.Go(func() {
				began := time.Now()
				switch err := p.do(t.Context(), second); {
				case errors.Is(err, ErrBusy) && time.Since(began) == 0:
					refused.Add(1)
				case err != nil || time.Since(began) > 6*time.Second:
					t.Errorf("got %v after %v, want no error within 6s", err, time.Since(began))
				}
			})
		}

		synctest.Wait()
		if !p.Busy() {
			t.Error("got Busy false with a full queue, want true")
		}

		time.Sleep(3 * time.Second)
		synctest.Wait()
		if p.Busy() {
			t.Error("got Busy true after six jobs, want false")
		}

		wg.Wait()
		if n := refused.Load(); n < 18 || n > 20 {
			t.Errorf("got %d of 30 refused, want 18 to 20: in 5s the slots do 10 jobs", n)
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
	if p.Busy() {
		t.Error("got Busy true with a free slot, want false")
	}
	defer block(t, p)()
	if !p.Busy() {
		t.Error("got Busy false with a wait of an hour, want true")
	}
}

func TestPoolQueueIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(1, time.Hour)
		p.average = 0 // so that only the length matters
		release := block(t, p)
		var done atomic.Int64
		for range maxQueue {
			go func() { _ = p.do(t.Context(), func() { done.Add(1) }) }()
		}

		synctest.Wait()
		if err := p.do(t.Context(), func() { t.Error("got a refused job run, want it not to run") }); !errors.Is(err, ErrBusy) {
			t.Errorf("full queue: got %v, want ErrBusy", err)
		}

		release()
		p.Close()
		if n := done.Load(); n != maxQueue {
			t.Errorf("got %d jobs done, want %d", n, maxQueue)
		}
	})
}

// A job that is cancelled in the queue never runs. A job that has started is completed.
func TestPoolCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(1, time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 1)
		begun := false
		running := make(chan error)
		go func() {
			running <- p.do(ctx, func() { begun = true; time.Sleep(time.Second) })
		}()
		synctest.Wait()
		go func() { left <- p.do(ctx, func() { t.Error("got a cancelled job run, want it not to run") }) }()
		synctest.Wait()
		began := time.Now()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) || time.Since(began) != 0 {
			t.Errorf("queued job: got %v after %v, want Canceled immediately", err, time.Since(began))
		}

		if p.Waiting() != 0 {
			t.Errorf("got %d jobs in the queue, want 0", p.Waiting())
		}
		if err := <-running; err != nil || !begun || time.Since(began) != time.Second {
			t.Errorf("running job: got %v after %v, want no error after 1s", err, time.Since(began))
		}
		if err := p.do(ctx, func() { t.Error("got a cancelled job run, want it not to run") }); !errors.Is(err, context.Canceled) {
			t.Errorf("context cancelled before the call: got %v, want Canceled", err)
		}

		p.Close()
		if n := p.Hashes(); n != 1 {
			t.Errorf("got %d jobs counted, want 1", n)
		}
	})
}

// A panic in a job also panics in the caller. The worker continues.
func TestPoolPanic(t *testing.T) {
	t.Parallel()
	p := newPool(1, time.Hour)
	defer p.Close()
	func() {
		defer func() {
			if text, _ := recover().(string); !strings.HasPrefix(text, "out of salt\n") || !strings.Contains(text, "TestPoolPanic") {
				t.Errorf("got panic %q, want the message and the stack", text)
			}
		}()
		_ = p.do(t.Context(), func() { panic("out of salt") })
		t.Error("got no panic, want one")
	}()
	mustDo(t, p, func() {})
}

func TestPoolClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(2, time.Hour)
		var done atomic.Int64
		for range 6 {
			go func() { _ = p.do(t.Context(), func() { time.Sleep(time.Second); done.Add(1) }) }()
		}

		synctest.Wait()
		p.Close()
		if n := done.Load(); n != 6 {
			t.Errorf("got %d jobs done, want 6", n)
		}
		if err := p.do(t.Context(), func() { t.Error("got a job run after Close, want it not to run") }); !errors.Is(err, ErrBusy) || !p.Busy() {
			t.Errorf("after Close: got %v, busy %v; want ErrBusy, true", err, p.Busy())
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
		t.Errorf("got %d slots, wait %v, metrics %v; want the defaults", p.slots, p.maxWait, p.metrics)
	}

	hash, err := p.Hash(t.Context(), "password")
	if err != nil || !strings.HasPrefix(hash, "hs256$2a$05$") {
		t.Errorf("got %q, %v; want a prehashed hash with cost 5", hash, err)
	}

	if n := p.Hashes(); n != 1 {
		t.Errorf("got %d hashes counted, want 1", n)
	}
}
