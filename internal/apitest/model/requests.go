package model

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2" //nolint:depguard // a seed must always give the same history
	"net/http"
	"strings"

	"latchkey/internal/apitest"
	"latchkey/internal/auth"
	"latchkey/internal/factor"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// resolve chooses the target of a step. It returns false if there is none.
func (p *player) resolve(s step) (op, bool) {
	w := p.w
	random := newRandom(s.seed)
	o := op{
		kind:    s.kind,
		client:  s.client,
		server:  random.IntN(2),
		account: random.IntN(len(w.accounts)),
		token:   p.cookies[s.client],
		target:  -1,
		pending: -1,
		trust:   -1,
	}
	if p.outage != nil && random.IntN(4) > 0 {
		o.server = 0
	}

	if s.stolen && len(w.tokens) > 0 {
		o.client = -1
		o.token = random.IntN(len(w.tokens))
	}

	// A client without a cookie mostly logs in.
	r := operations[o.kind]
	if !r.public && !r.operator() && o.token < 0 && random.IntN(8) > 0 {
		o.kind = "login"
		r = operations[o.kind]
	}

	// A client whose login waits for a second factor mostly completes it.
	waits := o.client >= 0 && w.latestPending(func(l pendingLogin) bool { return l.client == o.client && l.alive != no }) >= 0
	if o.kind == "login" && waits && random.IntN(5) > 0 {
		o.kind = "complete login"
	}
	if o.kind == "complete login" {
		var ok bool
		if o, ok = p.choosePending(o); !ok {
			return o, false
		}

		return p.choose(random, o)
	}

	switch {
	case r.operator():
		o.token = -1
	case r.public:
		pointless := o.kind == "login" && w.accounts[o.account].exists == no && random.IntN(4) > 0
		if pointless || len(w.tokens) == 0 {
			o.account = 0
		}
	case o.token >= 0:
		o.account = w.tokens[o.token].account
	}

	return p.choose(random, o)
}

// choose fills in the fields that only some kinds of operations need. It returns false if the
// operation has no suitable target.
func (p *player) choose(random *rand.Rand, o op) (op, bool) {
	w := p.w
	account := w.accounts[o.account]
	switch o.kind {
	case "revoke", "operator revokes", "operator deletes key":
		if len(w.tokens) == 0 {
			return o, false
		}

		o.target = random.IntN(len(w.tokens))
		if o.token >= 0 && random.IntN(4) > 0 {
			o.target = pick(random, w.filterTokens(func(k token) bool { return k.account == o.account }))
		}

		if operations[o.kind].operator() {
			o.account = w.tokens[o.target].account
		}
	case "operator verifies":
		return o, w.verifiedOnly && account.verified != yes && account.exists == yes && account.id != ""
	case "operator enables":
		return o, account.active != yes && account.exists == yes
	case "operator disables", "operator sets password", "operator revokes user", "operator resets factors":
		if account.exists != yes || account.id == "" {
			return o, false
		}
	case "register", "login", "step up", "step up with factor", "change password":
		o.password = p.choosePassword(random, account)
	}

	if o.kind == "change password" || o.kind == "operator sets password" {
		o.next = fmt.Sprintf("another password, number %d", random.IntN(1e9))
	}

	return p.chooseFactors(random, o)
}

// choosePassword returns a password to try: usually the current one, otherwise a previous or
// a wrong one.
func (p *player) choosePassword(random *rand.Rand, a account) string {
	n := random.IntN(10)
	switch {
	case n == 0:
		return "wrong password"
	case n == 1 && len(p.w.tokens) > 0:
		return pick(random, p.w.tokens).password
	case len(a.passwords) == 0:
		return apitest.Password
	}

	return pick(random, a.passwords)
}

// do sends the request of an operation.
func (p *player) do(o op) apitest.Response {
	r := operations[o.kind]
	if r.operator() {
		return p.operate(o)
	}

	email := p.w.accounts[o.account].email
	method, path, _ := strings.Cut(r.request, " ")
	var body any
	switch o.kind {
	case "register":
		body = map[string]any{"name": "Ann", "email": email, "password": o.password}
	case "login":
		body = apitest.Credentials(email, o.password)
	case "step up":
		body = map[string]any{"password": o.password}
	case "step up with factor":
		fields := map[string]any{"password": o.password}
		o.code.addTo(fields)
		body = fields
	case "complete login":
		fields := map[string]any{"trustDevice": o.trusts}
		o.code.addTo(fields)
		body = fields
	case "enrol":
		p.beginEnrolment(o)
		body = map[string]any{"code": factor.Code(o.app.Secret, o.app.step)}
	case "change password":
		body = map[string]any{"currentPassword": o.password, "newPassword": o.next}
	case "revoke":
		path += p.w.tokens[o.target].id
	}

	c := p.servers[o.server].NewClient()
	if o.token >= 0 {
		c.Token = p.w.tokens[o.token].value
	}

	c.Factors = p.w.factorCookies(o)
	if r.background {
		return c.Send(method, path, http.Header{"X-Session-Touch": {"no"}}, nil)
	}

	return c.Do(method, path, body)
}

// operate does what an operator's command does (see app.Admin) and returns a response as if the
// command were a request. Operators are not affected by outages.
func (p *player) operate(o op) apitest.Response {
	s := p.servers[1]
	ctx := context.Background()
	userID := p.w.accounts[o.account].id
	a := apitest.Response{T: s.T, Status: http.StatusOK}
	var err error
	switch o.kind {
	case "operator revokes":
		a.Status = http.StatusNoContent
		err = s.Auth.RevokeSession(ctx, auth.Operator(userID), p.w.tokens[o.target].id)
		if errors.Is(err, session.ErrNotFound) {
			a.Status = http.StatusNotFound
			a.JSON = map[string]any{"code": "not_found"}
			err = nil
		}
	case "operator deletes key":
		p.redisMu.Lock()
		defer p.redisMu.Unlock()

		_, err = p.redis.Do("DEL", s.RecordKey(p.w.tokens[o.target].id))
		p.awaitReports()
	case "operator revokes everything":
		_, err = s.Sessions.RevokeEverything(ctx, func(int) {})
	case "operator verifies":
		_, err = s.Users.MarkVerified(ctx, userID, user.Email(p.w.accounts[o.account].email))
	case "operator enables":
		_, err = s.Users.SetActive(ctx, userID, true)
	case "operator revokes user":
		_, err = s.Auth.RevokeSessions(ctx, userID, "")
	case "operator disables":
		_, err = s.Auth.Disable(ctx, auth.Operator(userID), session.AccountDisabled)
	case "operator resets factors":
		_, err = s.Auth.ResetFactors(ctx, auth.Operator(userID), "a test")
	case "operator sets password":
		_, err = s.Auth.SetPassword(ctx, auth.Operator(userID), o.next)
	default:
		err = fmt.Errorf("unknown operation %q", o.kind)
	}

	if err != nil {
		s.T.Errorf("%s: %v", o.kind, err)
		a.Status = 0
	}

	return a
}
