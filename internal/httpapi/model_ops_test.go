package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"latchkey/internal/session"
)

// Signing in.

func fitsRegister(w *world, o op, a answer, _ span) string {
	if a.status == http.StatusConflict {
		if w.people[o.who].exists == no {
			return "the address is not taken"
		}
		return wants(a, 409, "email_taken", keepsCookie)
	}
	if w.people[o.who].exists == yes {
		return "the address is taken"
	}
	return wants(a, 201, "", setsCookie)
}

// mayRegister: where only Redis is away, an account whose session cannot begin is taken
// back.
func mayRegister(w *world, o op) {
	p := &w.people[o.who]
	switch {
	case w.away&mongoAway == 0 && w.away&redisAway != 0 || p.exists == yes:
	case p.exists == maybe:
		p.may(o.password)
	default:
		p.exists, p.passwords = maybe, []string{o.password}
	}
	mayReplace(w, o)
}

func didRegister(w *world, o op, a answer, at span) {
	p := &w.people[o.who]
	p.exists = yes
	if a.status == http.StatusConflict {
		return
	}
	p.id, p.active, p.passwords = a.text("user", "id"), yes, []string{o.password}
	didReplace(w, o, at)
}

func fitsLogin(w *world, o op, a answer, _ span) string {
	p := w.people[o.who]
	in := min(p.exists, p.active, p.knows(o.password))
	if p.barred {
		in = min(in, maybe)
	}
	if !succeeds(in, a) {
		return wants(a, 401, "invalid_credentials", keepsCookie)
	}
	if wrong := wants(a, 200, "", setsCookie); wrong != "" {
		return wrong
	}
	if got := a.text("user", "id"); p.id != "" && got != p.id {
		return "it is the account of " + got
	}
	return ""
}

func mayLogin(w *world, o op) {
	surely, perhaps := w.pushedOut(o.who, o.as)
	w.weaken(append(surely, perhaps...))
	mayReplace(w, o)
}

func didLogin(w *world, o op, a answer, at span) {
	p := &w.people[o.who]
	if a.status != 200 {
		switch {
		case w.vague || p.active != yes:
		case p.exists == yes:
			p.isNot(o.password)
		case p.exists == maybe && p.knows(o.password) == yes:
			p.exists = no
		}
		return
	}
	p.exists, p.id = yes, a.text("user", "id")
	if !w.vague {
		p.active, p.passwords = yes, []string{o.password}
		surely, perhaps := w.pushedOut(o.who, o.as)
		w.weaken(perhaps)
		w.endAll(surely, session.TooManySessions, at)
	}
	didReplace(w, o, at)
}

// mayReplace is for a login over the session that the client had.
func mayReplace(w *world, o op) {
	if o.as >= 0 {
		w.weaken(w.session(o.as))
	}
}

func didReplace(w *world, o op, at span) {
	if o.as < 0 {
		return
	}
	if w.alive(o.as, at) == yes || w.overtaken(o.as, at) == yes {
		w.endAll(w.session(o.as), replaced, at)
		return
	}
	w.weaken(w.session(o.as)) // it is not known whether the one led to the other
	w.end(o.as, "", at)
}

// Being signed in.

func fitsSession(w *world, o op, a answer, at span) string {
	if wrong := wants(a, 200, "", keepsCookie); wrong != "" {
		return wrong
	}
	s := w.held[o.as]
	p := w.people[s.who]
	expires, idle := a.moment("expiresAt"), a.moment("idleExpiresAt")
	last := s.begun.add(testAbsolute)
	switch {
	case !slices.Contains(s.ids, a.text("sessionId")) || a.text("userId") != p.id || a.text("email") != p.email:
		return "it is another session"
	case !last.holds(expires):
		return fmt.Sprintf("it lasts until %v, the login was at %v", expires, s.begun.from)
	case !idle.Equal(expires) && !(span{s.seen.from, at.to}).add(testIdle).holds(idle):
		return fmt.Sprintf("it is kept until %v, last seen at %v", idle, s.seen.from)
	}
	return ""
}

func fitsMe(w *world, o op, a answer, _ span) string {
	if wrong := wants(a, 200, "", keepsCookie); wrong != "" {
		return wrong
	}
	if got := a.text("user", "id"); got != w.people[o.who].id {
		return "it is the account of " + got
	}
	return ""
}

func fitsList(w *world, o op, a answer, at span) string {
	if wrong := wants(a, 200, "", keepsCookie); wrong != "" {
		return wrong
	}
	listed, unknown := map[int]bool{}, 0
	for id, current := range listedIn(a) {
		h := w.named(id)
		switch {
		case h < 0:
			unknown++
			continue
		case w.held[h].who != o.who:
			return fmt.Sprintf("token %d is of somebody else", h)
		case w.alive(h, at) == no:
			return fmt.Sprintf("token %d has ended and is listed", h)
		case current && h != o.as:
			return fmt.Sprintf("token %d is said to be the current one", h)
		}
		listed[h] = true
	}
	for _, h := range w.of(o.who, -1) {
		if w.alive(h, at) == yes && !listed[h] {
			return fmt.Sprintf("token %d lives and is not listed", h)
		}
	}
	if unknown > w.people[o.who].ghosts {
		return fmt.Sprintf("%d sessions are listed that nobody began", unknown)
	}
	return ""
}

// listedIn are the names in a list of sessions, and which is said to be the caller's.
func listedIn(a answer) map[string]bool {
	ids := map[string]bool{}
	all, _ := a.body["sessions"].([]any)
	for _, one := range all {
		s, _ := one.(map[string]any)
		id, _ := s["id"].(string)
		ids[id], _ = s["current"].(bool)
	}
	return ids
}

func didList(w *world, o op, a answer, at span) {
	if w.vague || w.trouble() {
		return
	}
	listed := map[int]bool{}
	for id := range listedIn(a) {
		listed[w.named(id)] = true
	}
	for _, h := range w.of(o.who, -1) {
		if listed[h] {
			w.held[h].alive = yes
		} else {
			w.end(h, "", at)
		}
	}
}

// Another token for the session.

func fitsRotate(w *world, o op, a answer, _ span) string {
	if wrong := wants(a, 200, "", setsCookie); wrong != "" {
		return wrong
	}
	if ids := idsOf(a.cookie.Value, w.secrets); !slices.Contains(ids, a.text("sessionId")) || !slices.Contains(w.held[o.as].ids, a.text("oldSessionId")) {
		return "it names other sessions"
	}
	return ""
}

func mayRenew(w *world, o op) {
	if o.as >= 0 {
		w.weaken([]int{o.as})
	}
}

// fitsProof is for what takes the password. Where the session was given another token at
// the same moment, or ended, a change is made and the client is logged out.
func fitsProof(message string) func(w *world, o op, a answer, at span) string {
	return func(w *world, o op, a answer, _ span) string {
		if !succeeds(w.people[o.who].knows(o.password), a) {
			return wants(a, 401, "wrong_password", keepsCookie)
		}
		if w.vague && o.kind == "change password" && a.toCookie() == dropsCookie {
			return wants(a, 200, "", dropsCookie)
		}
		if wrong := wants(a, 200, "", setsCookie); wrong != "" {
			return wrong
		}
		if !slices.Contains(idsOf(a.cookie.Value, w.secrets), a.text("sessionId")) || a.text("message") != message {
			return "it is another session"
		}
		return ""
	}
}

func didStepUp(w *world, o op, a answer, _ span) {
	p := &w.people[o.who]
	switch {
	case w.vague:
	case a.status == 200:
		p.passwords = []string{o.password}
	default:
		p.isNot(o.password)
	}
}

func mayChange(w *world, o op) {
	w.people[o.who].may(o.next)
	mayEndAll(w, o)
}

func didChange(w *world, o op, a answer, at span) {
	p := &w.people[o.who]
	if a.status != 200 {
		didStepUp(w, o, a, at)
		return
	}
	p.changed = append(p.changed, o.next)
	p.passwords = []string{o.next}
	if a.toCookie() == setsCookie {
		didEndOthers(session.PasswordChanged)(w, o, a, at)
		return
	}
	didEndAll(session.PasswordChanged)(w, o, a, at)
}

// Ends.

func mayEndOwn(w *world, o op) {
	if o.as >= 0 {
		w.weaken(w.session(o.as))
	}
}

func fitsLogout(_ *world, _ op, a answer, _ span) string {
	if a.header.Get("Clear-Site-Data") == "" {
		return "nothing is said of what the browser keeps"
	}
	return wants(a, 200, "", dropsCookie)
}

// didLogout is sure: the token was that of a live session, or led to one.
func didLogout(w *world, o op, _ answer, at span) {
	w.endAll(w.session(o.as), session.LoggedOut, at)
}

func mayEndOne(w *world, o op) {
	if w.held[o.about].who == o.who {
		w.weaken(w.session(o.about))
	}
}

// fitsRevoke: a token that was replaced leads to the session for as long as that is known.
func fitsRevoke(w *world, o op, a answer, at span) string {
	var lives fact
	for _, h := range w.session(o.about) {
		lives = max(lives, w.alive(h, at))
	}
	switch direct, leads := w.alive(o.about, at), w.overtaken(o.about, at); {
	case w.held[o.about].who != o.who:
		lives = no
	case direct == no:
		lives = min(lives, leads)
	case direct == maybe:
		lives = maybe
	}
	if w.trouble() {
		lives = min(lives, maybe) // asked for twice, it was not live any more
	}
	if succeeds(lives, a) {
		if w.held[o.about].root == w.held[max(0, o.as)].root && a.toCookie() == dropsCookie {
			return wants(a, 204, "", dropsCookie)
		}
		return wants(a, 204, "", keepsCookie)
	}
	return wants(a, 404, "not_found", keepsCookie)
}

func didRevoke(w *world, o op, a answer, at span) {
	why := session.Revoked
	switch {
	case o.about == o.as && len(w.secrets) == 1:
		why = session.LoggedOut
	case o.about == o.as:
		why = "" // by which of its names
	}
	switch {
	case a.status == http.StatusNoContent:
		w.endAll(w.session(o.about), why, at)
	case w.held[o.about].who == o.who:
		w.end(o.about, "", at)
	}
}

func mayEndOthers(w *world, o op) {
	if o.as >= 0 {
		w.weaken(w.of(o.who, w.held[o.as].root))
	}
}

func mayEndAll(w *world, o op) { w.weaken(w.of(o.who, -1)) }

// fitsRevokeSome judges how many sessions are said to have ended.
func fitsRevokeSome(w *world, o op, a answer, at span) string {
	spared, cookie := w.held[o.as].root, keepsCookie
	if o.kind == "revoke all" {
		spared, cookie = -1, dropsCookie
	}
	if wrong := wants(a, 200, "", cookie); wrong != "" || w.vague || w.trouble() {
		return wrong
	}
	least, most := 0, w.people[o.who].ghosts
	if len(w.secrets) > 1 {
		most += w.lost // one that an outage stopped half way has two names
	}
	for _, h := range w.of(o.who, spared) {
		if w.alive(h, at) == yes {
			least++
		}
		most++
	}
	if n, _ := a.body["revoked"].(float64); int(n) < least || int(n) > most {
		return fmt.Sprintf("%v sessions are said to have ended, it must be from %d to %d", n, least, most)
	}
	return ""
}

// didEndOthers spares what began at the same moment: it may have begun later.
func didEndOthers(why session.Reason) func(w *world, o op, a answer, at span) {
	return func(w *world, o op, _ answer, at span) { w.endSome(o.who, w.held[o.as].root, why, at) }
}

func didEndAll(why session.Reason) func(w *world, o op, a answer, at span) {
	return func(w *world, o op, _ answer, at span) { w.endSome(o.who, -1, why, at) }
}

func (w *world) endSome(who, spared int, why session.Reason, at span) {
	w.endAll(slices.DeleteFunc(w.of(who, spared), func(h int) bool { return w.held[h].root >= w.newborn }), why, at)
	if !w.vague && spared < 0 { // one may have been made to take the place of what is spared
		w.people[who].ghosts = 0
	}
}

// An account that goes away.

// fitsDelete: it takes a proof of a short while ago.
func fitsDelete(w *world, o op, a answer, at span) string {
	switch stale := w.held[o.as].proved.add(testFresh); {
	case at.before(stale), !stale.before(at) && a.status < 300:
		return wants(a, 204, "", dropsCookie)
	}
	return wants(a, 403, "step_up_required", keepsCookie)
}

func mayDelete(w *world, o op) {
	if p := &w.people[o.who]; p.exists == yes {
		p.exists = maybe
	}
	mayEndAll(w, o)
}

func didDelete(w *world, o op, a answer, at span) {
	if a.status != http.StatusNoContent {
		return
	}
	p := &w.people[o.who]
	p.exists, p.id, p.passwords = no, "", nil
	w.endSome(o.who, -1, session.AccountDeleted, at)
}

func mayDisable(w *world, o op) {
	w.people[o.who].active = maybe
	if o.kind == "operator disables" {
		mayEndAll(w, o)
	}
}

func didDisable(w *world, o op, _ answer, at span) {
	w.people[o.who].active = no
	w.endSome(o.who, -1, session.AccountDisabled, at)
}

// didDeleteKey: what is told of it changes when the session would have ended anyway, and it
// stays in the index until somebody lists it.
func didDeleteKey(w *world, o op, _ answer, at span) {
	w.end(o.about, "", at)
	w.lost++
}

func mayEndEverything(w *world, _ op) {
	for who := range w.people {
		w.weaken(w.of(who, -1))
	}
}

func didEndEverything(w *world, _ op, _ answer, at span) {
	for who := range w.people {
		w.endSome(who, -1, session.Revoked, at)
	}
}

// moment reads a time in an answer.
func (a answer) moment(name string) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, a.text(name))
	return t
}
