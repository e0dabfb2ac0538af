package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/httpapi"
	"latchkey/internal/ratelimit"
	"latchkey/internal/testkit"
)

func TestMetricsCountWhatHappens(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Limits: httpapi.Limits{Login: ratelimit.Rule{Events: 4, Window: time.Minute}}})
	c := s.Register("ann@example.com")
	for _, password := range []string{"wrong password", apitest.Password} {
		s.NewClient().Do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": password})
	}

	c.Do("POST", "/auth/rotate-session", nil).Want(200)
	c.Do("POST", "/auth/logout", nil).Want(200)
	c.Do("GET", "/auth/session", nil).Want(401)
	other := s.NewClient()
	other.Do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": apitest.Password}).Want(200)
	s.Advance(apitest.IdleTimeout + time.Second)
	other.Do("GET", "/auth/session", nil).Want(401)

	for range 2 {
		s.NewClient().Do("POST", "/auth/login", map[string]any{"email": "bob@example.com", "password": "wrong password"})
	}

	s.NewClient().Do("GET", "/nowhere/but/here", nil).Want(404)

	for series, want := range map[string]string{
		`latchkey_sessions_started_total{level="aal1",method="password"}`:               "3",
		`latchkey_sessions_ended_total{reason="logged_out"}`:                            "1",
		`latchkey_sessions_ended_total{reason="idle_timeout"}`:                          "1",
		`latchkey_sessions_ended_total{reason="replaced"}`:                              "0", // a rotation ends nothing
		`latchkey_logins_total{outcome="success"}`:                                      "2",
		`latchkey_logins_total{outcome="failed"}`:                                       "2",
		`latchkey_limit_hits_total{budget="login",scope="ip"}`:                          "1",
		`latchkey_limit_hits_total{budget="callback",scope="account"}`:                  "0", // an alert needs it before the first
		`latchkey_limit_hits_total{budget="login",scope="ip-devices"}`:                  "0",
		`latchkey_email_send_attempts_total{kind="account_claimed",outcome="dropped"}`:  "0",
		`latchkey_http_requests_total{method="GET",route="/auth/session",status="401"}`: "2",
		`latchkey_http_requests_total{method="POST",route="/auth/login",status="429"}`:  "1",
		`latchkey_http_requests_total{method="GET",route="other",status="404"}`:         "1",
		`latchkey_http_requests_in_flight`:                                              "0",
		`latchkey_password_hashes_total`:                                                "5", // one made, four compared
	} {
		if got := s.Metric(series); got != want || got == "" {
			t.Errorf("%s is %q, want %q", series, got, want)
		}
	}

	for _, series := range []string{`latchkey_redis_commands_total{command="GET",outcome="ok"}`, `latchkey_mongo_commands_total{command="insert",outcome="ok"}`} {
		if s.Metric(series) == "" {
			t.Errorf("metric %s is missing", series)
		}
	}
}

// The access log identifies a request without its contents.
func TestAccessLog(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{TrustedProxies: []string{"127.0.0.1/32"}})
	c := s.Register("ann@example.com")
	req := httptest.NewRequest(http.MethodDelete, s.URL+"/auth/sessions/a-value-of-the-path?a-query=1", nil)
	req.RequestURI = ""
	req.Header.Set("Cookie", "sid="+c.Token)
	req.Header.Set("X-Forwarded-For", "192.0.2.7")
	req.Header.Set("User-Agent", "a-user-agent")
	res, err := s.HTTP.Do(req)
	testkit.NoError(t, err)
	_ = res.Body.Close()
	s.NewClient().Do("GET", "/healthz", nil).Want(200)
	var lines []string
	for line := range strings.Lines(s.Log.String()) {
		if strings.Contains(line, " msg=request ") {
			lines = append(lines, line)
		}
	}

	if len(lines) != 2 { // the health check is not logged
		t.Fatalf("log lines: got %d, want one for each of two requests:\n%s", len(lines), strings.Join(lines, ""))
	}

	want := regexp.MustCompile(`^time=\S+ level=INFO msg=request method=DELETE route=/auth/sessions/\{id\} status=404 durationMs=[\d.]+ bytes=` +
		strconv.FormatInt(res.ContentLength, 10) + ` requestId=` + res.Header.Get("X-Request-Id") + ` ip=192\.0\.2\.7\n$`)
	if !want.MatchString(lines[1]) {
		t.Errorf("%s\nwant %s", lines[1], want)
	}

	for _, private := range []string{"a-value-of-the-path", "a-query", "a-user-agent", "ann@example.com", c.Token} {
		if strings.Contains(lines[1], private) {
			t.Errorf("the log line contains %s", private)
		}
	}
}
