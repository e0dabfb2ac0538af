package model

import (
	"fmt"
	"net/http"

	"latchkey/internal/apitest"
	"latchkey/internal/session"
)

// Signing in.

func checkRegister(w *world, o op, a apitest.Response, _ interval) string {
	exists := w.accounts[o.account].exists
	switch {
	case a.Status == http.StatusConflict && exists == no:
		return "got 409 for an unused email"
	case a.Status == http.StatusConflict:
		return mismatch(a, 409, "email_taken", keepsCookie)
	case exists == yes:
		return "got an account for an email that is taken"
	}

	return mismatch(a, 201, "", setsCookie)
}

// mayRegister allows for an outage of Redis alone, in which an account whose session cannot
// start is rolled back.
func mayRegister(w *world, o op) {
	account := &w.accounts[o.account]
	switch {
	case w.down&mongoDown == 0 && w.down&redisDown != 0 || account.exists == yes:
	case account.exists == maybe:
		account.mayHave(o.password)
	default:
		account.exists = maybe
		account.passwords = []string{o.password}
	}
}

func learnRegister(w *world, o op, a apitest.Response, at interval) {
	account := &w.accounts[o.account]
	account.exists = yes
	if a.Status == http.StatusConflict {
		return
	}

	account.id = a.Text("user", "id")
	account.active = yes
	account.passwords = []string{o.password}
	w.replaceSession(o, at)
}

func checkLogin(w *world, o op, a apitest.Response, _ interval) string {
	account := w.accounts[o.account]
	allowed := min(account.exists, account.active, account.hasPassword(o.password))
	if account.revoking {
		allowed = min(allowed, maybe)
	}

	if !succeeds(allowed, a) {
		return mismatch(a, 401, "invalid_credentials", keepsCookie)
	}

	if wrong := mismatch(a, 200, "", setsCookie); wrong != "" {
		return wrong
	}

	return checkUser(w, o, a)
}

func checkUser(w *world, o op, a apitest.Response) string {
	got, want := a.Text("user", "id"), w.accounts[o.account].id
	if want != "" && got != want {
		return fmt.Sprintf("account: got %s, want %s", got, want)
	}

	return ""
}

func mayLogin(w *world, o op) {
	surely, perhaps := w.evicted(o.account, o.token)
	w.mayEnd(append(surely, perhaps...)...)
}

func learnLogin(w *world, o op, a apitest.Response, at interval) {
	account := &w.accounts[o.account]
	if a.Status != http.StatusOK {
		switch {
		case w.concurrent() || account.active != yes:
		case account.exists == yes:
			account.hasNot(o.password)
		case account.exists == maybe && account.hasPassword(o.password) == yes:
			account.exists = no
		}

		return
	}

	account.exists = yes
	account.id = a.Text("user", "id")
	if !w.concurrent() {
		account.active = yes
		account.passwords = []string{o.password}
		surely, perhaps := w.evicted(o.account, o.token)
		w.mayEnd(perhaps...)
		w.end(session.TooManySessions, at, surely...)
	}

	w.replaceSession(o, at)
}

// replaceSession ends the session that the client had before it signed in.
func (w *world) replaceSession(o op, at interval) {
	if o.token < 0 {
		return
	}

	all := w.sessionOf(o.token)
	if w.alive(o.token, at) == yes || w.tokenReplaced(o.token, at) == yes {
		w.end(replaced, at, all...)

		return
	}

	w.mayEnd(all...) // either the whole session ended or none of it
	w.end("", at, o.token)
}

// Using a session.

func checkSession(w *world, o op, a apitest.Response, at interval) string {
	if wrong := mismatch(a, 200, "", keepsCookie); wrong != "" {
		return wrong
	}

	k := w.tokens[o.token]
	account := w.accounts[k.account]
	expires, idle := a.Time("expiresAt"), a.Time("idleExpiresAt")
	seen := interval{k.seen.from, at.to}
	switch {
	case a.Text("sessionId") != k.id || a.Text("userId") != account.id || a.Text("email") != account.email:
		return "got another session"
	case !k.started.add(apitest.AbsoluteTimeout).holds(expires):
		return fmt.Sprintf("expiresAt: got %v for a login at %v", expires, k.started.from)
	case !idle.Equal(expires) && !seen.add(apitest.IdleTimeout).holds(idle):
		return fmt.Sprintf("idleExpiresAt: got %v for a session last seen at %v", idle, k.seen.from)
	}

	return ""
}

func checkMe(w *world, o op, a apitest.Response, _ interval) string {
	if wrong := mismatch(a, 200, "", keepsCookie); wrong != "" {
		return wrong
	}

	return checkUser(w, o, a)
}

func checkList(w *world, o op, a apitest.Response, at interval) string {
	if wrong := mismatch(a, 200, "", keepsCookie); wrong != "" {
		return wrong
	}

	listed := listedIn(a)
	unknown := 0
	for id, current := range listed {
		i := w.byID(id)
		switch {
		case i < 0:
			unknown++
		case w.tokens[i].account != o.account:
			return fmt.Sprintf("token %d of another account is listed", i)
		case w.alive(i, at) == no:
			return fmt.Sprintf("ended token %d is listed", i)
		case current && i != o.token:
			return fmt.Sprintf("current session: got token %d, want %d", i, o.token)
		}
	}

	for _, i := range w.of(o.account, -1) {
		if _, found := listed[w.tokens[i].id]; !found && w.alive(i, at) == yes {
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

func learnList(w *world, o op, a apitest.Response, at interval) {
	if w.concurrent() || w.down != 0 {
		return
	}

	listed := listedIn(a)
	for _, i := range w.of(o.account, -1) {
		if _, found := listed[w.tokens[i].id]; found {
			w.tokens[i].alive = yes
		} else {
			w.end("", at, i)
		}
	}
}

// Rotating a session.

func checkRotate(w *world, o op, a apitest.Response, _ interval) string {
	if wrong := mismatch(a, 200, "", setsCookie); wrong != "" {
		return wrong
	}

	if a.Text("sessionId") != session.IDOf(a.Cookie.Value) || a.Text("oldSessionId") != w.tokens[o.token].id {
		return "got the IDs of other sessions"
	}

	return ""
}

// checkPassword is for operations that need the password. If the session is rotated or ends
// at the same time, the password is changed and the client is logged out.
func checkPassword(w *world, o op, a apitest.Response, _ interval) string {
	if !succeeds(w.accounts[o.account].hasPassword(o.password), a) {
		return mismatch(a, 401, "wrong_password", keepsCookie)
	}

	if w.concurrent() && o.kind == "change password" && cookieChange(a) == dropsCookie {
		return mismatch(a, 200, "", dropsCookie)
	}

	if wrong := mismatch(a, 200, "", setsCookie); wrong != "" {
		return wrong
	}

	if a.Text("sessionId") != session.IDOf(a.Cookie.Value) {
		return "got the ID of another session"
	}

	return ""
}

func learnPassword(w *world, o op, a apitest.Response, _ interval) {
	account := &w.accounts[o.account]
	switch {
	case w.concurrent():
	case a.Status == http.StatusOK:
		account.passwords = []string{o.password}
	default:
		account.hasNot(o.password)
	}
}

func mayChange(w *world, o op) { w.accounts[o.account].mayHave(o.next) }

func learnChange(w *world, o op, a apitest.Response, at interval) {
	if a.Status != http.StatusOK {
		learnPassword(w, o, a, at)

		return
	}

	account := &w.accounts[o.account]
	account.changed = append(account.changed, o.next)
	account.passwords = []string{o.next}

	ended := allSessions
	if cookieChange(a) == setsCookie {
		ended = otherSessions
	}

	w.endTargets(o, ended, session.PasswordChanged, at)
}

// Ending sessions.

func checkLogout(_ *world, _ op, a apitest.Response, _ interval) string {
	if a.Header.Get("Clear-Site-Data") == "" {
		return "Clear-Site-Data is missing"
	}

	return mismatch(a, 200, "", dropsCookie)
}

// checkRevoke accepts the ID of a replaced token while the server remembers the replacement.
func checkRevoke(w *world, o op, a apitest.Response, at interval) string {
	var alive fact
	for _, i := range w.targets(o, targetSession) {
		alive = max(alive, w.alive(i, at))
	}

	switch w.alive(o.target, at) {
	case no:
		alive = min(alive, w.tokenReplaced(o.target, at))
	case maybe:
		alive = min(alive, maybe)
	}

	switch {
	case !succeeds(alive, a):
		return mismatch(a, 404, "not_found", keepsCookie)
	case o.target == o.token:
		return mismatch(a, 204, "", dropsCookie)
	}

	return mismatch(a, 204, "", keepsCookie)
}

func learnRevoke(w *world, o op, a apitest.Response, at interval) {
	switch {
	case a.Status == http.StatusNoContent && o.target == o.token:
		w.endTargets(o, targetSession, session.LoggedOut, at)
	case a.Status == http.StatusNoContent:
		w.endTargets(o, targetSession, session.Revoked, at)
	case w.tokens[o.target].account == o.account:
		w.end("", at, o.target)
	}
}

// checkRevokeSome checks the number of sessions that a response reports as revoked.
func checkRevokeSome(w *world, o op, a apitest.Response, at interval) string {
	ends := otherSessions
	cookie := keepsCookie
	if o.kind == "revoke all" {
		ends = allSessions
		cookie = dropsCookie
	}

	if wrong := mismatch(a, 200, "", cookie); wrong != "" || w.concurrent() || w.down != 0 {
		return wrong
	}

	targets := w.targets(o, ends)
	least := 0
	most := len(targets) + w.accounts[o.account].lostTokens
	for _, i := range targets {
		if w.alive(i, at) == yes {
			least++
		}
	}

	if n, _ := a.JSON["revoked"].(float64); int(n) < least || int(n) > most {
		return fmt.Sprintf("revoked: got %v, want %d to %d", n, least, most)
	}

	return ""
}

// Deleting and disabling accounts.

// checkDelete requires recent authentication.
func checkDelete(w *world, o op, a apitest.Response, at interval) string {
	stale := w.tokens[o.token].proved.add(apitest.StepUpMaxAge)
	if at.before(stale) || !stale.before(at) && a.Status < 300 {
		return mismatch(a, 204, "", dropsCookie)
	}

	return mismatch(a, 403, "step_up_required", keepsCookie)
}

func mayDelete(w *world, o op) {
	account := &w.accounts[o.account]
	account.exists = min(account.exists, maybe)
}

func learnDelete(w *world, o op, a apitest.Response, _ interval) {
	if a.Status != http.StatusNoContent {
		return
	}

	account := &w.accounts[o.account]
	account.exists = no
	account.id = ""
	account.passwords = nil
}

func mayBeActive(w *world, o op) { w.accounts[o.account].active = maybe }

func learnDisable(w *world, o op, _ apitest.Response, _ interval) { w.accounts[o.account].active = no }

func learnEnable(w *world, o op, _ apitest.Response, _ interval) { w.accounts[o.account].active = yes }

func learnDeleteKey(w *world, o op, _ apitest.Response, at interval) { w.end("", at, o.target) }
