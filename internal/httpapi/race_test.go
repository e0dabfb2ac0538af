package httpapi_test

import (
	"flag"
	"slices"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// rounds is the number of rounds of each race. make check-race sets more.
var rounds = flag.Int("rounds", 5, "rounds of each race")

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

// Of concurrent rotations exactly one succeeds, and one session is left.
func TestRaceRotations(t *testing.T) {
	suite.Require(t, suite.Race, suite.Ordinary)

	t.Parallel()

	server := storetest.StartRedis(t)
	s := apitest.New(t, apitest.Options{Redis: &server.Redis, TouchInterval: time.Nanosecond})
	conn := server.Conn(t)
	requests := slices.Repeat([]request{{method: "POST", path: "/auth/rotate-session"}}, 8)

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
