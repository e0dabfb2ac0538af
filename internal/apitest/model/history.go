package model

import (
	"fmt"
	"slices"
	"time"

	"latchkey/internal/apitest"
)

// dice makes the choices of a history from its seed (splitmix64, Vigna 2015). The same seed
// must give the same history, so crypto/rand does not work here.
type dice uint64

func (d *dice) roll() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb

	return z ^ z>>31
}

func (d *dice) below(n int) int { return int(d.roll() % uint64(n)) } //nolint:gosec // n is small and positive

// step is one step of a history. Its target is resolved when it is played, so that a
// history remains valid if steps are left out.
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
	clientCount = 4  // clients
	stepsOf     = 20 // a history has so many steps
	maxTogether = 4
)

// weights are the relative frequencies of the kinds of steps.
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

// notTogether are the kinds that the model cannot judge if they run at the same time as
// others.
var notTogether = []string{"register", "delete", "operator enables", "operator revokes everything", timePasses, hoursOfUse, storeFails, together}

// lengths are how much time may pass: within the touch interval, beyond the grace period of
// a rotation, around the idle timeout, beyond the absolute one.
var lengths = []time.Duration{20 * time.Second, 2 * time.Minute, 2 * time.Minute, 30 * time.Minute, 55 * time.Minute, 65 * time.Minute, 5 * time.Hour}

// newHistory returns the history of a seed.
func newHistory(seed uint64) []step {
	d := dice(seed)
	all := []step{{kind: "register"}}
	for len(all) < stepsOf {
		s := d.step(nil)
		if s.kind == together {
			jar, mixed := d.below(clientCount), d.below(3) == 0
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

// step returns a step of any kind except those listed.
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

	s.jar, s.server, s.pick, s.thief, s.aside = d.below(clientCount), d.below(2), d.roll(), d.below(5) == 0, d.below(4) == 0
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

// configurations are the servers on which histories are played. The seed selects one.
var configurations = []struct {
	touch   time.Duration
	cap     int
	secrets [2][]string // of the two servers
}{
	{time.Minute, 4, [2][]string{{apitest.SessionSecret}, {apitest.SessionSecret}}},
	{time.Nanosecond, 4, [2][]string{{apitest.SessionSecret}, {apitest.SessionSecret}}},
	{time.Minute, 0, [2][]string{{apitest.SessionSecret}, {apitest.SessionSecret}}},
	// During a change of the secret: sessions move whenever they are used at the other
	// server.
	{time.Nanosecond, 4, [2][]string{{apitest.SessionSecret, nextSecret}, {nextSecret, apitest.SessionSecret}}},
}

const nextSecret = "the next secret of the tests, 32 b"
