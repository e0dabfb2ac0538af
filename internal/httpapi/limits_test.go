package httpapi

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

	"latchkey/internal/auth"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/ratelimit"
	"latchkey/internal/user"
)

// evenLimits are limits with one rule for everything. The rules of these tests have an
// hour, so that nothing comes back while a test runs.
func evenLimits(events int) Limits {
	rule := ratelimit.Rule{Events: events, Window: time.Hour}
	return Limits{Register: rule, Login: rule, Mail: rule, Token: rule, Password: rule, Account: rule, Device: rule}
}

// behindProxy lets a test say by X-Forwarded-For where a client is.
var behindProxy = []string{"127.0.0.1/32"}

// at is do for a client at an address.
func (c *client) at(address, method, path string, body any) answer {
	c.t.Helper()
	header := http.Header{"X-Forwarded-For": {address}}
	var raw []byte
	if body != nil {
		raw = encoded(body)
		header.Set("Content-Type", "application/json")
	}
	return c.send(method, path, header, raw)
}

// quick is at for a POST without what do checks of every answer, which takes longer than
// some answers, and a processor that others wait for.
func (c *client) quick(address, path string, body map[string]any) answer {
	a := answer{t: c.t, request: "POST " + path}
	req, err := http.NewRequest(http.MethodPost, c.url+path, http.NoBody)
	if err != nil {
		c.t.Error(err)
		return a
	}
	if body != nil {
		raw := encoded(body)
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(raw)), int64(len(raw))
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("X-Forwarded-For", address)
	if c.token != "" {
		req.AddCookie(&http.Cookie{Name: c.cookie.Name, Value: c.token})
	}
	res, err := c.http.Do(req)
	if err != nil {
		c.t.Error(err)
		return a
	}
	defer func() { _ = res.Body.Close() }()
	a.status, a.header = res.StatusCode, res.Header
	if a.raw, err = io.ReadAll(res.Body); err == nil {
		err = json.Unmarshal(a.raw, &a.body)
	}
	if err != nil {
		c.t.Errorf("%s: %d %s: %v", a.request, a.status, a.raw, err)
	}
	return a
}

func credentials(email, password string) map[string]any {
	return map[string]any{"email": email, "password": password}
}

// wrongFor is a login that does not work, whoever it is about.
func wrongFor(email string) map[string]any { return credentials(email, "wrong password") }

// timeIn is what stands in RateLimit that passes by itself.
var timeIn = regexp.MustCompile(`;t=\d+`)

// refusal fails the test unless an answer is a 429 that says when to come back.
func (a answer) refusal() {
	a.t.Helper()
	a.wantCode(429, "too_many_requests")
	if n, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || n < 1 || n > 3600 {
		a.t.Fatalf("Retry-After is %q", a.header.Get("Retry-After"))
	}
}

// Of many logins at once, through two servers, as many are tried as the limit
// allows, and nobody sees by it whether there is such an account.
//
// It does not run beside other tests: the stores answer within their limits or not at
// all.
func TestRaceLimitsAreExact(t *testing.T) {
	const budget = 10
	tries := many()
	servers := pair(t, setup{limits: evenLimits(budget), proxies: behindProxy})
	s := servers[0]
	s.register("ann@example.com")
	for i := range tries {
		email := user.Email(fmt.Sprintf("known%d@example.com", i))
		if _, err := s.users.Create(context.Background(), user.User{Name: "Ann", Email: email, PasswordHash: s.account("ann@example.com").PasswordHash}); err != nil {
			t.Fatal(err)
		}
	}
	everywhere := func(i int) string { return fmt.Sprintf("203.0.113.%d", i) }
	oneNetwork := func(i int) string { return fmt.Sprintf("2001:db8:1:2::%x", i) }
	always := func(email string) func(int) string { return func(int) string { return email } }
	numbered := func(form string) func(int) string { return func(i int) string { return fmt.Sprintf(form, i) } }
	variants := []struct {
		name    string
		address func(int) string
		email   [2]func(int) string // of accounts, and of nobody
	}{
		{"one account, many addresses", everywhere, [2]func(int) string{always("ann@example.com"), always("bob@example.com")}},
		{"one address, many accounts", oneNetwork, [2]func(int) string{numbered("known%d@example.com"), numbered("other%d@example.com")}},
		{"one address, one account", always("203.0.113.1"), [2]func(int) string{always("ann@example.com"), always("bob@example.com")}},
	}
	eachRound(t, func(round int, judged func([]answer) bool) {
		v := variants[round%len(variants)]
		var seen [2][]string
		for i, email := range v.email {
			s.forgetLimits()
			before := hashes(servers)
			answers := atOnce(servers, tries, func(c *client, n int) answer {
				return c.quick(v.address(n), "/auth/login", wrongFor(email(n)))
			})
			got, done := tally(answers), int(hashes(servers)-before)
			if done > budget || got["401 invalid_credentials"] > budget {
				t.Fatalf("round %d, %s: %d passwords were hashed, answers %v", round, v.name, done, got)
			}
			if !judged(answers) {
				return
			}
			if done != budget {
				t.Fatalf("round %d, %s: %d passwords were hashed, answers %v", round, v.name, done, got)
			}
			for _, a := range answers {
				if a.status == 429 {
					a.refusal()
				} else if got := a.wantCode(401, "invalid_credentials").header.Get("Retry-After"); got != "" {
					t.Errorf("an answer has Retry-After %s", got)
				}
				// Each budget for itself: of two requests one may be first with the address, and
				// the other with the account.
				seen[i] = append(seen[i], fmt.Sprint(a.status, " ", a.header.Get("RateLimit-Policy")))
				for left := range strings.SplitSeq(a.header.Get("RateLimit"), ", ") {
					seen[i] = append(seen[i], fmt.Sprint(a.status == 429, " ", timeIn.ReplaceAllString(left, "")))
				}
			}
			if got["401 invalid_credentials"] != budget || got["429 too_many_requests"] != tries-budget {
				t.Fatalf("round %d, %s: %v", round, v.name, got)
			}
			slices.Sort(seen[i])
		}
		if !slices.Equal(seen[0], seen[1]) {
			t.Fatalf("%s: an account is answered\n%q\nand nobody\n%q", v.name, seen[0], seen[1])
		}
	})
}

func hashes(servers []*site) (n uint64) {
	for _, s := range servers {
		n += s.auth.Hashes()
	}
	return n
}

// Strangers who use up what an account and an address may try do not lock the owner
// out, who has a budget of their own on a device that is known.
func TestOwnerIsNotLockedOut(t *testing.T) {
	t.Parallel()
	const budget = 10
	s := newSite(t)
	limited := func(secrets ...string) *site {
		return newSite(t, setup{stores: s, limits: evenLimits(budget), secrets: secrets})
	}
	const nextSecret = "the next secret of the tests, 32 b"
	shut, rotated, moved := limited(testSecret), limited(nextSecret, testSecret), limited(nextSecret)
	owner, eve := s.register("ann@example.com"), s.register("eve@example.com")
	foreign := newSite(t, setup{stores: s, secrets: []string{"another secret of the tests, 32 b"}}).client()
	if !foreign.login("ann@example.com", testPassword) {
		t.Fatal("login")
	}
	owner.do("POST", "/auth/logout", nil).want(200)
	for range budget {
		shut.client().do("POST", "/auth/login", wrongFor("ann@example.com")).want(401)
	}

	try := func(s *site, device ...string) answer {
		header := http.Header{"Content-Type": {"application/json"}}
		for _, d := range device {
			header.Add("Cookie", "device="+d)
		}
		return s.client().send("POST", "/auth/login", header, encoded(credentials("ann@example.com", testPassword)))
	}
	name, proof, _ := strings.Cut(owner.device, ".")
	eveName, eveProof, _ := strings.Cut(eve.device, ".")
	flipped := func(text string) string { return map[bool]string{true: "B", false: "A"}[text[0] == 'A'] + text[1:] }
	before := shut.auth.Hashes()
	for what, device := range map[string][]string{
		"none":                     nil,
		"of another account":       {eve.device},
		"with another's proof":     {name + "." + eveProof},
		"of another name":          {eveName + "." + proof},
		"of another secret":        {foreign.device},
		"with another proof":       {name + "." + flipped(proof)},
		"with a flipped name":      {flipped(name) + "." + proof},
		"of another spelling":      {name + "=." + proof},
		"without a name":           {"." + proof},
		"without a proof":          {name},
		"with an empty proof":      {name + "."},
		"with a part of the proof": {name + "." + proof[:len(proof)-1]},
		"of too many accounts":     {name + strings.Repeat("."+eveProof, maxDeviceAccounts) + "." + proof},
		"oversized":                {owner.device + strings.Repeat("."+strings.Repeat("A", 22), 1000)},
		"twice":                    {owner.device, owner.device},
		"beside another":           {eve.device, owner.device},
	} {
		if a := try(shut, device...); a.status != 429 {
			t.Errorf("a device's cookie %s is let in: %d", what, a.status)
		}
	}
	if n := shut.auth.Hashes() - before; n != 0 {
		t.Errorf("%d passwords were hashed", n)
	}

	// The owner gets in, also after the secret has changed, until the old one is gone.
	if a := try(moved, owner.device); a.status != 429 {
		t.Errorf("a proof of a secret that is gone lets in: %d", a.status)
	}
	renewed := &client{site: rotated, device: owner.device}
	if !renewed.login("ann@example.com", testPassword) || try(moved, renewed.device).status != 200 {
		t.Error("a proof is not accepted under the next secret, or not made anew")
	}
	for n := 2; n < budget; n++ {
		a := (&client{site: shut, device: owner.device}).do("POST", "/auth/login", wrongFor("ann@example.com")).want(401)
		if got := a.header.Get("RateLimit"); !strings.HasPrefix(got, fmt.Sprintf(`"device";r=%d;`, budget-n-1)) {
			t.Errorf("try %d: RateLimit is %s", n+1, got)
		}
	}
	if try(shut, owner.device).refusal(); shut.auth.Hashes()-before != budget-2 {
		t.Errorf("%d passwords were hashed", shut.auth.Hashes()-before)
	}
	// Nor does that lock out another device, or the other account of this browser.
	second := s.client()
	if !second.login("ann@example.com", testPassword) || try(shut, second.device).status != 200 {
		t.Error("the owner is locked out on another device")
	}
}

// A device knows the accounts that were used on it last, and each has its own budget.
func TestDeviceAccounts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	shut := newSite(t, setup{stores: s, limits: evenLimits(1)})
	c := s.client()
	email := func(i int) string { return fmt.Sprintf("ann%d@example.com", i) }
	for i := range maxDeviceAccounts + 1 {
		c.do("POST", "/auth/register", map[string]any{"name": "Ann", "email": email(i), "password": testPassword}).want(201)
	}
	shut.client().do("POST", "/auth/login", wrongFor("nobody@example.com")).want(401) // the address has no more
	if n := strings.Count(c.device, "."); n != maxDeviceAccounts {
		t.Errorf("the device knows %d accounts: %s", n, c.device)
	}
	for i := range maxDeviceAccounts + 1 {
		a := (&client{site: shut, device: c.device}).do("POST", "/auth/login", credentials(email(i), testPassword))
		if want := map[bool]int{true: 429, false: 200}[i == 0]; a.status != want {
			t.Errorf("account %d: got %d, want %d", i, a.status, want)
		}
	}
}

// limitedRoute is how a route with a budget is used.
type limitedRoute struct {
	status int // of a use that works
	// perAccount says that it is counted by the account, too.
	perAccount bool
	// prepare makes what the i-th use needs, and returns its body.
	prepare func(s *site, i int) map[string]any
}

func numberedEmail(i int) string { return fmt.Sprintf("ann%d@example.com", i) }

// limitedRoutes has a case for each route of public with a budget, and of costly.
var limitedRoutes = map[string]limitedRoute{
	"POST /auth/register": {201, false, func(_ *site, i int) map[string]any {
		return map[string]any{"name": "New", "email": fmt.Sprintf("new%d@example.com", i), "password": testPassword}
	}},
	"POST /auth/login": {200, true, func(_ *site, i int) map[string]any {
		return credentials(numberedEmail(i), testPassword)
	}},
	"POST /auth/password/forgot": {202, false, func(_ *site, i int) map[string]any {
		return map[string]any{"email": numberedEmail(i)}
	}},
	"POST /auth/password/reset": {200, false, func(s *site, i int) map[string]any {
		if err := s.auth.Forgot(context.Background(), user.Email(numberedEmail(i)), auth.Origin{}); err != nil {
			s.t.Fatal(err)
		}
		return map[string]any{"token": s.outbox.token(s.t, numberedEmail(i), "reset-password"), "password": newPassword}
	}},
	"POST /auth/email/verify": {200, false, func(s *site, i int) map[string]any {
		if err := s.auth.AskVerification(context.Background(), s.account(numberedEmail(i)), auth.Origin{}); err != nil {
			s.t.Fatal(err)
		}
		return map[string]any{"token": s.outbox.token(s.t, numberedEmail(i), "verify-email")}
	}},
	"POST /auth/password/change": {200, true, func(*site, int) map[string]any {
		return map[string]any{"currentPassword": testPassword, "newPassword": newPassword}
	}},
	"POST /auth/password/set": {200, true, func(s *site, i int) map[string]any {
		_, err := s.database().Collection("users").UpdateOne(context.Background(), bson.D{{Key: "email", Value: numberedEmail(i)}}, bson.D{{Key: "$set", Value: bson.D{{Key: "password", Value: ""}}}})
		if err != nil {
			s.t.Fatal(err)
		}
		return map[string]any{"newPassword": newPassword}
	}},
	"POST /auth/step-up": {200, true, func(*site, int) map[string]any {
		return map[string]any{"password": testPassword}
	}},
	"POST /auth/email/resend": {202, true, func(*site, int) map[string]any { return nil }},
	"POST /auth/email/change": {202, true, func(_ *site, i int) map[string]any {
		return map[string]any{"email": fmt.Sprintf("other%d@example.com", i)}
	}},
}

// budgets are the budgets of all routes that have one, from the lists themselves.
func budgets() map[string]budget {
	all := map[string]budget{}
	for _, list := range []map[string]budget{public, costly} {
		for name, b := range list {
			// Those of sign-ins with a provider are for TestSignInLimits.
			if b != unlimited && b != signIns && b != callbacks {
				all[name] = b
			}
		}
	}
	return all
}

// limitedSite is a site with accounts, and the sessions of their owners.
type limitedSite struct {
	*site
	t     *testing.T
	conn  redis.Conn
	users []*client
	uses  []map[string]any
	name  string
	route limitedRoute
}

// newLimitedSite prepares so many uses of a route, each of an account of its own.
func newLimitedSite(t *testing.T, name string, uses int, o setup) *limitedSite {
	t.Helper()
	route, known := limitedRoutes[name]
	if !known {
		t.Fatalf("%s has a limit and no case in limitedRoutes", name)
	}
	o.mail, o.proxies = &outbox{}, behindProxy
	s := &limitedSite{site: newSite(t, o), t: t, name: name, route: route}
	s.conn = s.redis.Conn(t)
	for i := range uses {
		u, err := s.auth.Register(context.Background(), "Ann", user.Email(numberedEmail(i)), testPassword)
		if err != nil {
			t.Fatal(err)
		}
		s.users = append(s.users, s.signInAs(u.ID))
		s.uses = append(s.uses, route.prepare(s.site, i))
	}
	s.drain()
	return s
}

// use sends the i-th use from an address. Only what needs a session has one.
func (s *limitedSite) use(i int, address string) answer {
	s.t.Helper()
	return s.send(s.name, i, address, s.uses[i])
}

func (s *limitedSite) send(name string, i int, address string, body map[string]any) answer {
	s.t.Helper()
	method, path, _ := strings.Cut(name, " ")
	c := s.client()
	if _, open := public[name]; !open {
		c = s.users[i]
	}
	if body == nil {
		return c.at(address, method, path, nil)
	}
	return c.at(address, method, path, body)
}

// work is all that a use of a limited route can do.
func (s *limitedSite) work() string {
	s.t.Helper()
	mails := len(s.drainCopy())
	found, err := s.database().Collection("users").Find(context.Background(), bson.D{})
	if err != nil {
		s.t.Fatal(err)
	}
	var users []bson.M
	if err := found.All(context.Background(), &users); err != nil {
		s.t.Fatal(err)
	}
	keys, err := redis.Strings(s.conn.Do("KEYS", "sess:*"))
	if err != nil {
		s.t.Fatal(err)
	}
	slices.Sort(keys)
	var links []string // which mails were asked for: "limit:{link:..."
	all, err := redis.Strings(s.conn.Do("KEYS", "limit:*"))
	for _, key := range all {
		if strings.Contains(key, "{link:") {
			links = append(links, key)
		}
	}
	if err != nil {
		s.t.Fatal(err)
	}
	slices.Sort(links)
	return fmt.Sprintln(s.auth.Hashes(), mails, len(users), users, keys, links)
}

// drainCopy waits until nothing is in the queue, and returns what was sent.
func (s *limitedSite) drainCopy() []string {
	s.t.Helper()
	s.settle("")
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	var to []string
	for _, m := range s.outbox.sent {
		to = append(to, m.To)
	}
	return to
}

// noLimitHeaders fails unless an answer says nothing of limits.
func (a answer) noLimitHeaders() {
	a.t.Helper()
	for _, name := range []string{"RateLimit", "RateLimit-Policy"} {
		if values := a.header.Values(name); len(values) != 0 {
			a.t.Errorf("%s: %d with %s %q", a.request, a.status, name, values)
		}
	}
}

// Each route with a budget says what is left of it, refuses what is too much without
// doing any work, and leaves the other budgets alone.
func TestLimitHeaders(t *testing.T) {
	t.Parallel()
	for name, b := range budgets() {
		t.Run(strings.ReplaceAll(name, "/", "_"), func(t *testing.T) {
			t.Parallel()
			t.Run("address", func(t *testing.T) { limitedByAddress(t, name, b) })
			t.Run("account", func(t *testing.T) { limitedByAccount(t, name) })
			t.Run("off", func(t *testing.T) {
				s := newLimitedSite(t, name, 1, setup{})
				a := s.use(0, "203.0.113.1").want(s.route.status)
				if a.noLimitHeaders(); a.header.Get("Retry-After") != "" {
					t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
				}
			})
			t.Run("away", func(t *testing.T) { failsClosed(t, name) })
		})
	}
}

// left is what an answer of these tests says of the budgets, in the order of scopes, of
// which the time is compared with a minute to spare.
func (a answer) left(scopes ...string) {
	a.t.Helper()
	const window, spare = 3600, 60
	var policies []string
	given := strings.Split(a.header.Get("RateLimit"), ", ")
	if len(given) != len(scopes) {
		a.t.Fatalf("%s: RateLimit is %q, want %q", a.request, given, scopes)
	}
	for i, want := range scopes {
		var r, seconds int
		scope, _, _ := strings.Cut(want, ";")
		if _, err := fmt.Sscanf(want, scope+";r=%d", &r); err != nil {
			a.t.Fatal(err)
		}
		_, t, _ := strings.Cut(given[i], ";t=")
		seconds, err := strconv.Atoi(t)
		most := (2 - r) * window / 2
		if timeIn.ReplaceAllString(given[i], "") != want || err != nil || seconds > most || seconds < most-spare {
			a.t.Errorf("%s: RateLimit is %q, want %s;t=%d", a.request, given[i], want, most)
		}
		policies = append(policies, fmt.Sprintf("%s;q=2;w=%d", scope, window))
	}
	if got := a.header.Get("RateLimit-Policy"); got != strings.Join(policies, ", ") {
		a.t.Errorf("%s: RateLimit-Policy is %s, want %s", a.request, got, policies)
	}
	after, want := a.header.Get("Retry-After"), ""
	if a.status == 429 {
		n, err := strconv.Atoi(after)
		if err != nil || n > window/2 || n < window/2-spare {
			a.t.Errorf("%s: Retry-After is %q", a.request, after)
		}
	} else if after != want {
		a.t.Errorf("%s: %d with Retry-After %q", a.request, a.status, after)
	}
}

// One network of IPv6 is one client, for each of whose uses the account is another.
func limitedByAddress(t *testing.T, name string, b budget) {
	s := newLimitedSite(t, name, 4, setup{limits: evenLimits(2)})
	before := s.work()
	for i := range 2 {
		a := s.use(i, fmt.Sprintf("2001:db8:1:2:%d::1", i)).want(s.route.status)
		scopes := []string{fmt.Sprintf(`"address";r=%d`, 1-i)}
		if s.route.perAccount {
			scopes = append(scopes, `"account";r=1`)
		}
		a.left(scopes...)
		after := s.work()
		if after == before {
			t.Errorf("use %d has done nothing, and a refusal could not be told from it", i)
		}
		before = after
	}
	s.recorded()
	a := s.use(2, "2001:db8:1:2:ffff::1").wantCode(429, "too_many_requests")
	a.left(`"address";r=0`)
	if after := s.work(); after != before {
		t.Errorf("what was refused has done something: it was\n%s\nand is\n%s", before, after)
	}
	for _, e := range s.recorded() {
		if e["name"] != "limit_hit" {
			t.Errorf("what was refused is recorded as %v", e)
		}
	}
	s.use(3, "2001:db8:1:3::1").want(s.route.status)

	// A budget is one for all its routes, and for no other.
	tried := map[budget]bool{}
	for other, of := range budgets() {
		method, path, _ := strings.Cut(other, " ")
		if of != b && tried[of] {
			continue
		}
		tried[of] = true
		c := s.signInAs(s.account(numberedEmail(3)).ID)
		body := map[string]any(nil)
		switch other {
		case "POST /auth/email/resend":
		case "POST /auth/password/reset", "POST /auth/email/verify":
			body = map[string]any{"token": "x"}
			if other == "POST /auth/password/reset" {
				body["password"] = newPassword
			}
		default:
			body = limitedRoutes[other].prepare(s.site, 7)
		}
		var in any
		if body != nil {
			in = body
		}
		if a := c.at("2001:db8:1:2::", method, path, in); (a.status == 429) != (of == b) {
			t.Errorf("%s is answered %d after the budget %q was used up", other, a.status, b)
		}
	}
}

// One account is counted from wherever it is tried.
func limitedByAccount(t *testing.T, name string) {
	s := newLimitedSite(t, name, 1, setup{limits: evenLimits(2)})
	for i := range 2 {
		if a := s.use(0, fmt.Sprintf("203.0.113.%d", i)); a.status == 429 {
			t.Errorf("use %d: %s", i, a.raw)
		} else if s.route.perAccount {
			a.left(`"address";r=1`, fmt.Sprintf(`"account";r=%d`, 1-i))
		}
		if s.name == "POST /auth/password/change" && s.users[0].token == "" {
			t.Fatal("the session has ended")
		}
	}
	before := s.work()
	a := s.use(0, "203.0.113.9")
	if !s.route.perAccount {
		a.left(`"address";r=1`)
		return
	}
	if a.refusal(); s.work() != before {
		t.Error("what was refused has done something")
	}
	a.left(`"address";r=1`, `"account";r=0`)
}

// Without the counters nobody is let in, and no work is done.
func failsClosed(t *testing.T, name string) {
	direct, proxied, proxy := storetest.ProxiedRedis(t)
	s := newLimitedSite(t, name, 1, setup{redis: &proxied, limits: evenLimits(2)})
	s.conn = direct.Conn(t)
	before := s.work()
	proxy.Set(storetest.Faults{Command: func(client net.Conn, chunk []byte) bool {
		if !bytes.Contains(chunk, []byte("limit:{")) {
			return false
		}
		_ = client.Close()
		return true
	}})
	a := s.use(0, "203.0.113.1").wantCode(503, "session_store_unavailable")
	if a.noLimitHeaders(); a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	proxy.Set(storetest.Faults{})
	if after := s.work(); after != before {
		t.Errorf("something was done: it was\n%s\nand is\n%s", before, after)
	}
	s.use(0, "203.0.113.1").want(s.route.status)
}

// A limit that is hit is recorded once for all that are refused until one is let in
// again, and with the user where it is known who asks.
func TestLimitHit(t *testing.T) {
	t.Parallel()
	servers := pair(t, setup{limits: evenLimits(3), proxies: behindProxy})
	s := servers[0]
	ann := s.register("ann@example.com")
	id := s.account("ann@example.com").ID
	hits := func() (all []bson.M) {
		for _, server := range servers {
			for _, e := range server.recorded() {
				if e["name"] == "limit_hit" {
					all = append(all, e)
				}
			}
		}
		return all
	}
	everywhere := func(i int) string { return fmt.Sprintf("203.0.113.%d", i) }
	for what, burst := range map[string]struct {
		route, user string
		allowed     int
		send        func(c *client, i int) answer
	}{
		"by an address": {"POST /auth/login", "", 3, func(c *client, i int) answer {
			return c.at("203.0.113.1", "POST", "/auth/login", wrongFor(fmt.Sprintf("nobody%d@example.com", i)))
		}},
		"of an account": {"POST /auth/login", "", 3, func(c *client, i int) answer {
			return c.at(everywhere(i), "POST", "/auth/login", wrongFor("ann@example.com"))
		}},
		// Whose device has no more left is anyone, with the account's budget.
		"on a device": {"POST /auth/login", "", 6, func(c *client, i int) answer {
			c.device = ann.device
			return c.at(everywhere(i), "POST", "/auth/login", wrongFor("ann@example.com"))
		}},
		"of a session": {"POST /auth/step-up", id, 3, func(c *client, i int) answer {
			c.token = ann.token
			return c.at(everywhere(i), "POST", "/auth/step-up", map[string]any{"password": "wrong password"})
		}},
	} {
		s.forgetLimits()
		hits()
		if got := tally(atOnce(servers, 20, burst.send)); got["429 too_many_requests"] != 20-burst.allowed {
			t.Fatalf("%s: %v", what, got)
		}
		again := tally(atOnce(servers, 20, burst.send))
		found := hits()
		if again["429 too_many_requests"] != 20 || len(found) != 1 {
			t.Fatalf("%s: recorded %d times, then %v", what, len(found), again)
		}
		if e := found[0]; e["route"] != burst.route || e["ip"] == nil || fmt.Sprint(e["userId"]) != map[bool]string{true: "<nil>", false: burst.user}[burst.user == ""] {
			t.Errorf("%s: recorded %v", what, e)
		}
		s.forgetLimits()
		if atOnce(servers, 20, burst.send); len(hits()) != 1 {
			t.Errorf("%s: the next burst is not recorded", what)
		}
	}
}
