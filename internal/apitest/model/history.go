package model

import (
	"math/rand/v2" //nolint:depguard // a seed must always give the same history
	"slices"
	"time"

	"latchkey/internal/apitest"
)

// step is one step of a history. Its target is chosen when it is played, so that a history
// remains valid if steps are left out.
type step struct {
	kind     string // an operation, or one of the kinds below
	client   int
	stolen   bool   // sends any known token instead of the client's own
	seed     uint64 // for the choices that are made when the step is played
	duration time.Duration
	outage   outage
	after    int    // the number of commands or replies before the outage begins
	requests int    // the number of requests that the outage lasts
	steps    []step // of concurrentSteps, in no particular order
}

const (
	timePasses = "time passes"
	hoursOfUse = "hours of use"
	storeFails = "store fails"
	// concurrentSteps runs several steps at the same time.
	concurrentSteps = "concurrent steps"
	// endOfHistory reads with every token.
	endOfHistory = "end of the history"
)

const (
	clientCount   = 4
	historyLen    = 20
	maxConcurrent = 4
)

// weights are the relative frequencies of the kinds of steps.
var weights = []struct {
	kind   string
	weight int
}{
	{"register", 3}, {"login", 18}, {"session", 12}, {"background session", 6}, {"me", 5}, {"list", 6},
	{"rotate", 10}, {"step up", 4}, {"enrol", 6}, {"complete login", 6}, {"step up with factor", 4}, {"remove factor", 2}, {"change password", 6}, {"logout", 8},
	{"revoke", 8}, {"revoke others", 4}, {"revoke all", 2}, {"delete", 2},
	{"operator revokes", 2}, {"operator deletes key", 2}, {"operator revokes user", 1}, {"operator revokes everything", 1},
	{"operator sets password", 1}, {"operator resets factors", 1}, {"operator disables", 1}, {"operator enables", 2}, {"operator verifies", 6},
	{timePasses, 8}, {hoursOfUse, 1}, {storeFails, 9}, {concurrentSteps, 9},
}

var (
	kinds = weighted()
	// concurrentKinds leaves out the kinds that the model cannot judge if they run concurrently.
	concurrentKinds = weighted("register", "delete", "enrol", "remove factor", "operator resets factors", "operator enables", "operator revokes everything",
		timePasses, hoursOfUse, storeFails, concurrentSteps)
)

// weighted returns the kinds of steps, each repeated by its weight.
func weighted(except ...string) (all []string) {
	for _, w := range weights {
		if !slices.Contains(except, w.kind) {
			all = append(all, slices.Repeat([]string{w.kind}, w.weight)...)
		}
	}

	return all
}

// durations are within the touch interval, beyond the grace period of a rotation, around
// the idle timeout, and beyond the absolute timeout.
var durations = []time.Duration{20 * time.Second, 2 * time.Minute, 2 * time.Minute, 30 * time.Minute, 55 * time.Minute, 65 * time.Minute, 5 * time.Hour}

// newRandom returns a source of random choices.
func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// pick returns a random element.
func pick[T any](random *rand.Rand, items []T) T { return items[random.IntN(len(items))] }

// newHistory returns the history for a seed.
func newHistory(seed uint64) []step {
	random := newRandom(seed)
	history := []step{{kind: "register"}}
	if random.IntN(2) == 0 {
		history = append(history, step{kind: "enrol"})
	}
	for len(history) < historyLen {
		s := newStep(random, kinds)
		switch s.kind {
		case hoursOfUse:
			for range 5 {
				history = append(history,
					step{kind: timePasses, duration: 50 * time.Minute},
					step{kind: "session", client: s.client, seed: s.seed})
			}

			continue
		case concurrentSteps:
			conflicting := random.IntN(3) > 0
			for range 2 + random.IntN(maxConcurrent-1) {
				concurrent := newStep(random, concurrentKinds)
				if conflicting {
					concurrent.client = s.client
					concurrent.stolen = false
				}

				s.steps = append(s.steps, concurrent)
			}
		}

		history = append(history, s)
	}

	return append(history, step{kind: endOfHistory})
}

// newStep returns a random step of one of the kinds.
func newStep(random *rand.Rand, kinds []string) step {
	s := step{
		kind:     pick(random, kinds),
		client:   random.IntN(clientCount),
		stolen:   random.IntN(5) == 0,
		seed:     random.Uint64(),
		duration: pick(random, durations),
		outage:   pick(random, outages),
		after:    max(0, random.IntN(16)-8),
		requests: 1 + random.IntN(3),
	}

	if s.outage.slow && random.IntN(2) == 0 {
		s.outage = pick(random, outages)
	}
	if s.outage.slow { // otherwise the outages would take most of the time
		s.requests = 1
	}

	return s
}

const nextSecret = "the next secret of the tests, 32 b"

// configurations are the configurations of the servers on which histories are played. The seed
// selects one.
var configurations = []apitest.Options{
	{TouchInterval: time.Minute, MaxPerUser: 4, SessionCache: true},
	{TouchInterval: time.Nanosecond, MaxPerUser: 4, SessionCache: true},
	{TouchInterval: time.Minute, SessionCache: true, RequireVerifiedEmail: true},
	// During a change of the secret, each server signs records with a different one.
	{TouchInterval: time.Nanosecond, MaxPerUser: 4, SessionCache: true, Secrets: []string{apitest.SessionSecret, nextSecret}},
	{TouchInterval: time.Minute, MaxPerUser: 4, RequireVerifiedEmail: true},
}
