package httpapi_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/apitest"
	"latchkey/internal/hashpool"
	"latchkey/internal/httpapi"
	"latchkey/internal/ratelimit"
	"latchkey/internal/testkit"
)

// defaultLimits returns the limits of a server without RATE_LIMIT settings.
func defaultLimits() httpapi.Limits {
	rule := ratelimit.Rule{Events: 10, Window: time.Minute}
	account := ratelimit.Rule{Events: 30, Window: time.Minute}

	return httpapi.Limits{Register: rule, Login: rule, Mail: rule, Token: rule, Password: rule, Account: account, Device: rule}
}

// A client with an IPv6 /48 that sends each login from a different /64 cannot lock out the owner of
// an account, and causes few password hashes.
func TestNetworkFlood(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Limits: defaultLimits(), TrustedProxies: behindProxy})
	owner := s.Register("ann@example.com")
	before := s.Hasher.Hashes()
	start := time.Now()

	const (
		rounds   = 2
		requests = 250 // of the flood in each round
	)
	statuses := map[int]int{}
	for round := range rounds {
		responses := testkit.Concurrently(requests+1, func(i int) apitest.Response {
			if i == requests/2 {
				c := s.NewClient()
				c.Device = owner.Device

				return c.DoFrom("203.0.113.1", "POST", "/auth/login", apitest.AnnsLogin)
			}

			ip := fmt.Sprintf("2001:db8:77:%x::1", round*requests+i)

			return s.NewClient().DoFrom(ip, "POST", "/auth/login", wrongPassword(fmt.Sprintf("nobody%d@example.com", i)))
		})

		if got := responses[requests/2]; got.Status != 200 {
			t.Errorf("round %d: the owner on a known device got %d, want 200", round, got.Status)
		}
		for _, a := range responses {
			statuses[a.Status]++
		}
	}

	elapsed := time.Since(start)
	t.Logf("%v in %v", statuses, elapsed)

	// 32 times the limit of a single client, plus what has become available since.
	most := 32*10 + int(elapsed/(time.Minute/320)) + 1
	if statuses[401]+statuses[503] > most || statuses[429] < rounds*requests-most {
		t.Errorf("got statuses %v, want at most %d requests that passed the limits", statuses, most)
	}
	if n := int(s.Hasher.Hashes() - before); n > most+rounds {
		t.Errorf("password hashes: got %d, want at most %d", n, most+rounds)
	}
}

// The passwords of owners are hashed in a lane of their own, so that a flood of other logins does
// not delay them: see package hashpool.
func TestOwnersHaveTheirOwnLane(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Limits: defaultLimits()})
	owner := s.Register("ann@example.com")
	login := func(device string) apitest.Response {
		c := owner.NewClient()
		c.Device = device

		return c.Do("POST", "/auth/login", apitest.AnnsLogin)
	}

	for _, tc := range []struct {
		name                string
		request             func() apitest.Response
		wantAnyone, wantOwn uint64
	}{
		{"login on an unknown device", func() apitest.Response { return login("") }, 1, 0},
		{"login on a known device", func() apitest.Response { return login(owner.Device) }, 0, 1},
		{"step-up", func() apitest.Response {
			return owner.Do("POST", "/auth/step-up", map[string]any{"password": apitest.Password})
		}, 0, 1},
		{"password change", func() apitest.Response {
			return owner.Do("POST", "/auth/password/change", apitest.PasswordChange)
		}, 0, 2},
	} {
		anyone := s.Hasher.HashesIn(hashpool.Anyone)
		own := s.Hasher.HashesIn(hashpool.Owners)

		tc.request().Want(200)

		anyone = s.Hasher.HashesIn(hashpool.Anyone) - anyone
		own = s.Hasher.HashesIn(hashpool.Owners) - own
		if anyone != tc.wantAnyone || own != tc.wantOwn {
			t.Errorf("%s: got %d passwords hashed in the lane of anyone and %d in that of owners, want %d and %d",
				tc.name, anyone, own, tc.wantAnyone, tc.wantOwn)
		}
	}
}

// Reset requests for unknown emails leave nothing in Redis.
func TestForgotLeavesNothing(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	for i := range 50 {
		s.NewClient().Do("POST", "/auth/password/forgot", map[string]any{"email": fmt.Sprintf("nobody%d@example.com", i)}).Want(202)
	}
	if mails := s.SentMails(); len(mails) != 0 {
		t.Errorf("emails: got %d, want 0", len(mails))
	}

	keys, err := redis.Strings(s.Redis.Conn(t).Do("KEYS", "*"))
	testkit.NoError(t, err)
	if len(keys) != 0 {
		t.Errorf("keys: got %q, want none", keys)
	}
}

// If too many reset requests are waiting, further ones are refused.
func TestForgotOverloaded(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	const future = 1 << 52 // in microseconds, so that they are not looked up
	args := []any{"mail:{queue}:lookups"}
	for i := range 10_000 {
		args = append(args, future, i)
	}
	conn := s.Redis.Conn(t)
	_, err := conn.Do("ZADD", args...)
	testkit.NoError(t, err)

	body := map[string]any{"email": "ann@example.com"}
	s.NewClient().Do("POST", "/auth/password/forgot", body).WantCode(503, "overloaded")

	_, err = conn.Do("ZREM", "mail:{queue}:lookups", 0)
	testkit.NoError(t, err)
	s.NewClient().Do("POST", "/auth/password/forgot", body).Want(202)
}
