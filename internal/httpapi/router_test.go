package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/apitest"
	"latchkey/internal/httpapi"
)

// Every route responds with 401 without a session, except for those listed above.
func TestRoutesRequireSession(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Providers: httpapi.SomeProviders})
	for _, name := range httpapi.RoutesOf(t) {
		method, path, _ := strings.Cut(strings.Replace(name, "{provider}", "some", 1), " ")
		if slices.Contains(httpapi.Sessionless, name) {
			if a := s.NewClient().Do(method, strings.TrimSuffix(path, "*"), nil); a.Status == 401 {
				t.Errorf("%s: got 401, want a public route", name)
			}

			continue
		}

		if slices.Contains(httpapi.Pending, name) {
			s.SignIn().Do(method, path, nil).WantCode(401, "no_pending_login")

			continue
		}

		for _, token := range []string{"", "garbage", strings.Repeat("A", 43), strings.Repeat("A", 42) + "B"} {
			c := s.WithToken(token)
			a := c.Do(method, path, nil).WantCode(401, "not_authenticated")
			if a.Text("message") != "Please login to continue" {
				t.Errorf("%s: message: got %q", name, a.Text("message"))
			}

			if sent := token != ""; sent != (a.Cookie != nil) {
				t.Errorf("%s with cookie %q: got Set-Cookie %v", name, token, a.Cookie)
			}

			if authenticated, given := a.JSON["authenticated"]; given != (path == "/auth/session") || given && authenticated != false {
				t.Errorf("%s: got %s", name, a.Raw)
			}
		}
	}
}

func TestOtherMethods(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Providers: httpapi.SomeProviders})
	allow := map[string][]string{}
	for _, name := range httpapi.RoutesOf(t) {
		method, path, _ := strings.Cut(strings.Replace(name, "{provider}", "some", 1), " ")
		if path == "/docs/*" {
			continue
		}

		allow[path] = append(allow[path], method)
		if method == "GET" {
			allow[path] = append(allow[path], "HEAD")
		}
	}

	for path, methods := range allow {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "JUNK"} {
			if slices.Contains(methods, method) {
				continue
			}

			a := s.SignIn().Do(method, path, nil).Want(405)
			if got := strings.Split(a.Header.Get("Allow"), ", "); len(got) != len(methods) || !slices.Contains(got, methods[0]) {
				t.Errorf("%s %s: Allow is %q, want %v", method, path, a.Header.Get("Allow"), methods)
			}
		}
	}

	s.NewClient().Do("JUNK", "/nothing", nil).WantCode(404, "not_found")

	for _, path := range []string{"/", "/auth", "/auth/me/", "/auth/me/x.css", "/profile;.css", "/.git/config", "/debug/pprof", "/docs/../x", "/docs/swagger-ui.js"} {
		s.SignIn().Do("GET", path, nil).WantCode(404, "not_found")
	}
}

func TestHead(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	get := s.NewClient().Do("GET", "/healthz", nil).Want(200)
	head := s.NewClient().Do("HEAD", "/healthz", nil).Want(200)
	if len(head.Raw) != 0 || head.Header.Get("Content-Length") != get.Header.Get("Content-Length") {
		t.Errorf("HEAD: got %d bytes with Content-Length %s, want none with that of GET", len(head.Raw), head.Header.Get("Content-Length"))
	}

	s.NewClient().Do("HEAD", "/auth/me", nil).Want(401)
}

// A server that is shutting down reports so and closes connections.
func TestDrain(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	for _, draining := range []bool{false, true} {
		if draining {
			s.API.Drain()
		}

		w := httptest.NewRecorder()
		s.API.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		if closes := w.Header().Get("Connection") == "close"; closes != draining || (w.Code == 503) != draining {
			t.Errorf("draining %v: got %d with Connection %q", draining, w.Code, w.Header().Get("Connection"))
		}
	}
}
