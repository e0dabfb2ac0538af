package httpapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/httpapi"
	"latchkey/internal/ratelimit"
)

// Only trusted proxies determine the IP of the client.
func TestTrustedProxies(t *testing.T) {
	t.Parallel()

	others := http.Header{"X-Real-Ip": {"203.0.113.1"}, "Forwarded": {"for=203.0.113.1"}, "True-Client-Ip": {"203.0.113.1"}}
	for _, tc := range []struct {
		name    string
		proxies []string
		header  http.Header
		want    string
	}{
		{"no trusted proxies", nil, http.Header{"X-Forwarded-For": {"203.0.113.1"}}, "127.0.0.1"},
		{"trusted proxy", []string{"127.0.0.1/32"}, http.Header{"X-Forwarded-For": {"198.51.100.7, 203.0.113.1"}}, "203.0.113.1"},
		{"port", []string{"127.0.0.1/32"}, http.Header{"X-Forwarded-For": {"198.51.100.7, 203.0.113.1:51234"}}, "203.0.113.1"},
		{"IPv6 with port", []string{"127.0.0.1/32"}, http.Header{"X-Forwarded-For": {"[2001:db8::7]:51234"}}, "2001:db8::7"},
		{"IPv6 in brackets", []string{"127.0.0.1/32"}, http.Header{"X-Forwarded-For": {"[2001:db8::7]"}}, "2001:db8::7"},
		{"trusted proxy with port", []string{"127.0.0.1/32", "10.0.0.0/8"}, http.Header{"X-Forwarded-For": {"203.0.113.1:5", "10.0.0.1:80"}}, "203.0.113.1"},
		{"no IP", []string{"127.0.0.1/32"}, http.Header{"X-Forwarded-For": {"203.0.113.1, unknown"}}, "127.0.0.1"},
		{"other headers of a trusted proxy", []string{"127.0.0.1/32"}, others, "127.0.0.1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			s := apitest.New(t, apitest.Options{TrustedProxies: tc.proxies})
			s.Register("ann@example.com")
			c := s.NewClient()
			tc.header.Set("Content-Type", "application/json")
			c.Send("POST", "/auth/login", tc.header, apitest.Encode(apitest.AnnsLogin)).Want(200)
			if got := c.ListSessions()[c.SessionID()]["ip"]; got != tc.want {
				t.Errorf("client IP: got %s, want %s", got, tc.want)
			}
		})
	}
}

// Clients behind a gateway that adds ports have rate limits of their own.
func TestRateLimitWithForwardedPorts(t *testing.T) {
	t.Parallel()

	rule := ratelimit.Rule{Events: 1, Window: time.Hour}
	s := apitest.New(t, apitest.Options{TrustedProxies: []string{"127.0.0.1/32"}, Limits: httpapi.Limits{Login: rule}})
	login := func(from string) apitest.Response {
		return s.NewClient().DoFrom(from, "POST", "/auth/login", apitest.AnnsLogin)
	}

	login("203.0.113.1:50001").Want(401)
	login("203.0.113.2:50002").Want(401)
	login("203.0.113.1:50003").Want(429)
}

// A proxy whose X-Forwarded-For cannot be read is reported once, and entries that clients wrote
// are not reported. The number of reports is limited.
func TestUnreadableForwardedFor(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{TrustedProxies: []string{"10.0.0.0/8"}})
	send := func(proxy, forwarded string) {
		r := httptest.NewRequest(http.MethodGet, "/auth/providers", nil) // a request that is logged
		r.RemoteAddr = proxy + ":1234"
		r.Header.Set("X-Forwarded-For", forwarded)
		s.API.ServeHTTP(httptest.NewRecorder(), r)
	}

	const report = "cannot read X-Forwarded-For"
	send("10.0.0.1", "unknown, 203.0.113.7:51234")
	send("10.0.0.1", "10.0.0.2, 10.0.0.3")
	send("10.0.0.1", "")
	send("192.0.2.1", "unknown")
	if log := s.Log.String(); strings.Contains(log, report) {
		t.Errorf("got a report in %s, want none", log)
	}

	for range 3 {
		send("10.0.0.1", "203.0.113.7, unknown")
		send("10.0.0.2", "client.example")
	}
	for _, want := range []string{"proxy=10.0.0.1 entry=unknown", "proxy=10.0.0.2 entry=client.example"} {
		if log := s.Log.String(); strings.Count(log, want) != 1 {
			t.Errorf("got %s, want %q once", log, want)
		}
	}

	for i := range 300 {
		send(fmt.Sprintf("10.1.%d.%d", i/256, i%256), "unknown")
	}
	if got := strings.Count(s.Log.String(), report); got != httpapi.MaxReportedProxies {
		t.Errorf("reports: got %d, want %d", got, httpapi.MaxReportedProxies)
	}
}
