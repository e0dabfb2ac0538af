package auth

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// In a bubble of synctest time stands still until every goroutine waits, so that
// jobs take exactly as long as they sleep.

// block keeps a slot of p until it is called.
func block(t *testing.T, p *pool) (release func()) {
	t.Helper()
	begun, end, returned := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(returned)
		if err := p.do(context.Background(), func() { close(begun); <-end }); err != nil {
			t.Error(err)
		}
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
		var order []int // by the one worker
		for i := range 10 {
			go func() {
				if err := p.do(t.Context(), func() { order = append(order, i) }); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait() // it has taken its place
		}
		release()
		p.close()
		if !slices.Equal(order, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
			t.Errorf("done in the order %v", order)
		}
		if n := p.done.Load(); n != 11 {
			t.Errorf("%d jobs counted", n)
		}
	})
}

// No more run at a time than there are slots, and no fewer.
func TestPoolSlots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(3, time.Hour)
		defer p.close()
		began := time.Now()
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() {
				if err := p.do(t.Context(), func() { time.Sleep(time.Second) }); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("12 jobs of a second in 3 slots took %v", took)
		}
	})
}

// Who would wait too long is refused at once, and not for longer than need be.
func TestPoolBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(2, 5*time.Second)
		defer p.close()
		second := func() { time.Sleep(time.Second) }
		for range 100 { // the average is a second now
			if err := p.do(t.Context(), second); err != nil {
				t.Fatal(err)
			}
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
					t.Errorf("%v after %v", err, time.Since(began))
				}
			})
		}
		synctest.Wait()
		if !p.busy() {
			t.Error("not busy, though it refused")
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if p.busy() {
			t.Error("still busy, though six jobs are done")
		}
		wg.Wait()
		if n := refused.Load(); n < 18 || n > 20 {
			t.Errorf("%d of 30 refused; in 5 seconds 2 slots do 10, and 1 waits or 2", n)
		}
	})
}

// However long jobs have taken: what waits for nobody is not refused, or nothing
// would ever correct the average.
func TestPoolIdleIsNotBusy(t *testing.T) {
	t.Parallel()
	p := newPool(2, time.Second)
	defer p.close()
	p.average = time.Hour
	release := block(t, p)
	defer release()
	if p.busy() {
		t.Error("busy with a free slot")
	}
	defer block(t, p)()
	if !p.busy() {
		t.Error("not busy with an hour to wait")
	}
}

func TestPoolQueueIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(1, time.Hour)
		p.average = 0 // so that only the length counts
		release := block(t, p)
		var done atomic.Int64
		for range maxQueue {
			go func() { _ = p.do(t.Context(), func() { done.Add(1) }) }()
		}
		synctest.Wait()
		if err := p.do(t.Context(), func() { t.Error("done, though refused") }); !errors.Is(err, ErrBusy) {
			t.Errorf("beyond the queue: %v", err)
		}
		release()
		p.close()
		if n := done.Load(); n != maxQueue {
			t.Errorf("%d of %d done", n, maxQueue)
		}
	})
}

// Who leaves before the turn costs nothing; what has begun is waited for.
func TestPoolCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(1, time.Hour)
		gone, cancel := context.WithCancel(t.Context())
		left := make(chan error, 1)
		begun := false
		running := make(chan error)
		go func() {
			running <- p.do(gone, func() { begun = true; time.Sleep(time.Second) })
		}()
		synctest.Wait()
		go func() { left <- p.do(gone, func() { t.Error("done for nobody") }) }()
		synctest.Wait()
		began := time.Now()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) || time.Since(began) != 0 {
			t.Errorf("the waiting one: %v after %v", err, time.Since(began))
		}
		if p.queue.Len() != 0 {
			t.Error("who left still has a place")
		}
		if err := <-running; err != nil || !begun || time.Since(began) != time.Second {
			t.Errorf("the one that had begun: %v after %v", err, time.Since(began))
		}
		if err := p.do(gone, func() { t.Error("done for nobody") }); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled from the start: %v", err)
		}
		p.close()
		if n := p.done.Load(); n != 1 {
			t.Errorf("%d jobs counted", n)
		}
	})
}

// A panic is the caller's, and the worker goes on.
func TestPoolPanic(t *testing.T) {
	t.Parallel()
	p := newPool(1, time.Hour)
	defer p.close()
	func() {
		defer func() {
			if text, _ := recover().(string); !strings.HasPrefix(text, "out of salt\n") || !strings.Contains(text, "TestPoolPanic") {
				t.Errorf("recovered %q", text)
			}
		}()
		_ = p.do(t.Context(), func() { panic("out of salt") })
		t.Error("no panic")
	}()
	if err := p.do(t.Context(), func() {}); err != nil {
		t.Error(err)
	}
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
		p.close()
		if n := done.Load(); n != 6 {
			t.Errorf("closed after %d of 6 jobs", n)
		}
		if err := p.do(t.Context(), func() { t.Error("done after close") }); !errors.Is(err, ErrBusy) || !p.busy() {
			t.Errorf("after close: %v, busy %v", err, p.busy())
		}
		p.close()
		newPool(2, time.Hour).close() // that never did anything
	})
}

func TestSlots(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ procs, machine, slots, want, elsewhere, wantElsewhere int }{
		{1, 1, 1, 3, 1, 2},
		{2, 2, 2, 5, 1, 2},
		{8, 8, 8, 17, 7, 8},
		{16, 8, 8, 25, 15, 16}, // GOMAXPROCS in the environment
		{1, 8, 1, 2, 1, 2},     // a quota
		{4, 8, 3, 4, 3, 4},
	} {
		slots, want := tc.slots, tc.want
		if !threadPriority {
			slots, want = tc.elsewhere, tc.wantElsewhere
		}
		if got := slotsFor(tc.procs, tc.machine); got != slots {
			t.Errorf("%d of %d processors: %d slots, want %d", tc.procs, tc.machine, got, slots)
		}
		if got := procsFor(slots, tc.procs, tc.machine); got != want {
			t.Errorf("%d of %d processors: GOMAXPROCS %d, want %d", tc.procs, tc.machine, got, want)
		}
	}
	p := newPool(defaultSlots(), time.Hour)
	defer p.close()
	if err := p.do(t.Context(), func() {}); err != nil {
		t.Fatal(err)
	}
	if n, want := runtime.GOMAXPROCS(0), procsFor(defaultSlots(), startProcs, machine); n < want {
		t.Errorf("GOMAXPROCS is %d, want %d for %d jobs at a time", n, want, defaultSlots())
	}
}
