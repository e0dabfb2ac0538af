package model

import (
	"fmt"
	"net/http"
	"slices"

	"latchkey/internal/apitest"
	"latchkey/internal/session"
)

// Signing in.

func checkRegister(w *world, o op, a apitest.Response, _ interval) string {
	if a.Status == http.StatusConflict {
		if w.accounts[o.who].exists == no {
			return "got 409 for an unused email"
		}

		return mismatch(a, 409, "email_taken", keepsCookie)
	}

	if w.accounts[o.who].exists == yes {
		return "got an account for an email that is taken"
	}

	return mismatch(a, 201, "", setsCookie)
}

// mayRegister allows for an outage of Redis alone, in which an account whose session cannot
// start is rolled back.
func mayRegister(w *world, o op) {
	p := &w.accounts[o.who]
	switch {
	case w.down&mongoDown == 0 && w.down&redisDown != 0 || p.exists == yes:
	case p.exists == maybe:
		p.may(o.password)
	default:
		p.exists, p.passwords = maybe, []string{o.password}
	}

	mayReplace(w, o)
}

func learnRegister(w *world, o op, a apitest.Response, at interval) {
	p := &w.accounts[o.who]
	p.exists = yes
	if a.Status == http.StatusConflict {
		return
	}

	p.id = a.Text("user", "id")
	p.active = yes
	p.passwords = []string{o.password}
	learnReplace(w, o, at)
}

func checkLogin(w *world, o op, a apitest.Response, _ interval) string {
	p := w.accounts[o.who]
	allowed := min(p.exists, p.active, p.hasPassword(o.password))
	if p.revoking {
		allowed = min(allowed, maybe)
	}

	if !succeeds(allowed, a) {
		return mismatch(a, 401, "invalid_credentials", keepsCookie)
	}

	if wrong := mismatch(a, 200, "", setsCookie); wrong != "" {
		return wrong
	}

	if got := a.Text("user", "id"); p.id != "" && got != p.id {
		return fmt.Sprintf("account: got %s, want %s", got, p.id)
	}

	return ""
}

func mayLogin(w *world, o op) {
	surely, perhaps := w.evicted(o.who, o.as)
	w.markUncertain(append(surely, perhaps...))
	mayReplace(w, o)
}

func learnLogin(w *world, o op, a apitest.Response, at interval) {
	p := &w.accounts[o.who]
	if a.Status != 200 {
		switch {
		case w.concurrent || p.active != yes:
		case p.exists == yes:
			p.isNot(o.password)
		case p.exists == maybe && p.hasPassword(o.password) == yes:
			p.exists = no
		}

		return
	}

	p.exists = yes
	p.id = a.Text("user", "id")
	if !w.concurrent {
		p.active = yes
		p.passwords = []string{o.password}
		surely, perhaps := w.evicted(o.who, o.as)
		w.markUncertain(perhaps)
		w.endAll(surely, session.TooManySessions, at)
	}

	learnReplace(w, o, at)
}

// mayReplace records that a login may replace the client's session.
func mayReplace(w *world, o op) {
	if o.as >= 0 {
		w.markUncertain(w.session(o.as))
	}
}

func learnReplace(w *world, o op, at interval) {
	if o.as < 0 {
		return
	}

	if w.alive(o.as, at) == yes || w.tokenReplaced(o.as, at) == yes {
		w.endAll(w.session(o.as), replaced, at)

		return
	}

	w.markUncertain(w.session(o.as)) // the login may have ended the whole session or none of it
	w.end(o.as, "", at)
}

// Using a session.

func checkSession(w *world, o op, a apitest.Response, at interval) string {
	if wrong := mismatch(a, 200, "", keepsCookie); wrong != "" {
		return wrong
	}

	s := w.held[o.as]
	p := w.accounts[s.who]
	expires, idle := a.Time("expiresAt"), a.Time("idleExpiresAt")
	last := s.started.add(apitest.AbsoluteTimeout)
	switch {
	case !slices.Contains(s.ids, a.Text("sessionId")) || a.Text("userId") != p.id || a.Text("email") != p.email:
		return "got another session"
	case !last.holds(expires):
		return fmt.Sprintf("expiresAt: got %v for a login at %v", expires, s.started.from)
	case !idle.Equal(expires) && !(interval{s.seen.from, at.to}).add(apitest.IdleTimeout).holds(idle):
		return fmt.Sprintf("idleExpiresAt: got %v for a session last seen at %v", idle, s.seen.from)
	}

	return ""
}

func checkMe(w *world, o op, a apitest.Response, _ interval) string {
	if wrong := mismatch(a, 200, "", keepsCookie); wrong != "" {
		return wrong
	}

	if got, want := a.Text("user", "id"), w.accounts[o.who].id; got != want {
		return fmt.Sprintf("account: got %s, want %s", got, want)
	}

	return ""
}

func checkList(w *world, o op, a apitest.Response, at interval) string {
	if wrong := mismatch(a, 200, "", keepsCookie); wrong != "" {
		return wrong
	}

	listed := map[int]bool{}
	unknown := 0
	for id, current := range listedIn(a) {
		h := w.byID(id)
		switch {
		case h < 0:
			unknown++
			continue
		case w.held[h].who != o.who:
			return fmt.Sprintf("token %d of another account is listed", h)
		case w.alive(h, at) == no:
			return fmt.Sprintf("ended token %d is listed", h)
		case current && h != o.as:
			return fmt.Sprintf("current session: got token %d, want %d", h, o.as)
		}

		listed[h] = true
	}

	for _, h := range w.of(o.who, -1) {
		if w.alive(h, at) == yes && !listed[h] {
			return fmt.Sprintf("live token %d is not listed", h)
		}
	}

	if limit := w.accounts[o.who].unheld; unknown > limit {
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
	if w.concurrent || w.anyDown() {
		return
	}

	listed := map[int]bool{}
	for id := range listedIn(a) {
		listed[w.byID(id)] = true
	}

	for _, h := range w.of(o.who, -1) {
		if listed[h] {
			w.held[h].alive = yes
		} else {
			w.end(h, "", at)
		}
	}
}

// Rotating a session.

func checkRotate(w *world, o op, a apitest.Response, _ interval) string {
	if wrong := mismatch(a, 200, "", setsCookie); wrong != "" {
		return wrong
	}

	if ids := idsOf(a.Cookie.Value); !slices.Contains(ids, a.Text("sessionId")) || !slices.Contains(w.held[o.as].ids, a.Text("oldSessionId")) {
		return "got the IDs of other sessions"
	}

	return ""
}

func mayRenew(w *world, o op) {
	if o.as >= 0 {
		w.markUncertain([]int{o.as})
	}
}

// checkProof is for operations that need the password. If the session is rotated or ends at
// the same time, the change is made and the client is logged out.
func checkProof(message string) func(w *world, o op, a apitest.Response, at interval) string {
	return func(w *world, o op, a apitest.Response, _ interval) string {
		if !succeeds(w.accounts[o.who].hasPassword(o.password), a) {
			return mismatch(a, 401, "wrong_password", keepsCookie)
		}

		if w.concurrent && o.kind == "change password" && cookieChange(a) == dropsCookie {
			return mismatch(a, 200, "", dropsCookie)
		}

		if wrong := mismatch(a, 200, "", setsCookie); wrong != "" {
			return wrong
		}

		if !slices.Contains(idsOf(a.Cookie.Value), a.Text("sessionId")) || a.Text("message") != message {
			return fmt.Sprintf("got another session or message %q, want %q", a.Text("message"), message)
		}

		return ""
	}
}

func learnStepUp(w *world, o op, a apitest.Response, _ interval) {
	p := &w.accounts[o.who]
	switch {
	case w.concurrent:
	case a.Status == 200:
		p.passwords = []string{o.password}
	default:
		p.isNot(o.password)
	}
}

func mayChange(w *world, o op) {
	w.accounts[o.who].may(o.next)
	mayEndAll(w, o)
}

func learnChange(w *world, o op, a apitest.Response, at interval) {
	p := &w.accounts[o.who]
	if a.Status != 200 {
		learnStepUp(w, o, a, at)

		return
	}

	p.changed = append(p.changed, o.next)
	p.passwords = []string{o.next}
	if cookieChange(a) == setsCookie {
		learnEndOthers(session.PasswordChanged)(w, o, a, at)

		return
	}

	learnEndAll(session.PasswordChanged)(w, o, a, at)
}

// Ending sessions.

func mayEndOwn(w *world, o op) {
	if o.as >= 0 {
		w.markUncertain(w.session(o.as))
	}
}

func checkLogout(_ *world, _ op, a apitest.Response, _ interval) string {
	if a.Header.Get("Clear-Site-Data") == "" {
		return "Clear-Site-Data is missing"
	}

	return mismatch(a, 200, "", dropsCookie)
}

// learnLogout ends the whole session: the token belonged to it, or was replaced by one that
// does.
func learnLogout(w *world, o op, _ apitest.Response, at interval) {
	w.endAll(w.session(o.as), session.LoggedOut, at)
}

func mayEndOne(w *world, o op) {
	if w.held[o.about].who == o.who {
		w.markUncertain(w.session(o.about))
	}
}

// checkRevoke accepts the ID of a replaced token while the server remembers the replacement.
func checkRevoke(w *world, o op, a apitest.Response, at interval) string {
	var alive fact
	for _, h := range w.session(o.about) {
		alive = max(alive, w.alive(h, at))
	}

	direct := w.alive(o.about, at)
	switch {
	case w.held[o.about].who != o.who:
		alive = no
	case direct == no:
		alive = min(alive, w.tokenReplaced(o.about, at))
	case direct == maybe:
		alive = maybe
	}

	if w.anyDown() {
		alive = min(alive, maybe) // a retried command may find the session already ended
	}

	if succeeds(alive, a) {
		if w.held[o.about].root == w.held[max(0, o.as)].root && cookieChange(a) == dropsCookie {
			return mismatch(a, 204, "", dropsCookie)
		}

		return mismatch(a, 204, "", keepsCookie)
	}

	return mismatch(a, 404, "not_found", keepsCookie)
}

func learnRevoke(w *world, o op, a apitest.Response, at interval) {
	why := session.Revoked
	switch {
	case o.about == o.as && len(w.secrets) == 1:
		why = session.LoggedOut
	case o.about == o.as:
		why = "" // depends on the secret that the ID was derived from
	}

	switch {
	case a.Status == http.StatusNoContent:
		w.endAll(w.session(o.about), why, at)
	case w.held[o.about].who == o.who:
		w.end(o.about, "", at)
	}
}

func mayEndOthers(w *world, o op) {
	if o.as >= 0 {
		w.markUncertain(w.of(o.who, w.held[o.as].root))
	}
}

func mayEndAll(w *world, o op) { w.markUncertain(w.of(o.who, -1)) }

// checkRevokeSome checks the number of sessions that a response reports as revoked.
func checkRevokeSome(w *world, o op, a apitest.Response, at interval) string {
	spared := w.held[o.as].root
	cookie := keepsCookie
	if o.kind == "revoke all" {
		spared = -1
		cookie = dropsCookie
	}

	if wrong := mismatch(a, 200, "", cookie); wrong != "" || w.concurrent || w.anyDown() {
		return wrong
	}

	least := 0
	most := w.accounts[o.who].unheld
	if len(w.secrets) > 1 {
		most += w.lost // a session whose re-keying was interrupted counts twice
	}

	for _, h := range w.of(o.who, spared) {
		if w.alive(h, at) == yes {
			least++
		}

		most++
	}

	if n, _ := a.JSON["revoked"].(float64); int(n) < least || int(n) > most {
		return fmt.Sprintf("revoked: got %v, want %d to %d", n, least, most)
	}

	return ""
}

// learnEndOthers leaves out sessions that started at the same time, because they may have
// started after the revocation.
func learnEndOthers(why session.Reason) func(w *world, o op, a apitest.Response, at interval) {
	return func(w *world, o op, _ apitest.Response, at interval) { w.endSome(o.who, w.held[o.as].root, why, at) }
}

func learnEndAll(why session.Reason) func(w *world, o op, a apitest.Response, at interval) {
	return func(w *world, o op, _ apitest.Response, at interval) { w.endSome(o.who, -1, why, at) }
}

func (w *world) endSome(who, spared int, why session.Reason, at interval) {
	w.endAll(slices.DeleteFunc(w.of(who, spared), func(h int) bool { return w.held[h].root >= w.firstNew }), why, at)
	// If a session is spared, an unheld one may be its successor.
	if !w.concurrent && spared < 0 {
		w.accounts[who].unheld = 0
	}
}

// Deleting and disabling accounts.

// checkDelete requires recent authentication.
func checkDelete(w *world, o op, a apitest.Response, at interval) string {
	stale := w.held[o.as].proved.add(apitest.StepUpMaxAge)
	if at.before(stale) || !stale.before(at) && a.Status < 300 {
		return mismatch(a, 204, "", dropsCookie)
	}

	return mismatch(a, 403, "step_up_required", keepsCookie)
}

func mayDelete(w *world, o op) {
	if p := &w.accounts[o.who]; p.exists == yes {
		p.exists = maybe
	}

	mayEndAll(w, o)
}

func learnDelete(w *world, o op, a apitest.Response, at interval) {
	if a.Status != http.StatusNoContent {
		return
	}

	p := &w.accounts[o.who]
	p.exists = no
	p.id = ""
	p.passwords = nil
	w.endSome(o.who, -1, session.AccountDeleted, at)
}

func mayDisable(w *world, o op) {
	w.accounts[o.who].active = maybe
	if o.kind == "operator disables" {
		mayEndAll(w, o)
	}
}

func learnDisable(w *world, o op, _ apitest.Response, at interval) {
	w.accounts[o.who].active = no
	w.endSome(o.who, -1, session.AccountDisabled, at)
}

func mayDeleteKey(w *world, o op) {
	mayEndOne(w, o)
	w.forgetTimeout(o.about)
}

// learnDeleteKey counts the index entry that remains until the sessions are listed.
func learnDeleteKey(w *world, o op, _ apitest.Response, at interval) {
	w.end(o.about, "", at)
	w.forgetTimeout(o.about)
	w.lost++
}

// forgetTimeout records that the record of a session is gone. Without it, the server no
// longer knows that the session timed out.
func (w *world) forgetTimeout(h int) {
	s := &w.held[h]
	if s.why == session.IdleTimeout || s.why == session.AbsoluteTimeout {
		s.why = ""
	}
}

func mayEndEverything(w *world, _ op) {
	for who := range w.accounts {
		w.markUncertain(w.of(who, -1))
	}

	for h := range w.held {
		w.forgetTimeout(h)
	}
}

func learnEndEverything(w *world, _ op, _ apitest.Response, at interval) {
	for who := range w.accounts {
		w.endSome(who, -1, session.Revoked, at)
	}

	// The records of timed-out sessions are deleted, too.
	for h := range w.held {
		w.forgetTimeout(h)
	}
}
