package model

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/session"
)

// op is an operation. Accounts and tokens are indexes in the world; -1 is no token.
type op struct {
	kind           string
	client         int // receives the cookie of the response; -1 for none
	server         int
	account        int // the account that it uses or changes
	token          int // the token that is sent
	target         int // a token of the session that it names
	password, next string
}

// scope is which sessions an operation ends.
type scope byte

const (
	noSession     scope = iota
	ownToken            // the session continues under a new token
	ownSession          //
	targetSession       //
	otherSessions       // all of the account except for the client's
	allSessions         // all of the account
	everySession        // of all accounts
)

// revokes reports whether sessions end that are being started at the same time.
func (s scope) revokes() bool { return s >= otherSessions }

// targets returns the tokens in the scope of an operation.
func (w *world) targets(o op, s scope) []int {
	switch {
	case s == ownToken && o.token >= 0:
		return []int{o.token}
	case s == ownSession:
		return w.sessionOf(o.token)
	case s == targetSession && w.tokens[o.target].account == o.account:
		return w.sessionOf(o.target)
	case s == otherSessions && o.token >= 0:
		return w.of(o.account, w.tokens[o.token].root)
	case s == allSessions:
		return w.of(o.account, -1)
	case s == everySession:
		return w.where(func(token) bool { return true })
	}

	return nil
}

// rule describes a kind of operation. judge and learn contain what holds for all kinds.
type rule struct {
	request       string // method and path; empty for an operator, whose stores are never down
	public        bool   // needs no session
	account       bool   // needs MongoDB
	startsSession bool   // may start a session or replace its token

	// ends is which sessions may end. If reason is set, they do end if the operation
	// succeeds.
	ends   scope
	reason session.Reason
	// forgets is which sessions lose their record even if they have timed out. Then the
	// server no longer knows the reason.
	forgets scope

	// check returns what is wrong with a response, or "".
	check func(w *world, o op, a apitest.Response, at interval) string
	// may records what else the operation may change whatever its response. It may be nil.
	may func(w *world, o op)
	// learn records what else follows from a response, except for new tokens. It may be nil.
	learn func(w *world, o op, a apitest.Response, at interval)
}

func (r rule) operator() bool { return r.request == "" }

// operations are the kinds of operations in a history.
var operations = map[string]rule{
	"register": {
		request: "POST /auth/register", public: true, account: true, startsSession: true, ends: ownSession,
		check: checkRegister, may: mayRegister, learn: learnRegister,
	},
	"login": {
		request: "POST /auth/login", public: true, account: true, startsSession: true, ends: ownSession,
		check: checkLogin, may: mayLogin, learn: learnLogin,
	},

	"session": {request: "GET /auth/session", check: checkSession},
	"me":      {request: "GET /auth/me", account: true, check: checkMe},
	"list":    {request: "GET /auth/sessions", check: checkList, learn: learnList},

	"rotate": {request: "POST /auth/rotate-session", startsSession: true, ends: ownToken, check: checkRotate},
	"step up": {
		request: "POST /auth/step-up", account: true, startsSession: true, ends: ownToken,
		check: checkPassword, learn: learnPassword,
	},
	"change password": {
		request: "POST /auth/password/change", account: true, startsSession: true, ends: allSessions,
		check: checkPassword, may: mayChange, learn: learnChange,
	},

	"logout":        {request: "POST /auth/logout", ends: ownSession, reason: session.LoggedOut, check: checkLogout},
	"revoke":        {request: "DELETE /auth/sessions/", ends: targetSession, check: checkRevoke, learn: learnRevoke},
	"revoke others": {request: "DELETE /auth/sessions", ends: otherSessions, reason: session.Revoked, check: checkRevokeSome},
	"revoke all":    {request: "DELETE /auth/sessions?scope=all", ends: allSessions, reason: session.Revoked, check: checkRevokeSome},
	"delete": {
		request: "DELETE /profile", account: true, ends: allSessions, reason: session.AccountDeleted,
		check: checkDelete, may: mayDelete, learn: learnDelete,
	},

	"operator revokes":            {ends: targetSession, check: checkRevoke, learn: learnRevoke},
	"operator deletes key":        {ends: targetSession, forgets: targetSession, learn: learnDeleteKey},
	"operator revokes user":       {ends: allSessions, reason: session.Revoked},
	"operator revokes everything": {ends: everySession, reason: session.Revoked, forgets: everySession},
	"operator sets password":      {ends: allSessions, may: mayChange, learn: learnChange},
	"operator disables":           {ends: allSessions, reason: session.AccountDisabled, may: mayBeActive, learn: learnDisable},
	"operator enables":            {may: mayBeActive, learn: learnEnable},
}

// What a response does to the cookie.
const (
	keepsCookie = "unchanged"
	setsCookie  = "set"
	dropsCookie = "cleared"
)

func cookieChange(a apitest.Response) string {
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
func mismatch(a apitest.Response, status int, code, cookie string) string {
	got, _ := a.JSON["code"].(string)
	if a.Status != status || got != code {
		return fmt.Sprintf("got %d %s, want %d %s", a.Status, got, status, code)
	}

	if cookieChange(a) != cookie {
		return fmt.Sprintf("session cookie: got %v, want it %s", a.Cookie, cookie)
	}

	return ""
}

// succeeds reports whether a request must succeed, given a fact. If the fact is uncertain,
// the response decides.
func succeeds(f fact, a apitest.Response) bool { return f == yes || f == maybe && a.Status < 300 }

func isRefusal(a apitest.Response) bool {
	return a.Status == http.StatusUnauthorized && a.JSON["code"] == "not_authenticated"
}

// judge returns what is wrong with a response, given what was known before, or "".
func (w *world) judge(o op, a apitest.Response, at interval) string {
	r := operations[o.kind]
	switch {
	case a.Status == http.StatusServiceUnavailable:
		return w.judgeOutage(o, a)
	case r.public || r.operator():
	case o.token < 0:
		return mismatch(a, 401, "not_authenticated", keepsCookie)
	case isRefusal(a):
		return w.judgeRefusal(o.token, a, at)
	case w.alive(o.token, at) == no && (o.kind != "logout" || w.tokenReplaced(o.token, at) == no):
		return "an ended session was accepted"
	}

	if cookieChange(a) == setsCookie && w.byValue(a.Cookie.Value) >= 0 {
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
	case w.down&redisDown != 0 && (r.public || o.token >= 0) && a.JSON["code"] == "session_store_unavailable":
	case w.down&mongoDown != 0 && r.account && a.JSON["code"] == "user_store_unavailable":
	default:
		return fmt.Sprintf("got 503 %v without an outage", a.JSON["code"])
	}

	return ""
}

// reasonKnownFor is how long the reason of an ended session is certainly known. It is stored
// for a day, but a timeout may have happened hours before it was noticed here.
const reasonKnownFor = 18 * time.Hour

// judgeRefusal judges a 401 for a token that does not belong to a live session.
func (w *world) judgeRefusal(i int, a apitest.Response, at interval) string {
	k := w.tokens[i]
	ended := w.alive(i, at) == no
	tokenReplaced := w.tokenReplaced(i, at)
	reasonKnown := k.reason != "" && k.reason != replaced && at.before(k.ended.add(reasonKnownFor))
	switch {
	case w.alive(i, at) == yes:
		return "a live session was rejected"
	case cookieChange(a) == setsCookie, ended && tokenReplaced == yes && cookieChange(a) != keepsCookie:
		return "the cookie changed, but the browser may hold a newer one"
	case ended && tokenReplaced == no && cookieChange(a) != dropsCookie:
		return "the cookie of an ended session was not cleared"
	case ended && reasonKnown && a.JSON["reason"] != string(k.reason):
		return fmt.Sprintf("reason: got %v, want %s", a.JSON["reason"], k.reason)
	}

	return ""
}

// may records what an operation may change whatever its response.
func (w *world) may(o op) {
	r := operations[o.kind]
	if o.token < 0 && !r.public && !r.operator() {
		return
	}

	if r.may != nil {
		r.may(w, o)
	}

	w.mayEnd(w.targets(o, r.ends)...)
	w.forgetTimeouts(w.targets(o, r.forgets))
}

// begin prepares the world for the responses of operations that ran at the same time.
func (w *world) begin(ops []op) {
	w.atOnce = len(ops)
	w.firstNew = len(w.tokens)
}

// judgeAll judges the responses of operations that ran at the same time, considering what
// the other operations may have changed. It returns the index of the first wrong response
// and what is wrong with it.
func (w *world) judgeAll(ops []op, responses []apitest.Response, at interval) (int, string) {
	for i, o := range ops {
		v := w.clone()
		v.begin(ops)

		for _, other := range slices.Concat(ops[:i], ops[i+1:]) {
			v.may(other)

			r := operations[other.kind]
			if r.startsSession {
				v.accounts[other.account].lostTokens++
			}

			if r.ends.revokes() {
				v.accounts[other.account].revoking = true
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

	lost := func(i int) bool { return lossy && responses[i].Status == http.StatusServiceUnavailable }
	for i, o := range ops {
		if w.concurrent() || lost(i) {
			w.may(o)
		}

		if operations[o.kind].startsSession && lost(i) {
			w.accounts[o.account].lostTokens++
			w.orphans++ // its account may have been rolled back
		}
	}

	// New tokens are learned first and ended sessions last.
	for i, o := range ops {
		w.learnToken(o, responses[i], at)
	}

	for i, o := range ops {
		w.learn(o, responses[i], at)
	}

	for i := range w.accounts {
		a := &w.accounts[i]
		if len(a.changed) > 1 {
			a.passwords = a.changed
		}

		a.changed = nil
	}

	for i, o := range ops {
		if o.next != "" && lost(i) {
			w.accounts[o.account].mayHave(o.next)
		}
	}

	w.endForbidden(at)
}

// endForbidden ends the new sessions that their accounts do not allow. However a login and a
// change of the account interleave, none of them survives.
func (w *world) endForbidden(at interval) {
	for i := w.firstNew; i < len(w.tokens); i++ {
		k := w.tokens[i]
		a := w.accounts[k.account]
		oldPassword := len(a.passwords) > 0 && k.root == i && a.hasPassword(k.password) == no
		if a.exists == no || a.active == no || oldPassword {
			w.end("", at, i)
		}
	}
}

// learn records what follows from a response that was judged correct.
func (w *world) learn(o op, a apitest.Response, at interval) {
	r := operations[o.kind]
	unavailable := a.Status == http.StatusServiceUnavailable
	if o.token >= 0 && !r.public && w.tokens[o.token].alive != no {
		w.use(o.token, at, w.down == 0 && !w.concurrent() && !unavailable)
	}

	switch {
	case unavailable:
		return
	case r.public || r.operator():
	case o.token < 0:
		return
	case isRefusal(a):
		w.end("", at, o.token)

		return
	case !w.concurrent() && w.alive(o.token, at) == maybe && o.kind != "logout":
		w.tokens[o.token].alive = yes
	}

	if r.learn != nil {
		r.learn(w, o, a, at)
	}

	w.forgetTimeouts(w.targets(o, r.forgets))
	if r.reason != "" && a.Status < 300 {
		w.endTargets(o, r.ends, r.reason, at)
	}
}

// endTargets ends the sessions in a scope, except for those that started at the same time,
// because they may have started after the others had ended.
func (w *world) endTargets(o op, s scope, reason session.Reason, at interval) {
	w.end(reason, at, slices.DeleteFunc(w.targets(o, s), func(i int) bool { return w.tokens[i].root >= w.firstNew })...)

	for i := range w.accounts {
		if !w.concurrent() && (s == everySession || s == allSessions && i == o.account) {
			w.accounts[i].lostTokens = 0
		}
	}
}

// learnToken records the token in a response.
func (w *world) learnToken(o op, a apitest.Response, at interval) {
	if cookieChange(a) != setsCookie {
		return
	}

	next := token{root: len(w.tokens), account: o.account, started: at, proved: at, password: o.password}
	if !operations[o.kind].public {
		old := w.tokens[o.token]
		next.root = old.root
		next.started = old.started
		next.password = old.password
		if o.kind == "rotate" {
			next.proved = old.proved
		}

		w.end(replaced, at, o.token)
		w.tokens[o.token].reason = replaced // end leaves the reason empty if requests are concurrent
	}

	next.value = a.Cookie.Value
	next.id = session.IDOf(next.value)
	next.seen = at
	next.alive = yes
	if w.concurrent() {
		next.alive = maybe
	}

	w.tokens = append(w.tokens, next)
}
