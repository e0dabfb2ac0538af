package httpapi

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
)

// rounds is how often each race is run. make check-race runs the full number.
var rounds = flag.Int("rounds", 5, "rounds of each race")

// many is how many requests come at once where it is to be many. A Redis in the process
// of the test has no time for as many as a real one.
func many() int {
	if os.Getenv("TEST_REDIS") == "" {
		return 30
	}
	return 100
}

// raceSite is a site on a real Redis on which every read writes: the touch
// interval is over each time. That is where scs brings ended sessions back.
func raceSite(t *testing.T) (*site, redis.Conn) {
	server := storetest.StartRedis(t)
	s := newSite(t, setup{redis: &server.Redis, touchInterval: time.Nanosecond})
	return s, server.Conn(t)
}

// request is one of the requests of a race.
type request struct {
	method, path string
	body         any
}

// race sends the requests at once, each with the same cookie, and returns the
// answers in their order.
func race(t *testing.T, c *client, requests []request) []answer {
	t.Helper()
	answers := make([]answer, len(requests))
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i, r := range requests {
		wg.Go(func() {
			<-start
			answers[i] = c.clone().do(r.method, r.path, r.body)
		})
	}
	close(start)
	wg.Wait()
	return answers
}

// assertAllOut fails unless no session is left, and no cookie that any answer
// set works.
func assertAllOut(t *testing.T, s *site, conn redis.Conn, first string, answers []answer) {
	t.Helper()
	if live := s.liveSessions(conn); live != 0 {
		t.Fatalf("%d sessions are alive after the logout", live)
	}
	tokens := []string{first}
	for _, a := range answers {
		if a.cookie != nil && a.cookie.Value != "" {
			tokens = append(tokens, a.cookie.Value)
		}
	}
	for _, token := range tokens {
		(&client{site: s, token: token}).do("GET", "/auth/session", nil).want(401)
	}
}

// A logout holds while reads are in flight, each of which extends the session.
func TestRaceReadsLogout(t *testing.T) {
	t.Parallel()
	s, conn := raceSite(t)
	requests := []request{{method: "POST", path: "/auth/logout"}}
	for range 16 {
		requests = append(requests, request{method: "GET", path: "/auth/session"})
	}
	for range *rounds {
		c := s.signIn()
		answers := race(t, c, requests)
		answers[0].want(200)
		assertAllOut(t, s, conn, c.token, answers)
		for _, a := range answers[1:] {
			if a.status != 200 && a.status != 401 || a.cookie != nil && a.cookie.Value != "" {
				t.Fatalf("a read during a logout got %d and the cookie %v", a.status, a.cookie)
			}
		}
	}
}

// A logout holds while the session is written to and rotated: it follows the
// session to its new token.
func TestRaceWritesRotateLogout(t *testing.T) {
	t.Parallel()
	s, conn := raceSite(t)
	signedUp := s.register("ann@example.com")
	rotations := 0
	for i := range *rounds {
		c := s.client()
		if i == 0 {
			c.token = signedUp.token
		} else {
			c.do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": testPassword}).want(200)
		}
		requests := []request{{method: "POST", path: "/auth/logout"}, {method: "POST", path: "/auth/rotate-session"}}
		for n := range 7 {
			requests = append(requests,
				request{method: "GET", path: "/auth/session"},
				request{"PUT", "/profile", map[string]any{"name": fmt.Sprintf("Ann %d", n)}})
		}
		answers := race(t, c, requests)
		answers[0].want(200)
		assertAllOut(t, s, conn, c.token, answers)
		if answers[1].status == 200 {
			rotations++
		}
	}
	t.Logf("%d rounds, in %d of them the rotation was faster", *rounds, rotations)
}

// Of rotations at once exactly one wins, and one session is left.
func TestRaceRotations(t *testing.T) {
	t.Parallel()
	s, conn := raceSite(t)
	requests := make([]request, 8)
	for i := range requests {
		requests[i] = request{method: "POST", path: "/auth/rotate-session"}
	}
	for range *rounds {
		c := s.signIn()
		var won *client
		for _, a := range race(t, c, requests) {
			switch {
			case a.status == 200 && won == nil:
				won = &client{site: s, token: a.cookie.Value}
			case a.status != 401 || a.cookie != nil:
				t.Fatalf("a second rotation got %d and the cookie %v", a.status, a.cookie)
			}
		}
		if won == nil {
			t.Fatal("no rotation won")
		}
		if live := s.liveSessions(conn); live != 1 {
			t.Fatalf("%d sessions after the rotations", live)
		}
		c.do("GET", "/auth/session", nil).want(401)
		won.clone().do("GET", "/auth/session", nil).want(200)
		won.do("POST", "/auth/logout", nil).want(200)
	}
}

// A request that a rotation overtook gets 401 and leaves the cookie alone: the
// browser may hold the new one by then. A logout ends the session all the same.
func TestRotatedTokenKeepsCookie(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.signIn()
	late := c.clone()
	c.do("POST", "/auth/rotate-session", nil).want(200)
	if a := late.do("GET", "/auth/session", nil).wantCode(401, "not_authenticated"); a.cookie != nil {
		t.Errorf("the late answer sets the cookie %s", a.cookie)
	}
	c.do("GET", "/auth/session", nil).want(200)
	late.do("POST", "/auth/logout", nil).want(200)
	c.do("GET", "/auth/session", nil).want(401)
}
