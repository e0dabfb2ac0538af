package model

import (
	"fmt"
	"slices"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/session"
)

// The model is what a client can know about the accounts and sessions of a history from the
// responses so far. rules.go and operations.go define for each operation which responses are
// allowed and what follows from them.

// fact is what is known about a yes-or-no question. After a 503, the answer may be unknown.
type fact byte

const (
	no fact = iota
	maybe
	yes
)

func (f fact) String() string { return [...]string{"no", "maybe", "yes"}[f] }

// interval is a range of times on the server's clock. It contains a time that is not known exactly.
type interval struct{ from, to time.Time }

func (s interval) add(d time.Duration) interval { return interval{s.from.Add(d), s.to.Add(d)} }

// slack allows for the difference between the clocks of Redis and the server, and for
// rounding.
const slack = 100 * time.Millisecond

// contains reports whether the unknown time can be t.
func (s interval) contains(t time.Time) bool {
	return !t.Before(s.from.Add(-slack)) && !t.After(s.to.Add(slack))
}

// before reports whether s is certainly earlier than other.
func (s interval) before(other interval) bool { return s.to.Add(slack).Before(other.from) }

// earlier returns when the first of two events happens.
func earlier(a, b interval) interval {
	if b.from.Before(a.from) {
		a.from = b.from
	}
	if b.to.Before(a.to) {
		a.to = b.to
	}

	return a
}

// down is the set of stores that have an outage.
type down byte

const (
	glitch    down = 1 << iota // a fault so small that every request may succeed
	redisDown                  // requests that need Redis may get 503
	mongoDown
)

// world is the state of all accounts and sessions. A clone can change independently.
type world struct {
	accounts []account
	tokens   []token
	pendings []pendingLogin
	trusts   []trust

	cap   int           // maximum number of sessions per account; 0 means no limit
	touch time.Duration // the touch interval of the servers
	// verifiedOnly is set if the servers require a verified email.
	verifiedOnly bool
	orphans      int  // maximum number of live sessions of rolled-back accounts
	down         down // the outages during the operations being judged
	opCount      int  // the number of operations being judged
	firstNew     int  // the first token from the operations being judged
	newPending   int  // the first pending login from them
	newTrust     int  // the first trusted device from them

	// resumeTouch is when the servers extend sessions again. An outage may have paused that.
	resumeTouch time.Time
}

// concurrent reports whether several operations are being judged. It is then unknown which of
// them ended a session.
func (w *world) concurrent() bool { return w.opCount > 1 }

func (w *world) clone() *world {
	c := *w
	c.accounts = slices.Clone(w.accounts)
	c.tokens = slices.Clone(w.tokens)
	c.pendings = slices.Clone(w.pendings)
	c.trusts = slices.Clone(w.trusts)

	return &c
}

// token is a session token that a client has, or had.
type token struct {
	value   string
	id      string // of the session
	root    int    // the first token of the session, which all its tokens share
	account int
	alive   fact
	// verified is yes if the email was verified when the session began.
	verified fact
	// reason and ended are why and when it ended. The reason is empty if unknown.
	reason session.Reason
	ended  interval
	// started, seen and proved are when the session started, was last extended, and was last
	// confirmed with a password.
	started, seen, proved interval
	password              string // the password of the login
	// second is yes if the session has a second factor, and secondProved is when the user last proved it.
	second       fact
	secondProved interval
	// revokers lists the tokens with which clients requested the end of this session; -1 is the
	// operator.
	revokers []int
}

// replaced is the reason of a token that the client exchanged for a new one.
const replaced session.Reason = "replaced"

// clockSkew is the maximum difference between the clocks of two servers.
const clockSkew = 5 * time.Minute

// touchPause is how long a server extends no sessions after it failed to extend one.
const touchPause = 5 * time.Second

// grace is how long the server remembers that a token was replaced.
const grace = time.Minute

// byID returns the index of the token with a session ID, or -1.
func (w *world) byID(id string) int {
	return slices.IndexFunc(w.tokens, func(k token) bool { return k.id == id })
}

// byValue returns the index of a token, or -1.
func (w *world) byValue(value string) int {
	return slices.IndexFunc(w.tokens, func(k token) bool { return k.value == value })
}

// filterTokens returns the tokens that match.
func (w *world) filterTokens(match func(token) bool) (all []int) {
	for i, k := range w.tokens {
		if match(k) {
			all = append(all, i)
		}
	}

	return all
}

// tokensOf returns the indices of the account's tokens that may be alive, leaving out the session
// whose first token is exceptSession (-1 to leave out none).
func (w *world) tokensOf(account, exceptSession int) []int {
	return w.filterTokens(func(k token) bool { return k.account == account && k.root != exceptSession && k.alive != no })
}

// sessionOf returns all tokens of the session that a token belongs to. It returns none for -1.
func (w *world) sessionOf(i int) []int {
	return w.filterTokens(func(k token) bool { return i >= 0 && k.root == w.tokens[i].root })
}

// timeouts returns when a session times out.
func (w *world) timeouts(i int) (idle, absolute interval) {
	return w.tokens[i].seen.add(apitest.IdleTimeout), w.tokens[i].started.add(apitest.AbsoluteTimeout)
}

// alive reports whether a token belongs to a live session at a time.
func (w *world) alive(i int, now interval) fact {
	deadline := earlier(w.timeouts(i))
	switch {
	case w.tokens[i].alive == no || deadline.before(now):
		return no
	case now.before(deadline):
		return w.tokens[i].alive
	}

	return maybe
}

// expire ends the sessions that have timed out.
func (w *world) expire(now interval) {
	for i := range w.tokens {
		k := &w.tokens[i]
		if k.alive == no || w.alive(i, now) != no {
			continue
		}

		idle, absolute := w.timeouts(i)
		switch {
		case k.alive == maybe:
		case !earlier(idle, absolute).add(clockSkew).before(now):
			// For a while, a revocation of all sessions can give its own reason.
		case idle.before(absolute):
			k.reason = session.IdleTimeout
		case absolute.before(idle):
			k.reason = session.AbsoluteTimeout
		}

		k.alive = no
		k.ended = now
	}
}

// end records that tokens are dead, and why.
func (w *world) end(reason session.Reason, now interval, tokens ...int) {
	for _, i := range tokens {
		k := &w.tokens[i]
		if k.alive == no {
			continue
		}

		k.reason = reason
		if w.alive(i, now) != yes || w.concurrent() {
			k.reason = ""
		}

		k.alive = no
		k.ended = now
	}
}

// forgetTimeouts records that the server no longer knows that sessions timed out.
func (w *world) forgetTimeouts(tokens []int) {
	for _, i := range tokens {
		k := &w.tokens[i]
		if k.reason == session.IdleTimeout || k.reason == session.AbsoluteTimeout {
			k.reason = ""
		}
	}
}

// mayEnd records that tokens may be dead.
func (w *world) mayEnd(tokens ...int) {
	for _, i := range tokens {
		w.tokens[i].alive = min(w.tokens[i].alive, maybe)
	}
}

// tokenReplaced reports whether the server still remembers that a dead token was replaced.
// Then it leaves the cookie alone, and a logout ends the successor.
func (w *world) tokenReplaced(i int, now interval) fact {
	k := w.tokens[i]
	forgotten := k.ended.add(grace)
	switch {
	case k.alive != no || k.reason != "" && k.reason != replaced || forgotten.before(now):
		return no
	case k.reason == "" || !now.before(forgotten):
		return maybe
	}

	return yes
}

// use records that a request used a session. If the touch interval has passed, that extends the
// session; sure is set if nothing could have prevented it.
func (w *world) use(i int, now interval, sure bool) {
	k := &w.tokens[i]
	switch {
	case sure && now.from.Sub(k.seen.to) >= w.touch:
		k.seen = now
	case sure && now.to.Sub(k.seen.from)+slack < w.touch:
	default:
		k.seen.to = now.to
	}
}

// expiry returns when a session expires according to the index, which is precise to a
// millisecond. The absolute timeout in the index may be late by as long as a request takes.
func (w *world) expiry(i int) interval {
	idle, absolute := w.timeouts(i)
	absolute.to = absolute.to.Add(time.Second)
	expiry := earlier(idle, absolute)

	return interval{
		from: expiry.from.Truncate(time.Millisecond),
		to:   expiry.to.Truncate(time.Millisecond),
	}
}

// evicted returns the sessions that a new session certainly evicts and the sessions that it
// may evict. replacedToken belongs to the session that it replaces, which is not evicted; -1 means
// none. A session is evicted if at least cap others, including the new one, expire later. If the
// replaced session was rotated, its successor does not count while the server remembers it.
func (w *world) evicted(account, replacedToken int) (certain, possible []int) {
	if w.cap == 0 {
		return nil, nil
	}

	all := slices.DeleteFunc(w.tokensOf(account, -1), func(i int) bool { return i == replacedToken || i >= w.firstNew })
	succeeds := func(i int) bool { return replacedToken >= 0 && w.tokens[i].root == w.tokens[replacedToken].root }
	for _, i := range all {
		laterCount := 1
		maxLaterCount := w.opCount + w.accounts[account].lostTokens
		for _, other := range all {
			if w.tokens[other].alive == yes && !succeeds(other) && w.expiry(i).to.Before(w.expiry(other).from) {
				laterCount++
			}

			if other != i && !w.expiry(other).to.Before(w.expiry(i).from) {
				maxLaterCount++
			}
		}

		switch {
		case laterCount >= w.cap && !succeeds(i):
			certain = append(certain, i)
		case maxLaterCount >= w.cap:
			possible = append(possible, i)
		}
	}

	return certain, possible
}

// String describes the state, to be printed with a history.
func (w *world) String() string {
	text := ""
	for _, a := range w.accounts {
		text += fmt.Sprintf("%s: exists %v, active %v, factor %v, passwords %q, lost tokens %d\n", a.name, a.exists, a.active, a.factor, a.passwords, a.lostTokens)
	}

	for i, k := range w.tokens {
		text += fmt.Sprintf("token %d of %s, session %d: alive %v %s\n", i, w.accounts[k.account].name, k.root, k.alive, k.reason)
	}

	for i, l := range w.pendings {
		text += fmt.Sprintf("pending login %d of %s: alive %v, codes sent %d\n", i, w.accounts[l.account].name, l.alive, l.tries)
	}
	for i, t := range w.trusts {
		text += fmt.Sprintf("trusted device %d of %s: alive %v\n", i, w.accounts[t.account].name, t.alive)
	}

	return text
}
