package httpapi

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/oauth"
	"latchkey/internal/origin"
	"latchkey/internal/pages"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
)

// newPages returns a server with built-in pages and without stores.
func newPages(t *testing.T, log *testkit.Buffer, origins ...string) *Server {
	t.Helper()

	api, err := New(nil, auth.New(nil, nil, nil, auth.Options{}), nil, Options{
		Cookie:    Cookie{Name: "sid"},
		Origins:   origin.Trusted{Listed: origins},
		Providers: oauth.New(nil, nil, SomeProviders, oauth.Options{}),
		Pages:     &Pages{PublicURL: "https://id.example.com/auth-server"},
		Log:       slog.New(slog.NewTextHandler(log, nil)),
		Now:       time.Now,
	})
	testkit.NoError(t, err)

	return api
}

// The pages are public rows of the table, and exist only if they are on.
func TestPageRoutes(t *testing.T) {
	t.Parallel()

	api := newPages(t, &testkit.Buffer{})
	for _, rt := range api.pageRoutes() {
		if rt.access != public || !strings.HasPrefix(rt.pattern, "GET ") || rt.operation.id != "" {
			t.Errorf("%s: got %+v, want a public GET route that is not documented", rt.pattern, rt)
		}
	}

	for _, path := range pages.Paths {
		if res := requestDocs(api, "GET", path); res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("GET %s: got status %d, want a page", path, res.StatusCode)
		}
		if res := requestDocs(api, "POST", path); res.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: got status %d, want 405", path, res.StatusCode)
		}
		if res := requestDocs(apiWithoutStores(), "GET", path); res.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s without pages: got status %d, want 404", path, res.StatusCode)
		}
	}

	for _, path := range []string{"/pages/x/none.js", "/pages/", "/signin/"} {
		res := requestDocs(api, "GET", path)
		if res.StatusCode != http.StatusNotFound || res.Header.Get("Content-Type") != "application/problem+json; charset=utf-8" {
			t.Errorf("GET %s: got status %d with type %s, want a problem document", path, res.StatusCode, res.Header.Get("Content-Type"))
		}
	}
	if res := requestDocs(api, "GET", "/", "Accept", "text/html"); res.Header.Get("Location") != "account" {
		t.Errorf("GET / in a browser: got %q, want the account", res.Header.Get("Location"))
	}
}

// With pages, a browser may also return to the origin of the pages. A path belongs to the first
// FRONTEND_URL.
func TestReturnToPages(t *testing.T) {
	t.Parallel()

	withApp := newPages(t, &testkit.Buffer{}, "https://app.example.com")
	alone := newPages(t, &testkit.Buffer{})
	for _, test := range []struct {
		api         *Server
		given, want string
	}{
		{withApp, "", "https://app.example.com/"},
		{withApp, "/x", "https://app.example.com/x"},
		{withApp, "https://id.example.com/auth-server/account", "https://id.example.com/auth-server/account"},
		{withApp, "https://id.example.com.evil.example/", ""},
		{alone, "", "https://id.example.com/"},
		{alone, "/x", "https://id.example.com/x"},
		{alone, "https://evil.example/", ""},

		// Pages go on without a click, and a click is what keeps other websites from starting a sign-in.
		{alone, "/auth-server/auth/some", ""},
		{alone, "/auth-server/auth/some?prompt=login", ""},
		{alone, "/auth-server/%61uth/some", ""},
		{alone, "/auth-server/x/../auth/some", ""},
		{alone, "/auth-server/x/%2E%2e/auth/some", ""},
		{alone, "/auth-server/x%2f..%2fauth/some", ""},
		{alone, "/auth-server//auth/some", ""},
		{alone, "/auth-server/./auth/some", ""},
		{withApp, "https://id.example.com/auth-server/auth/some", ""},
		{alone, "/auth-server/auth", "https://id.example.com/auth-server/auth"},
		{alone, "/auth/x", "https://id.example.com/auth/x"},
		{withApp, "/auth-server/auth/some", "https://app.example.com/auth-server/auth/some"},
		{withApp, "/x%2fy//z/..", "https://app.example.com/x%2fy//z/.."},
	} {
		if got, _ := test.api.origins.returnTo(test.given); got != test.want {
			t.Errorf("%q with FRONTEND_URL %v: got %q, want %q", test.given, test.api.origins.trusted.Listed, got, test.want)
		}
	}

	if got, want := alone.failurePage(), "https://id.example.com/auth-server/signin"; got != want {
		t.Errorf("page for failures: got %s, want %s", got, want)
	}
	if got, want := apiWithoutStores().failurePage(), apiWithoutStores().origins.home(); got != want {
		t.Errorf("page for failures without pages: got %s, want %s", got, want)
	}

	html := string(readAll(t, requestDocs(withApp, "GET", "/signin?return_to=https://app.example.com/private")))
	if !strings.Contains(html, `data-home="https://app.example.com/private"`) || !strings.Contains(html, `data-provider="some"`) {
		t.Errorf("sign-in page: got\n%s\nwant the URL to return to, and the provider", html)
	}
}

// If the pages are opened at another host, the operator learns it once.
func TestPagesAtAnotherURL(t *testing.T) {
	t.Parallel()

	var log testkit.Buffer
	api := newPages(t, &log)
	for _, host := range []string{"https://id.example.com", "https://other.example", "https://third.example"} {
		readAll(t, requestDocs(api, "GET", host+"/signin"))
		if isOwn := strings.Contains(host, "id."); isOwn == strings.Contains(log.String(), "built-in page opened at a host other than") {
			t.Errorf("%s: got log %s", host, &log)
		}
	}
	if n := strings.Count(log.String(), "a host other than"); n != 1 {
		t.Errorf("got %d warnings, want one", n)
	}
}

// The pages have a text for every code, every reason and every event of the API.
func TestPagesExplainEverything(t *testing.T) {
	t.Parallel()

	api := newPages(t, &testkit.Buffer{})
	script := string(readAll(t, requestDocs(api, "GET", "/pages/x/texts.en.js")))
	var texts map[string]string
	testkit.NoError(t, json.Unmarshal([]byte(strings.TrimSuffix(strings.TrimPrefix(script, "export default "), ";\n")), &texts))

	var document struct {
		Components struct {
			Schemas map[string]struct {
				Enum       []string
				Properties map[string]struct {
					Enum []string
				}
			}
		}
	}
	testkit.NoError(t, json.Unmarshal(OpenAPI(), &document))
	problemSchema := document.Components.Schemas["Problem"].Properties
	fieldSchema := document.Components.Schemas["FieldError"].Properties

	want := map[string][]string{
		"error":  append(slices.Clone(problemSchema["code"].Enum), document.Components.Schemas[redirectSchema].Enum...),
		"field":  fieldSchema["code"].Enum,
		"reason": {},
		"event":  {},
	}
	for _, reason := range session.Reasons {
		want["reason"] = append(want["reason"], string(reason))
	}
	for _, name := range activity.Names {
		want["event"] = append(want["event"], string(name))
	}

	for kind, codes := range want {
		if len(codes) < 10 {
			t.Errorf("%s: got only the codes %v", kind, codes)
		}
		for _, code := range codes {
			if texts[kind+"."+code] == "" {
				t.Errorf("%s.%s has no text", kind, code)
			}
		}
		for key := range texts {
			code, ok := strings.CutPrefix(key, kind+".")
			if ok && !slices.Contains(codes, code) && regexp.MustCompile(`^[a-z_]+$`).MatchString(code) && code != "other" && code != "network_error" {
				t.Errorf("%s is about a code that the API does not have", key)
			}
		}
	}
}
