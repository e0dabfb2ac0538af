package httpapi_test

import (
	"maps"
	"net/http"
	"net/url"
	"testing"

	"latchkey/internal/apitest"
	"latchkey/internal/httpapi"
)

const signInPage = "https://auth.example.com/signin"

// opening are the headers with which a proxy asks about a browser that opens a page.
func opening(uri string) http.Header {
	return http.Header{
		"X-Forwarded-Method": {"GET"},
		"X-Forwarded-Proto":  {"https"},
		"X-Forwarded-Host":   {"app.example.com"},
		"X-Forwarded-Uri":    {uri},
		"Sec-Fetch-Dest":     {"document"},
	}
}

func signInServer(t *testing.T) *apitest.Server {
	return apitest.New(t, apitest.Options{
		Origins:        []string{listedOrigin},
		TrustedProxies: []string{"127.0.0.0/8"},
		SignInPage:     signInPage,
		Cookie:         domainCookie,
	})
}

var domainCookie = httpapi.Cookie{Name: "sid", Domain: "example.com", SameSite: http.SameSiteLaxMode}

// A proxy learns where a signed-out browser can sign in and return.
func TestVerifyOffersSignIn(t *testing.T) {
	t.Parallel()

	s := signInServer(t)
	returning := func(to string) string { return signInPage + "?return_to=" + url.QueryEscape(to) }

	for _, test := range []struct {
		what   string
		change http.Header // a header without values is not sent
		want   string
	}{
		{"page", nil, returning(listedOrigin + "/a?b=1&c=%26#d")},
		{"HEAD", http.Header{"X-Forwarded-Method": {"HEAD"}}, returning(listedOrigin + "/a?b=1&c=%26#d")},
		{"old browser", http.Header{"Sec-Fetch-Dest": nil, "Accept": {"text/html,*/*;q=0.8"}}, returning(listedOrigin + "/a?b=1&c=%26#d")},

		{"script", http.Header{"Sec-Fetch-Dest": {"empty"}, "Accept": {"text/html"}}, ""},
		{"frame", http.Header{"Sec-Fetch-Dest": {"iframe"}}, ""},
		{"image", http.Header{"Sec-Fetch-Dest": {"image"}}, ""},
		{"program", http.Header{"Sec-Fetch-Dest": nil, "Accept": {"*/*"}}, ""},
		{"form", http.Header{"X-Forwarded-Method": {"POST"}}, ""},
		{"proxy without the headers", http.Header{"X-Forwarded-Method": nil}, ""},

		// A browser only returns to the origins in FRONTEND_URL.
		{"unlisted host", http.Header{"X-Forwarded-Host": {"other.example.com"}}, signInPage},
		{"host with user", http.Header{"X-Forwarded-Host": {"app.example.com@example.com"}}, signInPage},
		{"http", http.Header{"X-Forwarded-Proto": {"http"}}, signInPage},
		{"script URL", http.Header{"X-Forwarded-Proto": {"javascript"}}, signInPage},
		{"host in the path", http.Header{"X-Forwarded-Uri": {".evil.example/"}}, ""},
		{"user in the path", http.Header{"X-Forwarded-Uri": {"@evil.example/"}}, ""},
		{"backslash", http.Header{"X-Forwarded-Uri": {"\\@evil.example/"}}, ""},
		{"two slashes", http.Header{"X-Forwarded-Uri": {"//evil.example/"}}, returning(listedOrigin + "//evil.example/")},
		{"no path", http.Header{"X-Forwarded-Uri": nil}, returning(listedOrigin + "/")},

		// The sign-in page and a host without the cookie would send users to each other.
		{"another domain", http.Header{"X-Forwarded-Host": {"evil.example"}}, ""},
		{"similar domain", http.Header{"X-Forwarded-Host": {"app.evilexample.com"}}, ""},
		{"no host", http.Header{"X-Forwarded-Host": nil}, ""},
	} {
		header := opening("/a?b=1&c=%26#d")
		maps.Copy(header, test.change)

		a := s.NewClient().Send("GET", "/auth/verify", header, nil).WantCode(401, "not_authenticated")
		if got := a.Header.Get("X-Auth-Sign-In-Url"); got != test.want {
			t.Errorf("%s: got %q, want %q", test.what, got, test.want)
		}
		if got := a.Header.Get("Location"); got != "" {
			t.Errorf("%s: got Location %q, want none", test.what, got)
		}

		// Some proxies pass on the response as it is.
		a = s.NewClient().Send("GET", "/auth/verify?signin=redirect", header, nil)
		want := http.StatusFound
		if test.want == "" {
			want = http.StatusUnauthorized
		}
		if got := a.Header.Get("Location"); a.Status != want || got != test.want {
			t.Errorf("%s with signin=redirect: got %d to %q, want %d to %q", test.what, a.Status, got, want, test.want)
		}
	}
}

// Only a signed-out browser behind a trusted proxy is sent to the sign-in page.
func TestVerifyRedirectsOnlySignedOut(t *testing.T) {
	t.Parallel()

	s := signInServer(t)
	c := s.Register("ann@example.com")
	a := c.Send("GET", "/auth/verify?signin=redirect", opening("/"), nil).Want(200)
	if got := a.Header.Get("X-Auth-Sign-In-Url"); got != "" {
		t.Errorf("signed in: got %q, want no sign-in page", got)
	}

	ended := c.Clone()
	c.Do("POST", "/auth/logout", nil).Want(200)
	ended.Send("GET", "/auth/verify?signin=redirect", opening("/"), nil).Want(302)

	for what, o := range map[string]apitest.Options{
		"no trusted proxy": {Origins: []string{listedOrigin}, SignInPage: signInPage, Cookie: domainCookie},
		"other proxy":      {Origins: []string{listedOrigin}, SignInPage: signInPage, Cookie: domainCookie, TrustedProxies: []string{"10.0.0.0/8"}},
		"no page":          {Origins: []string{listedOrigin}, Cookie: domainCookie, TrustedProxies: []string{"127.0.0.0/8"}},
		"no COOKIE_DOMAIN": {Origins: []string{listedOrigin}, SignInPage: signInPage, TrustedProxies: []string{"127.0.0.0/8"}},
	} {
		a := apitest.New(t, o).NewClient().Send("GET", "/auth/verify?signin=redirect", opening("/"), nil).Want(401)
		if got := a.Header.Get("X-Auth-Sign-In-Url"); got != "" {
			t.Errorf("%s: got %q, want no sign-in page", what, got)
		}
	}

	// Without COOKIE_DOMAIN, the page and the application can share a host.
	same := apitest.New(t, apitest.Options{
		Origins:        []string{listedOrigin},
		TrustedProxies: []string{"127.0.0.0/8"},
		SignInPage:     listedOrigin + "/signin",
	})
	same.NewClient().Send("GET", "/auth/verify?signin=redirect", opening("/"), nil).Want(302)

	// An outage is no reason to sign in.
	down := apitest.New(t, apitest.Options{
		Origins:        []string{listedOrigin},
		TrustedProxies: []string{"127.0.0.0/8"},
		SignInPage:     signInPage,
		Cookie:         domainCookie,
		Redis:          apitest.UnreachableRedis,
	})
	down.WithToken(ended.Token).Send("GET", "/auth/verify?signin=redirect", opening("/"), nil).Want(503)
}
