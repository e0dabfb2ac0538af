package ratelimit

import (
	"net/netip"
	"strings"
	"testing"
)

// One client has one key, however its address is written, and nothing that a client sends
// makes a key that is long, that names another slot of a cluster, or that is somebody
// else's.
func FuzzKeys(f *testing.F) {
	for _, ip := range []string{"192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8:0:0:ffff::", "fe80::1%eth0", "", "}{", "a\r\nFLUSHALL", strings.Repeat("x", 200), "sha256:x"} {
		f.Add(ip, "192.0.2.1")
		f.Add(ip, ip+" ")
	}
	f.Fuzz(func(t *testing.T, one, other string) {
		a, b := AddressKey(one), AddressKey(other)
		for _, key := range []string{redisKey(a), redisKey(one), redisKey(AccountKey(one))} {
			inner, ok := strings.CutPrefix(key, "limit:{")
			inner, end := strings.CutSuffix(inner, "}")
			if !ok || !end || inner == "" || len(inner) > maxKey || strings.ContainsAny(inner, "{}") || strings.ContainsFunc(inner, func(r rune) bool { return r <= ' ' || r > '~' }) {
				t.Errorf("%q has the key %q", one, key)
			}
		}
		first, err := netip.ParseAddr(one)
		second, otherErr := netip.ParseAddr(other)
		if err == nil {
			if again := AddressKey(first.Unmap().WithZone("").StringExpanded()); again != a {
				t.Errorf("%s is %s, and spelled out %s", one, a, again)
			}
		}
		if err == nil && otherErr == nil {
			same := first.Unmap().WithZone("") == second.Unmap().WithZone("")
			near := first.Unmap().Is6() && second.Unmap().Is6() && netip.PrefixFrom(first.Unmap().WithZone(""), 64).Masked() == netip.PrefixFrom(second.Unmap().WithZone(""), 64).Masked()
			if (a == b) != (same || near) {
				t.Errorf("%s and %s are %s and %s", one, other, a, b)
			}
		}
		if (redisKey(one) == redisKey(other)) != (one == other) {
			t.Errorf("%q and %q share the key %s", one, other, redisKey(one))
		}
	})
}
