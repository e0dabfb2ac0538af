package httpapi_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/httpapi"
	"latchkey/internal/ratelimit"
	"latchkey/internal/testkit"
)

// The Redis user in configs/redis.conf has the permissions that accounts need: sessions,
// limits, emails and sign-ins. Package session tests those of sessions.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()

	server := storetest.StartRedis(t)
	file, err := os.ReadFile("../../configs/redis.conf")
	testkit.NoError(t, err)
	_, rules, _ := strings.Cut(string(file), "# user ")
	args := []any{"SETUSER"}
	for _, rule := range strings.Fields(rules) {
		args = append(args, rule)
	}

	if _, err := server.Conn(t).Do("ACL", args...); err != nil {
		t.Fatal(err)
	}

	user := server.Redis
	user.DB = 1
	user.Username = "latchkey"
	user.Password = "a-long-random-password"
	rule := ratelimit.Rule{Events: 1, Window: time.Hour}
	s := newProviderEnv(t, apitest.Options{SessionCache: true, Redis: &user, Mail: &apitest.Outbox{}, Limits: httpapi.Limits{Login: rule, Account: rule}})
	ann := s.Register("ann@example.com")
	ann.Do("POST", "/auth/email/verify", map[string]any{"token": s.Outbox.Token(t, "ann@example.com", "verify-email")}).Want(200)
	if !s.NewClient().Login("ann@example.com", apitest.Password) {
		t.Error("login failed")
	}

	s.NewClient().Do("POST", "/auth/login", apitest.AnnsLogin).WantCode(429, "too_many_requests")
	ann.Do("POST", "/auth/logout", nil).Want(200)
	s.signInWith(s.NewClient(), "acme", providerUser{sub: "bob", email: "bob@example.com"}, "")
}
