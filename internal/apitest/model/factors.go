package model

import (
	"fmt"
	"math/rand/v2" //nolint:depguard // a seed must always give the same history
	"net/http"
	"slices"
	"strings"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/factor"
	"latchkey/internal/session"
)

// app is an authenticator app that an account has or may have.
type app struct {
	apitest.App
	step   int64    // the last one whose code was sent
	unused []string // recovery codes that were never sent
	spent  []string // recovery codes that were accepted
}

// The kinds of codes that operations send.
const (
	otpCode      = "otp"
	recoveryCode = "recovery code"
	wrongCode    = "wrong code"
	spentCode    = "spent recovery code"
)

// code is a code of a second factor in a request.
type code struct{ kind, value string }

// addTo adds the code to the body of a request.
func (c code) addTo(body map[string]any) {
	name := "code"
	if c.kind == recoveryCode || c.kind == spentCode {
		name = "recoveryCode"
	}
	body[name] = c.value
}

// pendingLogin is a login that waits for a second factor, or did.
type pendingLogin struct {
	cookie   *http.Cookie
	client   int // that began it; -1 for none
	account  int
	password string
	alive    fact
	begun    interval
	tries    int // the number of codes that were sent
}

const (
	// pendingMaxAge is how long a login waits for the second factor.
	pendingMaxAge = 5 * time.Minute
	// maxTries is less than the number of codes that end a pending login, so that none ends for that reason.
	maxTries = 4
)

// trust is a current or former trusted device.
type trust struct {
	cookie  *http.Cookie
	client  int
	account int
	alive   fact
}

// pendingAlive reports whether a pending login can be completed.
func (w *world) pendingAlive(i int, now interval) fact {
	l := w.pendings[i]
	deadline := l.begun.add(pendingMaxAge)
	switch {
	case deadline.before(now):
		return no
	case now.before(deadline):
		return l.alive
	}

	return min(l.alive, maybe)
}

// latestPending returns the last pending login that matches, or -1.
func (w *world) latestPending(match func(pendingLogin) bool) int {
	for i, l := range slices.Backward(w.pendings) {
		if match(l) && l.tries < maxTries {
			return i
		}
	}

	return -1
}

// latestTrust returns the last trusted device that a client has for an account, or -1.
func (w *world) latestTrust(client, account int) int {
	for i, t := range slices.Backward(w.trusts) {
		if client >= 0 && t.client == client && t.account == account {
			return i
		}
	}

	return -1
}

// mayForget records that the end of all sessions may have ended pending logins and trusted devices.
func (w *world) mayForget(o op) {
	w.forgetFactors(o, maybe, len(w.pendings), len(w.trusts))
}

// forgetFactors records that an operation has ended the pending logins and trusted devices of its account
// (no) or may have (maybe). Logins and devices from the same group of requests are not affected, because
// they may have begun afterwards.
func (w *world) forgetFactors(o op, alive fact, pendings, trusts int) {
	if !operations[o.kind].ends.revokes() {
		return
	}

	everyone := operations[o.kind].ends == everySession
	for i := range w.pendings[:pendings] {
		if l := &w.pendings[i]; everyone || l.account == o.account {
			l.alive = min(l.alive, alive)
		}
	}

	// The end of all sessions of all users leaves the devices trusted.
	for i := range w.trusts[:trusts] {
		if t := &w.trusts[i]; !everyone && t.account == o.account {
			t.alive = min(t.alive, alive)
		}
	}
}

// isPending reports whether a login waits for a second factor.
func isPending(a apitest.Response) bool {
	required, _ := a.JSON["factorRequired"].(bool)

	return a.Status == http.StatusOK && required
}

// needsFactor reports whether a login needs a second factor.
func (w *world) needsFactor(o op) fact {
	needed := w.accounts[o.account].factor
	if o.trust >= 0 {
		needed = min(needed, yes-w.trusts[o.trust].alive)
	}

	return needed
}

func checkLogin(w *world, o op, a apitest.Response, now interval) string {
	needed := w.needsFactor(o)
	switch {
	case isPending(a) && needed == no:
		return "a second factor was asked for"
	case isPending(a) && a.JSON["user"] != nil:
		return "a login without the second factor shows the account"
	case isPending(a):
		return ""
	case needed == yes:
		return "no second factor was asked for"
	}

	return checkUser(w, o, a, now)
}

// setCookie returns the cookie that a response sets, or nil. name is the beginning of its name.
func setCookie(a apitest.Response, name string) *http.Cookie {
	for _, c := range (&http.Response{Header: a.Header}).Cookies() {
		if strings.HasPrefix(c.Name, name) && c.Value != "" {
			return c
		}
	}

	return nil
}

// learnPending records a pending login.
func learnPending(w *world, o op, a apitest.Response, now interval) {
	account := &w.accounts[o.account]
	account.exists = yes
	alive := maybe
	if !w.concurrent() {
		alive = yes
		account.active = yes
		account.passwords = []string{o.password}
		account.factor = yes
	}

	w.pendings = append(w.pendings, pendingLogin{
		cookie:   setCookie(a, "mfa"),
		client:   o.client,
		account:  o.account,
		password: o.password,
		alive:    alive,
		begun:    now,
	})
}

// secondAtLogin reports whether a session that began with a password has a second factor: the device.
func (w *world) secondAtLogin(o op) fact {
	if o.trust < 0 {
		return no
	}

	return w.accounts[o.account].factor
}

// isRight reports whether the code of an operation is right. Of two requests at the same time, the one with
// the later code may come first, or one may change the account.
func (w *world) isRight(o op) fact {
	switch {
	case o.code.kind == wrongCode || o.code.kind == spentCode:
		return no
	case w.concurrent():
		return maybe
	}

	return yes
}

func canComplete(w *world, o op, now interval) fact {
	account := w.accounts[o.account]

	return min(w.pendingAlive(o.pending, now), account.exists, account.active, w.isRight(o))
}

// completeRefusal returns the refusal of a code for a pending login.
func completeRefusal(w *world, o op, a apitest.Response, now interval) string {
	const (
		gone  = "401 no_pending_login"
		wrong = "401 wrong_code"
	)

	account := w.accounts[o.account]
	alive := min(w.pendingAlive(o.pending, now), account.exists, account.active)
	isGone := a.JSON["code"] == "no_pending_login"
	switch {
	case alive == yes:
		return wrong
	case isGone || alive == no && w.isRight(o) == yes:
		return gone
	}

	// The code is checked before the server notices that the sessions have ended.
	return wrong
}

func mayComplete(w *world, o op) {
	l := &w.pendings[o.pending]
	l.alive = min(l.alive, maybe)
	mayLogin(w, o)
}

func learnComplete(w *world, o op, a apitest.Response, now interval) {
	w.pendings[o.pending].alive = no
	w.spend(o)
	learnLogin(w, o, a, now)

	account := &w.accounts[o.account]
	account.factor = max(account.factor, maybe)
	if cookie := setCookie(a, "trust-"); cookie != nil {
		alive := yes
		if w.concurrent() {
			alive = maybe
		}
		w.trusts = append(w.trusts, trust{cookie: cookie, client: o.client, account: o.account, alive: alive})
	}
}

func learnCompleteRefused(w *world, o op, a apitest.Response, _ interval) {
	if a.JSON["code"] == "no_pending_login" && !w.concurrent() {
		w.pendings[o.pending].alive = no
	}
}

// checkComplete also checks that a device becomes trusted if the user wants that.
func checkComplete(w *world, o op, a apitest.Response, now interval) string {
	if isTrusted := setCookie(a, "trust-") != nil; isTrusted != o.trusts {
		return fmt.Sprintf("trusted device: got %t, want %t", isTrusted, o.trusts)
	}

	return checkUser(w, o, a, now)
}

// spend records that a recovery code was accepted.
func (w *world) spend(o op) {
	if a := w.accounts[o.account].app; a != nil && o.code.kind == recoveryCode {
		a.spent = append(a.spent, o.code.value)
	}
}

// Stepping up.

func canStepUp(w *world, o op, now interval) fact { return min(knowsPassword(w, o, now), w.isRight(o)) }

func stepUpRefusal(w *world, o op, a apitest.Response, now interval) string {
	known := knowsPassword(w, o, now)
	if known == no || known == maybe && a.JSON["code"] == "wrong_password" {
		return "401 wrong_password"
	}

	return "401 wrong_code"
}

func learnStepUp(w *world, o op, a apitest.Response, now interval) {
	w.spend(o)
	learnPassword(w, o, a, now)
}

func learnStepUpRefused(w *world, o op, a apitest.Response, now interval) {
	if a.JSON["code"] == "wrong_password" {
		learnWrongPassword(w, o, a, now)
	}
}

// hasRecentFactor reports whether the user has recently proved the second factor, if the account has one.
func (w *world) hasRecentFactor(o op, now interval) fact {
	k := w.tokens[o.token]
	recent := min(k.second, isWithinMaxAge(k.secondProved, now))

	return max(recent, yes-w.accounts[k.account].factor)
}

// Changing the password.

func canChange(w *world, o op, now interval) fact {
	return min(w.hasRecentFactor(o, now), knowsPassword(w, o, now))
}

// changeRefusal returns the refusal of a new password. The second factor is checked first.
func changeRefusal(w *world, o op, a apitest.Response, now interval) string {
	recent := w.hasRecentFactor(o, now)
	if recent == no || recent == maybe && a.JSON["code"] == "step_up_required" {
		return "403 step_up_required"
	}

	return "401 wrong_password"
}

func learnChangeRefused(w *world, o op, a apitest.Response, now interval) {
	if a.JSON["code"] == "wrong_password" {
		learnWrongPassword(w, o, a, now)
	}
}

// Changing the factors.

func mayEnrol(w *world, o op) {
	account := &w.accounts[o.account]
	account.factor = max(account.factor, maybe)
	account.app = o.app
}

// isPartlyEnrolled reports whether the app was added, but Redis failed before the session got a new token.
// The server responds nevertheless, because the user must get the recovery codes.
func (w *world) isPartlyEnrolled(o op, a apitest.Response) bool {
	return o.kind == "enrol" && a.Status == http.StatusOK && w.down&redisDown != 0 && cookieChange(a) == keepsCookie
}

func learnEnrol(w *world, o op, a apitest.Response, now interval) {
	account := &w.accounts[o.account]
	account.factor = yes
	account.app = o.app
	codes, _ := a.JSON["recoveryCodes"].([]any)
	for _, c := range codes {
		o.app.unused = append(o.app.unused, c.(string))
	}

	if w.isPartlyEnrolled(o, a) {
		w.mayEnd(w.targets(o, allSessions)...)
		account.lostTokens++

		return
	}

	w.endAfterChange(o, a, session.FactorsChanged, now)
}

func checkEnrolled(w *world, o op, a apitest.Response, now interval) string {
	if codes, _ := a.JSON["recoveryCodes"].([]any); len(codes) != factor.RecoveryCodes {
		return fmt.Sprintf("recovery codes: got %d, want %d", len(codes), factor.RecoveryCodes)
	}

	if cookieChange(a) != setsCookie {
		return ""
	}

	return checkRenewed(w, o, a, now)
}

func mayRemove(w *world, o op) {
	account := &w.accounts[o.account]
	account.factor = min(account.factor, maybe)
}

func learnRemove(w *world, o op, a apitest.Response, now interval) {
	w.accounts[o.account].factor = no
	w.endAfterChange(o, a, session.FactorsChanged, now)
}

func learnReset(w *world, o op, _ apitest.Response, _ interval) {
	w.accounts[o.account].factor = no
}

// Choosing codes.

// chooseFactors fills in the fields that only operations with second factors need. It returns false if the
// operation has no suitable target.
func (p *player) chooseFactors(random *rand.Rand, o op) (op, bool) {
	w := p.w
	account := &w.accounts[o.account]
	isOwn := o.token >= 0 && account.exists == yes && account.active == yes && account.id != ""

	switch o.kind {
	case "login":
		if random.IntN(4) > 0 {
			o.trust = w.latestTrust(o.client, o.account)
		}
	case "enrol":
		if !isOwn || account.factor != no {
			return o, false
		}
		o.app = &app{}
	case "remove factor":
		o.app = account.app

		return o, isOwn && account.factor == yes
	case "step up with factor":
		if !isOwn || account.factor != yes {
			return o, false
		}
		o.code = p.chooseCode(random, account.app)
	case "complete login":
		w.pendings[o.pending].tries++
		o.code = p.chooseCode(random, account.app)
		o.trusts = random.IntN(2) == 0
	}

	return o, true
}

// choosePending makes a step complete a pending login. It returns false if there is none.
func (p *player) choosePending(o op) (op, bool) {
	o.pending = p.w.latestPending(func(l pendingLogin) bool { return o.client < 0 || l.client == o.client })
	if o.pending < 0 {
		return o, false
	}

	o.account = p.w.pendings[o.pending].account
	o.password = p.w.pendings[o.pending].password

	return o, true
}

// chooseCode returns a code to send: usually a right one. No right code is ever sent twice.
func (p *player) chooseCode(random *rand.Rand, a *app) code {
	n := random.IntN(8)
	step := max(factor.Step(p.now()), a.step+1)
	hasCode := step <= factor.Step(p.now())+1

	switch {
	case n == 0 && len(a.spent) > 0:
		return code{spentCode, pick(random, a.spent)}
	case n <= 1:
		return code{wrongCode, "not a code"}
	case hasCode && (n <= 5 || len(a.unused) == 0):
		a.step = step

		return code{otpCode, factor.Code(a.Secret, step)}
	case len(a.unused) > 0:
		next := a.unused[0]
		a.unused = a.unused[1:]

		return code{recoveryCode, next}
	}

	return code{wrongCode, "not a code"}
}

// beginEnrolment lets the account of an operation set up an authenticator app. It does what POST /auth/totp
// does. A history does not send that request, because clients cannot observe an enrolment.
func (p *player) beginEnrolment(o op) {
	o.app.App = p.servers[1].BeginApp(p.w.accounts[o.account].id, "theapp")
	o.app.step = factor.Step(p.now())
}

// factorCookies returns the cookies of second factors that an operation sends.
func (w *world) factorCookies(o op) map[string]string {
	cookies := map[string]string{}
	add := func(c *http.Cookie) {
		if c != nil {
			cookies[c.Name] = c.Value
		}
	}
	if o.pending >= 0 {
		add(w.pendings[o.pending].cookie)
	}
	if o.trust >= 0 {
		add(w.trusts[o.trust].cookie)
	}

	return cookies
}

// judgeOnce returns the index of a response that completes a pending login for the second time, or -1.
func judgeOnce(ops []op, responses []apitest.Response) int {
	completed := map[int]bool{}
	for i, o := range ops {
		if o.kind != "complete login" || responses[i].Status != http.StatusOK {
			continue
		}
		if completed[o.pending] {
			return i
		}
		completed[o.pending] = true
	}

	return -1
}
