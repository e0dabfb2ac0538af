package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/session"
)

// login signs in to the account of ann@example.com, with a User-Agent.
func (s *site) login(userAgent string) *client {
	s.t.Helper()
	c := s.client()
	body := fmt.Sprintf(`{"email":"ann@example.com","password":%q}`, testPassword)
	c.send("POST", "/auth/login", http.Header{"Content-Type": {"application/json"}, "User-Agent": {userAgent}}, []byte(body)).want(200)
	return c
}

// listed returns the sessions that a client sees, by id.
func (c *client) listed() map[string]map[string]any {
	c.t.Helper()
	listed := map[string]map[string]any{}
	for _, v := range c.do("GET", "/auth/sessions", nil).want(200).body["sessions"].([]any) {
		l := v.(map[string]any)
		listed[l["id"].(string)] = l
	}
	return listed
}

func (c *client) id() string {
	c.t.Helper()
	return c.do("GET", "/auth/session", nil).want(200).text("sessionId")
}

// wantReason fails unless the old cookie of a client gets 401 with the reason, is
// cleared, and nobody else can read the reason.
func (c *client) wantReason(want session.Reason) {
	c.t.Helper()
	a := c.clone().do("GET", "/auth/me", nil).wantCode(401, "not_authenticated")
	if a.text("reason") != string(want) || a.cookie == nil || a.cookie.MaxAge >= 0 {
		c.t.Errorf("reason %q and the cookie %v, want %q and none", a.text("reason"), a.cookie, want)
	}
}

const (
	firefoxOnLinux = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
	safariOnPhone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
)

func TestListSessions(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first, other := s.register("ann@example.com"), s.register("eve@example.com")
	desk, phone := s.login(firefoxOnLinux), s.login(safariOnPhone)
	listed := desk.listed()
	if len(listed) != 3 || len(other.listed()) != 1 {
		t.Fatalf("Ann sees %d sessions, Eve %d", len(listed), len(other.listed()))
	}
	for c, device := range map[*client]string{desk: "Firefox on Linux", phone: "Safari on iOS", first: "Go-http-client"} {
		l := listed[c.id()]
		if l["device"] != device || l["ip"] != "127.0.0.1" || l["current"] != (c == desk) {
			t.Errorf("%s is listed as %v", device, l)
		}
		a := c.do("GET", "/auth/session", nil).want(200)
		for _, name := range []string{"createdAt", "lastSeenAt", "idleExpiresAt", "expiresAt"} {
			if l[name] != a.text(name) {
				t.Errorf("%s: the list says %s is %v, the session %s", device, name, l[name], a.text(name))
			}
		}
	}
	for _, id := range []string{phone.id()} {
		phone.do("POST", "/auth/rotate-session", nil).want(200)
		if again := desk.listed(); len(again) != 3 || again[id] != nil || again[phone.id()]["device"] != "Safari on iOS" {
			t.Errorf("after a rotation: %v", again)
		}
	}
}

// Each cause is told to the holder of the old cookie, and the session is out of
// the list.
func TestReasons(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.register("ann@example.com")
	user := c.do("GET", "/auth/me", nil).want(200).text("user", "id")
	conn := s.redis.Conn(t)
	for want, end := range map[session.Reason]func(victim *client){
		session.LoggedOut: func(victim *client) { victim.clone().do("POST", "/auth/logout", nil).want(200) },
		session.Revoked: func(victim *client) {
			if a := c.do("DELETE", "/auth/sessions/"+victim.id(), nil).want(204); len(a.raw) != 0 || a.cookie != nil {
				t.Errorf("revoking answers %q and the cookie %v", a.raw, a.cookie)
			}
		},
		session.PasswordChanged: func(*client) {
			if n, err := s.sessions.RevokeAll(context.Background(), user, c.token, session.PasswordChanged); n != 1 || err != nil {
				t.Errorf("revoked %d, %v", n, err)
			}
		},
	} {
		victim := s.login("x")
		stranger := &client{site: s, token: strings.Repeat("A", 43)}
		end(victim)
		victim.wantReason(want)
		if a := stranger.do("GET", "/auth/me", nil).want(401); a.body["reason"] != nil {
			t.Errorf("a stranger is told %v", a.body["reason"])
		}
		if listed := c.listed(); len(listed) != 1 {
			t.Errorf("%s: the list has %d", want, len(listed))
		}
	}
	// As the guides end one: by hand.
	victim := s.login("x")
	if _, err := conn.Do("DEL", "sess:"+victim.id()); err != nil {
		t.Fatal(err)
	}
	victim.wantReason(session.Revoked)
	if listed := c.listed(); len(listed) != 1 {
		t.Errorf("deleted by hand: the list has %d", len(listed))
	}
}

// A session that ends by itself says so, when Redis has dropped the key and when
// it has not.
func TestTimeoutReasons(t *testing.T) {
	t.Parallel()
	for _, dropped := range []bool{true, false} {
		s := newSite(t)
		conn := s.redis.Conn(t)
		idle := s.signIn()
		last := s.signIn()
		id := idle.id()
		s.advance(testIdle + time.Second)
		if dropped {
			if _, err := conn.Do("DEL", "sess:"+id); err != nil {
				t.Fatal(err)
			}
		}
		idle.wantReason(session.IdleTimeout)
		last.wantReason(session.IdleTimeout)

		kept := s.signIn()
		for range int(testAbsolute/testIdle)*2 - 1 {
			s.advance(testIdle / 2)
			kept.do("GET", "/auth/session", nil).want(200)
		}
		id = kept.id()
		s.advance(testIdle/2 + time.Second)
		if dropped {
			if _, err := conn.Do("DEL", "sess:"+id); err != nil {
				t.Fatal(err)
			}
		}
		kept.wantReason(session.AbsoluteTimeout)
	}
}

func TestRevokeOne(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ann, eve := s.register("ann@example.com"), s.register("eve@example.com")
	for _, id := range []string{eve.id(), strings.Repeat("A", 43), "x", "%2e%2e", "sess:" + eve.id()} {
		ann.do("DELETE", "/auth/sessions/"+id, nil).wantCode(404, "not_found")
	}
	eve.do("GET", "/auth/session", nil).want(200)
	// The one that asks: a logout.
	before := ann.clone()
	if a := ann.do("DELETE", "/auth/sessions/"+ann.id(), nil).want(204); a.header.Get("Clear-Site-Data") == "" || ann.token != "" {
		t.Error("the browser keeps something of the session")
	}
	before.wantReason(session.LoggedOut)
}

func TestRevokeOthersAndAll(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ann, eve := s.register("ann@example.com"), s.register("eve@example.com")
	revoke := func(scope string, want int) {
		var ended []*client
		for range 3 {
			ended = append(ended, s.login("x"))
		}
		if a := ann.do("DELETE", "/auth/sessions"+scope, nil).want(200); a.body["revoked"] != float64(want) {
			t.Errorf("%q: %s, want %d", scope, a.raw, want)
		}
		for _, c := range ended {
			c.wantReason(session.Revoked)
		}
	}
	revoke("", 3)
	revoke("?scope=others", 3)
	ann.do("GET", "/auth/session", nil).want(200)
	for _, scope := range []string{"?scope=", "?scope=mine", "?scope=all&scope=others"} {
		ann.do("DELETE", "/auth/sessions"+scope, nil).wantCode(400, "validation_failed")
	}
	before := ann.clone()
	revoke("?scope=all", 4)
	before.wantReason(session.Revoked)
	if ann.token != "" {
		t.Error("the cookie stays")
	}
	eve.do("GET", "/auth/session", nil).want(200)
	s.login("x").do("GET", "/auth/session", nil).want(200)
}

// Of many logins at once as many sessions live as may, and the others are told. No other
// test runs beside it: none of the logins may be too late.
func TestTooManySessions(t *testing.T) {
	const most = 5
	s := newSite(t, setup{maxPerUser: most})
	clients := make([]*client, many())
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() { clients[i] = s.signIn() })
	}
	wg.Wait()
	live := 0
	var survivor *client
	for _, c := range clients {
		if a := c.clone().do("GET", "/auth/session", nil); a.status != 200 {
			c.wantReason(session.TooManySessions)
			continue
		}
		live++
		survivor = c
	}
	if live != most || len(survivor.listed()) != most || s.liveSessions(s.redis.Conn(t)) != most {
		t.Errorf("%d live, %d listed, %d in Redis, want %d", live, len(survivor.listed()), s.liveSessions(s.redis.Conn(t)), most)
	}
	// One by one, the least lately used goes.
	s = newSite(t, setup{maxPerUser: 2, touchInterval: time.Nanosecond})
	first, second := s.signIn(), s.signIn()
	s.advance(time.Minute)
	first.do("GET", "/auth/session", nil).want(200)
	third := s.signIn()
	second.wantReason(session.TooManySessions)
	first.do("GET", "/auth/session", nil).want(200)
	third.do("GET", "/auth/session", nil).want(200)
	// Who logs in again where they are signed in pushes nobody out.
	s = newSite(t, setup{maxPerUser: 2})
	first = s.register("ann@example.com")
	second = s.client()
	for range 2 {
		second.do("POST", "/auth/login", annsLogin).want(200)
	}
	first.do("GET", "/auth/session", nil).want(200)
}

// The index may be lost, or full of what never was: nobody is let in or thrown out
// by it, and it mends itself.
func TestIndexMendsItself(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.signIn()
	conn := s.redis.Conn(t)
	const index = "idx:{" + testUser + "}"
	if _, err := conn.Do("DEL", index); err != nil {
		t.Fatal(err)
	}
	c.do("GET", "/auth/session", nil).want(200)
	s.advance(2 * time.Minute)
	if listed := c.listed(); len(listed) != 1 || listed[c.id()] == nil {
		t.Errorf("after a touch the list is %v", listed)
	}
	gone := s.signIn()
	goneID := gone.id()
	gone.do("POST", "/auth/logout", nil).want(200)
	for score, member := range map[int64]string{time.Now().Add(time.Hour).UnixMicro(): goneID, 1: "x"} {
		if _, err := conn.Do("ZADD", index, score, member); err != nil {
			t.Fatal(err)
		}
	}
	if listed := c.listed(); len(listed) != 1 {
		t.Errorf("the list has %v", listed)
	}
	if members, err := redis.Strings(conn.Do("ZRANGE", index, 0, -1)); err != nil || len(members) != 1 {
		t.Errorf("the index has %v, %v", members, err)
	}
}
