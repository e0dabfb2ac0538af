package loopback

import "testing"

func TestHost(t *testing.T) {
	t.Parallel()

	for host, want := range map[string]bool{
		"localhost":           true,
		"LocalHost":           true,
		"127.0.0.1":           true,
		"127.8.9.10":          true,
		"::1":                 true,
		"[::1]":               true,
		"::ffff:127.0.0.1":    true,
		"":                    false,
		"0.0.0.0":             false,
		"::":                  false,
		"127.1":               false,
		"10.0.0.1":            false,
		"app.localhost":       false,
		"localhost.":          false,
		"localhost.evil.test": false,
		"127.0.0.1.evil.test": false,
		"example.com":         false,
	} {
		if got := Host(host); got != want {
			t.Errorf("Host(%q) = %v, want %v", host, got, want)
		}
	}
}
