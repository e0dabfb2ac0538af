package model

import (
	"fmt"
	"slices"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/session"
)

// The model is what a client can know about the accounts and sessions of a history from the
// responses so far. operations.go defines for each operation which responses are allowed
// and what follows from them.

// fact is what is known about a yes-or-no question. After a 503, the answer may be unknown.
type fact byte

const (
	no fact = iota
	maybe
	yes
)

func (f fact) String() string { return [...]string{"no", "maybe", "yes"}[f] }

// interval contains a time on the server's clock that is not known exactly.
type interval struct{ from, to time.Time }

func (s interval) add(d time.Duration) interval { return interval{s.from.Add(d), s.to.Add(d)} }

// slack allows for the difference between the clocks of Redis and the server, and for
// rounding.
const slack = 100 * time.Millisecond

// holds reports whether the time can be t.
func (s interval) holds(t time.Time) bool {
	return !t.Before(s.from.Add(-slack)) && !t.After(s.to.Add(slack))
}

// before reports whether s is certainly earlier than other.
func (s interval) before(other interval) bool { return s.to.Add(slack).Before(other.from) }

// down is the set of stores that have an outage.
type down byte

const (
	glitch    down = 1 << iota // a fault so small that every request may succeed
	redisDown                  // requests that need Redis may get 503
	mongoDown
)

func (w *world) anyDown() bool { return w.down != 0 }

// world is the state of all accounts and sessions. A clone can change independently.
type world struct {
	accounts []account
	held     []held

	cap        int           // maximum number of sessions per account; 0 means no limit
	touch      time.Duration // the touch interval of the servers
	secrets    []string      // of all servers
	orphans    int           // maximum number of live sessions of rolled-back accounts
	lost       int           // maximum number of stale index entries
	down       down          // the outages during the operations being judged
	atOnce     int           // the number of operations being judged
	concurrent bool          // whether that is more than one; then it is unknown how a session ended
	firstNew   int           // the first token from the operations being judged
}

func (w *world) clone() *world {
	c := *w
	c.accounts, c.held = slices.Clone(w.accounts), slices.Clone(w.held)

	return &c
}

// account is an account, or one that may be created.
type account struct {
	name, email, id string
	exists, active  fact
	passwords       []string // the possible passwords; never modified in place, because clones share it
	// unheld is the maximum number of live sessions whose token was lost with a response.
	unheld int
	// changed are the passwords set by the operations being judged.
	changed []string
	// revoking is set while all sessions are being revoked, so that a login may fail.
	revoking bool
}

// held is a session token that a client has, or had.
type held struct {
	token string
	ids   []string // the IDs of the session
	root  int      // the first token of the session, which all its tokens share
	who   int      // the account
	alive fact
	// why and when it ended. why is empty if unknown.
	why   session.Reason
	ended interval
	// When the session began, was last extended, and was last confirmed with a password.
	started, seen, proved interval
	password              string // the password of the login
}

// replaced is the reason of a token that the client exchanged for a new one.
const replaced session.Reason = "replaced"

// clockSkew is the maximum difference between the clocks of two servers.
const clockSkew = 5 * time.Minute

// grace is how long the server remembers that a token was replaced.
const grace = time.Minute

// idsOf returns the IDs of the session of a token.
func idsOf(token string) []string { return []string{session.IDOf(token)} }

// timedOut reports whether a session is past one of its deadlines. Redis keeps the record
// for a while.
func (w *world) timedOut(h int, at interval) bool {
	s := w.held[h]

	return !at.before(s.seen.add(apitest.IdleTimeout)) || !at.before(s.started.add(apitest.AbsoluteTimeout))
}

// byID returns the token with a session ID, or -1.
func (w *world) byID(id string) int {
	return slices.IndexFunc(w.held, func(s held) bool { return slices.Contains(s.ids, id) })
}

// byToken returns the index of a token, or -1.
func (w *world) byToken(token string) int {
	return slices.IndexFunc(w.held, func(s held) bool { return s.token == token })
}

// alive reports whether a token belongs to a live session at a time.
func (w *world) alive(h int, at interval) fact {
	s := w.held[h]
	idle, absolute := s.seen.add(apitest.IdleTimeout), s.started.add(apitest.AbsoluteTimeout)
	switch {
	case s.alive == no || idle.before(at) || absolute.before(at):
		return no
	case at.before(idle) && at.before(absolute):
		return s.alive
	}

	return maybe
}

// pass ends the sessions that have timed out.
func (w *world) pass(at interval) {
	for h := range w.held {
		s := &w.held[h]
		if s.alive == no || w.alive(h, at) != no {
			continue
		}

		idle, absolute := s.seen.add(apitest.IdleTimeout), s.started.add(apitest.AbsoluteTimeout)
		switch {
		case s.alive == maybe:
		// A revocation of all sessions can give its own reason for a while.
		case !idle.add(clockSkew).before(at) && !absolute.add(clockSkew).before(at):
		case idle.before(absolute):
			s.why = session.IdleTimeout
		case absolute.before(idle):
			s.why = session.AbsoluteTimeout
		}

		s.alive, s.ended = no, at
	}
}

// end records that a token is dead, and why.
func (w *world) end(h int, why session.Reason, at interval) {
	s := &w.held[h]
	if s.alive == no {
		return
	}

	if w.alive(h, at) != yes || w.concurrent {
		why = ""
	}

	s.alive, s.why, s.ended = no, why, at
}

// of returns the tokens of an account's sessions that may be alive, except for one session
// (-1 for none).
func (w *world) of(who, spared int) []int {
	var all []int
	for h, s := range w.held {
		if s.who == who && s.root != spared && s.alive != no {
			all = append(all, h)
		}
	}

	return all
}

// session returns all tokens of the session that h belongs to.
func (w *world) session(h int) []int {
	var all []int
	for i, s := range w.held {
		if s.root == w.held[h].root {
			all = append(all, i)
		}
	}

	return all
}

// markUncertain records that tokens may be dead.
func (w *world) markUncertain(tokens []int) {
	for _, h := range tokens {
		if w.held[h].alive == yes {
			w.held[h].alive = maybe
		}
	}
}

// endAll records that tokens are dead.
func (w *world) endAll(tokens []int, why session.Reason, at interval) {
	for _, h := range tokens {
		w.end(h, why, at)
	}
}

// tokenReplaced reports whether the server still remembers that a dead token was replaced.
// Then it leaves the cookie alone, and a logout ends the successor.
func (w *world) tokenReplaced(h int, at interval) fact {
	s := w.held[h]
	over := s.ended.add(grace)
	switch {
	case s.alive != no || s.why != "" && s.why != replaced || over.before(at):
		return no
	case s.why == "" || !at.before(over):
		return maybe
	}

	return yes
}

// use records that a request used a session, which extends it after the touch interval.
func (w *world) use(h int, at interval, sure bool) {
	s := &w.held[h]
	switch {
	case sure && at.from.Sub(s.seen.to) >= w.touch:
		s.seen = at
	case sure && at.to.Sub(s.seen.from)+slack < w.touch:
	default:
		s.seen.to = at.to
	}
}

// ends returns when a session times out according to the index: up to a second late near
// the absolute timeout, where sessions that were used less recently sort first.
func (w *world) ends(h int) interval {
	idle, absolute := w.held[h].seen.add(apitest.IdleTimeout), w.held[h].started.add(apitest.AbsoluteTimeout)
	if absolute.from.Before(idle.from) {
		idle.from = absolute.from
	}

	if listed := absolute.to.Add(time.Second); listed.Before(idle.to) {
		idle.to = listed
	}

	return idle
}

// evicted returns the sessions that a new session certainly evicts and the sessions that it
// may evict, except for the one that it replaces (-1 for none). A session is evicted if at
// least cap others, including the new one, expire later. If the replaced session was
// rotated, its successor does not count while the server remembers it.
func (w *world) evicted(who, spared int) (surely, perhaps []int) {
	if w.cap == 0 {
		return nil, nil
	}

	there := slices.DeleteFunc(w.of(who, -1), func(h int) bool { return h == spared || h >= w.firstNew })
	succeeds := func(h int) bool { return spared >= 0 && w.held[h].root == w.held[spared].root }
	for _, h := range there {
		after, possibly := 1, w.atOnce+w.lost+w.accounts[who].unheld
		for _, other := range there {
			if w.held[other].alive == yes && !succeeds(other) && w.ends(h).to.Before(w.ends(other).from) {
				after++
			}

			if other != h && !w.ends(other).to.Before(w.ends(h).from) {
				possibly++
			}
		}

		switch {
		case after >= w.cap && !succeeds(h):
			surely = append(surely, h)
		case possibly >= w.cap:
			perhaps = append(perhaps, h)
		}
	}

	return surely, perhaps
}

// hasPassword reports whether a password is the account's.
func (p account) hasPassword(password string) fact {
	switch {
	case !slices.Contains(p.passwords, password):
		return no
	case len(p.passwords) > 1:
		return maybe
	}

	return yes
}

// may records that a password may be the account's.
func (p *account) may(password string) {
	if !slices.Contains(p.passwords, password) {
		p.passwords = append(slices.Clone(p.passwords), password)
	}
}

// isNot records that a password is not the account's.
func (p *account) isNot(password string) {
	p.passwords = slices.DeleteFunc(slices.Clone(p.passwords), func(s string) bool { return s == password })
}

// String returns the state as text, to be printed with a history.
func (w *world) String() string {
	text := ""
	for _, p := range w.accounts {
		text += fmt.Sprintf("%s: exists %v, active %v, password %q, at most %d sessions without a holder\n", p.name, p.exists, p.active, p.passwords, p.unheld)
	}

	for h, s := range w.held {
		text += fmt.Sprintf("token %d of %s, session %d: alive %v %s\n", h, w.accounts[s.who].name, s.root, s.alive, s.why)
	}

	return text
}
