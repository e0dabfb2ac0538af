package httpapi

import (
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"

	"latchkey/internal/oauth"
	"latchkey/internal/telemetry"
	"latchkey/internal/testkit"
)

// SomeProviders configures a provider at an unreachable URL.
var SomeProviders = []oauth.Settings{{
	Kind: oauth.OIDC, Name: "some", Title: "Some", Issuer: "http://127.0.0.1:1", ClientID: "us",
	Scopes: []string{"openid"}, CallbackURL: "http://127.0.0.1/auth/some/callback",
}}

// apiWithoutStores returns a server for tests of the routing and the middleware.
var apiWithoutStores = sync.OnceValue(func() *Server {
	api, err := New(nil, nil, nil, Options{
		Cookie:    Cookie{Name: "sid"},
		Providers: oauth.New(nil, nil, SomeProviders, oauth.Options{}),
		Log:       slog.New(slog.DiscardHandler),
		Now:       time.Now,
	})
	if err != nil {
		panic(err)
	}
	return api
})

// documented returns a pattern as it is in the OpenAPI document.
func documented(pattern string) string {
	return strings.Replace(pattern, "/auth/some", "/auth/{provider}", 1)
}

// tableByName returns the route table by documented pattern.
var tableByName = sync.OnceValue(func() map[string]route {
	table := map[string]route{}
	for _, rt := range apiWithoutStores().table() {
		table[documented(rt.pattern)] = rt
	}
	return table
})

// RoutesOf returns the sorted routes of the router as "METHOD /path", as documented.
func RoutesOf(t testing.TB) []string {
	t.Helper()

	var routes []string
	err := chi.Walk(apiWithoutStores().handler.(chi.Routes), func(method, path string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		routes = append(routes, documented(method+" "+path))

		return nil
	})

	testkit.NoError(t, err)
	slices.Sort(routes)

	return routes
}

// Sessionless lists the routes that work without a session. It is written by hand, so that
// no route becomes public by a mistake in the table.
var Sessionless = []string{
	"POST /auth/register", "POST /auth/login", "POST /auth/password/forgot", "POST /auth/password/reset", "POST /auth/email/verify",
	"GET /auth/config", "GET /auth/providers", "GET /auth/{provider}", "GET /auth/{provider}/callback",
	"GET /healthz", "GET /readyz", "GET /docs", "GET /docs/*", "GET /openapi.json", "GET /postman.json",
	"GET /client.js", "GET /client.d.ts",
	"DELETE /auth/login/factor",
}

// Pending lists the routes of a login that waits for a second factor.
var Pending = []string{"GET /auth/login/factor", "POST /auth/login/factor"}

// The router has exactly the routes of the table.
func TestTableIsTheRouter(t *testing.T) {
	t.Parallel()

	table := tableByName()
	if diff := cmp.Diff(slices.Sorted(maps.Keys(table)), RoutesOf(t)); diff != "" {
		t.Errorf("routes of the router (-table +router):\n%s", diff)
	}
	if rows := len(apiWithoutStores().table()); rows != len(table) {
		t.Errorf("got %d rows with %d distinct names", rows, len(table))
	}

	for name, rt := range table {
		want := withSession
		switch {
		case slices.Contains(Sessionless, name), name == "POST /auth/logout":
			want = public
		case slices.Contains(Pending, name):
			want = withPendingLogin
		}
		if rt.access != want {
			t.Errorf("%s: got access %v, want %v", name, rt.access, want)
		}
	}
}

// A row without an access level requires a session.
func TestRoutesFailClosed(t *testing.T) {
	t.Parallel()

	api := apiWithoutStores()
	withoutAccess := route{endpoint: noBody(func(http.ResponseWriter, *http.Request) error {
		t.Error("a request without a session reached the handler")

		return nil
	})}

	w := serveOnce(api, api.serve(withoutAccess))
	if w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), `"not_authenticated"`) {
		t.Errorf("got %d %s, want 401 not_authenticated", w.Code, w.Body)
	}
}

// serveOnce sends a GET request to a handler behind the router's middleware.
func serveOnce(api *Server, h handler) *httptest.ResponseRecorder {
	r := chi.NewRouter()
	r.Use(setRequestID, setSecurityHeaders(false))
	r.Handle("/*", api.handle(h))

	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))

	return w
}

// The OpenAPI document has exactly the routes of the router, and marks the ones that
// require a session.
func TestContractListsRoutes(t *testing.T) {
	t.Parallel()

	got := map[string]bool{} // whether the route is public
	for name, o := range documentedOperations(t) {
		got[name] = o.Security == nil
	}

	want := map[string]bool{}
	for _, name := range RoutesOf(t) {
		if name != "GET /docs/*" {
			want[name] = slices.Contains(Sessionless, name)
		}
	}

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("documented routes (-want +got):\n%s", diff)
	}
}

// documentedOperations returns the operations in the OpenAPI document by "METHOD /path".
func documentedOperations(t *testing.T) map[string]*openapi3.Operation {
	t.Helper()

	doc, err := openapi3.NewLoader().LoadFromData(OpenAPI())
	testkit.NoError(t, err)

	operations := map[string]*openapi3.Operation{}
	for path, item := range doc.Paths.Map() {
		for method, o := range item.Operations() {
			operations[method+" "+path] = o
		}
	}

	return operations
}

// A failure sets no cookie, even if the handler set one before it failed.
func TestFailuresSetNoCookie(t *testing.T) {
	t.Parallel()

	api := apiWithoutStores()
	setCookie := func(w http.ResponseWriter) { Cookie{Name: "sid"}.write(w, "a token", 60) }

	for name, h := range map[string]handler{
		"problem": func(w http.ResponseWriter, _ *http.Request) error {
			setCookie(w)

			return errTooMany
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) error {
			setCookie(w)

			return api.redirectFailure(w, r, "https://app.example.com/", errTooMany)
		},
		"panic": func(w http.ResponseWriter, _ *http.Request) error {
			setCookie(w)
			panic("a bug")
		},
	} {
		w := serveOnce(api, api.serve(route{access: public, endpoint: noBody(h)}))
		if got := w.Result().Cookies(); len(got) != 0 || w.Code < 300 {
			t.Errorf("%s: got %d with cookies %v, want a failure without cookies", name, w.Code, got)
		}
	}
}

// A panic causes a 500 like any other failure. Neither the response nor the log contains its
// value, which could be an email or a password. The log has the type and the stack.
func TestPanic(t *testing.T) {
	t.Parallel()

	var log testkit.Buffer
	broken := &Server{log: slog.New(slog.NewTextHandler(&log, nil)), now: time.Now}

	w := serveOnce(broken, func(http.ResponseWriter, *http.Request) error { panic("a secret reason") })
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), `"internal"`) {
		t.Errorf("got %d %s, want 500 internal", w.Code, w.Body)
	}

	if strings.Contains(w.Body.String(), "panic") || strings.Contains(w.Body.String()+log.String(), "a secret reason") {
		t.Errorf("got body %s, log %s, want neither to contain the reason", w.Body, &log)
	}
	if !strings.Contains(log.String(), "panic: string") || !strings.Contains(log.String(), "TestPanic") {
		t.Errorf("got log %s, want the type of the panic and the stack", &log)
	}
}

// Only routes with a session are answered from memory, and none if requests are traced or if successful
// ones are logged.
func TestMemoryChecks(t *testing.T) {
	t.Parallel()

	s := &Server{
		origins:   apiWithoutStores().origins,
		providers: oauth.New(nil, nil, nil, oauth.Options{}),
		log:       slog.New(slog.DiscardHandler),
	}
	got := slices.Sorted(maps.Keys(s.newMemoryChecks().byPath))
	if want := []string{"/auth/me", "/auth/session", "/auth/verify", "/profile"}; !slices.Equal(got, want) {
		t.Errorf("routes: got %v, want %v", got, want)
	}
	for _, path := range got {
		if tableByName()["GET "+path].access == public {
			t.Errorf("%s needs no session, but is answered only with one", path)
		}
	}

	s.log = slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if got := s.newMemoryChecks().byPath; len(got) != 0 {
		t.Errorf("with a log at debug: got %v, want none", got)
	}

	s.log = slog.New(slog.DiscardHandler)
	s.tracing = &telemetry.Tracing{}
	if got := s.newMemoryChecks().byPath; len(got) != 0 {
		t.Errorf("with traces: got %v, want none", got)
	}
}
