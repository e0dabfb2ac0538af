package httpapi_test

import (
	"maps"
	"net/http"
	"net/url"
	"testing"

	"latchkey/internal/apitest"
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
	})
}

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
		{"unlisted host", http.Header{"X-Forwarded-Host": {"evil.example"}}, signInPage},
		{"host with user", http.Header{"X-Forwarded-Host": {"app.example.com@evil.example"}}, signInPage},
		{"http", http.Header{"X-Forwarded-Proto": {"http"}}, signInPage},
		{"script URL", http.Header{"X-Forwarded-Proto": {"javascript"}}, signInPage},
		{"host in the path", http.Header{"X-Forwarded-Uri": {".evil.example/"}}, signInPage},
		{"user in the path", http.Header{"X-Forwarded-Uri": {"@evil.example/"}}, signInPage},
		{"backslash", http.Header{"X-Forwarded-Uri": {"\\@evil.example/"}}, signInPage},
		{"two slashes", http.Header{"X-Forwarded-Uri": {"//evil.example/"}}, returning(listedOrigin + "//evil.example/")},
		{"no URL", http.Header{"X-Forwarded-Proto": nil, "X-Forwarded-Host": nil, "X-Forwarded-Uri": nil}, signInPage},
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
		"no trusted proxy": {Origins: []string{listedOrigin}, SignInPage: signInPage},
		"other proxy":      {Origins: []string{listedOrigin}, SignInPage: signInPage, TrustedProxies: []string{"10.0.0.0/8"}},
		"no page":          {Origins: []string{listedOrigin}, TrustedProxies: []string{"127.0.0.0/8"}},
	} {
		a := apitest.New(t, o).NewClient().Send("GET", "/auth/verify?signin=redirect", opening("/"), nil).Want(401)
		if got := a.Header.Get("X-Auth-Sign-In-Url"); got != "" {
			t.Errorf("%s: got %q, want no sign-in page", what, got)
		}
	}

	// An outage is no reason to sign in.
	down := apitest.New(t, apitest.Options{
		Origins:        []string{listedOrigin},
		TrustedProxies: []string{"127.0.0.0/8"},
		SignInPage:     signInPage,
		Redis:          apitest.UnreachableRedis,
	})
	down.WithToken(ended.Token).Send("GET", "/auth/verify?signin=redirect", opening("/"), nil).Want(503)
}
