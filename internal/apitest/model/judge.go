package model

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"latchkey/internal/apitest"
)

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

// mismatch compares a response's status and code with want, and its change of the cookie with
// cookie. It describes the first difference, or returns "".
func mismatch(a apitest.Response, want, cookie string) string {
	code, _ := a.JSON["code"].(string)
	got := strings.TrimSpace(fmt.Sprint(a.Status, " ", code))
	if got != want {
		return fmt.Sprintf("got %s, want %s", got, want)
	}

	if cookieChange(a) != cookie {
		return fmt.Sprintf("session cookie: got %v, want it %s", a.Cookie, cookie)
	}

	return ""
}

func isUnauthenticated(a apitest.Response) bool {
	return a.Status == http.StatusUnauthorized && a.JSON["code"] == "not_authenticated"
}

// judge returns what is wrong with a response, given what was known before, or "".
func (w *world) judge(o op, a apitest.Response, now interval) string {
	r := operations[o.kind]
	switch {
	case a.Status == http.StatusServiceUnavailable:
		return w.judgeOutage(o, a)
	case r.public || r.operator():
	case o.token < 0:
		return mismatch(a, "401 not_authenticated", keepsCookie)
	case isUnauthenticated(a):
		return w.judgeRefusal(o.token, a, now)
	case w.alive(o.token, now) == no && (o.kind != "logout" || w.tokenReplaced(o.token, now) == no):
		return "an ended session was accepted"
	}

	if cookieChange(a) == setsCookie && w.byValue(a.Cookie.Value) >= 0 {
		return "session token: got a known one, want a new one"
	}

	if unverified := w.unverified(o); unverified == yes || unverified == maybe && isUnverified(a) {
		return mismatch(a, "403 email_not_verified", keepsCookie)
	}

	allowed := yes
	if r.allowed != nil {
		allowed = r.allowed(w, o, now)
	}
	if allowed == no || allowed == maybe && a.Status >= 300 {
		refusal := r.refusal
		if r.refusalOf != nil {
			refusal = r.refusalOf(w, o, a, now)
		}

		return mismatch(a, refusal, keepsCookie)
	}

	problem := mismatch(a, cmp.Or(r.success, "200"), w.expectedCookie(o, a))
	if problem == "" && r.check != nil {
		problem = r.check(w, o, a, now)
	}

	return problem
}

// expectedCookie returns what a success does to the cookie.
func (w *world) expectedCookie(o op, a apitest.Response) string {
	// If the session is rotated or ends at the same time, or Redis fails after the change, the password
	// or the factor is changed and the client is logged out.
	mayLogOut := w.concurrent() || w.down&redisDown != 0
	loggedOut := renewsAfterChange(o) && mayLogOut && cookieChange(a) == dropsCookie
	if loggedOut || o.kind == "revoke" && o.target == o.token {
		return dropsCookie
	}

	if o.kind == "login" && isPending(a) || w.isPartlyEnrolled(o, a) {
		return keepsCookie
	}

	return cmp.Or(operations[o.kind].cookie, keepsCookie)
}

// renewsAfterChange reports whether an operation changes the account and then gives the session a new token.
func renewsAfterChange(o op) bool {
	return o.kind == "change password" || o.kind == "enrol" || o.kind == "remove factor"
}

// judgeOutage judges a 503. A store must be down, and the cookie must not change.
func (w *world) judgeOutage(o op, a apitest.Response) string {
	r := operations[o.kind]
	switch {
	case a.Cookie != nil || a.Header.Get("Clear-Site-Data") != "":
		return fmt.Sprintf("503 changed the session cookie: got %v", a.Cookie)
	case w.down&redisDown != 0 && (r.public || o.token >= 0) && a.JSON["code"] == "session_store_unavailable":
	case w.down&mongoDown != 0 && (r.account || w.readsAccount(o)) && a.JSON["code"] == "user_store_unavailable":
	default:
		return fmt.Sprintf("got 503 %v without an outage", a.JSON["code"])
	}

	return ""
}

// reasonKnownFor is how long the server certainly knows why a session ended. It stores the reason
// for a day, but the model may notice a timeout hours late.
const reasonKnownFor = 18 * time.Hour

// judgeRefusal judges a 401 for a token that does not belong to a live session.
func (w *world) judgeRefusal(i int, a apitest.Response, now interval) string {
	k := w.tokens[i]
	ended := w.alive(i, now) == no
	tokenReplaced := w.tokenReplaced(i, now)
	reasonKnown := k.reason != "" && k.reason != replaced && now.before(k.ended.add(reasonKnownFor))
	switch {
	case w.alive(i, now) == yes:
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

// mayApply records what an operation may change whatever its response.
func (w *world) mayApply(o op) {
	r := operations[o.kind]
	if o.token < 0 && !r.public && !r.operator() {
		return
	}

	if r.may != nil {
		r.may(w, o)
	}

	w.mayEnd(w.targets(o, r.ends)...)
	w.mayForget(o)
	w.forgetTimeouts(w.targets(o, r.forgets))
}

// begin prepares the world for the responses of operations that ran at the same time.
func (w *world) begin(ops []op) {
	w.opCount = len(ops)
	w.firstNew = len(w.tokens)
	w.newPending = len(w.pendings)
	w.newTrust = len(w.trusts)
}

// judgeAll judges the responses of operations that ran at the same time, considering what
// the other operations may have changed. It returns the index of the first wrong response
// and what is wrong with it.
func (w *world) judgeAll(ops []op, responses []apitest.Response, now interval) (int, string) {
	if i := judgeOnce(ops, responses); i >= 0 {
		return i, "a second session for one pending login"
	}

	for i, o := range ops {
		v := w.clone()
		v.begin(ops)

		for _, other := range slices.Concat(ops[:i], ops[i+1:]) {
			v.mayApply(other)

			r := operations[other.kind]
			if r.startsSession {
				v.accounts[other.account].lostTokens++
			}

			if r.ends.revokes() {
				v.accounts[other.account].revoking = true
			}
		}

		if problem := v.judge(o, responses[i], now); problem != "" {
			return i, problem
		}
	}

	return 0, ""
}
