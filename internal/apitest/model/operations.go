package model

import (
	"fmt"
	"slices"

	"latchkey/internal/apitest"
	"latchkey/internal/session"
)

// Signing in.

func isUnused(w *world, o op, _ interval) fact { return yes - w.accounts[o.account].exists }

// mayRegister records that a registration may have succeeded. If only Redis is down, it has not:
// the account is rolled back because its session cannot start.
func mayRegister(w *world, o op) {
	account := &w.accounts[o.account]
	switch {
	case w.down&mongoDown == 0 && w.down&redisDown != 0 || account.exists == yes:
	case account.exists == maybe:
		account.mayHave(o.password)
	default:
		account.exists = maybe
		account.verified = no
		account.passwords = []string{o.password}
	}
}

func learnRegister(w *world, o op, a apitest.Response, now interval) {
	w.learnSignIn(o, a)
	w.accounts[o.account].verified = no
	w.replaceSession(o, now)
}

func learnUsed(w *world, o op, _ apitest.Response, _ interval) { w.accounts[o.account].exists = yes }

func canLogin(w *world, o op, _ interval) fact {
	account := w.accounts[o.account]
	if account.revoking {
		return min(maybe, account.exists, account.active, account.hasPassword(o.password))
	}

	return min(account.exists, account.active, account.hasPassword(o.password))
}

func checkUser(w *world, o op, a apitest.Response, _ interval) string {
	got := a.Text("user", "id")
	want := w.accounts[o.account].id
	if want != "" && got != want {
		return fmt.Sprintf("account: got %s, want %s", got, want)
	}

	return ""
}

func mayLogin(w *world, o op) {
	certain, possible := w.evicted(o.account, o.token)
	w.mayEnd(append(certain, possible...)...)
}

func learnLogin(w *world, o op, a apitest.Response, now interval) {
	if isPending(a) {
		learnPending(w, o, a, now)
		return
	}

	w.accounts[o.account].exists = yes
	w.accounts[o.account].id = a.Text("user", "id")
	if !w.concurrent() {
		w.learnSignIn(o, a)
		if o.kind == "login" && o.trust < 0 {
			w.accounts[o.account].factor = no
		}
		certain, possible := w.evicted(o.account, o.token)
		w.mayEnd(possible...)
		w.end(session.TooManySessions, now, certain...)
	}

	w.replaceSession(o, now)
}

// learnSignIn records what follows for the account.
func (w *world) learnSignIn(o op, a apitest.Response) {
	account := &w.accounts[o.account]
	account.exists = yes
	account.id = a.Text("user", "id")
	account.active = yes
	account.passwords = []string{o.password}
}

func learnLoginRefused(w *world, o op, _ apitest.Response, _ interval) {
	account := &w.accounts[o.account]
	switch {
	case w.concurrent() || account.active != yes:
	case account.exists == yes:
		account.hasNot(o.password)
	case account.exists == maybe && account.hasPassword(o.password) == yes:
		account.exists = no
	}
}

// replaceSession ends the session that the client had before it signed in.
func (w *world) replaceSession(o op, now interval) {
	if o.token < 0 {
		return
	}

	all := w.sessionOf(o.token)
	if w.alive(o.token, now) == yes || w.tokenReplaced(o.token, now) == yes {
		w.end(replaced, now, all...)

		return
	}

	w.mayEnd(all...) // either the whole session ended or none of it
	w.end("", now, o.token)
}

// Using a session.

func checkSession(w *world, o op, a apitest.Response, now interval) string {
	return w.checkSeen(o, a, interval{w.tokens[o.token].seen.from, now.to})
}

// checkBackground is checkSession for a request that does not extend the session.
func checkBackground(w *world, o op, a apitest.Response, now interval) string {
	if w.concurrent() {
		return checkSession(w, o, a, now)
	}

	return w.checkSeen(o, a, w.tokens[o.token].seen)
}

// checkSeen returns what is wrong with a response about a session that was last seen in an interval.
func (w *world) checkSeen(o op, a apitest.Response, seen interval) string {
	k := w.tokens[o.token]
	account := w.accounts[k.account]
	expires := a.Time("expiresAt")
	idle := a.Time("idleExpiresAt")
	switch {
	case k.second != maybe && !w.concurrent() && (a.Text("level") == session.AAL2) != (k.second == yes):
		return fmt.Sprintf("level: got %s for a session with a second factor: %v", a.Text("level"), k.second)
	case a.Text("sessionId") != k.id || a.Text("userId") != account.id || a.Text("email") != account.email:
		return "got another session"
	case !k.started.add(apitest.AbsoluteTimeout).contains(expires):
		return fmt.Sprintf("expiresAt: got %v for a login at %v", expires, k.started.from)
	case !idle.Equal(expires) && !seen.add(apitest.IdleTimeout).contains(idle):
		return fmt.Sprintf("idleExpiresAt: got %v for a session last seen at %v", idle, k.seen.from)
	}

	return ""
}

func checkList(w *world, o op, a apitest.Response, now interval) string {
	listed := listedIn(a)
	unknown := 0
	for id, current := range listed {
		i := w.byID(id)
		switch {
		case i < 0:
			unknown++
		case w.tokens[i].account != o.account:
			return fmt.Sprintf("token %d of another account is listed", i)
		case w.alive(i, now) == no:
			return fmt.Sprintf("ended token %d is listed", i)
		case current && i != o.token:
			return fmt.Sprintf("current session: got token %d, want %d", i, o.token)
		}
	}

	for _, i := range w.tokensOf(o.account, -1) {
		if _, found := listed[w.tokens[i].id]; !found && w.alive(i, now) == yes {
			return fmt.Sprintf("live token %d is not listed", i)
		}
	}

	if limit := w.accounts[o.account].lostTokens; unknown > limit {
		return fmt.Sprintf("unknown sessions: got %d, want at most %d", unknown, limit)
	}

	return ""
}

// listedIn returns the session IDs in a list, and whether each is the current session.
func listedIn(a apitest.Response) map[string]bool {
	ids := map[string]bool{}
	sessions, _ := a.JSON["sessions"].([]any)
	for _, item := range sessions {
		s, _ := item.(map[string]any)
		id, _ := s["id"].(string)
		ids[id], _ = s["current"].(bool)
	}

	return ids
}

func learnList(w *world, o op, a apitest.Response, now interval) {
	if w.concurrent() || w.down != 0 {
		return
	}

	listed := listedIn(a)
	for _, i := range w.tokensOf(o.account, -1) {
		if _, found := listed[w.tokens[i].id]; found {
			w.tokens[i].alive = yes
		} else {
			w.end("", now, i)
		}
	}
}

// Renewing a session.

func checkRenewed(w *world, o op, a apitest.Response, _ interval) string {
	old := a.Text("oldSessionId") // only of a rotation
	if old != "" && old != w.tokens[o.token].id || a.Text("sessionId") != session.IDOf(a.Cookie.Value) {
		return "got the IDs of other sessions"
	}

	return ""
}

func knowsPassword(w *world, o op, _ interval) fact {
	return w.accounts[o.account].hasPassword(o.password)
}

func learnPassword(w *world, o op, _ apitest.Response, _ interval) {
	if !w.concurrent() {
		w.accounts[o.account].passwords = []string{o.password}
	}
}

func learnWrongPassword(w *world, o op, _ apitest.Response, _ interval) {
	if !w.concurrent() {
		w.accounts[o.account].hasNot(o.password)
	}
}

func mayChange(w *world, o op) { w.accounts[o.account].mayHave(o.next) }

func learnChange(w *world, o op, a apitest.Response, now interval) {
	account := &w.accounts[o.account]
	account.changed = append(account.changed, o.next)
	account.passwords = []string{o.next}

	w.endAfterChange(o, a, session.PasswordChanged, now)
}

// endAfterChange ends the sessions of a changed account, except for one that got a new token.
func (w *world) endAfterChange(o op, a apitest.Response, reason session.Reason, now interval) {
	ended := allSessions
	if cookieChange(a) == setsCookie {
		ended = otherSessions
	}

	w.endTargets(o, ended, reason, now)
	if !w.concurrent() && w.down&redisDown != 0 && cookieChange(a) == dropsCookie {
		w.accounts[o.account].lostTokens++ // Redis may have stored the new token
	}
}

// Ending sessions.

func checkLogout(_ *world, _ op, a apitest.Response, _ interval) string {
	if a.Header.Get("Clear-Site-Data") == "" {
		return "Clear-Site-Data is missing"
	}

	return ""
}

// canRevoke accepts the ID of a replaced token while the server remembers the replacement. A
// client that repeats its request may succeed again.
func canRevoke(w *world, o op, now interval) fact {
	if slices.Contains(w.tokens[o.target].revokers, o.token) {
		return maybe
	}

	var alive fact
	for _, i := range w.targets(o, targetSession) {
		alive = max(alive, w.alive(i, now))
	}
	if w.accounts[w.tokens[o.target].account].lostTokens > 0 {
		alive = max(alive, maybe) // the session may go on with a token that no client knows
	}

	return min(alive, max(w.alive(o.target, now), w.tokenReplaced(o.target, now)))
}

func learnRevoke(w *world, o op, _ apitest.Response, now interval) {
	reason := session.Revoked
	if o.target == o.token {
		reason = session.LoggedOut
	}

	w.endTargets(o, targetSession, reason, now)
}

func learnNotFound(w *world, o op, _ apitest.Response, now interval) {
	if w.tokens[o.target].account == o.account {
		w.end("", now, o.target)
	}
}

// checkRevoked checks the number of sessions that a response reports as revoked.
func checkRevoked(w *world, o op, a apitest.Response, now interval) string {
	scope := otherSessions
	if o.kind == "revoke all" {
		scope = allSessions
	}

	targets := w.targets(o, scope)
	least := len(slices.DeleteFunc(slices.Clone(targets), func(i int) bool { return w.alive(i, now) != yes }))
	most := len(targets) + w.accounts[o.account].lostTokens

	n, _ := a.JSON["revoked"].(float64)
	if certain := !w.concurrent() && w.down == 0; certain && (int(n) < least || int(n) > most) {
		return fmt.Sprintf("revoked: got %v, want %d to %d", n, least, most)
	}

	return ""
}

// Deleting and disabling accounts.

// isRecent reports whether the user has recently proved their identity.
func isRecent(w *world, o op, now interval) fact {
	return min(isWithinMaxAge(w.tokens[o.token].proved, now), w.hasRecentFactor(o, now))
}

// isWithinMaxAge reports whether a proof is recent.
func isWithinMaxAge(proved, now interval) fact {
	stale := proved.add(apitest.StepUpMaxAge)
	switch {
	case now.before(stale):
		return yes
	case stale.before(now):
		return no
	}

	return maybe
}

func mayDelete(w *world, o op) {
	account := &w.accounts[o.account]
	account.exists = min(account.exists, maybe)
	account.verified = min(account.verified, maybe)
}

func learnDelete(w *world, o op, a apitest.Response, _ interval) {
	account := &w.accounts[o.account]
	account.exists = no
	account.verified = no
	account.id = ""
	account.factor = no
	account.passwords = nil
}

func mayBeActive(w *world, o op) { w.accounts[o.account].active = maybe }

func learnDisable(w *world, o op, _ apitest.Response, _ interval) { w.accounts[o.account].active = no }

func learnEnable(w *world, o op, _ apitest.Response, _ interval) { w.accounts[o.account].active = yes }

func learnDeleteKey(w *world, o op, _ apitest.Response, now interval) { w.end("", now, o.target) }
