package model

import (
	"flag"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit/suite"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// make check-model plays many histories. A failure names the seed that repeats it.
var (
	histories = flag.Int("histories", 25, "number of histories to play")
	firstSeed = flag.Uint64("seed", 0, "seed of the first history; 0 derives one from the clock")
)

// maxPlayers is the number of histories that are played at the same time: a multiple of the
// number of configurations, as each player has one.
const maxPlayers = 10

// No response contradicts what earlier responses have shown. A failure shows the shortest
// history found that leads to it.
func TestHistories(t *testing.T) {
	suite.Require(t, suite.Model)

	seed := *firstSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1e12
	}
	t.Logf("first seed: %d", seed)

	last := seed + uint64(*histories)
	players := make([]*player, min(maxPlayers, *histories))
	var failed atomic.Bool
	var group sync.WaitGroup
	for i := range players {
		first := seed + uint64(i)
		p := newPlayer(t, configurations[first%uint64(len(configurations))])
		players[i] = p
		group.Go(func() {
			for seed := first; seed < last && !failed.Load(); seed += uint64(len(players)) {
				history := newHistory(seed)
				failure := p.play(history)
				if failure != "" && failed.CompareAndSwap(false, true) {
					t.Errorf("go test ./internal/apitest/model -run '^TestHistories$' -seed %d -histories 1\n%s", seed, p.shrink(history, failure))
				}
			}
		})
	}

	group.Wait()
	requests := 0
	slow := 0
	fromMemory := uint64(0)
	for _, p := range players {
		requests += p.requests
		slow += p.slow
		fromMemory += p.fromMemory
	}

	t.Logf("%d requests; for %d of them a store was too slow without an outage; %d sessions loaded from memory", requests, slow, fromMemory)
	isRedisReal := slices.ContainsFunc(players, func(p *player) bool { return p.servers[0].Cache != nil })
	if isRedisReal && requests > 1000 && fromMemory == 0 {
		t.Error("no session was loaded from memory")
	}
	if slow > requests/10 {
		t.Error("the machine is too slow for a meaningful result")
	}
}
