package model

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// stagesOf is the number of histories of a configuration that are played at the same time.
const stagesOf = 3

// Play plays n histories, the first from the given seed and each other from the next
// one. It fails the test at the first response that the model forbids, with the shortest
// history found that leads to it.
func Play(t *testing.T, n int, seed uint64) {
	t.Helper()

	t.Logf("first seed: %d", seed)

	queues := make([]chan uint64, len(configurations))
	for f := range queues {
		queues[f] = make(chan uint64, n)
	}

	for i := range uint64(n) { //nolint:gosec // n is not negative
		queues[(seed+i)%uint64(len(configurations))] <- seed + i
	}

	var played, requests, slow atomic.Int64
	var mu sync.Mutex
	counts := map[string]int{}
	var failed atomic.Bool
	var group sync.WaitGroup
	for f, queue := range queues {
		close(queue)

		for range min(stagesOf, len(queue)) {
			p := newStage(t, f)
			group.Go(func() {
				for seed := range queue {
					if failed.Load() {
						return
					}

					v := p.play(newHistory(seed))
					played.Add(1)
					requests.Add(int64(p.requests))
					slow.Add(int64(p.slow))
					mu.Lock()

					for what, n := range p.counts {
						counts[what] += n
					}

					mu.Unlock()
					if v != nil && failed.CompareAndSwap(false, true) {
						v = p.shrink(newHistory(seed), v)
						t.Errorf("go test ./internal/apitest/model -run '^TestHistories$' -seed %d -histories 1\n%s", seed, v)
					}
				}
			})
		}
	}

	group.Wait()
	table := ""
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		table += fmt.Sprintf("\n%7d %s", counts[what], what)
	}

	t.Logf("%d histories, %d requests; for %d of these a store had no time, by itself%s", played.Load(), requests.Load(), slow.Load(), table)
	if slow.Load() > requests.Load()/10 {
		t.Error("too many to say anything")
	}
}
