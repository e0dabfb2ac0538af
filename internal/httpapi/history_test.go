package httpapi

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// How many histories are played, and the first one's seed: make check-model plays many,
// and a failure names the seed that plays it again.
var (
	histories = flag.Int("histories", 25, "histories that the model judges")
	firstSeed = flag.Uint64("seed", 0, "seed of the first history; 0 takes one from the clock")
)

// dice makes the choices of a history from its seed (splitmix64, Vigna 2015). They are to
// come again with the seed, so crypto/rand would not do.
type dice uint64

func (d *dice) roll() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (d *dice) below(n int) int { return int(d.roll() % uint64(n)) }

// step is one step of a history. What it is done to is found when it is done, so that
// a history makes sense without any of its steps.
type step struct {
	kind   string // an operation, or one of those below
	jar    int    // the client that does it
	server int    // 0 meets the outages, 1 does not
	pick   uint64 // chooses among what there is then
	aside  bool   // goes to server 1 during an outage
	thief  bool   // sends any token that there ever was, in the place of the client's own
	length time.Duration
	outage outage
	after  int // what passes before the outage begins: commands, or answers
	lasts  int // how many requests it lasts
	among  []step
}

const (
	timePasses = "time passes"
	hoursOfUse = "hours of use"
	storeFails = "store fails"
	together   = "at once"
)

const (
	jars        = 4  // clients
	stepsOf     = 20 // a history has so many steps
	maxTogether = 4
)

// weights are how often a step is of a kind.
var weights = []struct {
	kind   string
	weight int
}{
	{"register", 3}, {"login", 18}, {"session", 12}, {"me", 5}, {"list", 6},
	{"rotate", 10}, {"step up", 4}, {"change password", 6}, {"logout", 8},
	{"revoke", 8}, {"revoke others", 4}, {"revoke all", 2}, {"delete", 2},
	{"operator revokes", 2}, {"operator deletes key", 2}, {"operator revokes user", 1}, {"operator revokes everything", 1},
	{"operator sets password", 1}, {"operator disables", 1}, {"operator enables", 2},
	{timePasses, 8}, {hoursOfUse, 1}, {storeFails, 9}, {together, 9},
}

// notTogether are those that the model does not know how to judge beside others.
var notTogether = []string{"register", "delete", "operator enables", "operator revokes everything", timePasses, hoursOfUse, storeFails, together}

// lengths are those of time that passes: within the touch interval, beyond the grace of a
// rotation, near and beyond the idle lifetime, beyond the absolute one.
var lengths = []time.Duration{20 * time.Second, 2 * time.Minute, 2 * time.Minute, 30 * time.Minute, 55 * time.Minute, 65 * time.Minute, 5 * time.Hour}

// newHistory makes the steps of a seed.
func newHistory(seed uint64) []step {
	d := dice(seed)
	all := []step{{kind: "register"}}
	for len(all) < stepsOf {
		s := d.step(nil)
		if s.kind == together {
			jar, mixed := d.below(jars), d.below(3) == 0
			for range 2 + d.below(maxTogether-1) {
				one := d.step(notTogether)
				if !mixed {
					one.jar, one.thief = jar, false // they get in each other's way
				}
				s.among = append(s.among, one)
			}
		}
		all = append(all, s)
	}
	return all
}

// step makes a step of any kind but some.
func (d *dice) step(but []string) step {
	total := 0
	for _, w := range weights {
		total += w.weight
	}
	s := step{}
	for s.kind == "" || slices.Contains(but, s.kind) {
		at := d.below(total)
		for _, w := range weights {
			if at -= w.weight; at < 0 {
				s.kind = w.kind
				break
			}
		}
	}
	s.jar, s.server, s.pick, s.thief, s.aside = d.below(jars), d.below(2), d.roll(), d.below(5) == 0, d.below(4) == 0
	s.length = lengths[d.below(len(lengths))]
	s.outage = outages[d.below(len(outages))]
	if d.below(2) == 0 {
		s.after = d.below(8)
	}
	s.lasts = 1 + d.below(3)
	if s.outage.slow {
		if s.lasts = 1; d.below(2) == 0 { // they take the time of the whole run
			s.outage = outages[d.below(quickOutages)]
		}
	}
	return s
}

func (s step) String() string {
	switch s.kind {
	case timePasses:
		return fmt.Sprintf("%v pass", s.length)
	case storeFails:
		return fmt.Sprintf("%s at server 0, after %d, for %d requests", s.outage.name, s.after, s.lasts)
	case together:
		return fmt.Sprintf("%d at once", len(s.among))
	}
	return s.kind
}

// flavours are the servers on which histories are played: a seed says on which.
var flavours = []struct {
	touch   time.Duration
	cap     int
	secrets [2][]string // of the two servers
}{
	{time.Minute, 4, [2][]string{{testSecret}, {testSecret}}},
	{time.Nanosecond, 4, [2][]string{{testSecret}, {testSecret}}},
	{time.Minute, 0, [2][]string{{testSecret}, {testSecret}}},
	// In the middle of a change of the secret: sessions move whenever the other server
	// is asked.
	{time.Nanosecond, 4, [2][]string{{testSecret, nextSecret}, {nextSecret, testSecret}}},
}

const nextSecret = "the next secret of the tests, 32 b"

// stagesOf is how many histories of a flavour are played at a time.
const stagesOf = 3

// Whatever happens in whatever order, no answer says what cannot be so: see model_test.go.
func TestHistories(t *testing.T) {
	seed := *firstSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1e12
	}
	t.Logf("from seed %d", seed)
	queues := make([]chan uint64, len(flavours))
	for f := range queues {
		queues[f] = make(chan uint64, *histories)
	}
	for i := range uint64(*histories) {
		queues[(seed+i)%uint64(len(flavours))] <- seed + i
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
						t.Errorf("go test ./internal/httpapi -run '^TestHistories$' -seed %d -histories 1\n%s", seed, v)
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
