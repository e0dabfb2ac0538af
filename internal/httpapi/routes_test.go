package httpapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-chi/chi/v5"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/oauth"
)

// someProviders is one that nobody answers for.
var someProviders = []oauth.Settings{{
	Kind: oauth.OIDC, Name: "some", Title: "Some", Issuer: "http://127.0.0.1:1", ClientID: "us",
	Scopes: []string{"openid"}, CallbackURL: "http://127.0.0.1/auth/some/callback",
}}

// routesOf lists the routes of the server as "METHOD /path".
func routesOf(t *testing.T) []string {
	t.Helper()
	var routes []string
	api, err := New(nil, nil, nil, Options{Providers: oauth.New(nil, someProviders, oauth.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	err = chi.Walk(api.handler.(chi.Routes), func(method, path string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		routes = append(routes, method+" "+strings.Replace(path, "/auth/some", "/auth/{provider}", 1))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return routes
}

// Every route outside the public list answers a stranger with 401; every entry of
// the list is a route.
func TestPublicList(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{providers: someProviders})
	routes := routesOf(t)
	for name := range public {
		if !slices.Contains(routes, name) {
			t.Errorf("%s is public and no route", name)
		}
	}
	for _, name := range routes {
		method, path, _ := strings.Cut(strings.Replace(name, "{provider}", "some", 1), " ")
		if _, open := public[name]; open {
			if a := s.client().do(method, strings.TrimSuffix(path, "*"), nil); a.status == 401 {
				t.Errorf("%s is public and answers 401", name)
			}
			continue
		}
		for _, token := range []string{"", "garbage", strings.Repeat("A", 43), strings.Repeat("A", 42) + "B"} {
			c := &client{site: s, token: token}
			a := c.do(method, path, nil).wantCode(401, "not_authenticated")
			if a.text("message") != "Please login to continue" {
				t.Errorf("%s says %q", name, a.text("message"))
			}
			if sent := token != ""; sent != (a.cookie != nil) {
				t.Errorf("%s with cookie %q: Set-Cookie %v", name, token, a.cookie)
			}
			if authenticated, given := a.body["authenticated"]; given != (path == "/auth/session") || given && authenticated != false {
				t.Errorf("%s: %s", name, a.raw)
			}
		}
	}
}

// The document has every route and no other, and says truly which need a session.
func TestContractListsRoutes(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	routes := routesOf(t)
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			name := method + " " + path
			if !slices.Contains(routes, name) {
				t.Errorf("%s is in the document and no route", name)
			}
			open := op.Security != nil && len(*op.Security) == 0
			if _, listed := public[name]; open != listed {
				t.Errorf("%s: public is %v, the document says %v", name, listed, open)
			}
		}
	}
	for _, name := range routes {
		method, path, _ := strings.Cut(name, " ")
		if item := doc.Paths.Find(path); path != "/docs/*" && (item == nil || item.GetOperation(method) == nil) {
			t.Errorf("%s is a route and not in the document", name)
		}
	}
}

// The codes of a failure are a closed list, and it is the one in the document.
func TestContractListsCodes(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]bool{"invalid_json": true, "validation_failed": true, "not_ready": true}
	for _, f := range []*failure{errNoRoute, errMethodNotAllowed, errTooLarge, errNotJSON, errInternal, errCrossOrigin, errLengthRequired, errTooManyHeaders, errTooMany, errStepUp, errWrongAccount, errNotNavigation, weakPassword("", &auth.WeakPasswordError{})} {
		codes[f.code] = true
	}
	for _, row := range failures {
		codes[row.code] = true
	}
	listed := doc.Components.Schemas["Problem"].Value.Properties["code"].Value.Enum
	for _, code := range listed {
		if !codes[code.(string)] {
			t.Errorf("%v is in the document and no code", code)
		}
		delete(codes, code.(string))
	}
	for code := range codes {
		t.Errorf("%s is a code and not in the document", code)
	}
}

// So are the names of security events.
func TestContractListsEvents(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	var listed []activity.Name
	for _, name := range doc.Components.Schemas["Event"].Value.Properties["event"].Value.Enum {
		listed = append(listed, activity.Name(name.(string)))
	}
	if !slices.Equal(listed, activity.Names) {
		t.Errorf("the document has %v, the server %v", listed, activity.Names)
	}
}

func TestOtherMethods(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{providers: someProviders})
	allow := map[string][]string{}
	for _, name := range routesOf(t) {
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
			a := s.signIn().do(method, path, nil).want(405)
			if got := strings.Split(a.header.Get("Allow"), ", "); len(got) != len(methods) || !slices.Contains(got, methods[0]) {
				t.Errorf("%s %s: Allow is %q, want %v", method, path, a.header.Get("Allow"), methods)
			}
		}
	}
	s.client().do("JUNK", "/nothing", nil).wantCode(404, "not_found")
	for _, path := range []string{"/", "/auth", "/auth/me/", "/auth/me/x.css", "/profile;.css", "/.git/config", "/debug/pprof", "/docs/../x", "/docs/swagger-ui.js"} {
		s.signIn().do("GET", path, nil).wantCode(404, "not_found")
	}
}

func TestHead(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	get, head := s.client().do("GET", "/healthz", nil).want(200), s.client().do("HEAD", "/healthz", nil).want(200)
	if len(head.raw) != 0 || head.header.Get("Content-Length") != get.header.Get("Content-Length") {
		t.Errorf("HEAD answers %d bytes, Content-Length %s", len(head.raw), head.header.Get("Content-Length"))
	}
	s.client().do("HEAD", "/auth/me", nil).want(401)
}

func TestDocs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	page := string(s.client().do("GET", "/docs", nil).want(200).raw)
	for _, part := range strings.Split(page, `"`) {
		if strings.Contains(part, "//") {
			t.Errorf("the page loads %q from elsewhere", part)
		}
		if strings.HasPrefix(part, "/") {
			s.client().do("GET", part, nil).want(200)
		}
	}
	for path, want := range map[string][]byte{"/openapi.json": openAPI, "/postman.json": postman} {
		if got := s.client().do("GET", path, nil).want(200).raw; string(got) != string(want) || !json.Valid(got) {
			t.Errorf("%s is not the document", path)
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if a := s.client().do("GET", "/readyz", nil).want(200); a.text("stores", "redis") != "ok" || a.text("stores", "mongodb") != "ok" {
		t.Errorf("ready says %s", a.raw)
	}
	s.client().do("GET", "/healthz", nil).want(200)
}

// A panic is an answer like every other failure, with the reason in the log only.
func TestPanic(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	broken := &Server{log: newLogger(s.log), cookie: s.cookie, now: time.Now}
	h := identify(secureHeaders(false)(broken.handle(func(http.ResponseWriter, *http.Request) error { panic("a secret reason") })))
	r := chi.NewRouter()
	r.Handle("/*", h)
	s.url = listen(t, r)
	a := s.client().do("GET", "/auth/me", nil).wantCode(500, "internal")
	if strings.Contains(string(a.raw), "secret") || !strings.Contains(s.log.String(), "a secret reason") {
		t.Errorf("answer %s, log %s", a.raw, s.log)
	}
}
