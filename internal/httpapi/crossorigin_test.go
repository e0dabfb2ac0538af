package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gomodule/redigo/redis"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/httpapi"
	"latchkey/internal/testkit"
)

const (
	listedOrigin = "https://app.example.com"
	devOrigin    = "http://localhost:3001"
)

// contents returns the contents of both stores as text.
func contents(s *apitest.Server, conn redis.Conn) string {
	s.T.Helper()

	names, err := redis.Strings(conn.Do("KEYS", "*"))
	testkit.NoError(s.T, err)
	slices.Sort(names)

	var all strings.Builder
	for _, name := range names {
		value, err := redis.String(conn.Do("GET", name))
		if strings.HasPrefix(name, "idx:") {
			var members []string
			members, err = redis.Strings(conn.Do("ZRANGE", name, 0, -1, "WITHSCORES"))
			value = strings.Join(members, " ")
		}

		testkit.NoError(s.T, err)
		fmt.Fprintln(&all, name, value)
	}

	cursor, err := s.Database().Collection("users").Find(context.Background(), bson.D{})
	testkit.NoError(s.T, err)
	var users []bson.M
	testkit.NoError(s.T, cursor.All(context.Background(), &users))
	fmt.Fprintln(&all, users)

	return all.String()
}

// Cross-origin requests change nothing, whatever their headers. The test sends every
// combination of route, body, session, origin and Sec-Fetch-Site, and compares the stores
// after the requests that must be rejected.
func TestCrossOriginMatrix(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Origins: []string{listedOrigin, devOrigin}})
	conn := s.Redis.Conn(t)
	ann := s.Register("ann@example.com")
	other := s.NewClient()
	other.Do("POST", "/auth/login", apitest.AnnsLogin).Want(200)
	routes := []request{
		{"POST", "/auth/register", map[string]any{"name": "Eve", "email": "eve@example.com", "password": apitest.Password}},
		{"POST", "/auth/login", apitest.AnnsLogin},
		{method: "POST", path: "/auth/logout"},
		{method: "POST", path: "/auth/rotate-session"},
		{method: "DELETE", path: "/auth/sessions"},
		{method: "DELETE", path: "/auth/sessions/" + other.SessionID()},
		{"PUT", "/profile", map[string]any{"name": "Eve"}},
		{method: "POST", path: "/nothing"},
	}

	bodies := []struct{ contentType, body string }{
		{"application/json", ""}, // an empty body means the body of the request
		{"text/plain", ""},
		{"application/x-www-form-urlencoded", "email=ann%40example.com&password=x"},
		{"multipart/form-data; boundary=b", "--b--\r\n"},
		{"", ""},
	}

	own := s.URL
	foreign := []string{
		"null", "https://evil.example", "https://app.example.com.evil.example", "https://evilapp.example.com", "http://app.example.com",
		"https://app.example.com:444", "https://APP.example.com", "https://app.example.com/", "https://app.example.com.", "http://localhost:3002",
		"http://localhost", "https://localhost:3001", "file://", "", own + ".evil.example", strings.Replace(own, "127.0.0.1", "127.0.0.2", 1),
		listedOrigin + "," + devOrigin,
	}

	sites := []string{"absent", "same-origin", "none", "same-site", "cross-site", "junk"}
	before := contents(s, conn)
	send := func(r request, contentType, body string, origins []string, site, token string) apitest.Response {
		header := http.Header{}
		if origins != nil {
			header["Origin"] = origins
		}
		if site != "absent" {
			header.Set("Sec-Fetch-Site", site)
		}
		if contentType != "" {
			header.Set("Content-Type", contentType)
		}

		raw := []byte(body)
		if body == "" && r.body != nil {
			raw = apitest.Encode(r.body)
		}

		return s.WithToken(token).Send(r.method, r.path, header, raw)
	}

	check := func(origins []string, site string) {
		for _, r := range routes {
			for _, b := range bodies {
				for _, token := range []string{ann.Token, ""} {
					a := send(r, b.contentType, b.body, origins, site, token)
					denied := a.Status == 403 && a.JSON["code"] == "cross_origin_denied"
					if !denied && r.path != "/nothing" || a.Cookie != nil {
						t.Fatalf("%s from %q, Sec-Fetch-Site %s, %s: got %d %s with cookie %v, want 403 cross_origin_denied", a.Request, origins, site, b.contentType, a.Status, a.Raw, a.Cookie)
					}
					if got := a.Header.Get("Access-Control-Allow-Origin"); got != "" && !slices.Contains(s.Origins, got) {
						t.Errorf("%s from %q: Access-Control-Allow-Origin: got %s, want a listed origin", a.Request, origins, got)
					}
				}
			}
		}

		if after := contents(s, conn); after != before {
			t.Fatalf("a request from %q (%s) changed the stores from\n%s\nto\n%s", origins, site, before, after)
		}
	}

	putProfile := routes[6]
	for _, site := range sites {
		for _, origin := range foreign {
			check([]string{origin}, site)
		}

		check([]string{listedOrigin, "https://evil.example"}, site)

		// Requests without an origin or from the API's own origin are allowed.
		for _, origins := range [][]string{nil, {own}} {
			if site == "same-site" || site == "cross-site" || site == "junk" {
				check(origins, site)
			} else {
				send(putProfile, "application/json", "", origins, site, ann.Token).Want(200)
			}
		}

		// Requests from a listed origin are allowed, and their responses can be read.
		for _, origin := range s.Origins {
			for token, want := range map[string]int{ann.Token: 200, "": 401} {
				a := send(putProfile, "application/json", "", []string{origin}, site, token).Want(want)
				readable := a.Header.Get("Access-Control-Allow-Origin") == origin &&
					a.Header.Get("Access-Control-Allow-Credentials") == "true" &&
					strings.Contains(a.Header.Get("Vary"), "Origin")
				if !readable {
					t.Errorf("from %s: got CORS headers %v, want the response readable", origin, a.Header)
				}
			}
		}

		before = contents(s, conn)
	}
}

// TestOriginsOfBrowsers lists origins that browsers have and DNS does not.
func TestOriginsOfBrowsers(t *testing.T) {
	t.Parallel()

	origins := []string{
		"https://10.0.0.5:8443", "https://[2001:db8::1]:8443", "https://v2--app.netlify.app", "https://my_app.example.com",
	}
	c := apitest.New(t, apitest.Options{Origins: origins}).NewClient()
	for _, origin := range origins {
		preflight := http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"content-type"}}
		login := http.Header{"Origin": {origin}, "Sec-Fetch-Site": {"cross-site"}, "Content-Type": {"application/json"}}
		for _, a := range []apitest.Response{
			c.Preflight("/auth/login", preflight).Want(204),
			c.Send("POST", "/auth/login", login, apitest.Encode(apitest.AnnsLogin)).Want(401),
		} {
			if got := a.Header.Values("Access-Control-Allow-Origin"); !slices.Equal(got, []string{origin}) {
				t.Errorf("%s from %s: got Access-Control-Allow-Origin %q, want the origin", a.Request, origin, got)
			}
		}

		login.Set("Origin", origin+"0")
		c.Send("POST", "/auth/login", login, apitest.Encode(apitest.AnnsLogin)).Want(403)
	}
}

// A listed origin can send preflight requests, which use no store, and can read why a
// request failed.
func TestCORS(t *testing.T) {
	t.Parallel()

	storesDown := apitest.New(t, apitest.Options{Origins: []string{listedOrigin}, Redis: apitest.UnreachableRedis, MongoURI: "mongodb://127.0.0.1:1/x"})
	preflight := func(origin, method, headers string) apitest.Response {
		h := http.Header{"Origin": {origin}, "Access-Control-Request-Method": {method}}
		if headers != "" {
			h.Set("Access-Control-Request-Headers", headers)
		}

		return storesDown.WithToken(strings.Repeat("A", 43)).Preflight("/profile", h)
	}

	// Tools of the page add headers: Sentry, OpenTelemetry, axios.
	for _, headers := range []string{"content-type", "baggage,content-type,sentry-trace", "cache-control,pragma,traceparent,tracestate,x-requested-with", "x-other"} {
		a := preflight(listedOrigin, "PUT", headers).Want(204)
		for name, want := range map[string]string{
			"Access-Control-Allow-Origin":      listedOrigin,
			"Access-Control-Allow-Credentials": "true",
			"Access-Control-Allow-Methods":     "PUT",
			"Access-Control-Allow-Headers":     headers,
			"Access-Control-Max-Age":           "600",
		} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
	}

	for _, origin := range []string{"https://evil.example", "null", "http://app.example.com"} {
		a := preflight(origin, "PUT", "content-type").WantCode(403, "cross_origin_denied")
		for name := range a.Header {
			if strings.HasPrefix(name, "Access-Control") {
				t.Errorf("preflight from %s: got %s, want no permissions", origin, name)
			}
		}
	}

	healthy := apitest.New(t, apitest.Options{Origins: []string{listedOrigin}})
	wantReadable := func(s *apitest.Server, token, method, path string, body []byte, status int) {
		a := s.WithToken(token).Send(method, path, http.Header{"Origin": {listedOrigin}, "Content-Type": {"application/json"}}, body).Want(status)
		if a.Header.Get("Access-Control-Allow-Origin") != listedOrigin || !strings.Contains(strings.ToLower(a.Header.Get("Access-Control-Expose-Headers")), "retry-after") {
			t.Errorf("%s: got CORS headers %v, want the response readable", a.Request, a.Header)
		}
	}

	wantReadable(healthy, "", "GET", "/auth/me", nil, 401)
	wantReadable(healthy, "", "GET", "/nothing", nil, 404)
	wantReadable(healthy, "", "PATCH", "/profile", nil, 405)
	wantReadable(healthy, "", "POST", "/auth/login", []byte(strings.Repeat(" ", 70<<10)+"{}"), 413)
	wantReadable(storesDown, strings.Repeat("A", 43), "GET", "/auth/me", nil, 503)
}

// A reverse proxy can ask who is signed in.
func TestVerify(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	c := s.Register("ann@example.com")
	a := c.Do("GET", "/auth/verify", nil).Want(200)
	for name, want := range map[string]string{
		"X-Auth-Email":          "ann@example.com",
		"X-Auth-Email-Verified": "false",
		"X-Auth-Session-Id":     c.SessionID(),
		"X-Auth-User-Id":        c.Do("GET", "/auth/session", nil).Text("userId"),
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}

	c.Clone().Do("POST", "/auth/logout", nil).Want(200)
	a = c.Send("GET", "/auth/verify", http.Header{"X-Auth-User-Id": {"eve"}}, nil).Want(401)
	for name := range a.Header {
		if strings.HasPrefix(name, "X-Auth") {
			t.Errorf("response without a session has the header %s", name)
		}
	}
}

// X-Auth-Email contains neither characters that applications may interpret nor bytes outside ASCII.
// Decoding it returns the email.
func TestVerifyEncodesEmail(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	for email, want := range map[string]string{
		"ann.o-brien_1+news~x@mail.example.com": "ann.o-brien_1+news~x@mail.example.com",
		"ann@bücher.example":                    "ann@b%C3%BCcher.example",
		"o'brien@example.com":                   "o%27brien@example.com",
		"a|b$c&d#e?f`g@example.com":             "a%7Cb%24c%26d%23e%3Ff%60g@example.com",
		"a%40b@example.com":                     "a%2540b@example.com",
		"!*/={}^@example.com":                   "%21%2A%2F%3D%7B%7D%5E@example.com",
	} {
		got := s.Register(email).Do("GET", "/auth/verify", nil).Want(200).Header.Get("X-Auth-Email")
		if got != want {
			t.Errorf("%s: got X-Auth-Email %q, want %q", email, got, want)
		}
		if decoded, err := url.PathUnescape(got); decoded != email || err != nil {
			t.Errorf("%s: got %q after decoding, error %v, want the email", email, decoded, err)
		}
	}
}

// Requests with too many headers or cookies are rejected.
func TestTooManyHeaders(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	c := s.SignIn()
	manyHeaders := http.Header{}
	for i := range httpapi.MaxHeaders {
		manyHeaders.Set(fmt.Sprintf("X-%d", i), "x")
	}

	c.Clone().Send("GET", "/auth/session", manyHeaders, nil).WantCode(431, "too_many_headers")
	c.Clone().Send("GET", "/auth/session", http.Header{"Cookie": {strings.Repeat("a=b; ", httpapi.MaxCookies)}}, nil).WantCode(431, "too_many_headers")
	c.Do("GET", "/auth/session", nil).Want(200)
}
