package model

import (
	"fmt"
	"net/http"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/session"
)

// op is an operation. Tokens are indexes in world.held, or -1 for none.
type op struct {
	kind           string
	who            int // the account that it uses or changes
	as             int // the token that is sent
	about          int // a token of the session that it targets
	password, next string
}

// rule describes a kind of operation. judge and learn contain what holds for all kinds.
type rule struct {
	public            bool // needs no session
	operator          bool // is performed by an operator, whose stores are never down
	account           bool // needs MongoDB
	startsSession     bool // may start a session or replace its token
	revokesConcurrent bool // also revokes sessions that are being started
	// check returns what is wrong with a response, or "".
	check func(w *world, o op, a apitest.Response, at interval) string
	// may records what the operation may change whatever its response. It may be nil.
	may func(w *world, o op)
	// learn records what follows from a response, except for new tokens. It may be nil.
	learn func(w *world, o op, a apitest.Response, at interval)
}

// operations are the kinds of operations in a history.
var operations = map[string]rule{
	"register": {public: true, account: true, startsSession: true, check: checkRegister, may: mayRegister, learn: learnRegister},
	"login":    {public: true, account: true, startsSession: true, check: checkLogin, may: mayLogin, learn: learnLogin},

	"session": {check: checkSession},
	"me":      {account: true, check: checkMe},
	"list":    {check: checkList, learn: learnList},

	"rotate":  {startsSession: true, check: checkRotate, may: mayRenew},
	"step up": {account: true, startsSession: true, check: checkProof("Identity confirmed"), may: mayRenew, learn: learnStepUp},
	"change password": {
		account: true, startsSession: true, revokesConcurrent: true, check: checkProof("Password changed"), may: mayChange, learn: learnChange,
	},

	"logout":        {check: checkLogout, may: mayEndOwn, learn: learnLogout},
	"revoke":        {check: checkRevoke, may: mayEndOne, learn: learnRevoke},
	"revoke others": {revokesConcurrent: true, check: checkRevokeSome, may: mayEndOthers, learn: learnEndOthers(session.Revoked)},
	"revoke all":    {revokesConcurrent: true, check: checkRevokeSome, may: mayEndAll, learn: learnEndAll(session.Revoked)},
	"delete":        {account: true, revokesConcurrent: true, check: checkDelete, may: mayDelete, learn: learnDelete},

	"operator revokes":      {operator: true, check: checkRevoke, may: mayEndOne, learn: learnRevoke},
	"operator deletes key":  {operator: true, may: mayDeleteKey, learn: learnDeleteKey},
	"operator revokes user": {operator: true, revokesConcurrent: true, may: mayEndAll, learn: learnEndAll(session.Revoked)},
	"operator revokes everything": {
		operator: true, revokesConcurrent: true, may: mayEndEverything, learn: learnEndEverything,
	},
	"operator sets password": {operator: true, revokesConcurrent: true, may: mayChange, learn: learnChange},
	"operator disables":      {operator: true, revokesConcurrent: true, may: mayDisable, learn: learnDisable},
	"operator enables":       {operator: true, may: mayDisable, learn: func(w *world, o op, _ apitest.Response, _ interval) { w.accounts[o.who].active = yes }},
}

// What a response does to the cookie.
const (
	keepsCookie = iota
	setsCookie
	dropsCookie
)

func cookieChange(a apitest.Response) int {
	switch {
	case a.Cookie == nil:
		return keepsCookie
	case a.Cookie.MaxAge < 0 || a.Cookie.Value == "":
		return dropsCookie
	}

	return setsCookie
}

// mismatch describes how a response differs from the wanted one, or returns "". code is ""
// for a success.
func mismatch(a apitest.Response, status int, code string, cookie int) string {
	got, _ := a.JSON["code"].(string)
	if a.Status != status || got != code {
		return fmt.Sprintf("got %d %s, want %d %s", a.Status, got, status, code)
	}

	if cookieChange(a) != cookie {
		return fmt.Sprintf("session cookie: got %v, want it %s", a.Cookie, [...]string{"unchanged", "set", "cleared"}[cookie])
	}

	return ""
}

// succeeds reports whether a request must succeed, given a fact. If the fact is uncertain,
// the response decides.
func succeeds(f fact, a apitest.Response) bool { return f == yes || f == maybe && a.Status < 300 }

// judge returns what is wrong with a response, given what was known before, or "".
func (w *world) judge(o op, a apitest.Response, at interval) string {
	r := operations[o.kind]
	refused := a.Status == http.StatusUnauthorized && a.JSON["code"] == "not_authenticated"
	switch {
	case a.Status == http.StatusServiceUnavailable:
		return w.judgeOutage(o, a)
	case r.public || r.operator:
	case o.as < 0:
		return mismatch(a, 401, "not_authenticated", keepsCookie)
	case refused:
		return w.judgeRefusal(o.as, a, at)
	case w.alive(o.as, at) == no && (o.kind != "logout" || w.tokenReplaced(o.as, at) == no):
		return "an ended session was accepted"
	}

	if cookieChange(a) == setsCookie && w.byToken(a.Cookie.Value) >= 0 {
		return "session token: got a known one, want a new one"
	}

	if r.check == nil {
		return mismatch(a, 200, "", keepsCookie)
	}

	return r.check(w, o, a, at)
}

// judgeOutage judges a 503. A store must be down, and the cookie must not change.
func (w *world) judgeOutage(o op, a apitest.Response) string {
	r := operations[o.kind]
	switch {
	case a.Cookie != nil || a.Header.Get("Clear-Site-Data") != "":
		return fmt.Sprintf("503 changed the session cookie: got %v", a.Cookie)
	case w.down&redisDown != 0 && (r.public || o.as >= 0) && a.JSON["code"] == "session_store_unavailable":
	case w.down&mongoDown != 0 && r.account && a.JSON["code"] == "user_store_unavailable":
	default:
		return fmt.Sprintf("got 503 %v without an outage", a.JSON["code"])
	}

	return ""
}

// judgeRefusal judges a 401 for a token that does not belong to a live session.
func (w *world) judgeRefusal(h int, a apitest.Response, at interval) string {
	s := w.held[h]
	alive := w.alive(h, at)
	tokenReplaced := w.tokenReplaced(h, at)
	switch {
	case alive == yes:
		return "a live session was rejected"
	case cookieChange(a) == setsCookie, alive == no && tokenReplaced == yes && cookieChange(a) != keepsCookie:
		return "the cookie changed, but the browser may hold a newer one"
	case alive == no && tokenReplaced == no && cookieChange(a) != dropsCookie:
		return "the cookie of an ended session was not cleared"
	case alive == no && s.why != "" && s.why != replaced && at.before(s.ended.add(reasonKnownFor)) && a.JSON["reason"] != string(s.why):
		return fmt.Sprintf("reason: got %v, want %s", a.JSON["reason"], s.why)
	}

	return ""
}

// reasonKnownFor is how long the reason of an ended session is certainly known. It is stored for a
// day, but a timeout may have happened hours before it was noticed here.
const reasonKnownFor = 18 * time.Hour

// begin prepares the world for the responses of operations that ran at the same time.
func (w *world) begin(ops []op) {
	w.atOnce = len(ops)
	w.concurrent = len(ops) > 1
	w.firstNew = len(w.held)
}

// judgeAll judges the responses of operations that ran at the same time, considering what
// the other operations may have changed. It returns the index of the first wrong response
// and what is wrong with it.
func (w *world) judgeAll(ops []op, responses []apitest.Response, at interval) (int, string) {
	for i, o := range ops {
		v := w.clone()
		v.begin(ops)

		for j, other := range ops {
			if j == i {
				continue
			}

			r := operations[other.kind]
			if r.may != nil {
				r.may(v, other)
			}

			if r.startsSession {
				v.accounts[other.who].unheld++
			}

			if r.revokesConcurrent {
				v.accounts[other.who].revoking = true
			}
		}

		if wrong := v.judge(o, responses[i], at); wrong != "" {
			return i, wrong
		}
	}

	return 0, ""
}

// learnAll records what follows from all responses together. lossy is set if an operation
// that got 503 may have been executed, completely or in part.
func (w *world) learnAll(ops []op, responses []apitest.Response, at interval, lossy bool) {
	w.begin(ops)

	for i, o := range ops {
		r := operations[o.kind]
		lost := lossy && responses[i].Status == http.StatusServiceUnavailable
		if r.may != nil && (w.concurrent || lost) {
			r.may(w, o)
		}

		if r.startsSession && lost {
			w.accounts[o.who].unheld++
			w.orphans++ // its account may have been rolled back
		}

		if r.startsSession && lossy && w.concurrent && responses[i].Status == http.StatusUnauthorized {
			w.accounts[o.who].unheld++ // it lost a race, and its new session may not have been rolled back
		}

		if w.anyDown() {
			w.lost += 1 + len(w.of(o.who, -1))
		}
	}

	for i, o := range ops {
		w.learnToken(o, responses[i], at)
	}

	for i, o := range ops {
		w.learn(o, responses[i], at)
	}

	for who := range w.accounts {
		p := &w.accounts[who]
		if len(p.changed) > 1 {
			p.passwords = p.changed
		}

		p.changed = nil
	}

	for i, o := range ops {
		if o.next != "" && lossy && responses[i].Status == http.StatusServiceUnavailable {
			w.accounts[o.who].may(o.next)
		}
	}

	for h, s := range w.held[w.firstNew:] {
		// However a login and a change of the account interleave, no session survives that
		// the changed account would not allow.
		h += w.firstNew
		p := w.accounts[s.who]
		oldPassword := len(p.passwords) > 0 && s.root == h && p.hasPassword(s.password) == no
		if p.exists == no || p.active == no || oldPassword {
			w.end(h, "", at)
		}
	}

	w.concurrent = false
}

// learn records what follows from a response that was judged correct. From concurrent
// responses, new tokens are learned first and ended sessions last.
func (w *world) learn(o op, a apitest.Response, at interval) {
	r := operations[o.kind]
	if o.as >= 0 && !r.public && w.held[o.as].alive != no {
		w.use(o.as, at, !w.anyDown() && !w.concurrent && a.Status != 503)
	}

	switch {
	case a.Status == http.StatusServiceUnavailable:
		return
	case r.public || r.operator:
	case o.as < 0:
		return
	case a.Status == http.StatusUnauthorized && a.JSON["code"] == "not_authenticated":
		w.end(o.as, "", at)

		return
	case !w.concurrent && w.alive(o.as, at) == maybe && o.kind != "logout":
		w.held[o.as].alive = yes
	}

	if r.learn != nil {
		r.learn(w, o, a, at)
	}
}

// learnToken records the token in a response.
func (w *world) learnToken(o op, a apitest.Response, at interval) {
	if cookieChange(a) != setsCookie {
		return
	}

	next := held{root: len(w.held), who: o.who, started: at, password: o.password}
	if o.as >= 0 && !operations[o.kind].public {
		next = w.held[o.as]
		w.end(o.as, replaced, at)
		w.held[o.as].why = replaced // end leaves the reason empty if requests are concurrent
		if o.kind != "rotate" {
			next.proved = at
		}
	} else {
		next.proved = at
	}

	next.token = a.Cookie.Value
	next.ids = idsOf(a.Cookie.Value)
	next.seen = at
	next.alive = yes
	if w.concurrent {
		next.alive = maybe
	}

	w.held = append(w.held, next)
}
