package httpapi_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/httpapi"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
)

// unknownToken is well-formed, but no session has it.
var unknownToken = strings.Repeat("A", 43)

// deadToken returns the token of a session that has ended.
func deadToken(s *apitest.Server) string {
	c := s.LoginFrom("x")
	c.Clone().Do("POST", "/auth/logout", nil).Want(200)

	return c.Token
}

// cookies returns the header of a request with several session cookies.
func cookies(tokens ...string) http.Header {
	return http.Header{"Cookie": {"sid=" + strings.Join(tokens, "; sid=")}}
}

// Of several session cookies, the session counts if exactly one is live, whatever their order. So
// nobody can log a user out by planting a cookie of a session that has ended.
func TestSeveralCookies(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	ann := s.Register("ann@example.com")
	dead := deadToken(s)
	expressToken := "s%3Aabc.def"

	for name, header := range map[string]http.Header{
		"equal":                {"Cookie": {"sid=" + ann.Token + "; sid=" + ann.Token}},
		"equal in two headers": {"Cookie": {"sid=" + ann.Token, "sid=" + ann.Token}},
		"dead after live":      cookies(ann.Token, dead),
		"dead before live":     cookies(dead, unknownToken, ann.Token),
		"empty":                cookies("", ann.Token),
		"of another program":   cookies(expressToken, ann.Token, ""),
	} {
		a := s.NewClient().Send("GET", "/auth/session", header, nil).Want(200)
		if got, want := a.Text("sessionId"), session.IDOf(ann.Token); got != want || a.Cookie != nil {
			t.Errorf("%s: got session %s and cookie %v, want %s without a cookie", name, got, a.Cookie, want)
		}
	}

	// If all are dead, they are cleared, and the reason is reported.
	for _, header := range []http.Header{cookies(dead, unknownToken), cookies(unknownToken, dead, "")} {
		a := s.NewClient().Send("GET", "/auth/session", header, nil).WantCode(401, "not_authenticated")
		if a.Cookie == nil || a.Cookie.MaxAge >= 0 || a.JSON["reason"] != "logged_out" {
			t.Errorf("dead cookies: got cookie %v and %s, want it cleared", a.Cookie, a.Raw)
		}
	}

	// A token that a login replaced must not clear the cookie: the browser has a new one.
	old := s.LoginFrom("x")
	old.Clone().Do("POST", "/auth/login", apitest.AnnsLogin).Want(200)
	for _, header := range []http.Header{cookies(dead, old.Token), cookies(old.Token, dead)} {
		if a := s.NewClient().Send("GET", "/auth/session", header, nil).WantCode(401, "not_authenticated"); a.Cookie != nil {
			t.Errorf("replaced token: got cookie %v, want none", a.Cookie)
		}
	}
}

// The session of two live cookies is not used, because one may be planted. Clearing would remove the
// user's own cookie and keep an attacker's. A login or a logout ends both.
func TestTwoLiveCookies(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	s.Register("eve@example.com")
	s.Register("ann@example.com")
	signIn := func(email string) *apitest.Client {
		c := s.NewClient()
		c.Do("POST", "/auth/login", apitest.Credentials(email, apitest.Password)).Want(200)

		return c
	}
	json := func(header http.Header) http.Header {
		header.Set("Content-Type", "application/json")

		return header
	}

	for name, end := range map[string]func(http.Header) apitest.Response{
		"login": func(header http.Header) apitest.Response {
			c := s.NewClient()
			a := c.Send("POST", "/auth/login", json(header), apitest.Encode(apitest.AnnsLogin)).Want(200)
			c.Do("GET", "/auth/session", nil).Want(200)

			return a
		},
		"failed login": func(header http.Header) apitest.Response {
			return s.NewClient().Send("POST", "/auth/login", json(header), apitest.Encode(wrongPassword("ann@example.com"))).Want(401)
		},
		"logout": func(header http.Header) apitest.Response {
			a := s.NewClient().Send("POST", "/auth/logout", header, nil).Want(200)
			if a.Cookie == nil || a.Cookie.MaxAge >= 0 {
				t.Errorf("logout: got cookie %v, want it cleared", a.Cookie)
			}

			return a
		},
	} {
		ann := signIn("ann@example.com")
		eve := signIn("eve@example.com")
		for _, tokens := range [][]string{{ann.Token, eve.Token}, {eve.Token, unknownToken, ann.Token}} {
			for _, path := range []string{"/auth/session", "/auth/me", "/auth/verify"} {
				a := s.NewClient().Send("GET", path, cookies(tokens...), nil).WantCode(401, "not_authenticated")
				if a.Cookie != nil || a.JSON["reason"] != string(session.SeveralSessions) {
					t.Errorf("%s: got cookie %v and %s, want no cookie and the reason", path, a.Cookie, a.Raw)
				}
			}
		}

		want := 401
		if name == "failed login" {
			want = 200
		}
		end(cookies(eve.Token, ann.Token))
		for _, c := range []*apitest.Client{ann, eve} {
			if a := c.Do("GET", "/auth/session", nil); a.Status != want {
				t.Errorf("after a %s: got %d, want %d", name, a.Status, want)
			}
		}
	}
}

// A request with many tokens does not cause as many reads from Redis.
func TestVeryManyCookies(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	ann := s.SignIn()
	tokens := []string{ann.Token}
	for c := 'A'; len(tokens) < 9; c++ {
		tokens = append(tokens, string(c)+unknownToken[1:])
	}

	s.NewClient().Send("GET", "/auth/session", cookies(tokens[:8]...), nil).Want(200)
	if a := s.NewClient().Send("GET", "/auth/session", cookies(tokens...), nil).WantCode(401, "not_authenticated"); a.Cookie != nil {
		t.Errorf("got cookie %v, want none", a.Cookie)
	}
}

// browser keeps cookies as browsers do, for hosts that all resolve to one server at a time.
type browser struct {
	t      *testing.T
	server *apitest.Server
	http.Client
}

func newBrowser(t *testing.T) *browser {
	jar, err := cookiejar.New(nil)
	testkit.NoError(t, err)

	b := &browser{t: t}
	b.Jar = jar
	b.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(b.server.URL, "http://"))
		},
	}

	return b
}

// do sends a request to a host of a server, and fails the test unless it gets the status.
func (b *browser) do(s *apitest.Server, method, url string, body any, want int) {
	b.t.Helper()

	b.server = s
	var raw []byte
	if body != nil {
		raw = apitest.Encode(body)
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, "http://"+url, bytes.NewReader(raw))
	testkit.NoError(b.t, err)
	r.Header.Set("Content-Type", "application/json")

	res, err := b.Do(r)
	testkit.NoError(b.t, err)
	testkit.NoError(b.t, res.Body.Close())
	if res.StatusCode != want {
		b.t.Fatalf("%s %s: got %d, want %d", method, url, res.StatusCode, want)
	}
}

// sessionCookies returns the number of session cookies that the browser sends to a host.
func (b *browser) sessionCookies(host string) int {
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, "http://"+host+"/", nil)
	testkit.NoError(b.t, err)
	all := b.Jar.Cookies(r.URL)

	return len(slices.DeleteFunc(all, func(c *http.Cookie) bool { return c.Name != "sid" }))
}

// withDomain returns the cookie of a server with a COOKIE_DOMAIN.
func withDomain(domain string) httpapi.Cookie {
	return httpapi.Cookie{Name: "sid", Domain: domain, SameSite: http.SameSiteLaxMode}
}

// After COOKIE_DOMAIN was set, users stay signed in with their old cookies. The next login or logout
// replaces the cookie and its session.
func TestCookieDomainChange(t *testing.T) {
	t.Parallel()

	for _, host := range []string{"api.example.test", "example.test"} {
		before := apitest.New(t)
		before.Register("ann@example.com")
		after := apitest.New(t, apitest.Options{StoresOf: before, Cookie: withDomain("example.test")})

		for _, login := range []bool{true, false} {
			b := newBrowser(t)
			b.do(before, "POST", host+"/auth/login", apitest.AnnsLogin, 200)
			b.do(after, "GET", host+"/auth/me", nil, 200)
			for range 2 {
				if login {
					b.do(after, "POST", host+"/auth/login", apitest.AnnsLogin, 200)
					b.do(after, "GET", host+"/auth/me", nil, 200)
				}
			}
			if n := b.sessionCookies(host); n != 1 {
				t.Errorf("%s: session cookies: got %d, want 1", host, n)
			}

			b.do(after, "POST", host+"/auth/logout", nil, 200)
			if n := b.sessionCookies(host); n != 0 {
				t.Errorf("%s: session cookies after the logout: got %d, want 0", host, n)
			}
		}

		// A 401 clears an old cookie as well.
		b := newBrowser(t)
		b.do(before, "POST", host+"/auth/login", apitest.AnnsLogin, 200)
		_, err := before.Auth.RevokeSessions(t.Context(), before.Account("ann@example.com").ID, "")
		testkit.NoError(t, err)
		b.do(after, "GET", host+"/auth/me", nil, 401)
		if n := b.sessionCookies(host); n != 0 {
			t.Errorf("%s: session cookies after the 401: got %d, want 0", host, n)
		}

		if live := after.LiveSessions(after.Redis.Conn(t)); live != 0 {
			t.Errorf("%s: live sessions: got %d, want 0", host, live)
		}
	}
}

// Two deployments can use the same cookie name, one on a subdomain of the other's COOKIE_DOMAIN.
func TestDeploymentOnSubdomain(t *testing.T) {
	t.Parallel()

	production := apitest.New(t, apitest.Options{Cookie: withDomain("example.test")})
	stagingRedis, _, _ := storetest.ProxiedRedis(t) // not the database of production, as on a cluster
	staging := apitest.New(t, apitest.Options{Redis: &stagingRedis, Cookie: withDomain("staging.example.test")})
	const productionHost = "api.example.test"
	const stagingHost = "api.staging.example.test"
	b := newBrowser(t)
	for _, s := range []*apitest.Server{production, staging} {
		s.Register("ann@example.com")
	}

	b.do(production, "POST", productionHost+"/auth/login", apitest.AnnsLogin, 200)
	b.do(staging, "GET", stagingHost+"/auth/me", nil, 401)
	b.do(staging, "POST", stagingHost+"/auth/login", apitest.AnnsLogin, 200)
	b.do(staging, "GET", stagingHost+"/auth/me", nil, 200)
	b.do(staging, "POST", stagingHost+"/auth/logout", nil, 200)
	b.do(staging, "GET", stagingHost+"/auth/me", nil, 401)
	b.do(production, "GET", productionHost+"/auth/me", nil, 200)
}
