package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/devstore/storetest"
)

// prompt is how soon a request must be answered whatever the store does. It is
// what the contract promises. No other test of this package runs beside these, and
// make check-redis runs one package at a time.
const prompt = time.Second

// assertRedisAway fails unless a server without Redis does what it must: 503 in
// time for who has a cookie, the cookie untouched, and service for who has none.
func assertRedisAway(t *testing.T, s *site, signedIn *client, email string) {
	t.Helper()
	var wg sync.WaitGroup
	for _, r := range []request{
		{method: "GET", path: "/auth/session"},
		{method: "GET", path: "/auth/me"},
		{method: "PUT", path: "/profile", body: map[string]any{"name": "Eve"}},
		{method: "POST", path: "/auth/logout"},
		{method: "POST", path: "/auth/rotate-session"},
		{method: "POST", path: "/auth/login", body: map[string]any{"email": email, "password": testPassword}},
		{method: "POST", path: "/auth/register", body: map[string]any{"name": "New", "email": "new@example.com", "password": testPassword}},
	} {
		wg.Go(func() {
			start := time.Now()
			a := signedIn.clone().do(r.method, r.path, r.body)
			if a.status != 503 || a.body["code"] != "session_store_unavailable" || a.header.Get("Retry-After") == "" {
				t.Errorf("%s: got %s", a.request, a.raw)
			}
			if a.cookie != nil {
				t.Errorf("%s: the cookie was touched: %s", a.request, a.cookie)
			}
			if took := time.Since(start); took > prompt {
				t.Errorf("%s took %v", a.request, took)
			}
		})
	}
	wg.Wait()
	s.client().do("GET", "/auth/me", nil).wantCode(401, "not_authenticated")
	s.client().do("GET", "/healthz", nil).want(200)
	if a := s.client().do("GET", "/readyz", nil).wantCode(503, "not_ready"); a.body["stores"].(map[string]any)["redis"] != "unavailable" {
		t.Errorf("ready says %s", a.raw)
	}
	// A register without a session is no register.
	n, err := s.database().Collection("users").CountDocuments(context.Background(), bson.D{{Key: "email", Value: "new@example.com"}})
	if err != nil || n != 0 {
		t.Errorf("%d accounts were made without a session, %v", n, err)
	}
	u, err := s.users.ByEmail(context.Background(), "ann@example.com")
	if err != nil || !u.LastLogin.IsZero() || u.Name != "Ann" {
		t.Errorf("a refused request changed the account: %+v, %v", u, err)
	}
}

// Redis hangs: connections stay open and nothing answers.
func TestRedisHangs(t *testing.T) {
	server := storetest.StartRedis(t)
	s := newSite(t, setup{redis: &server.Redis})
	c := s.register("ann@example.com")
	server.Pause()
	t.Cleanup(server.Resume)
	assertRedisAway(t, s, c, "ann@example.com")
	server.Resume()
	c.do("GET", "/auth/session", nil).want(200)
}

// Redis is killed and started again from its append-only file, with every
// connection of the pool dead: the same cookies work, and after the first request
// that succeeds none fails.
func TestRedisKilled(t *testing.T) {
	server := storetest.StartRedis(t)
	s := newSite(t, setup{redis: &server.Redis})
	c := s.register("ann@example.com")
	clients := []*client{c}
	for range 49 {
		clients = append(clients, s.signIn())
	}
	everyone := func(each func(c *client)) {
		var wg sync.WaitGroup
		for _, c := range clients {
			wg.Go(func() { each(c.clone()) })
		}
		wg.Wait()
	}
	allIn := func(c *client) {
		if a := c.do("GET", "/auth/session", nil); a.status != 200 {
			t.Errorf("got %d", a.status)
		}
	}
	everyone(allIn) // fills the pool

	server.Kill()
	assertRedisAway(t, s, c, "ann@example.com")
	server.Restart(t)
	var succeeded atomic.Bool
	for range 4 {
		everyone(func(c *client) {
			after := succeeded.Load()
			a := c.do("GET", "/auth/session", nil)
			switch {
			case a.status == 200:
				succeeded.Store(true)
			case a.status != 503 || after || a.cookie != nil:
				t.Errorf("after the restart: %d, cookie %v, one had succeeded: %v", a.status, a.cookie, after)
			}
		})
	}
	everyone(allIn)

	// A restart that no request noticed: every connection is dead, nobody knows.
	server.Kill()
	server.Restart(t)
	everyone(allIn)
}

// Redis takes commands and runs them when it goes on, long after the requests
// were answered with 503. What was refused must not happen then: a rotation would
// void a cookie for which the client never got the new one.
func TestRedisGoesOnLater(t *testing.T) {
	direct, redis, proxy := storetest.ProxiedRedis(t)
	s := newSite(t, setup{redis: &redis})
	s.register("ann@example.com").do("POST", "/auth/logout", nil).want(200)
	conn := direct.Conn(t)
	var signedIn []*client
	for range 20 {
		signedIn = append(signedIn, s.signIn())
	}
	// Reads are answered, writes wait: the requests get as far as their write.
	proxy.Set(storetest.Faults{Hold: func(chunk []byte) bool { return bytes.Contains(chunk, []byte("EVAL")) }})
	var wg sync.WaitGroup
	for i, c := range signedIn {
		path := "/auth/rotate-session"
		if i%2 == 0 {
			path = "/auth/logout"
		}
		wg.Go(func() {
			if a := c.clone().do("POST", path, nil); a.status != 503 || a.cookie != nil {
				t.Errorf("%s: got %s and the cookie %v", a.request, a.raw, a.cookie)
			}
		})
	}
	wg.Go(func() {
		a := s.client().do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": testPassword})
		if a.status != 503 || a.cookie != nil {
			t.Errorf("login: got %s and the cookie %v", a.raw, a.cookie)
		}
	})
	wg.Wait()
	if held := proxy.Release(); held < len(signedIn)+1 {
		t.Fatalf("only %d writes were under way", held)
	}
	for _, c := range signedIn {
		c.do("GET", "/auth/session", nil).want(200)
	}
	if live := s.liveSessions(conn); live != len(signedIn) {
		t.Errorf("%d sessions, want the %d of before", live, len(signedIn))
	}
}

// MongoDB is gone: what needs an account is 503 in time, the session goes on.
func TestMongoGone(t *testing.T) {
	uri, stop := storetest.StartMongo(t)
	s := newSite(t, setup{mongo: uri})
	c := s.register("ann@example.com")
	stop()
	var wg sync.WaitGroup
	for _, r := range []request{
		{method: "GET", path: "/auth/me"},
		{method: "PUT", path: "/profile", body: map[string]any{"name": "Eve"}},
		{method: "POST", path: "/auth/login", body: map[string]any{"email": "ann@example.com", "password": testPassword}},
		{method: "POST", path: "/auth/register", body: map[string]any{"name": "New", "email": "new@example.com", "password": testPassword}},
	} {
		wg.Go(func() {
			start := time.Now()
			a := c.clone().do(r.method, r.path, r.body)
			if a.status != 503 || a.body["code"] != "user_store_unavailable" || a.cookie != nil {
				t.Errorf("%s: got %s and the cookie %v", a.request, a.raw, a.cookie)
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("%s took %v", r.path, took)
			}
		})
	}
	wg.Wait()
	c.do("GET", "/auth/session", nil).want(200)
	if a := s.client().do("GET", "/readyz", nil).wantCode(503, "not_ready"); fmt.Sprint(a.body["stores"]) != "map[mongodb:unavailable redis:ok]" {
		t.Errorf("ready says %s", a.raw)
	}
	c.do("POST", "/auth/logout", nil).want(200)
}
