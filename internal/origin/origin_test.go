package origin

import (
	"net/url"
	"testing"

	"latchkey/internal/testkit"
)

func TestOf(t *testing.T) {
	t.Parallel()

	for given, want := range map[string]string{
		"https://app.example.com":            "https://app.example.com",
		"https://APP.Example.com:443/login":  "https://app.example.com",
		"https://app.example.com:0443":       "https://app.example.com",
		"http://app.example.com:443":         "http://app.example.com:443",
		"https://app.example.com:0":          "",
		"https://app.example.com:00":         "",
		"http://localhost:3001":              "http://localhost:3001",
		"https://b\u00fccher.example":        "https://xn--bcher-kva.example",
		"https://B\u00dcCHER.example:8443/x": "https://xn--bcher-kva.example:8443",
		"https://xn--bcher-kva.example":      "https://xn--bcher-kva.example",
		"http://[::1]:80":                    "http://[::1]",
		"http://[0:0:0:0:0:0:0:1]:3001":      "http://[::1]:3001",
		"http://127.0.0.1":                   "http://127.0.0.1",
		"http://127.1":                       "", // browsers write 127.0.0.1
		"http://0x7f.1":                      "",
		"http://[::ffff:1.2.3.4]":            "",
		"http://a b.example":                 "",
	} {
		u, err := url.Parse(given)
		if err != nil && want == "" {
			continue
		}
		testkit.NoError(t, err)

		got, ok := Of(u)
		if got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %v; want %q", given, got, ok, want)
		}
	}
}
