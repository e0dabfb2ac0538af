package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"latchkey/internal/origin"
	"latchkey/internal/returnto"
	"latchkey/internal/testkit"
)

// A sign-in redirects only to listed origins, however the URL is written and however
// browsers parse it.
func TestReturnTo(t *testing.T) {
	t.Parallel()

	o, err := newOrigins(origin.Trusted{Listed: []string{"https://app.example.com", "http://localhost:3001"}}, true)
	testkit.NoError(t, err)

	for given, want := range map[string]string{
		"":                                      "https://app.example.com/",
		"/":                                     "https://app.example.com/",
		"/settings?tab=1#top":                   "https://app.example.com/settings?tab=1#top",
		"/%2F%2Fevil.example":                   "https://app.example.com/%2F%2Fevil.example",
		"https://app.example.com":               "https://app.example.com/",
		"https://app.example.com?a=b":           "https://app.example.com/?a=b",
		"https://app.example.com#/route":        "https://app.example.com/#/route",
		"https://app.example.com/?next=//evil":  "https://app.example.com/?next=//evil",
		"https://app.example.com//evil.example": "https://app.example.com//evil.example",
		"http://localhost:3001/x":               "http://localhost:3001/x",

		"https://app.example.com/?error=access_denied": "", // which is ours to say
		"https://evil.example":                         "",
		"//evil.example":                               "",
		"/\\evil.example":                              "",
		"/\t/evil.example":                             "",
		" https://evil.example":                        "",
		"https:/evil.example":                          "",
		"http://app.example.com/":                      "", // not https
		"HTTPS://app.example.com/":                     "", // not as browsers write it
		"https://APP.example.com/":                     "",
		"https://app.example.com.evil.example/":        "",
		"https://app.example.comevil.example/":         "",
		"https://app.example.com@evil.example/":        "",
		"https://app.example.com%2eevil.example/":      "",
		"https://app.example.com\\.evil.example/":      "",
		"https://app.example.com\\@evil.example/":      "",
		"https://evil.example\\@app.example.com/":      "",
		"https://user@app.example.com/":                "",
		"https://sub.app.example.com/":                 "",
		"http://localhost/":                            "",
		"http://localhost:30011/":                      "",
		"javascript:alert(1)":                          "",
		"settings":                                     "",
		"https://app.example.com/\r\nSet-Cookie: a=b":  "",
		"https://app.example.com/%zz":                  "",
		"https://app.example.com/é":                    "",
		"https://аpp.example.com/":                     "", // with a Cyrillic a
		"/" + strings.Repeat("a", returnto.MaxLength):  "",
	} {
		to, ok := o.returnTo(given)
		if to != want || ok != (want != "") {
			t.Errorf("returnTo(%q) = %q, %v, want %q", given, to, ok, want)
		}
	}

	for to, want := range map[string]string{
		"https://app.example.com/":            "https://app.example.com/?error=access_denied",
		"https://app.example.com/?a=b&c#/x":   "https://app.example.com/?a=b&c&error=access_denied#/x",
		"https://app.example.com/?a=%26error": "https://app.example.com/?a=%26error&error=access_denied",
		"https://app.example.com/?a=1;b=%zz":  "https://app.example.com/?a=1;b=%zz&error=access_denied",
	} {
		if got := returnto.WithError(to, "access_denied"); got != want {
			t.Errorf("returnto.WithError(%q) = %q, want %q", to, got, want)
		}
	}
}

// During development a sign-in also redirects to local pages on any port, and links on them may start
// one.
func TestLocalPages(t *testing.T) {
	t.Parallel()

	for _, loopback := range []bool{true, false} {
		o, err := newOrigins(origin.Trusted{Listed: []string{"http://localhost:3001"}, Loopback: loopback}, false)
		testkit.NoError(t, err)

		for given, isLocal := range map[string]bool{
			"http://localhost:5173":                 true,
			"http://localhost:5173/settings?a=b":    true,
			"http://127.0.0.1:5173/#/route":         true,
			"http://[::1]:5173/":                    true,
			"http://localhost:5173@evil.example":    false,
			"http://localhost:5173.evil.example":    false,
			"http://localhost.evil.example/":        false,
			"http://evil.example/http://[::1]:1":    false,
			"https://localhost:5173/":               false,
			"http://localhost:5173\\@evil.example/": false,
		} {
			if _, ok := o.returnTo(given); ok != (isLocal && loopback) {
				t.Errorf("returnTo(%q), loopback %v: got allowed %v, want %v", given, loopback, ok, isLocal && loopback)
			}

			r, _ := http.NewRequest(http.MethodGet, "/auth/google", nil)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Referer", given)
			if got := o.isForeign(r); isLocal && got == loopback {
				t.Errorf("a link on %s, loopback %v: got foreign %v, want %v", given, loopback, got, !loopback)
			}
		}
	}
}

// A server behind TLS does not accept its own origin with http.
func TestDowngradedOrigin(t *testing.T) {
	t.Parallel()

	o, err := newOrigins(origin.Trusted{}, true)
	testkit.NoError(t, err)

	for _, tc := range []struct {
		origin, host string
		want         bool
	}{
		{"https://api.example.com", "api.example.com", true},
		{"http://api.example.com", "api.example.com", false},
		{"https://api.example.com", "api.example.com:8443", false},
		{"http://localhost:3000", "localhost:3000", true},
		{"http://[::1]:3000", "[::1]:3000", true},
		{"ftp://localhost:3000", "localhost:3000", false},
	} {
		r, _ := http.NewRequest(http.MethodPost, "/", nil)
		r.Host = tc.host
		r.Header.Set("Origin", tc.origin)
		if got := o.allows(r); got != tc.want {
			t.Errorf("origin %s at host %s: got accepted %v, want %v", tc.origin, tc.host, got, tc.want)
		}
	}
}
