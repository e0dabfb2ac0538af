package httpapi_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit/suite"
)

// maxResponseTime is twice the promised time limit of a response, because the machine may be
// busy. Without the limits of redisconn, a response would take several times as long.
const maxResponseTime = 2 * time.Second

// wantRedisDown fails the test unless the server behaves as promised without Redis: 503 in
// time for requests with a cookie, which stays unchanged, and success without one.
func wantRedisDown(t *testing.T, s *apitest.Server, signedIn *apitest.Client, email string) {
	t.Helper()

	var wg sync.WaitGroup
	for _, r := range []request{
		{method: "GET", path: "/auth/session"},
		{method: "GET", path: "/auth/me"},
		{method: "PUT", path: "/profile", body: map[string]any{"name": "Eve"}},
		{method: "POST", path: "/auth/logout"},
		{method: "POST", path: "/auth/rotate-session"},
		{method: "POST", path: "/auth/login", body: map[string]any{"email": email, "password": apitest.Password}},
		{method: "POST", path: "/auth/register", body: map[string]any{"name": "New", "email": "new@example.com", "password": apitest.Password}},
	} {
		wg.Go(func() {
			start := time.Now()
			a := signedIn.Clone().Do(r.method, r.path, r.body)
			if a.Status != 503 || a.JSON["code"] != "session_store_unavailable" || a.Header.Get("Retry-After") == "" {
				t.Errorf("%s: got %s", a.Request, a.Raw)
			}

			if a.Cookie != nil {
				t.Errorf("%s: got cookie %s, want it unchanged", a.Request, a.Cookie)
			}

			if elapsed := time.Since(start); elapsed > maxResponseTime {
				t.Errorf("%s: response time: got %v, want at most %v", a.Request, elapsed, maxResponseTime)
			}
		})
	}

	wg.Wait()
	s.NewClient().Do("GET", "/auth/me", nil).WantCode(401, "not_authenticated")
	s.NewClient().Do("GET", "/healthz", nil).Want(200)
	if a := s.NewClient().Do("GET", "/readyz", nil).WantCode(503, "not_ready"); a.JSON["stores"].(map[string]any)["redis"] != "unavailable" {
		t.Errorf("readiness: got %s", a.Raw)
	}

	// A failed registration leaves no account.
	n, err := s.Database().Collection("users").CountDocuments(context.Background(), bson.D{{Key: "email", Value: "new@example.com"}})
	if err != nil || n != 0 {
		t.Errorf("accounts without a session: got %d, want 0 (error %v)", n, err)
	}

	u, err := s.Users.ByEmail(context.Background(), "ann@example.com")
	if err != nil || !u.LastLogin.IsZero() || u.Name != "Ann" {
		t.Errorf("a rejected request changed the account: %+v, %v", u, err)
	}
}

// Redis hangs: connections stay open, but there are no replies.
func TestRedisHangs(t *testing.T) {
	suite.Require(t, suite.Outage)

	server := storetest.StartRedis(t)
	s := apitest.New(t, apitest.Options{RealTimeouts: true, Redis: &server.Redis})
	c := s.Register("ann@example.com")
	server.Pause()
	t.Cleanup(server.Resume)
	wantRedisDown(t, s, c, "ann@example.com")
	server.Resume()
	c.Do("GET", "/auth/session", nil).Want(200)
}

// Redis is killed and restarted from its append-only file, so that every connection in the
// pool is dead. The same cookies work, and no request fails after the first success.
func TestRedisKilled(t *testing.T) {
	suite.Require(t, suite.Outage)

	server := storetest.StartRedis(t)
	s := apitest.New(t, apitest.Options{RealTimeouts: true, Redis: &server.Redis})
	c := s.Register("ann@example.com")
	clients := []*apitest.Client{c}
	for range 49 {
		clients = append(clients, s.SignIn())
	}

	everyone := func(each func(c *apitest.Client)) {
		var wg sync.WaitGroup
		for _, c := range clients {
			wg.Go(func() { each(c.Clone()) })
		}

		wg.Wait()
	}

	allIn := func(c *apitest.Client) {
		if a := c.Do("GET", "/auth/session", nil); a.Status != 200 {
			t.Errorf("got %d", a.Status)
		}
	}

	everyone(allIn) // fills the pool

	server.Kill()
	wantRedisDown(t, s, c, "ann@example.com")
	server.Restart(t)
	var succeeded atomic.Bool
	for range 4 {
		everyone(func(c *apitest.Client) {
			after := succeeded.Load()
			a := c.Do("GET", "/auth/session", nil)
			switch {
			case a.Status == 200:
				succeeded.Store(true)
			case a.Status != 503 || after || a.Cookie != nil:
				t.Errorf("after the restart: got %d with cookie %v (an earlier request succeeded: %v)", a.Status, a.Cookie, after)
			}
		})
	}

	everyone(allIn)

	// A restart between two requests: every connection is dead.
	server.Kill()
	server.Restart(t)
	everyone(allIn)
}

// Commands that are quick enough alone can exceed the time limit of a request together. A
// login on a known device has four writes: three limits and the session.
func TestRedisTimeAddsUp(t *testing.T) {
	suite.Require(t, suite.Outage)

	_, redis, proxy := storetest.ProxiedRedis(t)
	s := apitest.New(t, apitest.Options{RealTimeouts: true, Redis: &redis, Limits: sameLimits(100)})
	device := s.Register("ann@example.com").Device
	login := func(wait time.Duration) apitest.Response {
		proxy.Set(storetest.Faults{Command: storetest.OnWrites(storetest.Late(wait))})

		return (&apitest.Client{Server: s, Device: device}).Do("POST", "/auth/login", apitest.Credentials("ann@example.com", apitest.Password))
	}

	login(50 * time.Millisecond).Want(200)

	// Each write is in time, but the last of four is too late.
	if a := login(165*time.Millisecond).WantCode(503, "session_store_unavailable"); a.Cookie != nil {
		t.Errorf("login that took too long: got cookie %v, want none", a.Cookie)
	}
}

// Redis executes commands after a pause, long after the requests got 503. They must have no
// effect: a rotation would void a cookie without the client having the new one.
func TestRedisResumesLater(t *testing.T) {
	suite.Require(t, suite.Outage)

	direct, redis, proxy := storetest.ProxiedRedis(t)
	s := apitest.New(t, apitest.Options{RealTimeouts: true, Redis: &redis})
	s.Register("ann@example.com").Do("POST", "/auth/logout", nil).Want(200)
	conn := direct.Conn(t)
	var signedIn []*apitest.Client
	for range 20 {
		signedIn = append(signedIn, s.SignIn())
	}

	// Reads get replies and writes wait, so that each request reaches its write.
	proxy.Set(storetest.Faults{Hold: func(chunk []byte) bool { return bytes.Contains(chunk, []byte("EVAL")) }})
	var wg sync.WaitGroup
	for i, c := range signedIn {
		path := "/auth/rotate-session"
		if i%2 == 0 {
			path = "/auth/logout"
		}

		wg.Go(func() {
			if a := c.Clone().Do("POST", path, nil); a.Status != 503 || a.Cookie != nil {
				t.Errorf("%s: got %s and the cookie %v", a.Request, a.Raw, a.Cookie)
			}
		})
	}

	wg.Go(func() {
		a := s.NewClient().Do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": apitest.Password})
		if a.Status != 503 || a.Cookie != nil {
			t.Errorf("login: got %s and the cookie %v", a.Raw, a.Cookie)
		}
	})

	wg.Wait()
	if held := proxy.Release(); held < len(signedIn)+1 {
		t.Fatalf("writes in progress: got only %d", held)
	}

	for _, c := range signedIn {
		c.Do("GET", "/auth/session", nil).Want(200)
	}

	if live := s.LiveSessions(conn); live != len(signedIn) {
		t.Errorf("sessions: got %d, want %d", live, len(signedIn))
	}
}

// Without MongoDB requests that need an account get 503 in time, and sessions continue.
func TestMongoDown(t *testing.T) {
	uri, stop := storetest.StartMongo(t)
	s := apitest.New(t, apitest.Options{RealTimeouts: true, MongoURI: uri})
	c := s.Register("ann@example.com")
	stop()
	var wg sync.WaitGroup
	for _, r := range []request{
		{method: "GET", path: "/auth/me"},
		{method: "PUT", path: "/profile", body: map[string]any{"name": "Eve"}},
		{method: "POST", path: "/auth/login", body: map[string]any{"email": "ann@example.com", "password": apitest.Password}},
		{method: "POST", path: "/auth/register", body: map[string]any{"name": "New", "email": "new@example.com", "password": apitest.Password}},
	} {
		wg.Go(func() {
			start := time.Now()
			a := c.Clone().Do(r.method, r.path, r.body)
			if a.Status != 503 || a.JSON["code"] != "user_store_unavailable" || a.Cookie != nil {
				t.Errorf("%s: got %s and the cookie %v", a.Request, a.Raw, a.Cookie)
			}

			if elapsed := time.Since(start); elapsed > 3*time.Second {
				t.Errorf("%s: response time: got %v, want at most 3s", r.path, elapsed)
			}
		})
	}

	wg.Wait()
	c.Do("GET", "/auth/session", nil).Want(200)
	if a := s.NewClient().Do("GET", "/readyz", nil).WantCode(503, "not_ready"); fmt.Sprint(a.JSON["stores"]) != "map[mongodb:unavailable redis:ok]" {
		t.Errorf("readiness: got %s", a.Raw)
	}

	c.Do("POST", "/auth/logout", nil).Want(200)
}
