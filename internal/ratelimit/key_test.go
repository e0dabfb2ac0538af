package ratelimit

import (
	"strings"
	"testing"
)

var ipKeys = map[string]string{
	"192.0.2.1":                  "192.0.2.1",
	"::ffff:192.0.2.1":           "192.0.2.1", // otherwise every client would have two budgets
	"::ffff:c000:201":            "192.0.2.1",
	"::ffff:192.0.2.1%eth0":      "192.0.2.1",
	"2001:db8:1:2:3:4:5:6":       "2001:db8:1:2::/64",
	"2001:0DB8:1:2:ffff::1":      "2001:db8:1:2::/64",
	"2001:db8:1:3::1":            "2001:db8:1:3::/64",
	"fe80::1%eth0":               "fe80::/64",
	"fe80::2%" + long("z", 5000): "fe80::/64",
	"":                           "",
	"192.0.2.1, 198.51.100.1":    "192.0.2.1, 198.51.100.1",
	"192.0.2.01":                 "192.0.2.01",
	"\x00\r\n\xff":               "\x00\r\n\xff",
	long("x", 5000):              long("x", 64),
}

func TestIPKey(t *testing.T) {
	t.Parallel()

	for in, want := range ipKeys {
		if got := IPKey(in); got != want {
			t.Errorf("IPKey(%.80q) = %q, want %q", in, got, want)
		}
	}
}

// Whatever key the caller passes, the key in Redis is short and printable, and different keys
// stay different.
func TestRedisKey(t *testing.T) {
	t.Parallel()

	seen := map[string]string{}
	for in, unchanged := range map[string]bool{
		"login:ip:192.0.2.1":                     true,
		"login:ip:2001:db8:1:2::/64":             true,
		"login:account:" + AccountKey("a@b.com"): true,
		"login:account:" + AccountKey("b@b.com"): true,
		long("x", maxKey):                        true,
		long("x", maxKey+1):                      false,
		long("x", 1<<20):                         false,
		"":                                       false,
		"a b":                                    false,
		"a{b}":                                   false,
		"a}":                                     false,
		"\x00":                                   false,
		"\xff":                                   false,
		"ü":                                      false,
	} {
		got := redisKey(in)
		if !isSafe(got) {
			t.Errorf("redisKey(%.40q) = %q, want a short key in printable ASCII", in, got)
		}

		if strings.Contains(got, "@") {
			t.Errorf("redisKey(%.40q) = %q, want it not to contain an email", in, got)
		}
		if (got == "limit:{"+in+"}") != unchanged {
			t.Errorf("redisKey(%.40q) = %q, want the key unhashed: %t", in, got, unchanged)
		}

		if other, ok := seen[got]; ok {
			t.Errorf("redisKey(%.40q) = redisKey(%.40q) = %q, want different keys", in, other, got)
		}
		seen[got] = in
	}
}

func long(s string, n int) string { return strings.Repeat(s, n) }
