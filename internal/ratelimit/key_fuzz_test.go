package ratelimit

import (
	"net/netip"
	"strings"
	"testing"
)

// All spellings of an IP have the same key. No client input produces a long key, a key that
// changes the slot in a cluster, or another client's key.
func FuzzKeys(f *testing.F) {
	for ip := range ipKeys {
		f.Add(ip, "192.0.2.1")
		f.Add(ip, ip+" ")
	}
	f.Add("}{", "sha256:x")

	f.Fuzz(func(t *testing.T, a, b string) {
		keyA := IPKey(a)
		keyB := IPKey(b)

		for _, key := range []string{redisKey(keyA), redisKey(a), redisKey(AccountKey(a))} {
			if !isSafe(key) {
				t.Errorf("got Redis key %q for %q, want a short key in printable ASCII", key, a)
			}
		}

		if (redisKey(a) == redisKey(b)) != (a == b) {
			t.Errorf("got Redis keys %s and %s for %q and %q, want equal keys only for equal input",
				redisKey(a), redisKey(b), a, b)
		}

		ipA, errA := netip.ParseAddr(a)
		if errA != nil {
			return
		}

		ipA = ipA.Unmap().WithZone("")
		if got := IPKey(ipA.StringExpanded()); got != keyA {
			t.Errorf("IPKey(%s): got %s, want %s, as for %s", ipA.StringExpanded(), got, keyA, a)
		}

		ipB, errB := netip.ParseAddr(b)
		if errB != nil {
			return
		}

		ipB = ipB.Unmap().WithZone("")
		sameNetwork := ipA.Is6() && ipB.Is6() && netip.PrefixFrom(ipA, 64).Masked() == netip.PrefixFrom(ipB, 64).Masked()
		if want := ipA == ipB || sameNetwork; (keyA == keyB) != want {
			t.Errorf("got keys %s and %s for %s and %s, want equal keys: %t", keyA, keyB, a, b, want)
		}
	})
}

// isSafe reports whether a Redis key is short and printable and has exactly one hash tag, so that
// input cannot change its slot.
func isSafe(key string) bool {
	inner, hasPrefix := strings.CutPrefix(key, "limit:{")
	inner, hasSuffix := strings.CutSuffix(inner, "}")
	unsafe := func(r rune) bool { return r <= ' ' || r > '~' || r == '{' || r == '}' }

	return hasPrefix && hasSuffix && inner != "" && len(inner) <= maxKey && !strings.ContainsFunc(inner, unsafe)
}
