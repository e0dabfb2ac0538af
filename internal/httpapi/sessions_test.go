package httpapi_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/apitest"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
)

const (
	firefoxOnLinux = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
	safariOnPhone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
)

func TestListSessions(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	first := s.Register("ann@example.com")
	other := s.Register("eve@example.com")
	desk := s.LoginFrom(firefoxOnLinux)
	phone := s.LoginFrom(safariOnPhone)
	listed := desk.ListSessions()
	if len(listed) != 3 || len(other.ListSessions()) != 1 {
		t.Fatalf("listed sessions: got %d for Ann and %d for Eve", len(listed), len(other.ListSessions()))
	}

	for c, device := range map[*apitest.Client]string{desk: "Firefox 128 on Linux", phone: "Safari 17 on iOS", first: "Go-http-client 1"} {
		l := listed[c.SessionID()]
		if l["device"] != device || l["ip"] != "127.0.0.1" || l["current"] != (c == desk) {
			t.Errorf("device %s: listed session: got %v", device, l)
		}

		a := c.Do("GET", "/auth/session", nil).Want(200)
		for _, name := range []string{"createdAt", "lastSeenAt", "idleExpiresAt", "expiresAt"} {
			if l[name] != a.Text(name) {
				t.Errorf("device %s: %s in the list: got %v, want %s", device, name, l[name], a.Text(name))
			}
		}
	}

	id := phone.SessionID()
	phone.Do("POST", "/auth/rotate-session", nil).Want(200)
	if again := desk.ListSessions(); len(again) != 3 || again[id] != nil || again[phone.SessionID()]["device"] != "Safari 17 on iOS" {
		t.Errorf("sessions after a rotation: got %v", again)
	}
}

// The holder of an old cookie learns why the session ended, and the session is no longer
// listed.
func TestReasons(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	c := s.Register("ann@example.com")
	if a := s.WithToken(strings.Repeat("A", 43)).Do("GET", "/auth/me", nil).Want(401); a.JSON["reason"] != nil {
		t.Errorf("reason for an unknown token: got %v, want none", a.JSON["reason"])
	}

	for want, end := range map[session.Reason]func(victim *apitest.Client){
		session.LoggedOut: func(victim *apitest.Client) { victim.Clone().Do("POST", "/auth/logout", nil).Want(200) },
		session.Revoked: func(victim *apitest.Client) {
			if a := c.Do("DELETE", "/auth/sessions/"+victim.SessionID(), nil).Want(204); len(a.Raw) != 0 || a.Cookie != nil {
				t.Errorf("revoking: got %q and cookie %v, want neither", a.Raw, a.Cookie)
			}
		},
		// The record was deleted by hand, as in the guide.
		"": func(victim *apitest.Client) {
			_, err := s.Redis.Conn(t).Do("DEL", s.RecordKey(victim.SessionID()))
			testkit.NoError(t, err)
		},
	} {
		victim := s.LoginFrom("x")
		end(victim)
		victim.WantReason(want)
		if listed := c.ListSessions(); len(listed) != 1 {
			t.Errorf("reason %q: listed sessions: got %d, want 1", want, len(listed))
		}
	}
}

func TestRevokeOne(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	ann := s.Register("ann@example.com")
	eve := s.Register("eve@example.com")
	for _, id := range []string{eve.SessionID(), strings.Repeat("A", 43), "x", "%2e%2e", "sess:" + eve.SessionID()} {
		ann.Do("DELETE", "/auth/sessions/"+id, nil).WantCode(404, "not_found")
	}

	eve.Do("GET", "/auth/session", nil).Want(200)

	// The session that requests it is logged out.
	before := ann.Clone()
	if a := ann.Do("DELETE", "/auth/sessions/"+ann.SessionID(), nil).Want(204); a.Header.Get("Clear-Site-Data") == "" || ann.Token != "" {
		t.Error("got the cookie or site data kept, want both cleared")
	}

	before.WantReason(session.LoggedOut)
}

func TestRevokeOthersAndAll(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	ann := s.Register("ann@example.com")
	eve := s.Register("eve@example.com")
	revoke := func(scope string, want int) {
		ended := []*apitest.Client{s.LoginFrom("x"), s.LoginFrom("x"), s.LoginFrom("x")}
		if a := ann.Do("DELETE", "/auth/sessions"+scope, nil).Want(200); a.JSON["revoked"] != float64(want) {
			t.Errorf("%q: %s, want %d", scope, a.Raw, want)
		}

		for _, c := range ended {
			c.WantReason(session.Revoked)
		}
	}

	revoke("", 3)
	revoke("?scope=others", 3)
	ann.Do("GET", "/auth/session", nil).Want(200)

	for _, scope := range []string{"?scope=", "?scope=mine", "?scope=all&scope=others", "?scope=%zz", "?a;scope=others"} {
		ann.Do("DELETE", "/auth/sessions"+scope, nil).WantCode(400, "validation_failed")
	}

	before := ann.Clone()
	revoke("?scope=all", 4)
	before.WantReason(session.Revoked)
	if ann.Token != "" {
		t.Error("the cookie was not cleared")
	}

	eve.Do("GET", "/auth/session", nil).Want(200)
	s.LoginFrom("x").Do("GET", "/auth/session", nil).Want(200)
}

// Concurrent logins leave exactly the allowed number of sessions, and the others learn the
// reason. The test runs alone, so that no login is late.
func TestTooManySessions(t *testing.T) {
	const most = 5
	s := apitest.New(t, apitest.Options{MaxPerUser: most})
	clients := testkit.Concurrently(concurrentClients, func(int) *apitest.Client { return s.SignIn() })
	live := 0
	var survivor *apitest.Client
	for _, c := range clients {
		if a := c.Clone().Do("GET", "/auth/session", nil); a.Status != 200 {
			c.WantReason(session.TooManySessions)
			continue
		}

		live++
		survivor = c
	}

	if live != most || len(survivor.ListSessions()) != most || s.LiveSessions(s.Redis.Conn(t)) != most {
		t.Errorf("%d live, %d listed, %d in Redis, want %d", live, len(survivor.ListSessions()), s.LiveSessions(s.Redis.Conn(t)), most)
	}

	// Sequential logins end the session that was used least recently.
	s = apitest.New(t, apitest.Options{MaxPerUser: 2, TouchInterval: time.Nanosecond})
	first := s.SignIn()
	second := s.SignIn()
	s.Advance(time.Minute)
	first.Do("GET", "/auth/session", nil).Want(200)
	third := s.SignIn()
	second.WantReason(session.TooManySessions)
	first.Do("GET", "/auth/session", nil).Want(200)
	third.Do("GET", "/auth/session", nil).Want(200)
}

// A lost or corrupt index neither signs in nor signs out anyone, and is repaired.
func TestIndexRepairsItself(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	c := s.SignIn()
	conn := s.Redis.Conn(t)
	index := s.IndexKey(c.SessionID(), apitest.UserID)
	_, err := conn.Do("DEL", index)
	testkit.NoError(t, err)

	c.Do("GET", "/auth/session", nil).Want(200)
	s.Advance(2 * time.Minute)
	if listed := c.ListSessions(); len(listed) != 1 || listed[c.SessionID()] == nil {
		t.Errorf("sessions after an extension: got %v", listed)
	}

	gone := s.SignIn()
	goneID := gone.SessionID()
	gone.Do("POST", "/auth/logout", nil).Want(200)

	for score, member := range map[int64]string{time.Now().Add(time.Hour).UnixMicro(): goneID, 1: goneID[:2] + strings.Repeat("x", len(goneID)-2)} {
		_, err := conn.Do("ZADD", index, score, member)
		testkit.NoError(t, err)
	}

	if listed := c.ListSessions(); len(listed) != 1 {
		t.Errorf("listed sessions: got %v", listed)
	}

	if members, err := redis.Strings(conn.Do("ZRANGE", index, 0, -1)); err != nil || len(members) != 1 {
		t.Errorf("index members: got %v (error %v)", members, err)
	}
}
