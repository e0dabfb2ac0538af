package ratelimit

import (
	"strings"
	"testing"
)

func TestAddressKey(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"192.0.2.1":                  "192.0.2.1",
		"::ffff:192.0.2.1":           "192.0.2.1", // else every client had two budgets
		"::ffff:c000:201":            "192.0.2.1",
		"::ffff:192.0.2.1%eth0":      "192.0.2.1",
		"2001:db8:1:2:3:4:5:6":       "2001:db8:1:2::/64",
		"2001:0DB8:1:2:ffff::1":      "2001:db8:1:2::/64",
		"2001:db8:1:3::1":            "2001:db8:1:3::/64",
		"2001:db8::":                 "2001:db8::/64",
		"::1":                        "::/64",
		"fe80::1%eth0":               "fe80::/64",
		"fe80::2%" + long("z", 5000): "fe80::/64",
		"":                           "",
		"unknown":                    "unknown",
		"192.0.2.1, 198.51.100.1":    "192.0.2.1, 198.51.100.1",
		"192.0.2.01":                 "192.0.2.01",
		"\x00\r\n\xff":               "\x00\r\n\xff",
		long("x", 5000):              long("x", 64),
	} {
		if got := AddressKey(in); got != want {
			t.Errorf("AddressKey(%.80q) = %q, want %q", in, got, want)
		}
	}
}

func TestAccountKey(t *testing.T) {
	t.Parallel()
	key := AccountKey("ann@example.com")
	if len(key) != 43 || strings.ContainsAny(key, "@.=+/") || key == AccountKey("bob@example.com") || key != AccountKey("ann@example.com") {
		t.Errorf("got %q", key)
	}
}

// A key in Redis is short and readable whatever the caller gives, and two keys of a
// caller's never become one.
func TestRedisKey(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for in, readable := range map[string]bool{
		"login:address:192.0.2.1":                true,
		"login:address:2001:db8:1:2::/64":        true,
		"login:account:" + AccountKey("a@b.com"): true,
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
		if (got == "limit:{"+in+"}") != readable || !plain(got[len("limit:{"):len(got)-1]) || len(got) > maxKey+10 {
			t.Errorf("redisKey(%.40q) = %q", in, got)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%.40q and %.40q are one key", in, other)
		}
		seen[got] = in
	}
}

func long(s string, n int) string { return strings.Repeat(s, n) }
