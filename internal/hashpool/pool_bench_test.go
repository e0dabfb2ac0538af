package hashpool

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// BenchmarkFlood measures how much a flood of logins delays other requests. The requests are
// simulated by two goroutines that exchange a message every millisecond.
func BenchmarkFlood(b *testing.B) {
	direct := func(work func()) { work() }
	for _, bc := range []struct {
		name   string
		logins int
		pooled bool
	}{{"quiet", 0, false}, {"goroutines", 32, false}, {"pool", 32, true}} {
		b.Run(bc.name, func(b *testing.B) {
			do := direct
			if bc.pooled {
				p := newPool(defaultSlots(), time.Hour)
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
				defer p.Close()
				do = func(work func()) { _ = p.do(context.Background(), work) }
			}

			var wg sync.WaitGroup
			var stop atomic.Bool
			var hashes atomic.Int64
			for range bc.logins {
				wg.Go(func() {
					for !stop.Load() {
						do(func() { _ = bcrypt.CompareHashAndPassword(dummyHash(10), []byte("password")) })
						hashes.Add(1)
					}
				})
			}

			late, took := ping(b.N)
			b.ReportMetric(float64(hashes.Load())/took.Seconds(), "hashes/s")
			stop.Store(true)
			wg.Wait()
			b.ReportMetric(float64(late[len(late)/2].Microseconds())/1000, "ms-p50")
			b.ReportMetric(float64(late[len(late)*99/100].Microseconds())/1000, "ms-p99")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// ping sends n messages to a goroutine, one per millisecond, and returns the sorted delays of the
// replies.
func ping(n int) (late []time.Duration, took time.Duration) {
	query, reply := make(chan struct{}), make(chan struct{})
	go func() {
		for range query {
			reply <- struct{}{}
		}
	}()
	defer close(query)
	began := time.Now()
	for i := range n {
		due := began.Add(time.Duration(i) * time.Millisecond)
		time.Sleep(time.Until(due))
		query <- struct{}{}
		<-reply
		late = append(late, time.Since(due))
	}

	took = time.Since(began)
	slices.Sort(late)
	return late, took
}
