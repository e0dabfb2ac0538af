package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gomodule/redigo/redis"
	"go.mongodb.org/mongo-driver/bson"
)

const (
	listedOrigin = "https://app.example.com"
	devOrigin    = "http://localhost:3001"
)

// contents is all that the stores hold.
func (s *site) contents(conn redis.Conn) string {
	s.t.Helper()
	names, err := redis.Strings(conn.Do("KEYS", "*"))
	if err != nil {
		s.t.Fatal(err)
	}
	slices.Sort(names)
	var all strings.Builder
	for _, name := range names {
		value, err := redis.String(conn.Do("GET", name))
		if strings.HasPrefix(name, "idx:") {
			var members []string
			members, err = redis.Strings(conn.Do("ZRANGE", name, 0, -1, "WITHSCORES"))
			value = strings.Join(members, " ")
		}
		if err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintln(&all, name, value)
	}
	cursor, err := s.database().Collection("users").Find(context.Background(), bson.D{})
	if err != nil {
		s.t.Fatal(err)
	}
	var users []bson.M
	if err := cursor.All(context.Background(), &users); err != nil {
		s.t.Fatal(err)
	}
	fmt.Fprintln(&all, users)
	return all.String()
}

// Whatever a page of another origin sends, and however it dresses it up, changes
// nothing: not what is signed in, not who. Each cell is a request; what the stores hold
// is compared after those that must change nothing.
func TestCrossOriginMatrix(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{origins: []string{listedOrigin, devOrigin}})
	conn := s.redis.Conn(t)
	ann := s.register("ann@example.com")
	other := s.client()
	other.do("POST", "/auth/login", annsLogin).want(200)
	routes := []request{
		{"POST", "/auth/register", map[string]any{"name": "Eve", "email": "eve@example.com", "password": testPassword}},
		{"POST", "/auth/login", annsLogin},
		{method: "POST", path: "/auth/logout"},
		{method: "POST", path: "/auth/rotate-session"},
		{method: "DELETE", path: "/auth/sessions"},
		{method: "DELETE", path: "/auth/sessions/" + other.id()},
		{"PUT", "/profile", map[string]any{"name": "Eve"}},
		{method: "POST", path: "/nothing"},
	}
	bodies := []struct{ contentType, body string }{
		{"application/json", ""}, // that of the route
		{"text/plain", ""},
		{"application/x-www-form-urlencoded", "email=ann%40example.com&password=x"},
		{"multipart/form-data; boundary=b", "--b--\r\n"},
		{"", ""},
	}
	own := s.url
	strangers := []string{
		"null", "https://evil.example", "https://app.example.com.evil.example", "https://evilapp.example.com", "http://app.example.com",
		"https://app.example.com:444", "https://APP.example.com", "https://app.example.com/", "https://app.example.com.", "http://localhost:3002",
		"http://localhost", "https://localhost:3001", "file://", "", own + ".evil.example", strings.Replace(own, "127.0.0.1", "127.0.0.2", 1),
		listedOrigin + "," + devOrigin,
	}
	sites := []string{"absent", "same-origin", "none", "same-site", "cross-site", "junk"}
	cells, denied := 0, 0
	before := s.contents(conn)
	send := func(r request, contentType, body string, header http.Header, token string) answer {
		cells++
		raw := []byte(body)
		if body == "" && r.body != nil {
			raw = encoded(r.body)
		}
		if contentType != "" {
			header.Set("Content-Type", contentType)
		}
		return (&client{site: s, token: token}).send(r.method, r.path, header, raw)
	}
	check := func(origins []string, site string) {
		for _, r := range routes {
			for _, b := range bodies {
				for _, token := range []string{ann.token, ""} {
					header := http.Header{}
					if origins != nil {
						header["Origin"] = origins
					}
					if site != "absent" {
						header.Set("Sec-Fetch-Site", site)
					}
					a := send(r, b.contentType, b.body, header, token)
					if want := "cross_origin_denied"; r.path != "/nothing" && (a.status != 403 || a.body["code"] != want) || a.cookie != nil {
						t.Fatalf("%s from %q, %s, as %s: %d %s, cookie %v", a.request, origins, site, b.contentType, a.status, a.raw, a.cookie)
					}
					if got := a.header.Get("Access-Control-Allow-Origin"); got != "" && !slices.Contains(s.origins, got) {
						t.Errorf("%q may read: %s", origins, got)
					}
					denied++
				}
			}
		}
		if after := s.contents(conn); after != before {
			t.Fatalf("a page of %q (%s) changed\n%s\nto\n%s", origins, site, before, after)
		}
	}
	for _, site := range sites {
		for _, origin := range strangers {
			check([]string{origin}, site)
		}
		check([]string{listedOrigin, "https://evil.example"}, site)
		if site == "same-site" || site == "cross-site" || site == "junk" {
			check(nil, site)
			check([]string{own}, site)
			continue
		}
		// Who may: no browser, the own pages, and below, from wherever, those that are listed.
		for _, origins := range [][]string{nil, {own}} {
			header := http.Header{}
			if origins != nil {
				header["Origin"] = origins
			}
			if site != "absent" {
				header.Set("Sec-Fetch-Site", site)
			}
			send(routes[6], "application/json", "", header, ann.token).want(200)
		}
		before = s.contents(conn)
	}
	for _, origin := range s.origins {
		for _, site := range sites {
			for _, token := range []string{ann.token, ""} {
				header := http.Header{"Origin": {origin}}
				if site != "absent" {
					header.Set("Sec-Fetch-Site", site)
				}
				a := send(routes[6], "application/json", "", header, token)
				if want := map[bool]int{true: 200, false: 401}[token != ""]; a.status != want {
					t.Errorf("%s, %s: got %d", origin, site, a.status)
				}
				if a.header.Get("Access-Control-Allow-Origin") != origin || a.header.Get("Access-Control-Allow-Credentials") != "true" || !strings.Contains(a.header.Get("Vary"), "Origin") {
					t.Errorf("%s cannot read: %v", origin, a.header)
				}
			}
		}
	}
	if t.Logf("%d cells, %d of which must change nothing", cells, denied); cells < 3000 {
		t.Error("too few")
	}
}

// A server behind TLS does not take a page for its own that came in the clear.
func TestDowngradedOrigin(t *testing.T) {
	t.Parallel()
	o, err := newOrigins(nil, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		origin, host string
		want         bool
	}{
		{"https://api.example.com", "api.example.com", true},
		{"http://api.example.com", "api.example.com", false},
		{"https://api.example.com", "api.example.com:8443", false},
		{"http://localhost:3000", "localhost:3000", true},
		{"http://[::1]:3000", "[::1]:3000", true},
		{"ftp://localhost:3000", "localhost:3000", false},
	} {
		r, _ := http.NewRequest(http.MethodPost, "/", nil)
		r.Host = tc.host
		r.Header.Set("Origin", tc.origin)
		if got := o.allows(r); got != tc.want {
			t.Errorf("%s at %s: %v", tc.origin, tc.host, got)
		}
	}
}

// A page that is listed can ask first, which asks no store, and can read why it failed.
func TestCORS(t *testing.T) {
	t.Parallel()
	nowhere := newSite(t, setup{origins: []string{listedOrigin}, redis: nowhereRedis, mongo: "mongodb://127.0.0.1:1/x"})
	preflight := func(origin, method, headers string) answer {
		h := http.Header{"Origin": {origin}, "Access-Control-Request-Method": {method}}
		if headers != "" {
			h.Set("Access-Control-Request-Headers", headers)
		}
		return (&client{site: nowhere, token: strings.Repeat("A", 43)}).preflight("/profile", h)
	}
	a := preflight(listedOrigin, "PUT", "content-type").want(204)
	if a.header.Get("Access-Control-Allow-Origin") != listedOrigin || a.header.Get("Access-Control-Allow-Credentials") != "true" ||
		a.header.Get("Access-Control-Allow-Methods") != "PUT" || a.header.Get("Access-Control-Allow-Headers") != "content-type" || a.header.Get("Access-Control-Max-Age") != "600" {
		t.Errorf("%v", a.header)
	}
	for _, refused := range []answer{
		preflight("https://evil.example", "PUT", "content-type"), preflight("null", "PUT", ""), preflight(listedOrigin, "PATCH", ""), preflight(listedOrigin, "PUT", "x-other"),
	} {
		if got := refused.header.Get("Access-Control-Allow-Methods") + refused.header.Get("Access-Control-Allow-Headers"); refused.status < 400 && got != "" {
			t.Errorf("allowed: %d %v", refused.status, refused.header)
		}
	}
	well := newSite(t, setup{origins: []string{listedOrigin}})
	page := func(s *site, token, method, path string, body []byte, status int) {
		a := (&client{site: s, token: token}).send(method, path, http.Header{"Origin": {listedOrigin}, "Content-Type": {"application/json"}}, body).want(status)
		if a.header.Get("Access-Control-Allow-Origin") != listedOrigin || !strings.Contains(strings.ToLower(a.header.Get("Access-Control-Expose-Headers")), "retry-after") {
			t.Errorf("%d cannot be read: %v", status, a.header)
		}
	}
	page(well, "", "GET", "/auth/me", nil, 401)
	page(well, "", "GET", "/nothing", nil, 404)
	page(well, "", "POST", "/auth/login", []byte(strings.Repeat(" ", 70<<10)+"{}"), 413)
	page(nowhere, strings.Repeat("A", 43), "GET", "/auth/me", nil, 503)
}

// Where the client is is said by proxies that are named, and by nobody else.
func TestTrustedProxies(t *testing.T) {
	t.Parallel()
	seenAt := func(s *site, header http.Header) string {
		c := s.client()
		header.Set("Content-Type", "application/json")
		c.send("POST", "/auth/login", header, encoded(annsLogin)).want(200)
		return c.listed()[c.id()]["ip"].(string)
	}
	for _, tc := range []struct {
		name    string
		proxies []string
		header  http.Header
		want    string
	}{
		{"no proxy, nobody is believed", nil, http.Header{"X-Forwarded-For": {"203.0.113.1"}, "X-Real-Ip": {"203.0.113.1"}, "Forwarded": {"for=203.0.113.1"}, "True-Client-Ip": {"203.0.113.1"}}, "127.0.0.1"},
		{"a proxy is believed", []string{"127.0.0.1/32"}, http.Header{"X-Forwarded-For": {"203.0.113.1"}}, "203.0.113.1"},
		{"not what its client wrote", []string{"127.0.0.1/32"}, http.Header{"X-Forwarded-For": {"198.51.100.7, 203.0.113.1"}}, "203.0.113.1"},
		{"nor in a line of its own", []string{"127.0.0.1/32"}, http.Header{"X-Forwarded-For": {"198.51.100.7", "203.0.113.1"}}, "203.0.113.1"},
		{"a chain", []string{"127.0.0.1/32", "10.0.0.0/8"}, http.Header{"X-Forwarded-For": {"198.51.100.7, 203.0.113.1, 10.1.2.3"}}, "203.0.113.1"},
		{"IPv6", []string{"127.0.0.1/32"}, http.Header{"X-Forwarded-For": {"2001:db8::1"}}, "2001:db8::1"},
		{"nonsense", []string{"127.0.0.1/32"}, http.Header{"X-Forwarded-For": {"unknown"}}, "127.0.0.1"},
		{"other headers of a proxy", []string{"127.0.0.1/32"}, http.Header{"X-Real-Ip": {"203.0.113.1"}}, "127.0.0.1"},
		{"someone else's proxy", []string{"192.0.2.0/24"}, http.Header{"X-Forwarded-For": {"203.0.113.1"}}, "127.0.0.1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, setup{proxies: tc.proxies})
			s.register("ann@example.com")
			if got := seenAt(s, tc.header); got != tc.want {
				t.Errorf("the client is at %s, want %s", got, tc.want)
			}
		})
	}
}

// A reverse proxy learns who is signed in, by one read.
func TestVerify(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.register("ann@example.com")
	a := c.do("GET", "/auth/verify", nil).want(200)
	if a.header.Get("X-Auth-Email") != "ann@example.com" || a.header.Get("X-Auth-Session-Id") != c.id() || a.header.Get("X-Auth-User-Id") != c.do("GET", "/auth/session", nil).text("userId") {
		t.Errorf("%v", a.header)
	}
	c.clone().do("POST", "/auth/logout", nil).want(200)
	a = c.send("GET", "/auth/verify", http.Header{"X-Auth-User-Id": {"eve"}}, nil).want(401)
	for name := range a.header {
		if strings.HasPrefix(name, "X-Auth") {
			t.Errorf("a stranger is given %s", name)
		}
	}
}

// What is built to be expensive or ambiguous is refused before anything is done.
func TestModest(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.signIn()
	many := http.Header{}
	for i := range maxHeaders {
		many.Set(fmt.Sprintf("X-%d", i), "x")
	}
	c.clone().send("GET", "/auth/session", many, nil).wantCode(431, "too_many_headers")
	c.clone().send("GET", "/auth/session", http.Header{"Cookie": {strings.Repeat("a=b; ", maxCookies)}}, nil).wantCode(431, "too_many_headers")
	c.do("GET", "/auth/session", nil).want(200)
}
