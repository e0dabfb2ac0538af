package httpapi

import (
	"net/http"
	"testing"
	"time"

	"latchkey/internal/session"
)

// The model forbids what it is there to forbid: Ann has one session that lives, one that
// was rotated a moment ago, and one that she has logged out of.
func TestModelForbids(t *testing.T) {
	t.Parallel()
	now := time.Now()
	at := span{now, now.Add(time.Millisecond)}
	const lives, rotated, over = 0, 1, 2
	w := &world{secrets: []string{testSecret}, touch: time.Minute, people: []owner{{exists: yes, active: yes, passwords: []string{testPassword}}}}
	for i, token := range []string{"lives", "rotated", "over"} {
		w.held = append(w.held, held{token: token, ids: idsOf(token, w.secrets), root: i, alive: yes, begun: at, seen: at, proved: at})
	}
	w.end(rotated, replaced, at)
	w.end(over, session.LoggedOut, at)
	drops, sets := &http.Cookie{MaxAge: -1}, &http.Cookie{Value: "new"}
	unsigned := map[string]any{"code": "not_authenticated"}
	away503 := map[string]any{"code": "session_store_unavailable"}
	for name, tc := range map[string]struct {
		o    op
		a    answer
		away away
		fits bool
	}{
		"a live session is refused":                  {o: op{kind: "rotate", as: lives}, a: answer{status: 401, body: unsigned}},
		"and its cookie is dropped":                  {o: op{kind: "me", as: lives}, a: answer{status: 401, body: unsigned, cookie: drops}, away: redisAway},
		"an ended session is served":                 {o: op{kind: "list", as: over}, a: answer{status: 200, body: map[string]any{}}},
		"a rotated token is served":                  {o: op{kind: "rotate", as: rotated}, a: answer{status: 200, cookie: sets}},
		"a rotated token is refused":                 {o: op{kind: "me", as: rotated}, a: answer{status: 401, body: unsigned}, fits: true},
		"and takes the cookie away":                  {o: op{kind: "me", as: rotated}, a: answer{status: 401, body: unsigned, cookie: drops}},
		"the cookie of an ended session stays":       {o: op{kind: "me", as: over}, a: answer{status: 401, body: map[string]any{"code": "not_authenticated", "reason": "logged_out"}}},
		"another reason":                             {o: op{kind: "me", as: over}, a: answer{status: 401, body: map[string]any{"code": "not_authenticated", "reason": "revoked"}, cookie: drops}},
		"an outage":                                  {o: op{kind: "rotate", as: lives}, a: answer{status: 503, body: away503}, away: redisAway, fits: true},
		"an outage that is none":                     {o: op{kind: "rotate", as: lives}, a: answer{status: 503, body: away503}},
		"an outage that touches the cookie":          {o: op{kind: "rotate", as: lives}, a: answer{status: 503, body: away503, cookie: drops}, away: redisAway},
		"an outage for who has no cookie":            {o: op{kind: "me", as: -1}, a: answer{status: 503, body: away503}, away: redisAway},
		"an outage of MongoDB that ends a rotation":  {o: op{kind: "rotate", as: lives}, a: answer{status: 503, body: map[string]any{"code": "user_store_unavailable"}}, away: mongoAway},
		"a login with the token of before":           {o: op{kind: "login", as: -1, password: testPassword}, a: answer{status: 200, cookie: &http.Cookie{Value: "over"}}},
		"a login with a wrong password":              {o: op{kind: "login", as: -1, password: "wrong password"}, a: answer{status: 200, cookie: sets}},
		"a failed login that takes the cookie":       {o: op{kind: "login", as: lives, password: "wrong password"}, a: answer{status: 401, body: map[string]any{"code": "invalid_credentials"}, cookie: drops}},
		"a second account of an address":             {o: op{kind: "register", as: -1}, a: answer{status: 201, cookie: sets}},
		"a list without the session that asks":       {o: op{kind: "list", as: lives}, a: answer{status: 200, body: map[string]any{"sessions": []any{}}}},
		"a list with one that has ended":             {o: op{kind: "list", as: lives}, a: answer{status: 200, body: listOf(w, lives, over)}},
		"a list":                                     {o: op{kind: "list", as: lives}, a: answer{status: 200, body: listOf(w, lives)}, fits: true},
		"an end of the others that ended none of no": {o: op{kind: "revoke others", as: lives}, a: answer{status: 200, body: map[string]any{"revoked": 1.0}}},
	} {
		tc.a.t = t
		w.away = tc.away
		if wrong := w.judge(tc.o, tc.a, at); (wrong == "") != tc.fits {
			t.Errorf("%s: %q", name, wrong)
		}
	}
	// What an acknowledged logout has ended stays so, what an outage left open is settled by
	// the next answer, and time ends the rest.
	w.away = redisAway
	w.learnAll([]op{{kind: "rotate", as: lives}}, []answer{{t: t, status: 503}}, at, true)
	if got := w.alive(lives, at); got != maybe {
		t.Errorf("after a rotation that may have been: %v", got)
	}
	w.away = 0
	w.learnAll([]op{{kind: "me", as: lives}}, []answer{{t: t, status: 200}}, at, false)
	if got := w.alive(lives, at); got != yes {
		t.Errorf("after an answer: %v", got)
	}
	if got := w.alive(lives, at.add(testIdle+time.Second)); got != no {
		t.Errorf("after the idle lifetime: %v", got)
	}
	w.learnAll([]op{{kind: "logout", as: lives}}, []answer{{t: t, status: 200, cookie: drops}}, at, false)
	if got := w.alive(lives, at); got != no || w.held[lives].why != session.LoggedOut {
		t.Errorf("after the logout: %v %s", got, w.held[lives].why)
	}
}

func listOf(w *world, tokens ...int) map[string]any {
	var all []any
	for _, h := range tokens {
		all = append(all, map[string]any{"id": w.held[h].ids[0], "current": h == tokens[0]})
	}
	return map[string]any{"sessions": all}
}
