package model

import (
	"flag"
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

// No response contradicts what earlier responses have shown.
func TestHistories(t *testing.T) {
	suite.Require(t, suite.Model)

	seed := *firstSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1e12
	}

	Play(t, *histories, seed)
}
