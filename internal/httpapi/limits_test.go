package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/device"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/httpapi"
	"latchkey/internal/ratelimit"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
	"latchkey/internal/user"
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

// postUnchecked sends a POST request without the checks of Do, which would use too much CPU
// time during a race.
func postUnchecked(c *apitest.Client, ip, path string, body map[string]any) apitest.Response {
	a := apitest.Response{T: c.T, Request: "POST " + path}
	req, err := http.NewRequest(http.MethodPost, c.URL+path, http.NoBody)
	if err != nil {
		c.T.Error(err)

		return a
	}

	if body != nil {
		raw := apitest.Encode(body)
		req.Body = io.NopCloser(bytes.NewReader(raw))
		req.ContentLength = int64(len(raw))
		req.Header.Set("Content-Type", "application/json")
	}

	req.Header.Set("X-Forwarded-For", ip)
	if c.Token != "" {
		req.AddCookie(&http.Cookie{Name: c.Cookie.Name, Value: c.Token})
	}

	res, err := c.HTTP.Do(req)
	if err != nil {
		c.T.Error(err)

		return a
	}

	defer func() { _ = res.Body.Close() }()

	a.Status = res.StatusCode
	a.Header = res.Header
	if a.Raw, err = io.ReadAll(res.Body); err == nil {
		err = json.Unmarshal(a.Raw, &a.JSON)
	}

	if err != nil {
		c.T.Errorf("%s: got %d with unreadable body %q: %v", a.Request, a.Status, a.Raw, err)
	}

	return a
}

// wrongPassword returns a login that fails for any account.
func wrongPassword(email string) map[string]any { return apitest.Credentials(email, "wrong password") }

// resetSeconds matches the part of a RateLimit header that changes with time.
var resetSeconds = regexp.MustCompile(`;t=\d+`)

// wantRateLimited fails the test unless the response is a 429 with a Retry-After.
func wantRateLimited(a apitest.Response) {
	a.T.Helper()

	a.WantCode(429, "too_many_requests")

	retryAfter := a.Header.Get("Retry-After")
	if n, err := strconv.Atoi(retryAfter); err != nil || n < 1 || n > 3600 {
		a.T.Fatalf("%s: Retry-After: got %q, want 1 to 3600", a.Request, retryAfter)
	}
}

// The limits are exact for concurrent logins at two servers, and do not reveal whether an
// account exists. The test runs alone, because slow stores would make rounds inconclusive.
func TestRaceLimitsAreExact(t *testing.T) {
	suite.Require(t, suite.Race, suite.Ordinary)

	const budget = 10
	tries := manyRequests()
	servers := twoServers(t, apitest.Options{Limits: sameLimits(budget), TrustedProxies: behindProxy})
	s := servers[0]
	s.Register("ann@example.com")
	hash := s.Account("ann@example.com").PasswordHash
	for i := range tries {
		email := user.Email(fmt.Sprintf("known%d@example.com", i))
		_, err := s.Users.Create(context.Background(), user.User{Name: "Ann", Email: email, PasswordHash: hash})
		testkit.NoError(t, err)
	}

	uniqueIP := func(i int) string { return fmt.Sprintf("203.0.113.%d", i) }
	sameNetwork := func(i int) string { return fmt.Sprintf("2001:db8:1:2::%x", i) }
	always := func(email string) func(int) string { return func(int) string { return email } }
	numbered := func(form string) func(int) string { return func(i int) string { return fmt.Sprintf(form, i) } }
	variants := []struct {
		name  string
		ip    func(int) string
		email [2]func(int) string // of existing accounts, and of unknown ones
	}{
		{"one account, many IPs", uniqueIP, [2]func(int) string{always("ann@example.com"), always("bob@example.com")}},
		{"one IP, many accounts", sameNetwork, [2]func(int) string{numbered("known%d@example.com"), numbered("other%d@example.com")}},
		{"one IP, one account", always("203.0.113.1"), [2]func(int) string{always("ann@example.com"), always("bob@example.com")}},
	}

	eachRound(t, func(round int, conclusive func([]apitest.Response) bool) {
		v := variants[round%len(variants)]
		var seen [2][]string
		for i, email := range v.email {
			s.ResetLimits()
			before := hashes(servers)
			responses := atOnce(servers, tries, func(c *apitest.Client, n int) apitest.Response {
				return postUnchecked(c, v.ip(n), "/auth/login", wrongPassword(email(n)))
			})

			got := tally(responses)
			hashed := int(hashes(servers) - before)
			if hashed > budget || got["401 invalid_credentials"] > budget {
				t.Fatalf("round %d, %s: got %d password hashes and %v, want at most %d", round, v.name, hashed, got, budget)
			}

			if !conclusive(responses) {
				return
			}

			if hashed != budget {
				t.Fatalf("round %d, %s: password hashes: got %d, want %d", round, v.name, hashed, budget)
			}

			for _, a := range responses {
				if a.Status == 429 {
					wantRateLimited(a)
				} else if got := a.WantCode(401, "invalid_credentials").Header.Get("Retry-After"); got != "" {
					t.Errorf("Retry-After: got %s, want none", got)
				}

				// The limits count separately: one request may be first for its IP, another
				// for its account.
				seen[i] = append(seen[i], fmt.Sprint(a.Status, " ", a.Header.Get("RateLimit-Policy")))

				for limit := range strings.SplitSeq(a.Header.Get("RateLimit"), ", ") {
					seen[i] = append(seen[i], fmt.Sprint(a.Status == 429, " ", resetSeconds.ReplaceAllString(limit, "")))
				}
			}

			if got["401 invalid_credentials"] != budget || got["429 too_many_requests"] != tries-budget {
				t.Fatalf("round %d, %s: got %v, want %d responses with 401 and the others with 429", round, v.name, got, budget)
			}

			slices.Sort(seen[i])
		}

		if !slices.Equal(seen[0], seen[1]) {
			t.Fatalf("%s: responses differ: existing account\n%q\nunknown account\n%q", v.name, seen[0], seen[1])
		}
	})
}

// hashes returns the number of passwords that the servers have hashed.
func hashes(servers []*apitest.Server) (n uint64) {
	for _, s := range servers {
		n += s.Hasher.Hashes()
	}

	return n
}

// When others have used up the limit of an account, its owner can still log in on a known
// device, which has its own limit.
func TestOwnerIsNotLockedOut(t *testing.T) {
	t.Parallel()

	const budget = 10
	s := apitest.New(t)
	limited := func(secrets ...string) *apitest.Server {
		return apitest.New(t, apitest.Options{StoresOf: s, Limits: sameLimits(budget), Secrets: secrets})
	}

	const nextSecret = "the next secret of the tests, 32 b"
	oldSecret := limited(apitest.SessionSecret)
	bothSecrets := limited(nextSecret, apitest.SessionSecret)
	newSecret := limited(nextSecret)

	owner := s.Register("ann@example.com")
	eve := s.Register("eve@example.com")
	foreign := apitest.New(t, apitest.Options{StoresOf: s, Secrets: []string{"another secret of the tests, 32 b"}}).NewClient()
	if !foreign.Login("ann@example.com", apitest.Password) {
		t.Fatal("login failed")
	}

	owner.Do("POST", "/auth/logout", nil).Want(200)

	for range budget {
		oldSecret.NewClient().Do("POST", "/auth/login", wrongPassword("ann@example.com")).Want(401)
	}

	login := func(s *apitest.Server, device ...string) apitest.Response {
		header := http.Header{"Content-Type": {"application/json"}}
		for _, d := range device {
			header.Add("Cookie", "device="+d)
		}

		return s.NewClient().Send("POST", "/auth/login", header, apitest.Encode(apitest.Credentials("ann@example.com", apitest.Password)))
	}

	name, proof, _ := strings.Cut(owner.Device, ".")
	eveName, eveProof, _ := strings.Cut(eve.Device, ".")
	altered := func(text string) string {
		if text[0] == 'A' {
			return "B" + text[1:]
		}

		return "A" + text[1:]
	}
	before := oldSecret.Hasher.Hashes()
	for cookie, device := range map[string][]string{
		"none":                       nil,
		"of another account":         {eve.Device},
		"with another account proof": {name + "." + eveProof},
		"with another device name":   {eveName + "." + proof},
		"signed with another secret": {foreign.Device},
		"with an altered proof":      {name + "." + altered(proof)},
		"with an altered name":       {altered(name) + "." + proof},
		"with a padded name":         {name + "=." + proof},
		"without a name":             {"." + proof},
		"without a proof":            {name},
		"with an empty proof":        {name + "."},
		"with a truncated proof":     {name + "." + proof[:len(proof)-1]},
		"with too many accounts":     {name + strings.Repeat("."+eveProof, device.MaxAccounts) + "." + proof},
		"oversized":                  {owner.Device + strings.Repeat("."+strings.Repeat("A", 22), 1000)},
		"sent twice":                 {owner.Device, owner.Device},
		"next to another":            {eve.Device, owner.Device},
	} {
		if a := login(oldSecret, device...); a.Status != 429 {
			t.Errorf("device cookie %s: got %d, want 429", cookie, a.Status)
		}
	}

	if n := oldSecret.Hasher.Hashes() - before; n != 0 {
		t.Errorf("password hashes: got %d, want 0", n)
	}

	// The device stays known after the secret has changed, until the old secret is removed.
	if a := login(newSecret, owner.Device); a.Status != 429 {
		t.Errorf("proof with a removed secret: got %d, want 429", a.Status)
	}

	renewed := &apitest.Client{Server: bothSecrets, Device: owner.Device}
	if !renewed.Login("ann@example.com", apitest.Password) {
		t.Error("login with a proof signed with the old secret failed")
	}
	if a := login(newSecret, renewed.Device); a.Status != 200 {
		t.Errorf("proof renewed with the new secret: got %d, want 200", a.Status)
	}

	// Those two logins count against the limit of the device.
	for n := 2; n < budget; n++ {
		a := (&apitest.Client{Server: oldSecret, Device: owner.Device}).Do("POST", "/auth/login", wrongPassword("ann@example.com")).Want(401)
		want := fmt.Sprintf(`"device";r=%d;`, budget-n-1)
		if got := a.Header.Get("RateLimit"); !strings.HasPrefix(got, want) {
			t.Errorf("login %d: RateLimit: got %s, want it to begin with %s", n+1, got, want)
		}
	}

	wantRateLimited(login(oldSecret, owner.Device))
	if n := oldSecret.Hasher.Hashes() - before; n != budget-2 {
		t.Errorf("password hashes: got %d, want %d", n, budget-2)
	}

	// Using up the limit of a device affects neither other devices nor the other account on
	// this one.
	second := s.NewClient()
	if !second.Login("ann@example.com", apitest.Password) || login(oldSecret, second.Device).Status != 200 {
		t.Error("login on another device failed, want success")
	}
}

// A device remembers the accounts used on it most recently, each with its own limit.
func TestDeviceAccounts(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	limited := apitest.New(t, apitest.Options{StoresOf: s, Limits: sameLimits(1)})
	c := s.NewClient()
	email := func(i int) string { return fmt.Sprintf("ann%d@example.com", i) }
	for i := range device.MaxAccounts + 1 {
		c.Do("POST", "/auth/register", map[string]any{"name": "Ann", "email": email(i), "password": apitest.Password}).Want(201)
	}

	// Use up the limit of the IP.
	limited.NewClient().Do("POST", "/auth/login", wrongPassword("nobody@example.com")).Want(401)

	if n := strings.Count(c.Device, "."); n != device.MaxAccounts {
		t.Errorf("accounts in the device cookie: got %d, want %d: %s", n, device.MaxAccounts, c.Device)
	}

	for i := range device.MaxAccounts + 1 {
		want := 200
		if i == 0 {
			want = 429 // the least recent account was dropped
		}
		a := (&apitest.Client{Server: limited, Device: c.Device}).Do("POST", "/auth/login", apitest.Credentials(email(i), apitest.Password))
		if a.Status != want {
			t.Errorf("account %d: got %d, want %d", i, a.Status, want)
		}
	}
}

// limitedRoute describes how to use a rate-limited route.
type limitedRoute struct {
	limit  string
	status int // of a request within the limit
	// perAccount is set if requests also count against the account.
	perAccount bool
	// prepare prepares the i-th request and returns its body.
	prepare func(s *apitest.Server, i int) map[string]any
}

func numberedEmail(i int) string { return fmt.Sprintf("ann%d@example.com", i) }

// limitedRoutes has every rate-limited route except the sign-ins with a provider: see
// TestSignInLimits.
var limitedRoutes = map[string]limitedRoute{
	"POST /auth/register": {"register", 201, false, func(_ *apitest.Server, i int) map[string]any {
		return map[string]any{"name": "New", "email": fmt.Sprintf("new%d@example.com", i), "password": apitest.Password}
	}},
	"POST /auth/login": {"login", 200, true, func(_ *apitest.Server, i int) map[string]any {
		return apitest.Credentials(numberedEmail(i), apitest.Password)
	}},
	"POST /auth/password/forgot": {"mail", 202, false, func(_ *apitest.Server, i int) map[string]any {
		return map[string]any{"email": numberedEmail(i)}
	}},
	"POST /auth/password/reset": {"token", 200, false, func(s *apitest.Server, i int) map[string]any {
		testkit.NoError(s.T, s.Auth.RequestPasswordReset(context.Background(), user.Email(numberedEmail(i)), session.Client{}))
		return map[string]any{"token": s.Outbox.Token(s.T, numberedEmail(i), "reset-password"), "password": apitest.NewPassword}
	}},
	"POST /auth/email/verify": {"token", 200, false, func(s *apitest.Server, i int) map[string]any {
		testkit.NoError(s.T, s.Auth.RequestVerification(context.Background(), s.Account(numberedEmail(i)), session.Client{}))
		return map[string]any{"token": s.Outbox.Token(s.T, numberedEmail(i), "verify-email")}
	}},
	"POST /auth/password/change": {"password", 200, true, func(*apitest.Server, int) map[string]any {
		return map[string]any{"currentPassword": apitest.Password, "newPassword": apitest.NewPassword}
	}},
	"POST /auth/password/set": {"password", 200, true, func(s *apitest.Server, i int) map[string]any {
		_, err := s.Database().Collection("users").UpdateOne(context.Background(), bson.D{{Key: "email", Value: numberedEmail(i)}}, bson.D{{Key: "$set", Value: bson.D{{Key: "password", Value: ""}}}})
		testkit.NoError(s.T, err)
		return map[string]any{"newPassword": apitest.NewPassword}
	}},
	"POST /auth/step-up": {"password", 200, true, func(*apitest.Server, int) map[string]any {
		return map[string]any{"password": apitest.Password}
	}},
	"POST /auth/email/resend": {"mail", 202, true, func(*apitest.Server, int) map[string]any { return nil }},
	"POST /auth/email/change": {"mail", 202, true, func(_ *apitest.Server, i int) map[string]any {
		return map[string]any{"email": fmt.Sprintf("other%d@example.com", i)}
	}},
}

// limitedServer is a server with accounts, a session for each, and requests to a route.
type limitedServer struct {
	*apitest.Server
	t      *testing.T
	conn   redis.Conn
	users  []*apitest.Client
	bodies []map[string]any
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
		s.users = append(s.users, s.SignInAs(s.CreateUser(numberedEmail(i)).ID))
		s.bodies = append(s.bodies, route.prepare(s.Server, i))
	}

	s.TakeMails()

	return s
}

// use sends the i-th request from an IP, with a session if the route needs one.
func (s *limitedServer) use(i int, ip string) apitest.Response {
	s.t.Helper()

	method, path, _ := strings.Cut(s.name, " ")
	c := s.NewClient()
	if !httpapi.IsPublic(s.name) {
		c = s.users[i]
	}

	if s.bodies[i] == nil {
		return c.DoFrom(ip, method, path, nil)
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
	slices.Sort(keys)

	// Keys of the form "limit:{link:..." record which emails were requested.
	var links []string
	all, err := redis.Strings(s.conn.Do("KEYS", "limit:*"))
	testkit.NoError(s.t, err)
	for _, key := range all {
		if strings.Contains(key, "{link:") {
			links = append(links, key)
		}
	}

	slices.Sort(links)

	return fmt.Sprintln(s.Hasher.Hashes(), mails, len(users), users, keys, links)
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

			t.Run("IP", func(t *testing.T) { testIPLimit(t, name, route.limit) })
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

// wantBudgets compares the rate limit headers, in the order of scopes. Times may differ by
// a minute.
func wantBudgets(a apitest.Response, scopes ...string) {
	a.T.Helper()

	const window, tolerance = 3600, 60
	var policies []string
	limits := strings.Split(a.Header.Get("RateLimit"), ", ")
	if len(limits) != len(scopes) {
		a.T.Fatalf("%s: RateLimit: got %q, want %q", a.Request, limits, scopes)
	}

	for i, want := range scopes {
		var r, seconds int
		scope, _, _ := strings.Cut(want, ";")
		if _, err := fmt.Sscanf(want, scope+";r=%d", &r); err != nil {
			a.T.Fatal(err)
		}

		_, t, _ := strings.Cut(limits[i], ";t=")
		seconds, err := strconv.Atoi(t)
		reset := (2 - r) * window / 2
		if resetSeconds.ReplaceAllString(limits[i], "") != want || err != nil || seconds > reset || seconds < reset-tolerance {
			a.T.Errorf("%s: RateLimit: got %q, want %s;t=%d", a.Request, limits[i], want, reset)
		}

		policies = append(policies, fmt.Sprintf("%s;q=2;w=%d", scope, window))
	}

	if got, want := a.Header.Get("RateLimit-Policy"), strings.Join(policies, ", "); got != want {
		a.T.Errorf("%s: RateLimit-Policy: got %s, want %s", a.Request, got, want)
	}

	retryAfter := a.Header.Get("Retry-After")
	if a.Status != 429 {
		if retryAfter != "" {
			a.T.Errorf("%s: Retry-After: got %q, want none", a.Request, retryAfter)
		}

		return
	}
	n, err := strconv.Atoi(retryAfter)
	if err != nil || n > window/2 || n < window/2-tolerance {
		a.T.Errorf("%s: Retry-After: got %q, want about %d", a.Request, retryAfter, window/2)
	}
}

// An IPv6 network counts as one client, here with a different account for each request.
func testIPLimit(t *testing.T, name, limit string) {
	s := newLimitedServer(t, name, 4, apitest.Options{Limits: sameLimits(2)})
	before := s.work()
	for i := range 2 {
		a := s.use(i, fmt.Sprintf("2001:db8:1:2:%d::1", i)).Want(s.route.status)
		scopes := []string{fmt.Sprintf(`"ip";r=%d`, 1-i)}
		if s.route.perAccount {
			scopes = append(scopes, `"account";r=1`)
		}

		wantBudgets(a, scopes...)
		after := s.work()
		if after == before {
			t.Errorf("request %d changed nothing, so this test could not tell it from a rejection", i)
		}

		before = after
	}

	s.TakeEvents()
	a := s.use(2, "2001:db8:1:2:ffff::1").WantCode(429, "too_many_requests")
	wantBudgets(a, `"ip";r=0`)
	if after := s.work(); after != before {
		t.Errorf("a rejected request changed the stores from\n%s\nto\n%s", before, after)
	}

	for _, e := range s.TakeEvents() {
		if e["name"] != "limit_hit" {
			t.Errorf("event of a rejected request: got %v, want limit_hit", e)
		}
	}

	s.use(3, "2001:db8:1:3::1").Want(s.route.status)

	// The limit is used up for all routes that share it, and for no others.
	tried := map[string]bool{}
	for other, route := range limitedRoutes {
		method, path, _ := strings.Cut(other, " ")
		shared := route.limit == limit
		if !shared && tried[route.limit] {
			continue
		}
		tried[route.limit] = true

		c := s.SignInAs(s.Account(numberedEmail(3)).ID)
		body := map[string]any(nil)
		switch other {
		case "POST /auth/email/resend":
		case "POST /auth/password/reset", "POST /auth/email/verify":
			body = map[string]any{"token": "x"}
			if other == "POST /auth/password/reset" {
				body["password"] = apitest.NewPassword
			}
		default:
			body = route.prepare(s.Server, 7)
		}

		var payload any
		if body != nil {
			payload = body
		}
		a := c.DoFrom("2001:db8:1:2::", method, path, payload)
		if limited := a.Status == 429; limited != shared {
			t.Errorf("%s after limit %q was used up: got %d, want 429: %v", other, limit, a.Status, shared)
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
			wantBudgets(a, `"ip";r=1`, fmt.Sprintf(`"account";r=%d`, 1-i))
		}

		if s.name == "POST /auth/password/change" && s.users[0].Token == "" {
			t.Fatal("the session has ended")
		}
	}

	before := s.work()
	a := s.use(0, "203.0.113.9")
	if !s.route.perAccount {
		wantBudgets(a, `"ip";r=1`)

		return
	}

	wantRateLimited(a)
	if after := s.work(); after != before {
		t.Errorf("a rejected request changed the stores from\n%s\nto\n%s", before, after)
	}
	wantBudgets(a, `"ip";r=1`, `"account";r=0`)
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

// Exceeding a limit is recorded once until a request is allowed again, with the user ID if
// it is known.
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
		if got := tally(atOnce(servers, 20, burst.send)); got[limited] != 20-burst.allowed {
			t.Fatalf("%s: got %v, want %d requests limited", name, got, 20-burst.allowed)
		}
		if got := tally(atOnce(servers, 20, burst.send)); got[limited] != 20 {
			t.Fatalf("%s: got %v, want all requests limited", name, got)
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
		atOnce(servers, 20, burst.send)
		if got := len(hits()); got != 1 {
			t.Errorf("%s: events of the next burst: got %d, want 1", name, got)
		}
	}
}
