package model

import (
	"net/http"
	"slices"

	"latchkey/internal/apitest"
	"latchkey/internal/session"
)

// learnAll records what all responses together imply. lossy is set if an operation
// that got 503 may have been executed, completely or in part.
func (w *world) learnAll(ops []op, responses []apitest.Response, now interval, lossy bool) {
	w.begin(ops)

	wasLost := func(i int) bool { return lossy && responses[i].Status == http.StatusServiceUnavailable }
	for i, o := range ops {
		if w.concurrent() || wasLost(i) {
			w.mayApply(o)
		}
		if responses[i].Status == http.StatusServiceUnavailable {
			w.mayForget(o) // the account may have changed, even if no session has ended
		}

		if operations[o.kind].startsSession && wasLost(i) {
			w.accounts[o.account].lostTokens++
			w.orphans++ // the new session's account may have been rolled back
		}
	}

	// New tokens are learned first and ended sessions last.
	for i, o := range ops {
		w.learnToken(o, responses[i], now)
	}

	for i, o := range ops {
		w.learn(o, responses[i], now)
	}

	for i := range w.accounts {
		a := &w.accounts[i]
		if len(a.changed) > 1 {
			a.passwords = a.changed
		}

		a.changed = nil
	}

	for i, o := range ops {
		if o.next != "" && wasLost(i) {
			w.accounts[o.account].mayHave(o.next)
		}
	}

	w.endForbidden(now)
}

// endForbidden ends the new sessions that their accounts do not allow. However a login and a
// change of the account interleave, no such session survives.
func (w *world) endForbidden(now interval) {
	for i := w.firstNew; i < len(w.tokens); i++ {
		k := w.tokens[i]
		a := w.accounts[k.account]
		oldPassword := len(a.passwords) > 0 && k.root == i && a.hasPassword(k.password) == no
		if a.exists == no || a.active == no || oldPassword {
			w.end("", now, i)
		}
	}
}

// learn records what follows from a response that was judged correct.
func (w *world) learn(o op, a apitest.Response, now interval) {
	r := operations[o.kind]
	unavailable := a.Status == http.StatusServiceUnavailable
	if o.token >= 0 && !r.public && !r.background && w.tokens[o.token].alive != no {
		extends := w.down == 0 && !now.from.Before(w.resumeTouch)
		w.use(o.token, now, extends && !w.concurrent() && !unavailable)
	}

	if r.ends == targetSession {
		for _, i := range w.sessionOf(o.target) {
			k := &w.tokens[i]
			k.revokers = append(slices.Clip(k.revokers), o.token) // clones share the array
		}
	}

	switch {
	case unavailable:
		return
	case r.public || r.operator():
	case o.token < 0:
		return
	case isUnauthenticated(a):
		w.end("", now, o.token)

		return
	case !w.concurrent() && w.alive(o.token, now) == maybe && o.kind != "logout":
		w.tokens[o.token].alive = yes
	}

	if isUnverified(a) {
		return
	}
	if w.needsVerified(o) {
		w.accounts[w.tokens[o.token].account].verified = yes
	}

	success := a.Status < 300
	switch {
	case success && r.learn != nil:
		r.learn(w, o, a, now)
	case !success && r.learnRefusal != nil:
		r.learnRefusal(w, o, a, now)
	}

	if success {
		alive := no
		if w.down != 0 {
			alive = maybe // a failure to revoke the devices is only logged
		}
		w.forgetFactors(o, alive, w.newPending, w.newTrust)
	}

	w.forgetTimeouts(w.targets(o, r.forgets))
	if success && r.reason != "" {
		w.endTargets(o, r.ends, r.reason, now)
	}
}

// endTargets ends the sessions in a scope, except for those that started at the same time,
// because they may have started after the others had ended.
func (w *world) endTargets(o op, s scope, reason session.Reason, now interval) {
	w.end(reason, now, slices.DeleteFunc(w.targets(o, s), func(i int) bool { return w.tokens[i].root >= w.firstNew })...)

	for i := range w.accounts {
		if !w.concurrent() && (s == everySession || s == allSessions && i == o.account) {
			w.accounts[i].lostTokens = 0
		}
	}
}

// learnToken records the token in a response.
func (w *world) learnToken(o op, a apitest.Response, now interval) {
	if cookieChange(a) != setsCookie {
		return
	}

	next := token{root: len(w.tokens), account: o.account, started: now, proved: now, password: o.password}
	isLogin := o.kind == "login" || o.kind == "complete login"
	if isLogin && w.accounts[o.account].verified == yes {
		next.verified = yes
	}
	if o.kind == "login" {
		next.second = w.secondAtLogin(o)
	}
	if !operations[o.kind].public {
		old := w.tokens[o.token]
		next.root = old.root
		next.started = old.started
		next.password = old.password
		next.verified = old.verified
		next.second = old.second
		next.secondProved = old.secondProved
		if o.kind == "rotate" || o.kind == "enrol" || o.kind == "remove factor" {
			next.proved = old.proved
		}

		w.end(replaced, now, o.token)
		w.tokens[o.token].reason = replaced // end leaves the reason empty if requests are concurrent
	}

	switch o.kind {
	case "complete login", "enrol", "step up with factor":
		next.second = yes
		next.secondProved = now
	case "remove factor":
		next.second = no
	}

	next.value = a.Cookie.Value
	next.id = session.IDOf(next.value)
	next.seen = now
	next.alive = yes
	if w.concurrent() {
		next.alive = maybe
	}

	w.tokens = append(w.tokens, next)
}
