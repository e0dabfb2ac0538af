package webguard

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestOwnHost(t *testing.T) {
	t.Parallel()

	for host, want := range map[string]bool{
		"localhost":                    true,
		"localhost:9090":               true,
		"127.0.0.1:9090":               true,
		"10.1.2.3":                     true,
		"[::1]:9090":                   true,
		"[fe80::1%25eth0]:9090":        true,
		"api:9090":                     true,
		"":                             true,
		"ops.example.com":              true,
		"OPS.example.com:9090":         true,
		"ops.example.com.evil.example": false,
		"evil.example":                 false,
		"evil.example:9090":            false,
		"localhost.evil.example":       false,
		"127.0.0.1.evil.example:9090":  false,
		"evil.example.":                false,
		"com.":                         false,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.Host = host
		if got := OwnHost(r, "ops.example.com"); got != want {
			t.Errorf("OwnHost(%q) = %v, want %v", host, got, want)
		}
	}
}

func TestCrossSite(t *testing.T) {
	t.Parallel()

	for _, tc := range []struct {
		site   string
		origin []string
		want   bool
	}{
		{"", nil, false},
		{"none", nil, false},
		{"same-origin", []string{"http://localhost:9090"}, false},
		{"", []string{"http://LOCALHOST:9090"}, false},
		{"same-site", nil, true},
		{"cross-site", nil, true},
		{"something new", nil, true},
		{"", []string{"http://localhost:3000"}, true},
		{"", []string{"https://evil.example"}, true},
		{"", []string{"null"}, true},
		{"", []string{""}, true},
		{"", []string{"http://localhost:9090", "https://evil.example"}, true},
		{"same-origin", []string{"https://evil.example"}, true},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.Host = "localhost:9090"
		if tc.site != "" {
			r.Header.Set("Sec-Fetch-Site", tc.site)
		}
		r.Header["Origin"] = tc.origin
		if got := CrossSite(r); got != tc.want {
			t.Errorf("CrossSite with Sec-Fetch-Site %q and Origin %q = %v, want %v", tc.site, tc.origin, got, tc.want)
		}
	}
}
