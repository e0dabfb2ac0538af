package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/session"
)

// resolve finds what a step is done to. There may be nothing. A client without a cookie
// has little else to do than to log in.
func (p *stage) resolve(s step) (op, bool) {
	w := p.w
	o := op{kind: s.kind, as: p.jars[s.jar], about: -1}
	d := dice(s.pick)
	if s.thief && len(w.held) > 0 {
		o.as = d.below(len(w.held))
	}
	r := operations[o.kind]
	if !r.public && !r.operator && o.as < 0 && d.below(8) > 0 {
		o.kind = "login"
		r = operations[o.kind]
	}
	switch {
	case r.public:
		if o.who = d.below(len(w.people)); w.people[o.who].exists == no && o.kind == "login" && d.below(4) > 0 || len(w.held) == 0 {
			o.who = 0
		}
	case r.operator:
		o.as, o.who = -1, d.below(len(w.people))
	case o.as >= 0:
		o.who = w.held[o.as].who
	}
	switch o.kind {
	case "revoke", "operator revokes", "operator deletes key":
		if len(w.held) == 0 {
			return o, false
		}
		if o.about = d.below(len(w.held)); d.below(4) > 0 && o.as >= 0 {
			own := slices.DeleteFunc(everyToken(w), func(h int) bool { return w.held[h].who != o.who })
			o.about = own[d.below(len(own))]
		}
		if r.operator {
			o.who = w.held[o.about].who
		}
		return o, p.told(o.about) != ""
	case "operator enables":
		if w.people[o.who].active == yes || w.people[o.who].exists != yes {
			return o, false
		}
	case "operator disables", "operator sets password", "operator revokes user":
		if w.people[o.who].exists != yes || w.people[o.who].id == "" {
			return o, false
		}
	case "register", "login", "step up", "change password":
		o.password = p.password(&d, o.who)
	}
	if o.kind == "change password" || o.kind == "operator sets password" {
		o.next = fmt.Sprintf("another password, number %d", len(p.past)+d.below(1e6))
	}
	return o, true
}

// told is the name of a session that somebody can know. While sessions move between two
// names it is the last that an answer has told.
func (p *stage) told(h int) string {
	if ids := p.w.held[h].ids; len(ids) == 1 {
		return ids[0]
	}
	return p.names[h]
}

// remember notes the names that an answer tells.
func (p *stage) remember(a answer) {
	ids := listedIn(a)
	ids[a.text("sessionId")] = true
	for id := range ids {
		if h := p.w.named(id); h >= 0 {
			p.names[h] = id
		}
	}
}

func everyToken(w *world) []int {
	all := make([]int, len(w.held))
	for h := range all {
		all[h] = h
	}
	return all
}

// password chooses one that somebody may try: mostly the right one, or else one of before
// or none that ever was.
func (p *stage) password(d *dice, who int) string {
	own := p.w.people[who].passwords
	switch n := d.below(10); {
	case n == 0:
		return "wrong password"
	case n == 1 && len(p.past) > 0:
		return p.past[d.below(len(p.past))]
	case len(own) == 0:
		return testPassword
	}
	return own[d.below(len(own))]
}

// paths are the requests of the operations.
var paths = map[string]string{
	"register": "POST /auth/register", "login": "POST /auth/login", "logout": "POST /auth/logout",
	"session": "GET /auth/session", "me": "GET /auth/me", "list": "GET /auth/sessions",
	"rotate": "POST /auth/rotate-session", "step up": "POST /auth/step-up", "change password": "POST /auth/password/change",
	"revoke": "DELETE /auth/sessions/", "revoke others": "DELETE /auth/sessions", "revoke all": "DELETE /auth/sessions?scope=all",
	"delete": "DELETE /profile",
}

// do does an operation and returns the answer.
func (p *stage) do(c *client, o op) (answer, error) {
	if operations[o.kind].operator {
		return p.operate(o)
	}
	var method, path string
	_, _ = fmt.Sscan(paths[o.kind], &method, &path)
	email := p.w.people[o.who].email
	var body map[string]any
	switch o.kind {
	case "register":
		body = map[string]any{"name": "Ann", "email": email, "password": o.password}
	case "login":
		body = map[string]any{"email": email, "password": o.password}
	case "step up":
		body = map[string]any{"password": o.password}
	case "change password":
		body = map[string]any{"currentPassword": o.password, "newPassword": o.next}
	case "revoke":
		path += p.told(o.about)
	}
	if body == nil {
		return c.try(method, path, nil, nil)
	}
	return c.try(method, path, http.Header{"Content-Type": {"application/json"}}, encoded(body))
}

// operate does what an operator's commands do, see app.Admin, and answers as if it had
// been a request. No operator meets an outage.
func (p *stage) operate(o op) (answer, error) {
	s, ctx, who := p.servers[1], context.Background(), p.w.people[o.who].id
	var err error
	why := session.Revoked
	switch o.kind {
	case "operator revokes":
		err = s.sessions.Revoke(ctx, who, p.told(o.about), session.Revoked)
		switch {
		case err == nil:
			return answer{t: s.t, status: http.StatusNoContent}, nil
		case errors.Is(err, session.ErrNotFound):
			return answer{t: s.t, status: http.StatusNotFound, body: map[string]any{"code": "not_found"}}, nil
		}
		return answer{}, err
	case "operator deletes key":
		p.redisMu.Lock()
		defer p.redisMu.Unlock()
		for _, id := range p.w.held[o.about].ids {
			if _, err := redis.Int(p.redis.Do("DEL", "sess:"+id)); err != nil {
				return answer{}, err
			}
		}
		return answer{t: s.t, status: 200}, nil
	case "operator revokes everything":
		_, err = s.sessions.RevokeEverything(ctx, func(int) {})
		return answer{t: s.t, status: 200}, err
	case "operator enables":
		_, err = s.users.SetActive(ctx, who, true)
		return answer{t: s.t, status: 200}, err
	case "operator disables":
		why = session.AccountDisabled
		_, err = s.users.SetActive(ctx, who, false)
	case "operator sets password":
		why = session.PasswordChanged
		_, err = s.auth.SetPassword(ctx, who, o.next)
	}
	if err == nil {
		_, err = s.sessions.RevokeAll(ctx, who, "", why)
	}
	return answer{t: s.t, status: 200}, err
}

// audit asks for every token that there was, and for the lists. What Redis holds must be
// what is known then.
func (p *stage) audit() string {
	if wrong := p.heal(); wrong != "" {
		return wrong
	}
	p.forget()
	for range 2 { // the second time all is known
		for h := range p.w.held {
			if wrong := p.ask("session", h); wrong != "" {
				return wrong
			}
		}
		for who := range p.w.people {
			if live := p.w.of(who, -1); len(live) > 0 {
				if wrong := p.ask("list", live[0]); wrong != "" {
					return wrong
				}
			}
		}
		if !slices.ContainsFunc(p.w.held, func(s held) bool { return s.alive == maybe }) {
			break
		}
	}
	return p.auditKeys()
}

// ask has somebody read with a token, at either server.
func (p *stage) ask(kind string, h int) string {
	p.jars[0] = h
	return p.perform([]step{{kind: kind, server: h % 2}})
}

// auditKeys compares the sessions in Redis with those that are known.
func (p *stage) auditKeys() string {
	keys, err := redis.Strings(p.redis.Do("KEYS", "sess:*"))
	if err != nil {
		return err.Error()
	}
	unknown, ghosts := 0, p.w.orphans
	for _, key := range keys {
		switch h := p.w.named(key[len("sess:"):]); {
		case h < 0:
			unknown++
		case p.w.alive(h, p.now()) == no:
			return fmt.Sprintf("token %d has ended and is in Redis", h)
		}
	}
	for _, owner := range p.w.people {
		ghosts += owner.ghosts
	}
	if unknown > ghosts {
		return fmt.Sprintf("%d sessions are in Redis that nobody began", unknown)
	}
	for who := range p.w.people {
		if n := len(p.w.of(who, -1)); p.w.cap > 0 && n > p.w.cap {
			return fmt.Sprintf("%d sessions live", n)
		}
	}
	for _, s := range p.servers {
		if found := s.canaries.in(s.log.String()); found != "" {
			return found + " is in the log"
		}
	}
	return ""
}

// shrinking bounds how often a history is played again to make it shorter.
const shrinking = 100

// shrink leaves out the steps without which the same goes wrong.
func (p *stage) shrink(steps []step, v *violation) *violation {
	played := 0
	for i := len(steps) - 1; i >= 0 && played < shrinking; i-- {
		without := append(slices.Clone(steps[:i]), steps[i+1:]...)
		played++
		if shorter := p.play(without); shorter != nil && shorter.sort() == v.sort() {
			steps, v = without, shorter
		}
	}
	return v
}

var numbers = regexp.MustCompile(`[0-9]+`)

// sort is what went wrong, whatever it was done to.
func (v *violation) sort() string {
	line, _, _ := strings.Cut(v.wrong, "\n")
	return numbers.ReplaceAllString(line, "n")
}
