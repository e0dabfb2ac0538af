package httpapi_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// rounds is the number of rounds of each race. make check-race sets more.
var rounds = flag.Int("rounds", 5, "rounds of each race")

// manyRequests returns the number of requests in a large burst. The in-process Redis
// handles fewer than a real one.
func manyRequests() int {
	if os.Getenv("TEST_REDIS") == "" {
		return 30
	}

	return 100
}

// raceServer starts a server on a real Redis where every read also writes, since the touch
// interval is always over. That is where scs resurrects sessions.
func raceServer(t *testing.T) (*apitest.Server, redis.Conn) {
	server := storetest.StartRedis(t)
	s := apitest.New(t, apitest.Options{Redis: &server.Redis, TouchInterval: time.Nanosecond})

	return s, server.Conn(t)
}

// request is one of the requests of a race.
type request struct {
	method, path string
	body         any
}

// race sends the requests at once, each with the same cookie, and returns the responses in
// order.
func race(t *testing.T, c *apitest.Client, requests []request) []apitest.Response {
	t.Helper()

	return testkit.Concurrently(len(requests), func(i int) apitest.Response {
		r := requests[i]

		return c.Clone().Do(r.method, r.path, r.body)
	})
}

// wantSignedOut fails the test if a session is left or a cookie in any response works.
func wantSignedOut(t *testing.T, s *apitest.Server, conn redis.Conn, first string, responses []apitest.Response) {
	t.Helper()

	if live := s.LiveSessions(conn); live != 0 {
		t.Fatalf("sessions after the logout: got %d, want 0", live)
	}

	tokens := []string{first}
	for _, a := range responses {
		if a.Cookie != nil && a.Cookie.Value != "" {
			tokens = append(tokens, a.Cookie.Value)
		}
	}

	for _, token := range tokens {
		s.WithToken(token).Do("GET", "/auth/session", nil).Want(401)
	}
}

// A logout is final while concurrent reads extend the session.
func TestRaceReadsLogout(t *testing.T) {
	suite.Require(t, suite.Race, suite.Ordinary)

	t.Parallel()

	s, conn := raceServer(t)
	requests := []request{{method: "POST", path: "/auth/logout"}}
	for range 16 {
		requests = append(requests, request{method: "GET", path: "/auth/session"})
	}

	for range *rounds {
		c := s.SignIn()
		responses := race(t, c, requests)
		responses[0].Want(200)
		wantSignedOut(t, s, conn, c.Token, responses)

		for _, a := range responses[1:] {
			if a.Status != 200 && a.Status != 401 || a.Cookie != nil && a.Cookie.Value != "" {
				t.Fatalf("a read during a logout got %d and the cookie %v", a.Status, a.Cookie)
			}
		}
	}
}

// A logout is final while the session is written and rotated: it follows the session to its
// new token.
func TestRaceWritesRotateLogout(t *testing.T) {
	suite.Require(t, suite.Race, suite.Ordinary)

	t.Parallel()

	s, conn := raceServer(t)
	signedUp := s.Register("ann@example.com")
	rotations := 0
	for i := range *rounds {
		c := s.NewClient()
		if i == 0 {
			c.Token = signedUp.Token
		} else {
			c.Do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": apitest.Password}).Want(200)
		}

		requests := []request{{method: "POST", path: "/auth/logout"}, {method: "POST", path: "/auth/rotate-session"}}
		for n := range 7 {
			requests = append(requests,
				request{method: "GET", path: "/auth/session"},
				request{"PUT", "/profile", map[string]any{"name": fmt.Sprintf("Ann %d", n)}})
		}

		responses := race(t, c, requests)
		responses[0].Want(200)
		wantSignedOut(t, s, conn, c.Token, responses)
		if responses[1].Status == 200 {
			rotations++
		}
	}

	t.Logf("%d rounds, in %d of them the rotation was faster", *rounds, rotations)
}

// Of concurrent rotations exactly one succeeds, and one session is left.
func TestRaceRotations(t *testing.T) {
	suite.Require(t, suite.Race, suite.Ordinary)

	t.Parallel()

	s, conn := raceServer(t)
	requests := make([]request, 8)
	for i := range requests {
		requests[i] = request{method: "POST", path: "/auth/rotate-session"}
	}

	for range *rounds {
		c := s.SignIn()
		var won *apitest.Client
		for _, a := range race(t, c, requests) {
			switch {
			case a.Status == 200 && won == nil:
				won = s.WithToken(a.Cookie.Value)
			case a.Status != 401 || a.Cookie != nil:
				t.Fatalf("a second rotation got %d and the cookie %v", a.Status, a.Cookie)
			}
		}

		if won == nil {
			t.Fatal("no rotation succeeded")
		}

		if live := s.LiveSessions(conn); live != 1 {
			t.Fatalf("sessions after the rotations: got %d, want 1", live)
		}

		c.Do("GET", "/auth/session", nil).Want(401)
		won.Clone().Do("GET", "/auth/session", nil).Want(200)
		won.Do("POST", "/auth/logout", nil).Want(200)
	}
}

// A request that loses against a rotation gets 401 without a cookie, since the browser may
// already have the new one. A logout still ends the session.
func TestRotatedTokenKeepsCookie(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	c := s.SignIn()
	late := c.Clone()
	c.Do("POST", "/auth/rotate-session", nil).Want(200)
	if a := late.Do("GET", "/auth/session", nil).WantCode(401, "not_authenticated"); a.Cookie != nil {
		t.Errorf("late response: got cookie %s, want none", a.Cookie)
	}

	c.Do("GET", "/auth/session", nil).Want(200)
	late.Do("POST", "/auth/logout", nil).Want(200)
	c.Do("GET", "/auth/session", nil).Want(401)
}
