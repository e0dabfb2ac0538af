package httpapi_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gomodule/redigo/redis"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/httpapi"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// limitedRoute describes how to use a rate-limited route.
type limitedRoute struct {
	limit  string
	status int // of a request within the limit
	// perAccount is set if requests also count against the account.
	perAccount bool
	// prepare prepares the i-th request and returns its body.
	prepare func(s *apitest.Server, i int) any
}

func numberedEmail(i int) string { return fmt.Sprintf("ann%d@example.com", i) }

// limitedRoutes has every rate-limited route except the sign-ins with a provider: see
// TestSignInLimits.
var limitedRoutes = map[string]limitedRoute{
	"POST /auth/register": {"register", 201, false, func(_ *apitest.Server, i int) any {
		return map[string]any{"name": "New", "email": "new" + numberedEmail(i), "password": apitest.Password}
	}},
	"POST /auth/login": {"login", 200, true, func(_ *apitest.Server, i int) any {
		return apitest.Credentials(numberedEmail(i), apitest.Password)
	}},
	"POST /auth/password/forgot": {"mail", 202, false, func(_ *apitest.Server, i int) any {
		return map[string]any{"email": numberedEmail(i)}
	}},
	"POST /auth/password/reset": {"token", 200, false, func(s *apitest.Server, i int) any {
		testkit.NoError(s.T, s.Auth.RequestPasswordReset(context.Background(), user.Email(numberedEmail(i)), session.Client{}))
		return map[string]any{"token": s.Outbox.Token(s.T, numberedEmail(i), "reset-password"), "password": apitest.NewPassword}
	}},
	"POST /auth/email/verify": {"token", 200, false, func(s *apitest.Server, i int) any {
		testkit.NoError(s.T, s.Auth.RequestVerification(context.Background(), s.Account(numberedEmail(i)), session.Client{}))
		return map[string]any{"token": s.Outbox.Token(s.T, numberedEmail(i), "verify-email")}
	}},
	"POST /auth/password/change": {"password", 200, true, func(*apitest.Server, int) any {
		return apitest.PasswordChange
	}},
	"POST /auth/password/set": {"password", 200, true, func(s *apitest.Server, i int) any {
		withoutPassword := bson.D{{Key: "$set", Value: bson.D{{Key: "password", Value: ""}}}}
		_, err := s.Database().Collection("users").UpdateOne(s.T.Context(), bson.D{{Key: "email", Value: numberedEmail(i)}}, withoutPassword)
		testkit.NoError(s.T, err)
		return map[string]any{"newPassword": apitest.NewPassword}
	}},
	"POST /auth/login/factor": {"factor", 200, true, func(s *apitest.Server, i int) any {
		return map[string]any{"recoveryCode": s.AddFactor(s.Account(numberedEmail(i)).ID).RecoveryCodes[0]}
	}},
	"POST /auth/recovery-codes": {"password", 200, true, func(s *apitest.Server, i int) any {
		s.AddFactor(s.Account(numberedEmail(i)).ID)
		return nil
	}},
	"POST /auth/totp/{id}/confirm": {"password", 200, true, func(s *apitest.Server, i int) any {
		return map[string]any{"code": s.BeginEnrolment(s.Account(numberedEmail(i)).ID, limitedEnrolment)}
	}},
	"POST /auth/step-up": {"password", 200, true, func(*apitest.Server, int) any {
		return map[string]any{"password": apitest.Password}
	}},
	"POST /auth/email/resend": {"mail", 202, true, func(*apitest.Server, int) any { return nil }},
	"POST /auth/email/change": {"mail", 202, true, func(_ *apitest.Server, i int) any {
		return map[string]any{"email": "other" + numberedEmail(i)}
	}},
}

// limitedEnrolment is the ID of the authenticator apps that the accounts are setting up.
const limitedEnrolment = "limitedenrolment"

// limitedServer is a server with accounts, a session for each, and requests to a route.
type limitedServer struct {
	*apitest.Server
	t      *testing.T
	conn   redis.Conn
	users  []*apitest.Client
	bodies []any  // nil for a request without a body
	name   string // "METHOD /path"
	route  limitedRoute
}

// newLimitedServer prepares requests to a route, each of a different account.
func newLimitedServer(t *testing.T, name string, requests int, o apitest.Options) *limitedServer {
	t.Helper()

	route := limitedRoutes[name]
	o.Mail = &apitest.Outbox{}
	o.TrustedProxies = behindProxy
	s := &limitedServer{Server: apitest.New(t, o), t: t, name: name, route: route}
	s.conn = s.Redis.Conn(t)

	for i := range requests {
		id := s.CreateUser(numberedEmail(i)).ID
		s.users = append(s.users, s.SignInWith(id, session.Method{Method: session.Password}, session.Method{Method: session.OTP}))
		s.bodies = append(s.bodies, route.prepare(s.Server, i))
	}

	s.TakeMails()

	return s
}

// use sends the i-th request from an IP, with a session if the route needs one.
func (s *limitedServer) use(i int, ip string) apitest.Response {
	s.t.Helper()

	method, path, _ := strings.Cut(s.name, " ")
	path = strings.Replace(path, "{id}", limitedEnrolment, 1)
	c := s.NewClient()
	switch {
	case slices.Contains(httpapi.Pending, s.name):
		c.Factors = map[string]string{"mfa": s.BeginPending(s.Account(numberedEmail(i)).ID)}
	case !httpapi.IsPublic(s.name):
		c = s.users[i]
	}

	return c.DoFrom(ip, method, path, s.bodies[i])
}

// work returns everything that a rate-limited request can change.
func (s *limitedServer) work() string {
	s.t.Helper()

	mails := len(s.SentMails())
	found, err := s.Database().Collection("users").Find(context.Background(), bson.D{})
	testkit.NoError(s.t, err)
	var users []bson.M
	testkit.NoError(s.t, found.All(context.Background(), &users))

	keys, err := redis.Strings(s.conn.Do("KEYS", "sess:*"))
	testkit.NoError(s.t, err)
	links, err := redis.Strings(s.conn.Do("KEYS", "limit:{link:*")) // which emails were requested
	testkit.NoError(s.t, err)
	slices.Sort(keys)
	slices.Sort(links)

	return fmt.Sprintln(s.Hasher.Hashes(), mails, users, keys, links)
}

// wantNoLimitHeaders fails the test if the response has rate limit headers.
func wantNoLimitHeaders(a apitest.Response) {
	a.T.Helper()

	for _, name := range []string{"RateLimit", "RateLimit-Policy"} {
		if values := a.Header.Values(name); len(values) != 0 {
			a.T.Errorf("%s: %s: got %q, want none", a.Request, name, values)
		}
	}
}

// Each rate-limited route reports how many requests remain, rejects further requests
// without doing any work, and does not count against other limits.
func TestLimitHeaders(t *testing.T) {
	t.Parallel()

	for name, got := range httpapi.RouteLimits() {
		if want := limitedRoutes[name].limit; got != want && got != "oauth" {
			t.Errorf("%s: limit is %q, want %q", name, got, want)
		}
	}

	for name, route := range limitedRoutes {
		t.Run(strings.ReplaceAll(name, "/", "_"), func(t *testing.T) {
			t.Parallel()

			t.Run("IP", func(t *testing.T) { testIPLimit(t, name, route) })
			t.Run("account", func(t *testing.T) { testAccountLimit(t, name) })
			t.Run("off", func(t *testing.T) {
				s := newLimitedServer(t, name, 1, apitest.Options{})
				a := s.use(0, "203.0.113.1").Want(s.route.status)
				wantNoLimitHeaders(a)
				if got := a.Header.Get("Retry-After"); got != "" {
					t.Errorf("Retry-After: got %q, want none", got)
				}
			})

			t.Run("Redis down", func(t *testing.T) { testFailsClosed(t, name) })
		})
	}
}

// budgetPattern matches a budget in a RateLimit header: name, remaining requests, and seconds
// until all are available again.
var budgetPattern = regexp.MustCompile(`"([^"]+)";r=(\d+);t=(\d+)`)

// wantBudgets compares the rate limit headers with budgets like "ip 1", in their order. The
// limit is 2 requests per hour.
func wantBudgets(a apitest.Response, want ...string) {
	a.T.Helper()

	const refill = 1800 // seconds until one more request is allowed
	wantSeconds := func(what, got string, want int) {
		if n, err := strconv.Atoi(got); err != nil || n > want || n < want-60 {
			a.T.Errorf("%s: %s: got %q seconds, want about %d", a.Request, what, got, want)
		}
	}

	var budgets, policies []string
	for _, m := range budgetPattern.FindAllStringSubmatch(a.Header.Get("RateLimit"), -1) {
		budgets = append(budgets, m[1]+" "+m[2])
		policies = append(policies, fmt.Sprintf("%q;q=2;w=3600", m[1]))
		used := 2 - int(m[2][0]-'0')
		wantSeconds("reset of "+m[1], m[3], used*refill)
	}

	if !slices.Equal(budgets, want) {
		a.T.Errorf("%s: RateLimit: got %q, want %q", a.Request, a.Header.Get("RateLimit"), want)
	}
	if got := a.Header.Get("RateLimit-Policy"); got != strings.Join(policies, ", ") {
		a.T.Errorf("%s: RateLimit-Policy: got %s, want %q", a.Request, got, policies)
	}

	retryAfter := a.Header.Get("Retry-After")
	if a.Status == 429 {
		wantSeconds("Retry-After", retryAfter, refill)
	} else if retryAfter != "" {
		a.T.Errorf("%s: Retry-After: got %q, want none", a.Request, retryAfter)
	}
}

// An IPv6 network counts as one client, here with a different account for each request.
func testIPLimit(t *testing.T, name string, route limitedRoute) {
	s := newLimitedServer(t, name, 4, apitest.Options{Limits: sameLimits(2)})
	before := s.work()
	for i := range 2 {
		want := []string{fmt.Sprintf("ip %d", 1-i)}
		if route.perAccount {
			want = append(want, "account 1")
		}

		wantBudgets(s.use(i, fmt.Sprintf("2001:db8:1:2:%d::1", i)).Want(route.status), want...)
		after := s.work()
		if after == before {
			t.Errorf("request %d changed nothing, so this test could not tell it from a rejection", i)
		}

		before = after
	}

	s.TakeEvents()
	wantBudgets(s.use(2, "2001:db8:1:2:ffff::1").WantCode(429, "too_many_requests"), "ip 0")
	if after := s.work(); after != before {
		t.Errorf("a rejected request changed the stores from\n%s\nto\n%s", before, after)
	}

	for _, e := range s.TakeEvents() {
		if e["name"] != "limit_hit" {
			t.Errorf("event of a rejected request: got %v, want limit_hit", e)
		}
	}

	s.use(3, "2001:db8:1:3::1").Want(route.status)

	// The limit is used up for all routes that share it, and for no others.
	for other, body := range map[string]map[string]any{
		"/auth/login":           wrongPassword("nobody@example.com"),
		"/auth/register":        {"name": "Ann", "email": numberedEmail(0), "password": apitest.Password},
		"/auth/password/forgot": {"email": "nobody@example.com"},
		"/auth/email/verify":    {"token": "x"},
	} {
		shared := limitedRoutes["POST "+other].limit == route.limit
		if a := s.NewClient().DoFrom("2001:db8:1:2::", "POST", other, body); (a.Status == 429) != shared {
			t.Errorf("%s after limit %q was used up: got %d, want 429: %v", other, route.limit, a.Status, shared)
		}
	}
}

// An account is limited whatever the client's IP.
func testAccountLimit(t *testing.T, name string) {
	s := newLimitedServer(t, name, 1, apitest.Options{Limits: sameLimits(2)})
	for i := range 2 {
		if a := s.use(0, fmt.Sprintf("203.0.113.%d", i)); a.Status == 429 {
			t.Errorf("request %d: got 429, want it allowed: %s", i, a.Raw)
		} else if s.route.perAccount {
			wantBudgets(a, "ip 1", fmt.Sprintf("account %d", 1-i))
		}

		if s.name == "POST /auth/password/change" && s.users[0].Token == "" {
			t.Fatal("the session has ended")
		}
	}

	before := s.work()
	a := s.use(0, "203.0.113.9")
	if !s.route.perAccount {
		wantBudgets(a, "ip 1")

		return
	}

	wantBudgets(a.WantCode(429, "too_many_requests"), "ip 1", "account 0")
	if after := s.work(); after != before {
		t.Errorf("a rejected request changed the stores from\n%s\nto\n%s", before, after)
	}
}

// Without Redis no request gets through, and no work is done.
func testFailsClosed(t *testing.T, name string) {
	direct, proxied, proxy := storetest.ProxiedRedis(t)
	s := newLimitedServer(t, name, 1, apitest.Options{Redis: &proxied, Limits: sameLimits(2)})
	s.conn = direct.Conn(t)
	before := s.work()
	proxy.Set(storetest.Faults{Command: func(client net.Conn, chunk []byte) bool {
		if !bytes.Contains(chunk, []byte("limit:{")) {
			return false
		}

		_ = client.Close()

		return true
	}})
	a := s.use(0, "203.0.113.1").WantCode(503, "session_store_unavailable")
	wantNoLimitHeaders(a)
	if a.Header.Get("Retry-After") == "" {
		t.Error("Retry-After: got none, want one")
	}

	proxy.Set(storetest.Faults{})
	if after := s.work(); after != before {
		t.Errorf("the stores changed from\n%s\nto\n%s", before, after)
	}

	s.use(0, "203.0.113.1").Want(s.route.status)
}
