package httpapi

import (
	"os"
	"strings"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/ratelimit"
)

// The user of Redis that configs/redis.conf has an example of may do what accounts
// need: sessions, limits, mail and sign-ins with a provider. Package session has the same for all that sessions
// need.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	server := storetest.StartRedis(t)
	file, err := os.ReadFile("../../configs/redis.conf")
	if err != nil {
		t.Fatal(err)
	}
	_, rules, _ := strings.Cut(string(file), "# user ")
	args := []any{"SETUSER"}
	for _, rule := range strings.Fields(rules) {
		args = append(args, rule)
	}
	if _, err := server.Conn(t).Do("ACL", args...); err != nil {
		t.Fatal(err)
	}
	user := server.Redis
	user.DB, user.Username, user.Password = 1, "latchkey", "a-long-random-password"
	rule := ratelimit.Rule{Events: 1, Window: time.Hour}
	s := newElsewhere(t, setup{redis: &user, mail: &outbox{}, limits: Limits{Login: rule, Account: rule}})
	ann := s.register("ann@example.com")
	ann.do("POST", "/auth/email/verify", map[string]any{"token": s.outbox.token(t, "ann@example.com", "verify-email")}).want(200)
	if !s.client().login("ann@example.com", testPassword) {
		t.Error("login")
	}
	s.client().do("POST", "/auth/login", annsLogin).wantCode(429, "too_many_requests")
	ann.do("POST", "/auth/logout", nil).want(200)
	s.signInWith(s.client(), "acme", person{sub: "bob", email: "bob@example.com"}, "")
}
