package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/internal/apitest"
	"latchkey/internal/auth"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/httpapi"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
)

// proofs are the methods of a session, with what GET /auth/verify returns for them.
var proofs = map[string]struct {
	methods []session.Method
	level   string
	names   string
}{
	"a password":      {[]session.Method{{Method: session.Password}}, "aal1", "pwd"},
	"a provider":      {[]session.Method{{Method: session.Federated, Provider: "acme"}}, "aal1", "fed"},
	"a code":          {[]session.Method{{Method: session.Password}, {Method: session.OTP}}, "aal2", "pwd,otp"},
	"a recovery code": {[]session.Method{{Method: session.Federated, Provider: "acme"}, {Method: session.Recovery}}, "aal2", "fed,recovery"},
	"a device":        {[]session.Method{{Method: session.Password}, {Method: session.Device}}, "aal2", "pwd,device"},
}

// A reverse proxy learns how the user has proved their identity and when, and can require a second factor.
// The same is in the session and in the list of sessions.
func TestLevelForProxies(t *testing.T) {
	t.Parallel()

	s := newProviderEnv(t)
	u := s.CreateUser("ann@example.com")
	s.MarkEmailVerified("ann@example.com")
	for name, tc := range proofs {
		c := s.SignInWith(u.ID, tc.methods...)
		a := c.Do("GET", "/auth/verify", nil).Want(http.StatusOK)
		current := c.Do("GET", "/auth/session", nil).Want(http.StatusOK)
		want := map[string]string{
			"X-Auth-Level":   tc.level,
			"X-Auth-Methods": tc.names,
			"X-Auth-Time":    strconv.FormatInt(current.Time("authenticatedAt").Unix(), 10),
		}
		for header, value := range want {
			if got := a.Header.Values(header); !slices.Equal(got, []string{value}) {
				t.Errorf("%s: %s: got %q, want %q", name, header, got, value)
			}
		}
		if head := c.Do("HEAD", "/auth/verify", nil).Want(http.StatusOK); head.Header.Get("X-Auth-Level") != tc.level {
			t.Errorf("%s: HEAD: level: got %q", name, head.Header.Get("X-Auth-Level"))
		}

		listed := c.ListSessions()[c.SessionID()]
		if diff := cmp.Diff(listed["methods"], current.JSON["methods"]); diff != "" || listed["level"] != tc.level || current.Text("level") != tc.level {
			t.Errorf("%s: levels %v and %v, methods (-list +session):\n%s", name, listed["level"], current.Text("level"), diff)
		}

		c.Do("GET", "/auth/verify?min=aal1", nil).Want(http.StatusOK)
		if refused := c.Do("GET", "/auth/verify?min=aal2", nil); tc.level == session.AAL2 {
			refused.Want(http.StatusOK)
		} else if refused.WantCode(http.StatusForbidden, "second_factor_required").Header.Get("X-Auth-User-Id") != "" {
			t.Errorf("%s: the refusal identifies the user", name)
		}
	}
}

// badLevels are queries of GET /auth/verify that a typing mistake in a proxy's configuration may cause. To
// ignore them would open what the proxy protects.
var badLevels = []string{
	"min=x", "min=", "min", "min=AAL2", "min=aal3", "min=2", "min=aal2&min=aal1", "min=aal1&min=aal2", "min=aal1&min=aal1",
	"min=aal2%20", "min=%zz", "min=aal1;x", "m%69n=x", "x=1;min=aal2", "x=%zz",
}

func TestBadLevels(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	s.SkipContract = func(apitest.Response) bool { return true } // the queries are not in the document
	c := s.SignInAs(s.CreateUser("ann@example.com").ID)
	for _, query := range badLevels {
		a := c.Do("GET", "/auth/verify?"+query, nil)
		if a.Status != http.StatusBadRequest || a.Text("code") != "validation_failed" || a.Header.Get("X-Auth-User-Id") != "" {
			t.Errorf("%s: got %d %s", query, a.Status, a.Raw)
		}
	}
	c.Do("GET", "/auth/verify?x=1", nil).Want(http.StatusOK)
	s.NewClient().Do("GET", "/auth/verify?min=x", nil).WantCode(http.StatusUnauthorized, "not_authenticated")
}

// forUnenrolled lists the routes with a session that are open to users without a second factor if
// REQUIRE_MFA=all. It is written by hand, so that no route becomes open by a mistake in the table.
var forUnenrolled = []string{
	"GET /auth/me", "GET /auth/session", "POST /auth/step-up", "POST /auth/email/resend", "POST /auth/email/change",
	"GET /auth/factors", "POST /auth/totp", "POST /auth/totp/{id}/confirm", "POST /auth/logout",
}

// With REQUIRE_MFA=all, a user without a second factor can log in, but use only the routes that are needed to
// add one. Afterwards the same session can use all routes.
func TestUnenrolledRoutes(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{MFA: auth.MFAAll, Mail: &apitest.Outbox{}})
	c := s.Register("ann@example.com")
	fill := strings.NewReplacer("{id}", strings.Repeat("x", 45), "{provider}", "google")
	wantAll := func(isRefused func(name string) bool) {
		t.Helper()

		for _, name := range httpapi.RoutesOf(t) {
			method, path, _ := strings.Cut(name, " ")
			if slices.Contains(httpapi.Sessionless, name) || slices.Contains(httpapi.Pending, name) {
				continue
			}

			// The body is not checked before the level.
			a := c.Clone().Send(method, fill.Replace(path), jsonType, []byte("["))
			refused := a.Status == http.StatusForbidden && codeIn(a) == "second_factor_required"
			if refused != isRefused(name) {
				t.Errorf("%s: got %d %s", name, a.Status, codeIn(a))
			}
		}
	}

	wantAll(func(name string) bool { return !slices.Contains(forUnenrolled, name) })
	app := c.Enrol()
	wantAll(func(string) bool { return false })

	// Without the last factor, the session is below the level again.
	c.Do("DELETE", "/auth/factors/"+app.ID, nil).Want(http.StatusNoContent)
	c.Do("GET", "/profile", nil).WantCode(http.StatusForbidden, "second_factor_required")
}

// Answers from memory respect the levels as the router does.
func TestLevelsFromMemory(t *testing.T) {
	t.Parallel()

	redis := storetest.StartRedis(t).Redis
	enrolled := apitest.New(t, apitest.Options{SessionCache: true, Redis: &redis})
	all := apitest.New(t, apitest.Options{StoresOf: enrolled, SessionCache: true, MFA: auth.MFAAll})
	u := enrolled.CreateUser("ann@example.com")
	enrolled.MarkEmailVerified("ann@example.com")
	clients := map[string]*apitest.Client{
		session.AAL1: enrolled.SignInWith(u.ID, session.Method{Method: session.Password}),
		session.AAL2: enrolled.SignInWith(u.ID, session.Method{Method: session.Password}, session.Method{Method: session.OTP}),
	}

	for _, s := range []*apitest.Server{enrolled, all} {
		for level, c := range clients {
			awaitInMemory(s, c.Token)
			testkit.Eventually(t, "the account in memory", func() bool {
				before := s.Cache.Stats().Misses
				s.WithToken(c.Token).Do("GET", "/auth/me", nil).Want(http.StatusOK)

				return s.Cache.Stats().Misses == before
			})

			for _, query := range append([]string{"", "min=aal1", "min=aal2"}, badLevels...) {
				for _, path := range memoryPaths {
					request := func() *http.Request {
						r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
						r.URL.RawQuery = query
						r.Header.Set("Cookie", "sid="+c.Token)

						return r
					}
					isGood := path != "/auth/verify" || query == "" || query == "min=aal1" || query == "min=aal2" && level == session.AAL2
					isOpen := s == enrolled || level == session.AAL2 || slices.Contains(forUnenrolled, "GET "+path)
					if got := s.API.AnswerFromMemory(httptest.NewRecorder(), request()); got != (isGood && isOpen) {
						t.Errorf("%s?%s in a session of %s: answered from memory: got %v", path, query, level, got)
					}

					got := respond(s.API.ServeHTTP, request())
					want := respond(s.API.Route, request())
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s?%s in a session of %s (-router +got):\n%s", path, query, level, diff)
					}
					if isOK := got.Status == http.StatusOK; isOK != (isGood && isOpen) {
						t.Errorf("%s?%s in a session of %s: got %d", path, query, level, got.Status)
					}
				}
			}
		}
	}
}
