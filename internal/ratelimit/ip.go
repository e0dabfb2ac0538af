package ratelimit

import (
	"context"
	"net/netip"
)

// maxInvalidIP is the maximum length of an IPKey for text that is not an IP, in bytes.
const maxInvalidIP = 64

// IPKey returns the key for the client at an IP. For IPv6 it is the /64 prefix: a customer
// usually gets at least a /64, and could use each of its 2^64 IPs as a new client. IPv4 in
// IPv6 notation counts as IPv4, and zones are ignored. Text that is not an IP is returned
// as it is, truncated to 64 bytes.
func IPKey(ip string) string { return ipKey(ip, 64) }

// NetworkKey is like IPKey, but returns the /48 prefix of an IPv6 IP, which is the largest network
// that a customer usually gets.
func NetworkKey(ip string) string { return ipKey(ip, 48) }

func ipKey(ip string, bits int) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ip[:min(len(ip), maxInvalidIP)]
	}

	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}

	return prefix(addr, bits)
}

// networks lists the prefix lengths of the IPv6 networks that share a budget, and the size of that
// budget as a multiple of a single client's. A customer usually gets at least a /64, often a /56, and
// a /48 on request (RFC 6177): without the last two, one customer could have 65,536 budgets.
//
// IPv4 has no such networks. Neighbors in a /24 are usually unrelated customers, and IPv4 costs
// money, so few attackers have many IPs.
var networks = [maxLimits]struct{ bits, factor int }{{64, 1}, {56, 8}, {48, 32}}

// TakeIP counts one event of the client at an IP, like Take. The rule limits the client, which for
// IPv6 is its /64 network. The budgets of the /56 and the /48 around it are 8 and 32 times that of
// base, but at least that of rule. base must not be larger than rule. If one of the three budgets
// refuses an event, the event counts against none of them. TakeIP returns the budget that will be
// used up first.
//
// Errors: redisconn.ErrUnavailable; the event may have been counted.
func (l *Limiter) TakeIP(ctx context.Context, key, ip string, rule, base Rule) (Budget, error) {
	addr, err := netip.ParseAddr(ip)
	if err != nil || addr.Unmap().Is4() || rule.Unlimited() {
		return l.Take(ctx, key+":"+IPKey(ip), rule)
	}

	var limits []limit
	for _, n := range networks {
		network := Rule{Events: max(rule.Events, n.factor*base.Events), Window: rule.Window}
		limits = append(limits, limit{name: ":" + prefix(addr, n.bits), rule: network})
	}

	site := networks[len(networks)-1].bits
	budgets, err := l.takeAll(ctx, key+":"+prefix(addr, site), limits)
	if err != nil {
		return Budget{}, err
	}

	tightest := budgets[0]
	for _, b := range budgets[1:] {
		b.IsNetwork = true
		if b.isTighter(tightest) {
			tightest = b
		}
	}

	return tightest, nil
}

// isTighter reports whether b keeps clients waiting for longer than other or, if both allow the
// event, has fewer events left.
func (b Budget) isTighter(other Budget) bool {
	if b.RetryAfter != other.RetryAfter {
		return b.RetryAfter > other.RetryAfter
	}

	return b.Remaining < other.Remaining
}

// prefix returns the network of an IPv6 IP with the given prefix length.
func prefix(ip netip.Addr, bits int) string {
	return netip.PrefixFrom(ip.WithZone(""), bits).Masked().String()
}
