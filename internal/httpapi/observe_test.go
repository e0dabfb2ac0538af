package httpapi

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/internal/ratelimit"
)

// value is that of one series of the metrics, as it is exposed; "" is none.
func (s *site) value(series string) string {
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (.*)$`).FindStringSubmatch(s.exposed())
	if found == nil {
		return ""
	}
	return found[1]
}

func TestMetricsCountWhatHappens(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{limits: Limits{Login: ratelimit.Rule{Events: 4, Window: time.Minute}}})
	c := s.register("ann@example.com")
	for _, password := range []string{"wrong password", testPassword} {
		s.client().do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": password})
	}
	c.do("POST", "/auth/rotate-session", nil).want(200)
	c.do("POST", "/auth/logout", nil).want(200)
	c.do("GET", "/auth/session", nil).want(401)
	other := s.client()
	other.do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": testPassword}).want(200)
	s.advance(testIdle + time.Second)
	other.do("GET", "/auth/session", nil).want(401)
	for range 2 {
		s.client().do("POST", "/auth/login", map[string]any{"email": "bob@example.com", "password": "wrong password"})
	}
	s.client().do("GET", "/nowhere/but/here", nil).want(404)
	for series, want := range map[string]string{
		`latchkey_sessions_begun_total{method="password"}`:                              "3",
		`latchkey_sessions_ended_total{reason="logged_out"}`:                            "1",
		`latchkey_sessions_ended_total{reason="idle_timeout"}`:                          "1",
		`latchkey_sessions_ended_total{reason="replaced"}`:                              "0", // a rotation ends nothing
		`latchkey_logins_total{outcome="success"}`:                                      "2",
		`latchkey_logins_total{outcome="failed"}`:                                       "2",
		`latchkey_limit_hits_total{budget="login",scope="address"}`:                     "1",
		`latchkey_http_requests_total{method="GET",route="/auth/session",status="401"}`: "2",
		`latchkey_http_requests_total{method="POST",route="/auth/login",status="429"}`:  "1",
		`latchkey_http_requests_total{method="GET",route="other",status="404"}`:         "1",
		`latchkey_http_requests_in_flight`:                                              "0",
		`latchkey_password_hashes_total`:                                                "5", // one made, four compared
	} {
		if got := s.value(series); got != want || got == "" {
			t.Errorf("%s is %q, want %q", series, got, want)
		}
	}
	for _, series := range []string{`latchkey_redis_commands_total{command="GET",outcome="ok"}`, `latchkey_mongo_commands_total{command="insert",outcome="ok"}`} {
		if s.value(series) == "" {
			t.Errorf("there is no %s", series)
		}
	}
}

// What the log says of a request is enough to find it and nothing of what it said.
func TestAccessLine(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{proxies: []string{"127.0.0.1/32"}})
	c := s.register("ann@example.com")
	req := httptest.NewRequest(http.MethodDelete, s.url+"/auth/sessions/a-value-of-the-path?a-query=1", nil)
	req.RequestURI = ""
	req.Header.Set("Cookie", "sid="+c.token)
	req.Header.Set("X-Forwarded-For", "192.0.2.7")
	req.Header.Set("User-Agent", "a-user-agent")
	res, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	s.client().do("GET", "/healthz", nil).want(200)
	var lines []string
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, " msg=request ") {
			lines = append(lines, line)
		}
	}
	if len(lines) != 2 { // and none of the probe
		t.Fatalf("%d lines of two requests:\n%s", len(lines), strings.Join(lines, ""))
	}
	want := regexp.MustCompile(`^time=\S+ level=INFO msg=request method=DELETE route=/auth/sessions/\{id\} status=404 durationMs=[\d.]+ bytes=` +
		strconv.FormatInt(res.ContentLength, 10) + ` requestId=` + res.Header.Get(requestIDHeader) + ` ip=192\.0\.2\.7\n$`)
	if !want.MatchString(lines[1]) {
		t.Errorf("%s\nwant %s", lines[1], want)
	}
	for _, said := range []string{"a-value-of-the-path", "a-query", "a-user-agent", "ann@example.com", c.token} {
		if strings.Contains(lines[1], said) {
			t.Errorf("%s is in the line", said)
		}
	}
}
