package model

import (
	"net/http"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/session"
)

// The model rejects wrong responses. The account has a live token, one that was just
// rotated, and one that was logged out.
func TestModelForbids(t *testing.T) {
	t.Parallel()

	start := time.Now()
	now := interval{start, start.Add(time.Millisecond)}
	const (
		live = iota
		rotated
		ended
	)
	w := &world{touch: time.Minute, accounts: []account{{exists: yes, active: yes, passwords: []string{apitest.Password}}}}
	for i, name := range []string{"live", "rotated", "ended"} {
		w.tokens = append(w.tokens, token{value: name, id: name, root: i, alive: yes, started: now, seen: now, proved: now})
	}

	w.end(replaced, now, rotated)
	w.end(session.LoggedOut, now, ended)
	cleared := &http.Cookie{MaxAge: -1}
	newCookie := &http.Cookie{Value: "new"}
	unauthenticated := map[string]any{"code": "not_authenticated"}
	unavailable := map[string]any{"code": "session_store_unavailable"}
	for name, tc := range map[string]struct {
		o     op
		a     apitest.Response
		down  down
		valid bool
	}{
		"live session rejected":                              {o: op{kind: "rotate", token: live}, a: apitest.Response{Status: 401, JSON: unauthenticated}},
		"live session rejected and cookie cleared":           {o: op{kind: "me", token: live}, a: apitest.Response{Status: 401, JSON: unauthenticated, Cookie: cleared}, down: redisDown},
		"ended session accepted":                             {o: op{kind: "list", token: ended}, a: apitest.Response{Status: 200, JSON: map[string]any{}}},
		"rotated token accepted":                             {o: op{kind: "rotate", token: rotated}, a: apitest.Response{Status: 200, Cookie: newCookie}},
		"rotated token rejected":                             {o: op{kind: "me", token: rotated}, a: apitest.Response{Status: 401, JSON: unauthenticated}, valid: true},
		"rotated token rejected and cookie cleared":          {o: op{kind: "me", token: rotated}, a: apitest.Response{Status: 401, JSON: unauthenticated, Cookie: cleared}},
		"ended session rejected without clearing the cookie": {o: op{kind: "me", token: ended}, a: apitest.Response{Status: 401, JSON: map[string]any{"code": "not_authenticated", "reason": "logged_out"}}},
		"wrong reason":                                       {o: op{kind: "me", token: ended}, a: apitest.Response{Status: 401, JSON: map[string]any{"code": "not_authenticated", "reason": "revoked"}, Cookie: cleared}},
		"outage":                                             {o: op{kind: "rotate", token: live}, a: apitest.Response{Status: 503, JSON: unavailable}, down: redisDown, valid: true},
		"503 without an outage":                              {o: op{kind: "rotate", token: live}, a: apitest.Response{Status: 503, JSON: unavailable}},
		"outage that clears the cookie":                      {o: op{kind: "rotate", token: live}, a: apitest.Response{Status: 503, JSON: unavailable, Cookie: cleared}, down: redisDown},
		"outage without a token":                             {o: op{kind: "me", token: -1}, a: apitest.Response{Status: 503, JSON: unavailable}, down: redisDown},
		"rotation fails while MongoDB is down":               {o: op{kind: "rotate", token: live}, a: apitest.Response{Status: 503, JSON: map[string]any{"code": "user_store_unavailable"}}, down: mongoDown},
		"login with an old token":                            {o: op{kind: "login", token: -1, password: apitest.Password}, a: apitest.Response{Status: 200, Cookie: &http.Cookie{Value: "ended"}}},
		"login with a wrong password":                        {o: op{kind: "login", token: -1, password: "wrong password"}, a: apitest.Response{Status: 200, Cookie: newCookie}},
		"failed login that clears the cookie":                {o: op{kind: "login", token: live, password: "wrong password"}, a: apitest.Response{Status: 401, JSON: map[string]any{"code": "invalid_credentials"}, Cookie: cleared}},
		"second account with the same email":                 {o: op{kind: "register", token: -1}, a: apitest.Response{Status: 201, Cookie: newCookie}},
		"list without the current session":                   {o: op{kind: "list", token: live}, a: apitest.Response{Status: 200, JSON: map[string]any{"sessions": []any{}}}},
		"list with an ended session":                         {o: op{kind: "list", token: live}, a: apitest.Response{Status: 200, JSON: listOf(w, live, ended)}},
		"list":                                               {o: op{kind: "list", token: live}, a: apitest.Response{Status: 200, JSON: listOf(w, live)}, valid: true},
		"revoked count without other sessions":               {o: op{kind: "revoke others", token: live}, a: apitest.Response{Status: 200, JSON: map[string]any{"revoked": 1.0}}},
	} {
		tc.a.T = t
		w.down = tc.down
		if problem := w.judge(tc.o, tc.a, now); (problem == "") != tc.valid {
			t.Errorf("%s: got problem %q, want valid = %t", name, problem, tc.valid)
		}
	}

	// After a 503, the session may or may not be alive. The next response settles that. A timeout
	// and a logout end the session.
	w.down = redisDown
	w.learnAll([]op{{kind: "rotate", token: live}}, []apitest.Response{{T: t, Status: 503}}, now, true)
	if got := w.alive(live, now); got != maybe {
		t.Errorf("alive after a 503: got %v, want %v", got, maybe)
	}

	w.down = 0
	w.learnAll([]op{{kind: "me", token: live}}, []apitest.Response{{T: t, Status: 200}}, now, false)
	if got := w.alive(live, now); got != yes {
		t.Errorf("alive after a 200: got %v, want %v", got, yes)
	}

	if got := w.alive(live, now.add(apitest.IdleTimeout+time.Second)); got != no {
		t.Errorf("alive after the idle timeout: got %v, want %v", got, no)
	}

	w.learnAll([]op{{kind: "logout", token: live}}, []apitest.Response{{T: t, Status: 200, Cookie: cleared}}, now, false)
	if got := w.alive(live, now); got != no || w.tokens[live].reason != session.LoggedOut {
		t.Errorf("alive after the logout: got %v (%s), want %v (%s)", got, w.tokens[live].reason, no, session.LoggedOut)
	}
}

func listOf(w *world, tokens ...int) map[string]any {
	var all []any
	for _, i := range tokens {
		all = append(all, map[string]any{"id": w.tokens[i].id, "current": i == tokens[0]})
	}

	return map[string]any{"sessions": all}
}

// The model forbids a server that lets a user with an unverified email in, or keeps one out whose email is
// verified.
func TestModelForbidsUnverified(t *testing.T) {
	t.Parallel()

	start := time.Now()
	now := interval{start, start.Add(time.Millisecond)}
	refusal := apitest.Response{T: t, Status: 403, JSON: map[string]any{"code": "email_not_verified"}}
	success := apitest.Response{T: t, Status: 200, JSON: map[string]any{"sessions": []any{}, "revoked": 0.0}}
	down503 := apitest.Response{T: t, Status: 503, JSON: map[string]any{"code": "user_store_unavailable"}}
	for name, tc := range map[string]struct {
		verified, begun fact
		kind            string
		a               apitest.Response
		down            down
		valid           bool
	}{
		"unverified is refused":         {no, no, "revoke others", refusal, 0, true},
		"unverified gets in":            {no, no, "revoke others", success, 0, false},
		"verified is refused":           {yes, no, "revoke others", refusal, 0, false},
		"verified gets in":              {yes, no, "revoke others", success, 0, true},
		"unknown is refused":            {maybe, no, "revoke others", refusal, 0, true},
		"unknown gets in":               {maybe, no, "revoke others", success, 0, true},
		"open route is refused":         {no, no, "logout", refusal, 0, false},
		"no account, verified later":    {yes, no, "revoke others", down503, mongoDown, true},
		"no account, began as verified": {yes, yes, "revoke others", down503, mongoDown, false},
	} {
		w := &world{touch: time.Minute, verifiedOnly: true, down: tc.down, accounts: []account{{exists: yes, active: yes, verified: tc.verified}}}
		w.tokens = []token{{value: "live", id: "live", alive: yes, verified: tc.begun, started: now, seen: now, proved: now}}
		if problem := w.judge(op{kind: tc.kind, token: 0}, tc.a, now); (problem == "") != tc.valid {
			t.Errorf("%s: got problem %q, want valid = %t", name, problem, tc.valid)
		}
	}
}

// The model forbids a server that skips a second factor, asks for one that the account does not have, accepts
// a code twice, or completes a login that has ended.
func TestModelForbidsFactors(t *testing.T) {
	t.Parallel()

	start := time.Now()
	now := interval{start, start.Add(time.Millisecond)}
	newCookie := &http.Cookie{Value: "new"}
	success := apitest.Response{T: t, Status: 200, JSON: map[string]any{"user": map[string]any{"id": "1"}}, Cookie: newCookie}
	needed := apitest.Response{T: t, Status: 200, JSON: map[string]any{"factorRequired": true}}
	early := apitest.Response{T: t, Status: 200, JSON: map[string]any{"factorRequired": true}, Cookie: newCookie}
	wrong := apitest.Response{T: t, Status: 401, JSON: map[string]any{"code": "wrong_code"}}
	gone := apitest.Response{T: t, Status: 401, JSON: map[string]any{"code": "no_pending_login"}}
	stale := apitest.Response{T: t, Status: 403, JSON: map[string]any{"code": "step_up_required"}}
	removed := apitest.Response{T: t, Status: 204, Cookie: newCookie}

	login := op{kind: "login", token: -1, pending: -1, trust: -1, password: apitest.Password}
	trusted := login
	trusted.trust = 0
	complete := op{kind: "complete login", token: -1, trust: -1, code: code{kind: otpCode}}
	spent := complete
	spent.code.kind = spentCode
	remove := op{kind: "remove factor"}

	for name, tc := range map[string]struct {
		factor, alive, trusted, second fact // alive is the pending login
		o                              op
		a                              apitest.Response
		valid                          bool
	}{
		"no factor":                            {no, no, no, no, login, success, true},
		"no factor, but asked for one":         {no, no, no, no, login, needed, false},
		"factor skipped":                       {yes, no, no, no, login, success, false},
		"factor needed":                        {yes, no, no, no, login, needed, true},
		"session before the factor":            {yes, no, no, no, login, early, false},
		"trusted device":                       {yes, no, yes, no, trusted, success, true},
		"trusted device, but asked":            {yes, no, yes, no, trusted, needed, false},
		"device that is not trusted any more":  {yes, no, no, no, trusted, success, false},
		"right code":                           {yes, yes, no, no, complete, success, true},
		"right code refused":                   {yes, yes, no, no, complete, wrong, false},
		"right code for a login that ended":    {yes, no, no, no, complete, success, false},
		"login that ended":                     {yes, no, no, no, complete, gone, true},
		"spent code":                           {yes, yes, no, no, spent, success, false},
		"spent code refused":                   {yes, yes, no, no, spent, wrong, true},
		"removal without the factor":           {yes, no, no, no, remove, removed, false},
		"removal without the factor refused":   {yes, no, no, no, remove, stale, true},
		"removal with a recent factor":         {yes, no, no, yes, remove, removed, true},
		"removal with a recent factor refused": {yes, no, no, yes, remove, stale, false},
	} {
		w := &world{touch: time.Minute, accounts: []account{{
			id: "1", exists: yes, active: yes, factor: tc.factor, passwords: []string{apitest.Password},
		}}}
		w.tokens = []token{{value: "live", id: "live", alive: yes, second: tc.second, started: now, seen: now, proved: now, secondProved: now}}
		w.pendings = []pendingLogin{{alive: tc.alive, begun: now}}
		w.trusts = []trust{{alive: tc.trusted}}
		if problem := w.judge(tc.o, tc.a, now); (problem == "") != tc.valid {
			t.Errorf("%s: got problem %q, want valid = %t", name, problem, tc.valid)
		}
	}

	// Two requests must not complete the same login.
	if i := judgeOnce([]op{complete, complete}, []apitest.Response{success, success}); i != 1 {
		t.Errorf("two sessions for one login: got %d, want 1", i)
	}
	if i := judgeOnce([]op{complete, complete}, []apitest.Response{success, gone}); i != -1 {
		t.Errorf("one session for one login: got %d, want -1", i)
	}
}
