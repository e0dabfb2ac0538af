package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apitest"
)

const refusedMessage = `msg="refused a page on another origin"`

// TestRefusedPagesAreLogged sends requests that a browser sends for pages that are not in FRONTEND_URL. The
// log names the origin and the remedy once a minute, and the response has the remedy.
func TestRefusedPagesAreLogged(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Origins: []string{listedOrigin}})
	c := s.NewClient()
	logged := func(origin string) int {
		return strings.Count(s.Log.String(), refusedMessage+" origin="+origin+" ")
	}
	refuse := func(origin string, isSimple bool) {
		t.Helper()

		a := apitest.Response{}
		if isSimple {
			a = c.Send("POST", "/auth/logout", http.Header{"Origin": {origin}, "Sec-Fetch-Site": {"cross-site"}}, nil)
		} else {
			a = c.Preflight("/auth/login", http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"POST"}})
		}

		detail := a.WantCode(403, "cross_origin_denied").Text("detail")
		if !strings.Contains(detail, "FRONTEND_URL") || strings.Contains(string(a.Raw), listedOrigin) {
			t.Errorf("from %s: got %s, want the remedy without other origins", origin, a.Raw)
		}
	}

	for _, isSimple := range []bool{false, true} {
		origin := fmt.Sprintf("http://localhost:517%v", map[bool]int{false: 3, true: 4}[isSimple])
		for range 3 {
			refuse(origin, isSimple)
		}
		if got := logged(origin); got != 1 {
			t.Errorf("%s: got %d log lines within a minute, want 1:\n%s", origin, got, s.Log)
		}
		if want := "add " + origin + " to FRONTEND_URL"; !strings.Contains(s.Log.String(), want) {
			t.Errorf("got log\n%s\nwant %q", s.Log, want)
		}

		s.Advance(time.Minute)
		refuse(origin, !isSimple)
		if got := logged(origin); got != 2 {
			t.Errorf("%s: got %d log lines after a minute, want 2", origin, got)
		}
	}

	// Requests without an origin, and those that may pass, are not about a page.
	before := strings.Count(s.Log.String(), refusedMessage)
	c.Preflight("/auth/login", http.Header{"Origin": {listedOrigin}, "Access-Control-Request-Method": {"POST"}}).Want(204)
	c.Send("POST", "/auth/logout", http.Header{"Sec-Fetch-Site": {"cross-site"}}, nil).Want(403)
	if after := strings.Count(s.Log.String(), refusedMessage); after != before {
		t.Errorf("got %d log lines about other requests, want 0", after-before)
	}
}

// TestRefusedOriginsAreBounded sends many origins, and origins that are meant to damage the log.
func TestRefusedOriginsAreBounded(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Origins: []string{listedOrigin}})
	c := s.NewClient()
	send := func(origin string) {
		c.Preflight("/auth/login", http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"POST"}}).Want(403)
	}

	for origin, want := range map[string]string{
		"null":                                                 "serve the page over http or https",
		"http://evil.example fix=x msg=y":                      "no browser sends this origin",
		"http://evil.example/\u202e\u2028":                     "no browser sends this origin",
		"http://" + strings.Repeat("a", 2000):                  "no browser sends this origin",
		"http://" + strings.Repeat("a.", 200) + "evil.example": "no browser sends this origin",
	} {
		before := len(s.Log.String())
		send(origin)
		line := s.Log.String()[before:]
		if !strings.Contains(line, want) || strings.Count(line, refusedMessage) != 1 || strings.ContainsAny(line, "\u202e\u2028") || strings.Contains(line, "add ") {
			t.Errorf("%q: got log %q, want one line with %q", origin, line, want)
		}
		if strings.Contains(line, strings.Repeat("a", 400)) || strings.Contains(line, " msg=y") && !strings.Contains(line, `origin="http://evil.example fix=x msg=y"`) {
			t.Errorf("%q: got log %q, want a short and quoted origin", origin, line)
		}
	}

	for i := range 200 {
		send(fmt.Sprintf("http://evil%d.example", i))
	}
	if got := strings.Count(s.Log.String(), refusedMessage); got != 50 {
		t.Errorf("got %d log lines for 205 origins, want 50", got)
	}

	s.Advance(time.Minute)
	send("http://evil199.example")
	if !strings.Contains(s.Log.String(), "origin=http://evil199.example ") {
		t.Error("a minute later, other origins are still not logged")
	}
}
