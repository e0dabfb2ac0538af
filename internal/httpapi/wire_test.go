package httpapi_test

import (
	"net"
	"regexp"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/auth"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/httpapi"
	"latchkey/internal/ratelimit"
	"latchkey/internal/testkit"
)

// commandName matches the start of a command in the Redis protocol, with its name.
var commandName = regexp.MustCompile(`(?m)^\*\d+\r\n\$\d+\r\n([A-Z]+)`)

// forConnection are the commands that open a connection. A request may find all connections in use.
var forConnection = []string{"PING", "ROLE", "SELECT"}

// forStream matches commands that open and keep the stream of package coherence.
var forStream = regexp.MustCompile(`latchkey:beat:|latchkey:check|\r\nCLIENT\r\n|\r\nSUBSCRIBE\r\n`)

// The number of bytes and commands on the wire to Redis per request. The most expensive
// request limits the speed of a busy server, so it must not grow unnoticed.
func TestCommandsOnTheWire(t *testing.T) {
	t.Parallel()

	_, proxied, proxy := storetest.ProxiedRedis(t)
	rule := ratelimit.Rule{Events: 1000, Window: time.Hour}
	s := apitest.New(t, apitest.Options{Redis: &proxied, TrustedProxies: behindProxy, Limits: httpapi.Limits{Register: rule, Login: rule, Password: rule, Account: rule}})

	var commands atomic.Int64
	proxy.Set(storetest.Faults{Command: func(_ net.Conn, chunk []byte) bool {
		if forStream.Match(chunk) { // from time to time, even without requests
			return false
		}
		for _, match := range commandName.FindAllSubmatch(chunk, -1) {
			if !slices.Contains(forConnection, string(match[1])) {
				commands.Add(1)
			}
		}

		return false
	}})

	s.Register("ann@example.com")
	for _, tc := range []struct {
		name    string
		most    int64
		changes int64 // commands in addition that tell other servers to forget a value
		do      func(c *apitest.Client)
	}{
		{"session check", 1, 0, func(c *apitest.Client) { c.Do("GET", "/auth/session", nil).Want(200) }},
		{"login", 5, 1, func(*apitest.Client) { s.LoginFrom("x") }},
		{"login over IPv6", 5, 1, func(*apitest.Client) {
			s.NewClient().DoFrom("2001:db8::1", "POST", "/auth/login", apitest.AnnsLogin).Want(200)
		}},
		{"login over a session", 6, 2, func(c *apitest.Client) { c.Do("POST", "/auth/login", apitest.AnnsLogin).Want(200) }},
		{"rotate", 2, 1, func(c *apitest.Client) { c.Do("POST", "/auth/rotate-session", nil).Want(200) }},
		{"list", 2, 0, func(c *apitest.Client) { c.Do("GET", "/auth/sessions", nil).Want(200) }},
		{"revoke others", 2, 1, func(c *apitest.Client) { c.Do("DELETE", "/auth/sessions", nil).Want(200) }},
		{"password change", 7, 3, func(c *apitest.Client) {
			c.Do("POST", "/auth/password/change", apitest.PasswordChange).Want(200)
		}},
		{"logout", 2, 1, func(c *apitest.Client) { c.Do("POST", "/auth/logout", nil).Want(200) }},
	} {
		// The first round loads the scripts and the time of Redis.
		for range 2 {
			_, err := s.Auth.SetPassword(t.Context(), auth.Operator(s.Account("ann@example.com").ID), apitest.Password)
			testkit.NoError(t, err)

			c := s.LoginFrom("x")
			s.LoginFrom("x")
			s.LoginFrom("x")
			commands.Store(0)
			tc.do(c)
		}

		most := tc.most
		if s.Cache != nil {
			most += tc.changes
		}
		used := commands.Load()
		t.Logf("%s: %d commands", tc.name, used)
		if used > most || used == 0 {
			t.Errorf("%s: got %d commands, want 1 to %d", tc.name, used, most)
		}
	}
}

// A login needs two MongoDB commands, one to find the account and one to record the login, besides
// the inserts of security events, which logins share.
func TestMongoCommandsOfLogin(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	s.Register("ann@example.com")
	s.TakeEvents()

	count := func() map[string]int {
		counts := map[string]int{}
		for _, command := range []string{"find", "findAndModify", "update", "aggregate", "count", "insert"} {
			n, _ := strconv.Atoi(s.Metric(`latchkey_mongo_commands_total{command="` + command + `",outcome="ok"}`))
			counts[command] = n
		}

		return counts
	}

	const logins = 20
	before := count()
	for range logins {
		s.NewClient().Do("POST", "/auth/login", apitest.AnnsLogin).Want(200)
	}

	after := count()
	t.Logf("%d logins: from %v to %v", logins, before, after)
	for command, n := range after {
		want := 0
		switch command {
		case "find", "findAndModify":
			want = logins
		case "insert":
			continue // depends on the time: see activity.TestFewInserts
		}
		if n-before[command] != want {
			t.Errorf("%s for %d logins: got %d, want %d", command, logins, n-before[command], want)
		}
	}
}
