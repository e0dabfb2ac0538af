package device

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// devices maps User-Agent headers to device names.
var devices = map[string]string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36":                         "Chrome 141 on Windows",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0":           "Edge 141 on Windows",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1": "Safari 26 on iOS",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0":                                                        "Firefox 143 on Windows",
	"curl/8.5.0": "curl 8",
	"":           "Unknown device",
	"\x00\n\xff": "\ufffd",
}

func TestName(t *testing.T) {
	t.Parallel()

	for ua, want := range devices {
		if got := Name(ua); got != want {
			t.Errorf("Name(%q): got %q, want %q", ua, got, want)
		}
	}
}

func FuzzName(f *testing.F) {
	for ua := range devices {
		f.Add(ua)
	}

	f.Add("Mozilla/5.0 (\nuser=v; Linux) Gecko/1 Firefox/1.\nuser=v")
	f.Fuzz(func(t *testing.T, ua string) {
		if name := Name(ua); strings.ContainsAny(name, "\r\n\x00") || len(name) > maxName || !utf8.ValidString(name) {
			t.Errorf("Name(%q): got %q, want short valid UTF-8 without line breaks", ua, name)
		}
	})
}
