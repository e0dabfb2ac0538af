package httpapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"latchkey/internal/session"
)

// The model is what a client can know of the accounts and sessions of a history from
// the answers that it got. model_rules_test.go says for each operation which answers
// may come and what they tell; history_test.go makes histories and compares.

// fact is what is known of something that is so or is not. What an operation was about
// that was answered with 503 may be so.
type fact byte

const (
	no fact = iota
	maybe
	yes
)

func (f fact) String() string { return [...]string{"no", "maybe", "yes"}[f] }

// span is a moment on the server's clock that lies between two others.
type span struct{ from, to time.Time }

func (s span) add(d time.Duration) span { return span{s.from.Add(d), s.to.Add(d)} }

// slack is what the clocks of Redis and of the server may differ by, and what they round.
const slack = 100 * time.Millisecond

// holds tells whether a moment can be t.
func (s span) holds(t time.Time) bool {
	return !t.Before(s.from.Add(-slack)) && !t.After(s.to.Add(slack))
}

// before is true where s is surely the earlier one.
func (s span) before(other span) bool { return s.to.Add(slack).Before(other.from) }

// away says which stores are not well.
type away byte

const (
	glitch    away = 1 << iota // one is so well that nobody may notice
	redisAway                  // who needs it may get 503
	mongoAway
)

func (w *world) trouble() bool { return w.away != 0 }

// world is the accounts and sessions. One that is cloned can change alone.
type world struct {
	people []owner
	held   []held

	cap     int           // of sessions for each person; 0 is none
	touch   time.Duration // the touch interval of the servers
	secrets []string      // of all servers
	orphans int           // sessions that may live of accounts that were taken back
	lost    int           // entries that the indexes may have too many
	away    away          // what the requests meet that are answered now
	atOnce  int           // how many happen at once
	vague   bool          // it is several: how a session ended is not known
	newborn int           // the tokens from here on were born in them
}

func (w *world) clone() *world {
	c := *w
	c.people, c.held = slices.Clone(w.people), slices.Clone(w.held)
	return &c
}

// owner is an account, or one that could be made.
type owner struct {
	name, email, id string
	exists, active  fact
	passwords       []string // one of these it is; never changed in place, since worlds share it
	// ghosts is how many sessions may live of which nobody has the token, since the answer
	// with it was lost.
	ghosts int
	// changed are the passwords that it was given by what happens now.
	changed []string
	// barred says that all sessions are ended at this moment, so that a login may fail.
	barred bool
}

// held is a session as the holder of one of its tokens knows it.
type held struct {
	token string
	ids   []string // the names that the session may have under it: one for each secret
	root  int      // the first token of the session, by which all tokens of it are known
	who   int      // whose it is
	alive fact
	// why and when it ended; why is "" where it is not known.
	why   session.Reason
	ended span
	// begun is when the session did, seen its last touch, proved the last proof of who it is.
	begun, seen, proved span
	password            string // with which it began
}

// replaced is the reason of a token in whose place the client got another one.
const replaced session.Reason = "replaced"

// grace is how long the server knows that a token was replaced.
const grace = time.Minute

// idsOf are the names that the session of a token may have, one for each secret.
func idsOf(token string, secrets []string) []string {
	ids := make([]string, len(secrets))
	for i, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(token))
		ids[i] = base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	return ids
}

// named finds a token by a name of its session; -1 is none.
func (w *world) named(id string) int {
	return slices.IndexFunc(w.held, func(s held) bool { return slices.Contains(s.ids, id) })
}

// holder finds a token; -1 is none.
func (w *world) holder(token string) int {
	return slices.IndexFunc(w.held, func(s held) bool { return s.token == token })
}

// alive tells whether a token is that of a live session at a moment.
func (w *world) alive(h int, at span) fact {
	s := w.held[h]
	idle, absolute := s.seen.add(testIdle), s.begun.add(testAbsolute)
	switch {
	case s.alive == no || idle.before(at) || absolute.before(at):
		return no
	case at.before(idle) && at.before(absolute):
		return s.alive
	}
	return maybe
}

// pass notes which sessions have ended by themselves.
func (w *world) pass(at span) {
	for h := range w.held {
		s := &w.held[h]
		if s.alive == no || w.alive(h, at) != no {
			continue
		}
		idle, absolute := s.seen.add(testIdle), s.begun.add(testAbsolute)
		switch {
		case s.alive == maybe:
		case idle.before(absolute):
			s.why = session.IdleTimeout
		case absolute.before(idle):
			s.why = session.AbsoluteTimeout
		}
		s.alive, s.ended = no, at
	}
}

// end notes that a token is dead, and why.
func (w *world) end(h int, why session.Reason, at span) {
	s := &w.held[h]
	if s.alive == no {
		return
	}
	if w.alive(h, at) != yes || w.vague {
		why = ""
	}
	s.alive, s.why, s.ended = no, why, at
}

// of are the tokens of a person's sessions but one (-1 is none) that may live.
func (w *world) of(who, spared int) []int {
	var all []int
	for h, s := range w.held {
		if s.who == who && s.root != spared && s.alive != no {
			all = append(all, h)
		}
	}
	return all
}

// session are the tokens of the session that h belongs to.
func (w *world) session(h int) []int {
	var all []int
	for i, s := range w.held {
		if s.root == w.held[h].root {
			all = append(all, i)
		}
	}
	return all
}

// weaken notes that tokens may be dead now.
func (w *world) weaken(tokens []int) {
	for _, h := range tokens {
		if w.held[h].alive == yes {
			w.held[h].alive = maybe
		}
	}
}

// endAll notes that tokens are dead now.
func (w *world) endAll(tokens []int, why session.Reason, at span) {
	for _, h := range tokens {
		w.end(h, why, at)
	}
}

// overtaken tells whether the server still knows that the client of a dead token was
// given another one. It leaves the cookie alone then, and a logout follows.
func (w *world) overtaken(h int, at span) fact {
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

// use notes that a request has used a session, which extends it once in a while.
func (w *world) use(h int, at span, sure bool) {
	s := &w.held[h]
	switch {
	case sure && at.from.Sub(s.seen.to) >= w.touch:
		s.seen = at
	case sure && at.to.Sub(s.seen.from)+slack < w.touch:
	default:
		s.seen.to = at.to
	}
}

// ends is when a session ends by itself, as the index has it: up to a second later, near
// its absolute end, where others end then that were used before.
func (w *world) ends(h int) span {
	idle, absolute := w.held[h].seen.add(testIdle), w.held[h].begun.add(testAbsolute)
	if absolute.from.Before(idle.from) {
		idle.from = absolute.from
	}
	if listed := absolute.to.Add(time.Second); listed.Before(idle.to) {
		idle.to = listed
	}
	return idle
}

// pushedOut are the sessions of a person that are too many with one that begins, but for
// the one that it is to replace (-1 is none), and those that may be. It is one that cap
// others end after.
func (w *world) pushedOut(who, spared int) (surely, perhaps []int) {
	if w.cap == 0 {
		return nil, nil
	}
	there := slices.DeleteFunc(w.of(who, -1), func(h int) bool { return h == spared || h >= w.newborn })
	for _, h := range there {
		after, possibly := 1, w.atOnce+w.lost+w.people[who].ghosts
		for _, other := range there {
			if w.held[other].alive == yes && w.ends(h).to.Before(w.ends(other).from) {
				after++
			}
			if other != h && !w.ends(other).to.Before(w.ends(h).from) {
				possibly++
			}
		}
		switch {
		case after >= w.cap:
			surely = append(surely, h)
		case possibly >= w.cap:
			perhaps = append(perhaps, h)
		}
	}
	return surely, perhaps
}

// knows tells whether a password is that of a person.
func (p owner) knows(password string) fact {
	switch {
	case !slices.Contains(p.passwords, password):
		return no
	case len(p.passwords) > 1:
		return maybe
	}
	return yes
}

// may notes that a password may be that of a person now.
func (p *owner) may(password string) {
	if !slices.Contains(p.passwords, password) {
		p.passwords = append(slices.Clone(p.passwords), password)
	}
}

// isNot notes that a password is not that of a person.
func (p *owner) isNot(password string) {
	p.passwords = slices.DeleteFunc(slices.Clone(p.passwords), func(s string) bool { return s == password })
}

// String is what is known, to read beside a history.
func (w *world) String() string {
	text := ""
	for _, p := range w.people {
		text += fmt.Sprintf("%s: exists %v, active %v, password %q, at most %d sessions without a holder\n", p.name, p.exists, p.active, p.passwords, p.ghosts)
	}
	for h, s := range w.held {
		text += fmt.Sprintf("token %d of %s, session %d: alive %v %s\n", h, w.people[s.who].name, s.root, s.alive, s.why)
	}
	return text
}
