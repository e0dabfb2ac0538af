package httpapi_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/httpapi"
	"latchkey/internal/ratelimit"
)

// sameLimits returns limits with the same rule for everything. Its window is an hour, so
// that nothing refills during a test.
func sameLimits(events int) httpapi.Limits {
	rule := ratelimit.Rule{Events: events, Window: time.Hour}

	return httpapi.Limits{Register: rule, Login: rule, Mail: rule, Token: rule, Password: rule, Account: rule, Device: rule}
}

// behindProxy makes the server trust X-Forwarded-For, so that a test can choose the
// client's IP.
var behindProxy = []string{"127.0.0.1/32"}

// wrongPassword returns a login that fails for any account.
func wrongPassword(email string) map[string]any { return apitest.Credentials(email, "wrong password") }

// resetSeconds matches the part of a RateLimit header that changes with time.
var resetSeconds = regexp.MustCompile(`;t=\d+`)

// When others have used up the limit of an account, its owner can still log in on a known
// device, which has its own limit.
func TestOwnerIsNotLockedOut(t *testing.T) {
	t.Parallel()

	const budget = 10
	unlimited := apitest.New(t)
	s := apitest.New(t, apitest.Options{StoresOf: unlimited, Limits: sameLimits(budget)})
	owner := unlimited.Register("ann@example.com")
	eve := unlimited.Register("eve@example.com")
	second := unlimited.LoginFrom("second device")
	for range budget {
		s.NewClient().Do("POST", "/auth/login", wrongPassword("ann@example.com")).Want(401)
	}

	login := func(devices ...string) apitest.Response {
		header := http.Header{"Content-Type": {"application/json"}}
		for _, d := range devices {
			header.Add("Cookie", "device="+d)
		}

		return s.NewClient().Send("POST", "/auth/login", header, apitest.Encode(apitest.AnnsLogin))
	}

	before := s.Hasher.Hashes()
	for cookie, devices := range map[string][]string{
		"none":               nil,
		"of another account": {eve.Device},
		"altered":            {owner.Device + "A"},
		"oversized":          {owner.Device + strings.Repeat("."+strings.Repeat("A", 22), 1000)},
		"next to another":    {eve.Device, owner.Device},
	} {
		if a := login(devices...); a.Status != 429 {
			t.Errorf("device cookie %s: got %d, want 429", cookie, a.Status)
		}
	}

	for n := range budget {
		a := login(owner.Device).Want(200)
		want := fmt.Sprintf(`"device";r=%d;`, budget-n-1)
		if got := a.Header.Get("RateLimit"); !strings.HasPrefix(got, want) {
			t.Errorf("login %d: RateLimit: got %s, want it to begin with %s", n+1, got, want)
		}
	}

	// Using up the limit of a device does not affect other devices.
	login(owner.Device).WantCode(429, "too_many_requests")
	login(second.Device).Want(200)
	if n := s.Hasher.Hashes() - before; n != budget+1 {
		t.Errorf("password hashes: got %d, want %d, none of them for a rejected login", n, budget+1)
	}
}

// The limits are exact for concurrent requests to two servers. Exceeding one is recorded once
// until a request is allowed again, with the user ID if it is known.
func TestLimitHit(t *testing.T) {
	t.Parallel()

	servers := twoServers(t, apitest.Options{Limits: sameLimits(3), TrustedProxies: behindProxy})
	s := servers[0]
	ann := s.Register("ann@example.com")
	id := s.Account("ann@example.com").ID
	hits := func() (all []bson.M) {
		for _, server := range servers {
			for _, e := range server.TakeEvents() {
				if e["name"] == "limit_hit" {
					all = append(all, e)
				}
			}
		}

		return all
	}

	hashes := func() uint64 { return servers[0].Hasher.Hashes() + servers[1].Hasher.Hashes() }
	uniqueIP := func(i int) string { return fmt.Sprintf("203.0.113.%d", i) }

	for name, burst := range map[string]struct {
		route, user string
		allowed     int
		send        func(c *apitest.Client, i int) apitest.Response
	}{
		"by an IP": {"POST /auth/login", "", 3, func(c *apitest.Client, i int) apitest.Response {
			return c.DoFrom("203.0.113.1", "POST", "/auth/login", wrongPassword(fmt.Sprintf("nobody%d@example.com", i)))
		}},
		"of an account": {"POST /auth/login", "", 3, func(c *apitest.Client, i int) apitest.Response {
			return c.DoFrom(uniqueIP(i), "POST", "/auth/login", wrongPassword("ann@example.com"))
		}},
		// A device that has used up its own limit counts as unknown.
		"on a device": {"POST /auth/login", "", 6, func(c *apitest.Client, i int) apitest.Response {
			c.Device = ann.Device

			return c.DoFrom(uniqueIP(i), "POST", "/auth/login", wrongPassword("ann@example.com"))
		}},
		"of a session": {"POST /auth/step-up", id, 3, func(c *apitest.Client, i int) apitest.Response {
			c.Token = ann.Token

			return c.DoFrom(uniqueIP(i), "POST", "/auth/step-up", map[string]any{"password": "wrong password"})
		}},
	} {
		s.ResetLimits()
		hits()

		const limited = "429 too_many_requests"
		before := hashes()
		if got := tally(sendConcurrently(servers, 20, burst.send)); got[limited] != 20-burst.allowed {
			t.Fatalf("%s: got %v, want %d requests limited", name, got, 20-burst.allowed)
		}
		if got := tally(sendConcurrently(servers, 20, burst.send)); got[limited] != 20 {
			t.Fatalf("%s: got %v, want all requests limited", name, got)
		}
		if n := int(hashes() - before); n != burst.allowed {
			t.Errorf("%s: password hashes: got %d, want %d", name, n, burst.allowed)
		}

		recorded := hits()
		if len(recorded) != 1 {
			t.Fatalf("%s: events: got %d, want 1", name, len(recorded))
		}
		wantUser := any(burst.user)
		if burst.user == "" {
			wantUser = nil
		}
		if e := recorded[0]; e["route"] != burst.route || e["ip"] == nil || e["userId"] != wantUser {
			t.Errorf("%s: event: got %v, want route %s, an IP and user %v", name, e, burst.route, wantUser)
		}

		s.ResetLimits()
		sendConcurrently(servers, 20, burst.send)
		if got := len(hits()); got != 1 {
			t.Errorf("%s: events of the next burst: got %d, want 1", name, got)
		}
	}
}
