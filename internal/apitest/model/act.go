package model

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/apitest"
	"latchkey/internal/auth"
	"latchkey/internal/session"
)

// resolve finds the target of a step, if there is one. A client without a cookie mostly
// logs in instead.
func (p *stage) resolve(s step) (op, bool) {
	w := p.w
	o := op{kind: s.kind, as: p.tokens[s.jar], about: -1}
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
		if o.who = d.below(len(w.accounts)); w.accounts[o.who].exists == no && o.kind == "login" && d.below(4) > 0 || len(w.held) == 0 {
			o.who = 0
		}
	case r.operator:
		o.as, o.who = -1, d.below(len(w.accounts))
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

		return o, p.sessionID(o.about) != ""
	case "operator enables":
		if w.accounts[o.who].active == yes || w.accounts[o.who].exists != yes {
			return o, false
		}
	case "operator disables", "operator sets password", "operator revokes user":
		if w.accounts[o.who].exists != yes || w.accounts[o.who].id == "" {
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

// sessionID returns an ID of the session that a client can know. While a session moves
// between two IDs, it is the one in the latest response.
func (p *stage) sessionID(h int) string {
	if ids := p.w.held[h].ids; len(ids) == 1 {
		return ids[0]
	}

	return p.names[h]
}

// remember stores the session IDs in a response.
func (p *stage) remember(a apitest.Response) {
	ids := listedIn(a)
	ids[a.Text("sessionId")] = true

	for id := range ids {
		if h := p.w.byID(id); h >= 0 {
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

// password chooses a password to try: usually the current one, otherwise a previous or a
// wrong one.
func (p *stage) password(d *dice, who int) string {
	own := p.w.accounts[who].passwords
	switch n := d.below(10); {
	case n == 0:
		return "wrong password"
	case n == 1 && len(p.past) > 0:
		return p.past[d.below(len(p.past))]
	case len(own) == 0:
		return apitest.Password
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

// do sends the request of an operation.
func (p *stage) do(c *apitest.Client, o op) (apitest.Response, error) {
	if operations[o.kind].operator {
		return p.operate(o)
	}

	var method, path string
	_, _ = fmt.Sscan(paths[o.kind], &method, &path)
	email := p.w.accounts[o.who].email
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
		path += p.sessionID(o.about)
	}

	if body == nil {
		return c.Try(method, path, nil, nil)
	}

	return c.Try(method, path, http.Header{"Content-Type": {"application/json"}}, apitest.Encode(body))
}

// operate does what an operator's command does (see app.Admin) and returns a response as if
// it were a request. Operators are not affected by outages.
func (p *stage) operate(o op) (apitest.Response, error) {
	s, ctx, who := p.servers[1], context.Background(), p.w.accounts[o.who].id
	var err error
	switch o.kind {
	case "operator revokes":
		err = s.Auth.RevokeSession(ctx, who, p.sessionID(o.about))
		switch {
		case err == nil:
			return apitest.Response{T: s.T, Status: http.StatusNoContent}, nil
		case errors.Is(err, session.ErrNotFound):
			return apitest.Response{T: s.T, Status: http.StatusNotFound, JSON: map[string]any{"code": "not_found"}}, nil
		}

		return apitest.Response{}, err
	case "operator deletes key":
		p.redisMu.Lock()
		defer p.redisMu.Unlock()
		if _, err := redis.Int(p.redis.Do("DEL", s.RecordKey(p.w.held[o.about].ids[0]))); err != nil {
			return apitest.Response{}, err
		}

		return apitest.Response{T: s.T, Status: 200}, nil
	case "operator revokes everything":
		_, err = s.Sessions.RevokeEverything(ctx, func(int) {})

		return apitest.Response{T: s.T, Status: 200}, err
	case "operator enables":
		_, err = s.Users.SetActive(ctx, who, true)

		return apitest.Response{T: s.T, Status: 200}, err
	case "operator revokes user":
		_, err = s.Auth.RevokeSessions(ctx, who, "")
	case "operator disables":
		_, err = s.Auth.Disable(ctx, auth.Operator(who), session.AccountDisabled)
	case "operator sets password":
		_, err = s.Auth.SetPassword(ctx, auth.Operator(who), o.next)
	default:
		s.T.Fatalf("no operation %q", o.kind)
	}

	return apitest.Response{T: s.T, Status: 200}, err
}

// audit reads with every token and lists all sessions at the end of a history. Redis must
// then hold exactly what the model knows.
func (p *stage) audit() string {
	if wrong := p.heal(); wrong != "" {
		return wrong
	}

	p.forget()

	for range 2 { // the second time all is known
		for h := range p.w.held {
			if wrong := p.request("session", h); wrong != "" {
				return wrong
			}
		}

		for who := range p.w.accounts {
			if live := p.w.of(who, -1); len(live) > 0 {
				if wrong := p.request("list", live[0]); wrong != "" {
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

// request reads with a token, at either server.
func (p *stage) request(kind string, h int) string {
	p.tokens[0] = h

	return p.perform([]step{{kind: kind, server: h % 2}})
}

// auditKeys compares the sessions in Redis with those of the model.
func (p *stage) auditKeys() string {
	keys, err := redis.Strings(p.redis.Do("KEYS", "sess:*"))
	if err != nil {
		return err.Error()
	}

	unknown, unheld := 0, p.w.orphans
	for _, key := range keys {
		switch h := p.w.byID(strings.NewReplacer("sess:", "", "{", "", "}", "").Replace(key)); {
		case h < 0:
			unknown++
		case p.w.held[h].alive == no && !p.w.timedOut(h, p.now()):
			return fmt.Sprintf("token %d has ended and is in Redis", h)
		}
	}

	for _, account := range p.w.accounts {
		unheld += account.unheld
	}

	if unknown > unheld {
		return fmt.Sprintf("%d sessions are in Redis that nobody began", unknown)
	}

	for who := range p.w.accounts {
		if n := len(p.w.of(who, -1)); p.w.cap > 0 && n > p.w.cap {
			return fmt.Sprintf("%d sessions live", n)
		}
	}

	for _, s := range p.servers {
		if found := s.Secrets.In(s.Log.String()); found != "" {
			return found + " is in the log"
		}
	}

	return ""
}

// shrinking limits how often a history is replayed to shorten it.
const shrinking = 100

// shrink leaves out the steps that are not needed for the same failure.
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

// sort returns the kind of the violation, without numbers.
func (v *violation) sort() string {
	line, _, _ := strings.Cut(v.wrong, "\n")

	return numbers.ReplaceAllString(line, "n")
}
