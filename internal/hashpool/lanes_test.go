package hashpool

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A job that has waited for the maximum time is refused and never runs, even if recent jobs were
// fast when it was queued. A job that has started is completed, however long it takes.
func TestPoolWaitLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const slots = 2
		p := newPool(slots, 5*time.Second)
		start := time.Now()

		var slow sync.WaitGroup
		for range slots {
			slow.Go(func() { mustDo(t, p, func() { time.Sleep(time.Minute) }) })
		}
		synctest.Wait()

		var waiting sync.WaitGroup
		for _, lane := range []Lane{Anyone, Owners, Anyone} {
			waiting.Go(func() {
				err := p.do(t.Context(), lane, func() { t.Error("the refused job ran") })
				if elapsed := time.Since(start); !errors.Is(err, ErrBusy) || elapsed != 5*time.Second {
					t.Errorf("do in lane %d: got error %v after %v, want ErrBusy after 5s", lane, err, elapsed)
				}
			})
		}
		synctest.Wait()
		if n := p.Waiting(); n != 3 {
			t.Errorf("Waiting: got %d, want 3: the expected wait is short", n)
		}

		waiting.Wait()
		if n := p.Waiting(); n != 0 {
			t.Errorf("Waiting after 5s: got %d, want 0", n)
		}

		slow.Wait()
		if elapsed := time.Since(start); elapsed != time.Minute {
			t.Errorf("slow jobs: finished after %v, want 1m", elapsed)
		}
		p.Close()
	})
}

// While jobs wait in both lanes, the lanes take turns.
func TestLanesTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(1, time.Hour)
		release := block(t, p)

		var order []string // written by the only worker
		for _, j := range []struct {
			lane Lane
			name string
		}{{Anyone, "a1"}, {Anyone, "a2"}, {Anyone, "a3"}, {Owners, "o1"}, {Owners, "o2"}, {Anyone, "a4"}} {
			go func() { _ = p.do(t.Context(), j.lane, func() { order = append(order, j.name) }) }()
			synctest.Wait() // wait until it is queued
		}

		release()
		p.Close()
		if want := []string{"o1", "a1", "o2", "a2", "a3", "a4"}; !slices.Equal(order, want) {
			t.Errorf("order of the jobs: got %q, want %q", order, want)
		}
	})
}

// A flood in one lane, ten times what the threads can handle, delays a job in the other lane only
// by the jobs that were running or whose turn it was. In the flooded lane, no job waits longer than
// the limit.
func TestFloodInOneLane(t *testing.T) {
	t.Parallel()
	for _, flooded := range []Lane{Anyone, Owners} {
		synctest.Test(t, func(t *testing.T) {
			const (
				hash    = 65 * time.Millisecond
				seconds = 30
				rate    = 300 // per second
			)
			p := newPool(2, 5*time.Second)
			work := func() { time.Sleep(hash) }

			var clients sync.WaitGroup
			var done, refused atomic.Int64
			var longest time.Duration // of the jobs in the other lane
			for i := range seconds * rate {
				clients.Go(func() {
					start := time.Now()
					err := p.do(t.Context(), flooded, work)
					if err == nil {
						done.Add(1)
					} else {
						refused.Add(1)
					}

					waited := time.Since(start)
					if err != nil && !errors.Is(err, ErrBusy) || waited > 5*time.Second+hash {
						t.Errorf("do: got error %v after %v, want none or ErrBusy after 5s in the queue at most", err, waited)
					}
				})

				if i%rate == rate/2 { // once a second
					start := time.Now()
					if p.Busy(1 - flooded) {
						t.Error("Busy in the other lane: got true, want false")
					}
					if err := p.do(t.Context(), 1-flooded, work); err != nil {
						t.Errorf("do in the other lane: got error %v, want none", err)
					}
					longest = max(longest, time.Since(start))
				}
				time.Sleep(time.Second / rate)
			}
			clients.Wait()
			p.Close()

			t.Logf("%d jobs done, %d refused; jobs in the other lane took up to %v", done.Load(), refused.Load(), longest)
			if longest > 3*hash {
				t.Errorf("jobs in the other lane: got %v, want at most %v", longest, 3*hash)
			}
			if done.Load() == 0 || refused.Load() == 0 {
				t.Errorf("got %d jobs done and %d refused, want some of each", done.Load(), refused.Load())
			}
		})
	}
}
