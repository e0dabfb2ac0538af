package httpapi_test

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// maxResponseTime is twice the promised time limit of a response, because the machine may be
// busy. Without the limits of redisconn, a response would take several times as long.
const maxResponseTime = 2 * time.Second

// Redis is killed and restarted from its append-only file, so that every connection in the
// pool is dead. The same cookies work, and no request fails after the first success. For sessions in
// memory, see TestRedisFailsInMemory.
func TestRedisKilled(t *testing.T) {
	suite.Require(t, suite.Outage)

	server := storetest.StartRedis(t)
	s := apitest.New(t, apitest.Options{RealTimeouts: true, Redis: &server.Redis})
	c := s.Register("ann@example.com")
	everyone := func(check func(a apitest.Response, succeeded bool)) {
		var succeeded atomic.Bool // an earlier request
		testkit.Concurrently(50, func(int) struct{} {
			after := succeeded.Load()
			a := c.Clone().Do("GET", "/auth/session", nil)
			if a.Status == 200 {
				succeeded.Store(true)
			}

			check(a, after)

			return struct{}{}
		})
	}

	allIn := func(a apitest.Response, _ bool) {
		if a.Status != 200 {
			t.Errorf("got %d, want 200", a.Status)
		}
	}

	everyone(allIn) // fills the pool
	server.Kill()
	everyone(func(a apitest.Response, _ bool) {
		if a.Status != 503 || a.Cookie != nil {
			t.Errorf("while Redis is down: got %d with cookie %v, want 503", a.Status, a.Cookie)
		}
	})

	server.Restart(t)
	everyone(func(a apitest.Response, succeeded bool) {
		if a.Status != 200 && (a.Status != 503 || succeeded || a.Cookie != nil) {
			t.Errorf("after the restart: got %d with cookie %v (an earlier request succeeded: %v)", a.Status, a.Cookie, succeeded)
		}
	})

	everyone(allIn)

	// A restart between two requests: every connection is dead.
	server.Kill()
	server.Restart(t)
	everyone(allIn)
}

// Commands that are quick enough alone can exceed the time limit of a request together. A
// login over a session on a known device has four writes: two limits, the new session and the old one.
func TestRedisTimeAddsUp(t *testing.T) {
	suite.Require(t, suite.Outage)

	_, redis, proxy := storetest.ProxiedRedis(t)
	s := apitest.New(t, apitest.Options{RealTimeouts: true, Redis: &redis, Limits: sameLimits(100)})
	c := s.Register("ann@example.com")
	login := func(wait time.Duration) apitest.Response {
		proxy.Set(storetest.Faults{Command: storetest.OnWrites(storetest.Late(wait))})

		return c.Do("POST", "/auth/login", apitest.AnnsLogin)
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
	isWrite := storetest.OnWrites(storetest.Swallow)
	proxy.Set(storetest.Faults{Hold: func(chunk []byte) bool { return isWrite(nil, chunk) }})
	responses := testkit.Concurrently(len(signedIn)+1, func(i int) apitest.Response {
		if i == len(signedIn) {
			return s.NewClient().Do("POST", "/auth/login", apitest.AnnsLogin)
		}

		path := []string{"/auth/logout", "/auth/rotate-session"}[i%2]

		return signedIn[i].Clone().Do("POST", path, nil)
	})
	for _, a := range responses {
		if a.Status != 503 || a.Cookie != nil {
			t.Errorf("%s: got %s and the cookie %v", a.Request, a.Raw, a.Cookie)
		}
	}

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
		{method: "POST", path: "/auth/login", body: apitest.AnnsLogin},
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

// If Redis fails after an email change, before the session has its new token, the session ends.
// Otherwise GET /auth/verify would keep reporting the old email to applications.
func TestSessionEndsIfEmailChangeCannotRenewIt(t *testing.T) {
	t.Parallel()

	_, proxied, proxy := storetest.ProxiedRedis(t)
	s := apitest.New(t, apitest.Options{Redis: &proxied, Mail: &apitest.Outbox{}})
	ann := s.Register("ann@example.com")
	ann.Do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"}).Want(202)
	token := s.Outbox.Token(t, "new@example.com", "verify-email")

	var failed atomic.Bool
	proxy.Set(storetest.Faults{Command: func(client net.Conn, chunk []byte) bool {
		isRenewal := containsAll(chunk, "EVAL", "sess:", "new@example.com")
		if isRenewal {
			failed.Store(true)
		}

		return isRenewal && storetest.HangUp(client, chunk)
	}})

	before := ann.Clone()
	a := ann.Do("POST", "/auth/email/verify", map[string]any{"token": token}).Want(200)
	if got := a.Text("message"); got != "Email changed. Please log in again." || ann.Token != "" || !failed.Load() {
		t.Errorf("got %q, cookie %q, renewal failed %v; want to log in again without a cookie", got, ann.Token, failed.Load())
	}

	proxy.Set(storetest.Faults{})
	before.WantReason(session.EmailChanged)
	if !s.NewClient().Login("new@example.com", apitest.Password) {
		t.Error("login with the new email failed")
	}
}

// An email change whose first lookup fails changes nothing and ends no session. The link still
// works afterwards.
func TestEmailChangeChecksFirst(t *testing.T) {
	t.Parallel()

	uri, proxy := storetest.ProxiedMongo(t)
	s := apitest.New(t, apitest.Options{MongoURI: uri, Mail: &apitest.Outbox{}})
	ann := s.Register("ann@example.com")
	other := s.LoginFrom("other")
	ann.Do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"}).Want(202)
	verify := map[string]any{"token": s.Outbox.Token(t, "new@example.com", "verify-email")}

	proxy.Set(storetest.Faults{Command: func(client net.Conn, chunk []byte) bool {
		isLookup := containsAll(chunk, "\x02find\x00", "new@example.com")

		return isLookup && storetest.HangUp(client, chunk)
	}})
	ann.Do("POST", "/auth/email/verify", verify).WantCode(503, "user_store_unavailable")
	other.Do("GET", "/auth/session", nil).Want(200)

	proxy.Set(storetest.Faults{})
	ann.Do("POST", "/auth/email/verify", verify).Want(200)
	other.Do("GET", "/auth/session", nil).Want(401)
}

// If MongoDB fails while an account is deleted, the account is still there, and the deletion can
// be repeated.
func TestFailedDeletionKeepsAccount(t *testing.T) {
	t.Parallel()

	uri, proxy := storetest.ProxiedMongo(t)
	s := apitest.New(t, apitest.Options{MongoURI: uri, Mail: &apitest.Outbox{}})
	ann := s.Register("ann@example.com")
	id := s.Account("ann@example.com").ID

	proxy.Set(storetest.Faults{Command: func(client net.Conn, chunk []byte) bool {
		return containsAll(chunk, "\x02delete\x00", "identities") && storetest.HangUp(client, chunk)
	}})
	ann.Do("DELETE", "/profile", nil).WantCode(503, "user_store_unavailable")
	if got := s.Account("ann@example.com").ID; got != id {
		t.Errorf("account after the failure: got %s, want %s", got, id)
	}

	proxy.Set(storetest.Faults{})
	s.TakeEvents()
	again := s.NewClient()
	if !again.Login("ann@example.com", apitest.Password) {
		t.Fatal("login after the failure failed")
	}
	again.Do("DELETE", "/profile", nil).Want(204)
	if got := s.TakeEvents(); got[len(got)-1]["name"] != "account_deleted" {
		t.Errorf("last event: got %v, want account_deleted", got)
	}
	s.Outbox.Subject(t, "ann@example.com", "Your Latchkey account was deleted")
}
