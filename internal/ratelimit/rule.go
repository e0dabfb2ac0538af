package ratelimit

import (
	"errors"
	"fmt"
	"time"
)

// Rule allows so many events in so long a time: a burst of Events at once, then one
// for each Window/Events that has passed. A Window that starts with the burst sees what
// comes back meanwhile as well, 2*Events-1 at most; in the long run it is Events for
// each Window. The zero Rule is no limit at all.
type Rule struct {
	Events int
	Window time.Duration // a millisecond to a year
}

// Unlimited says whether the rule is the zero Rule, which limits nothing. A rule with
// only one of the two set is a mistake, and not unlimited: see Limiter.Take.
func (r Rule) Unlimited() bool { return r == Rule{} }

// maxWindow keeps times on the clock of Redis within what Lua counts exactly (2^53).
const maxWindow = 365 * 24 * time.Hour

// ErrRule says that a rule makes no sense: fewer events than one, or a window that is
// too short or too long.
var ErrRule = errors.New("not a rate limit")

func (r Rule) check() error {
	if r.Events < 1 || r.Window < time.Millisecond || r.Window > maxWindow {
		return fmt.Errorf("%w: %d events in %v", ErrRule, r.Events, r.Window)
	}
	return nil
}

// interval is how long one event takes to come back, in whole microseconds. It is
// rounded up, so that rounding never allows more than the rule does.
func (r Rule) interval() int64 {
	events := int64(r.Events)
	return (r.Window.Microseconds() + events - 1) / events
}

// Budget is what is left under a key after one Take.
type Budget struct {
	Allowed bool
	// FirstRefused says that this event was refused and the one before was not: the
	// moment to note that a limit was hit, once and not for each try.
	FirstRefused bool
	// Remaining is how many more events would be allowed at once.
	Remaining int
	// Reset is how long it takes until all of the rule's events are there again, if
	// none is taken meanwhile.
	Reset time.Duration
	// RetryAfter is how long it takes until one event is allowed; 0 where this one was.
	// Whoever tells it in the whole seconds of Retry-After (RFC 9110 10.2.3) must round
	// up, or the client comes too early.
	RetryAfter time.Duration
}

// budget is what a key leaves whose events take owed microseconds to come back.
func (r Rule) budget(allowed bool, owed int64) Budget {
	interval := r.interval()
	free := interval*int64(r.Events) - owed
	b := Budget{Allowed: allowed, Remaining: int(free / interval), Reset: time.Duration(owed) * time.Microsecond}
	if !allowed {
		b.RetryAfter = time.Duration(interval-free) * time.Microsecond
	}
	return b
}
