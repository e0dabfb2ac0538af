package httpapi

import (
	"fmt"
	"net/http"
	"time"

	"latchkey/internal/session"
)

// op is one thing that somebody does. Tokens are numbers in world.held; -1 is none.
type op struct {
	kind           string
	who            int // whose account or sessions it is about
	as             int // the token that is sent
	about          int // a token of the one session that it is about
	password, next string
}

// rule is what the model says of one kind of operation. What holds for all of them is in
// judge and learn.
type rule struct {
	public   bool // needs no session
	operator bool // is done by an operator, for whom no store is away
	account  bool // cannot be done without MongoDB
	births   bool // may begin a session, or give one another token
	bars     bool // ends sessions that are about to begin as well
	// fits says what is wrong with an answer; "" is nothing.
	fits func(w *world, o op, a answer, at span) string
	// may notes what it may change, whatever the answer is; nil is nothing.
	may func(w *world, o op)
	// did notes what an answer tells, beside who is signed in; nil is nothing.
	did func(w *world, o op, a answer, at span)
}

// operations are those of a history.
var operations = map[string]rule{
	"register": {public: true, account: true, births: true, fits: fitsRegister, may: mayRegister, did: didRegister},
	"login":    {public: true, account: true, births: true, fits: fitsLogin, may: mayLogin, did: didLogin},

	"session": {fits: fitsSession},
	"me":      {account: true, fits: fitsMe},
	"list":    {fits: fitsList, did: didList},

	"rotate":  {births: true, fits: fitsRotate, may: mayRenew},
	"step up": {account: true, births: true, fits: fitsProof("Identity confirmed"), may: mayRenew, did: didStepUp},
	"change password": {
		account: true, births: true, bars: true, fits: fitsProof("Password changed"), may: mayChange, did: didChange,
	},

	"logout":        {fits: fitsLogout, may: mayEndOwn, did: didLogout},
	"revoke":        {fits: fitsRevoke, may: mayEndOne, did: didRevoke},
	"revoke others": {bars: true, fits: fitsRevokeSome, may: mayEndOthers, did: didEndOthers(session.Revoked)},
	"revoke all":    {bars: true, fits: fitsRevokeSome, may: mayEndAll, did: didEndAll(session.Revoked)},
	"delete":        {account: true, bars: true, fits: fitsDelete, may: mayDelete, did: didDelete},

	"operator revokes":      {operator: true, fits: fitsRevoke, may: mayEndOne, did: didRevoke},
	"operator deletes key":  {operator: true, may: mayEndOne, did: didDeleteKey},
	"operator revokes user": {operator: true, bars: true, may: mayEndAll, did: didEndAll(session.Revoked)},
	"operator revokes everything": {
		operator: true, bars: true, may: mayEndEverything, did: didEndEverything,
	},
	"operator sets password": {operator: true, bars: true, may: mayChange, did: didChange},
	"operator disables":      {operator: true, bars: true, may: mayDisable, did: didDisable},
	"operator enables":       {operator: true, may: mayDisable, did: func(w *world, o op, _ answer, _ span) { w.people[o.who].active = yes }},
}

// What an answer does to the cookie.
const (
	keepsCookie = iota
	setsCookie
	dropsCookie
)

func (a answer) toCookie() int {
	switch {
	case a.cookie == nil:
		return keepsCookie
	case a.cookie.MaxAge < 0 || a.cookie.Value == "":
		return dropsCookie
	}
	return setsCookie
}

// wants says how an answer differs from what it must be; code is "" for a success.
func wants(a answer, status int, code string, cookie int) string {
	got, _ := a.body["code"].(string)
	if a.status != status || got != code {
		return fmt.Sprintf("got %d %s, want %d %s", a.status, got, status, code)
	}
	if a.toCookie() != cookie {
		return fmt.Sprintf("the cookie: %v", a.cookie)
	}
	return ""
}

// succeeds tells whether an answer must be a success where that depends on a fact. Of one
// that is not known the answer tells.
func succeeds(f fact, a answer) bool { return f == yes || f == maybe && a.status < 300 }

// judge says what is wrong with an answer, by what was known before; "" is nothing.
func (w *world) judge(o op, a answer, at span) string {
	r := operations[o.kind]
	refused := a.status == http.StatusUnauthorized && a.body["code"] == "not_authenticated"
	switch {
	case a.status == http.StatusServiceUnavailable:
		return w.judgeOutage(o, a)
	case r.public || r.operator:
	case o.as < 0:
		return wants(a, 401, "not_authenticated", keepsCookie)
	case refused:
		return w.judgeRefusal(o.as, a, at)
	case w.alive(o.as, at) == no && (o.kind != "logout" || w.overtaken(o.as, at) == no):
		return "a session that has ended is served"
	}
	if a.toCookie() == setsCookie && w.holder(a.cookie.Value) >= 0 {
		return "the token is not a new one"
	}
	if r.fits == nil {
		return wants(a, 200, "", keepsCookie)
	}
	return r.fits(w, o, a, at)
}

// judgeOutage judges a 503: it must have a reason, and touches no cookie.
func (w *world) judgeOutage(o op, a answer) string {
	r := operations[o.kind]
	switch {
	case a.cookie != nil || a.header.Get("Clear-Site-Data") != "":
		return fmt.Sprintf("an outage touches the cookie: %v", a.cookie)
	case w.away&redisAway != 0 && (r.public || o.as >= 0) && a.body["code"] == "session_store_unavailable":
	case w.away&mongoAway != 0 && r.account && a.body["code"] == "user_store_unavailable":
	default:
		return fmt.Sprintf("503 %v without a reason", a.body["code"])
	}
	return ""
}

// judgeRefusal judges a 401 for want of a session.
func (w *world) judgeRefusal(h int, a answer, at span) string {
	alive, overtaken := w.alive(h, at), w.overtaken(h, at)
	switch s := w.held[h]; {
	case alive == yes:
		return "a session that lives is refused"
	case a.toCookie() == setsCookie, alive == no && overtaken == yes && a.toCookie() != keepsCookie:
		return "the cookie is touched, in the place of which the browser has another one"
	case alive == no && overtaken == no && a.toCookie() != dropsCookie:
		return "the cookie of a session that has ended stays"
	case alive == no && s.why != "" && s.why != replaced && at.before(s.ended.add(toldFor)) && a.body["reason"] != string(s.why):
		return fmt.Sprintf("it ended for the reason %s, and the answer says %v", s.why, a.body["reason"])
	}
	return ""
}

// toldFor is how long the reason of an end is surely told: for a day, but an end by itself
// may have been hours before it was noticed here.
const toldFor = 18 * time.Hour

// at begins what happens at once.
func (w *world) at(ops []op) { w.atOnce, w.vague, w.newborn = len(ops), len(ops) > 1, len(w.held) }

// judgeAll judges answers of operations that were under way at once: each by what the
// others may have changed. It returns the first that is wrong, and why.
func (w *world) judgeAll(ops []op, answers []answer, at span) (int, string) {
	for i, o := range ops {
		v := w.clone()
		v.at(ops)
		for j, other := range ops {
			if j == i {
				continue
			}
			r := operations[other.kind]
			if r.may != nil {
				r.may(v, other)
			}
			if r.births {
				v.people[other.who].ghosts++
			}
			if r.bars {
				v.people[other.who].barred = true
			}
		}
		if wrong := v.judge(o, answers[i], at); wrong != "" {
			return i, wrong
		}
	}
	return 0, ""
}

// learnAll notes what the answers tell together. lossy says that one of 503 may have done
// what it was to do, or half of it.
func (w *world) learnAll(ops []op, answers []answer, at span, lossy bool) {
	w.at(ops)
	for i, o := range ops {
		r, lost := operations[o.kind], lossy && answers[i].status == http.StatusServiceUnavailable
		if r.may != nil && (w.vague || lost) {
			r.may(w, o)
		}
		if r.births && lost {
			w.people[o.who].ghosts++
			w.orphans++ // where its account was taken back
		}
		if r.births && lossy && w.vague && answers[i].status == http.StatusUnauthorized {
			w.people[o.who].ghosts++ // another was faster, and what it had made could not be taken back
		}
		if w.trouble() {
			w.lost += 1 + len(w.of(o.who, -1))
		}
	}
	for i, o := range ops {
		w.born(o, answers[i], at)
	}
	for i, o := range ops {
		w.learn(o, answers[i], at)
	}
	for who := range w.people {
		p := &w.people[who]
		if len(p.changed) > 1 {
			p.passwords = p.changed
		}
		p.changed = nil
	}
	for i, o := range ops {
		if o.next != "" && lossy && answers[i].status == http.StatusServiceUnavailable {
			w.people[o.who].may(o.next)
		}
	}
	for h, s := range w.held[w.newborn:] {
		// However a login and a change of the account overtook each other.
		if p := w.people[s.who]; p.exists == no || p.active == no || len(p.passwords) > 0 && s.root == w.newborn+h && p.knows(s.password) == no {
			w.end(w.newborn+h, "", at)
		}
	}
	w.vague = false
}

// learn notes what an answer tells that was found right. What is known after several that
// came at once is what all of them say: births first, ends later.
func (w *world) learn(o op, a answer, at span) {
	r := operations[o.kind]
	if o.as >= 0 && !r.public && w.held[o.as].alive != no {
		w.use(o.as, at, !w.trouble() && !w.vague && a.status != 503)
	}
	switch {
	case a.status == http.StatusServiceUnavailable:
		return
	case r.public || r.operator:
	case o.as < 0:
		return
	case a.status == http.StatusUnauthorized && a.body["code"] == "not_authenticated":
		w.end(o.as, "", at)
		return
	case !w.vague && w.alive(o.as, at) == maybe && o.kind != "logout":
		w.held[o.as].alive = yes
	}
	if r.did != nil {
		r.did(w, o, a, at)
	}
}

// born notes the token that an answer brings.
func (w *world) born(o op, a answer, at span) {
	if a.toCookie() != setsCookie {
		return
	}
	next := held{root: len(w.held), who: o.who, begun: at, password: o.password}
	if o.as >= 0 && !operations[o.kind].public {
		next = w.held[o.as]
		w.end(o.as, replaced, at)
		w.held[o.as].why = replaced // whatever else happened, this is what ended it
		if o.kind != "rotate" {
			next.proved = at
		}
	} else {
		next.proved = at
	}
	next.token, next.ids = a.cookie.Value, idsOf(a.cookie.Value, w.secrets)
	next.seen, next.alive = at, yes
	if w.vague {
		next.alive = maybe
	}
	w.held = append(w.held, next)
}
