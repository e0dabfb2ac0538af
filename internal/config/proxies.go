package config

import (
	"math"
	"net/netip"
	"slices"
)

// privateNetworks lists the prefixes that are not routed on the internet (RFC 1122, 1918, 3927, 4193,
// 4291 and 6598).
var privateNetworks = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("fe80::/10"),
}

// sizeLimit is a maximum number of IPs, given as the length of a prefix that contains that many.
type sizeLimit struct{ v4, v6 int }

var (
	// maxPublic bounds the public IPs that TRUSTED_PROXIES may contain in total. The largest content
	// delivery networks have fewer than half as many.
	maxPublic = sizeLimit{8, 16}
	// widePublic and widePrivate are the bounds beyond which TRUSTED_PROXIES is reported as weak,
	// because it probably contains clients.
	widePublic  = sizeLimit{10, 24}
	widePrivate = sizeLimit{16, 48}
)

// checkProxies validates TRUSTED_PROXIES and replaces its entries with prefixes.
func (l *loader) checkProxies() {
	const (
		name   = "TRUSTED_PROXIES"
		forged = "untrusted clients, which could forge any IP"
	)

	var public []netip.Prefix
	l.TrustedProxies = entries(l.TrustedProxies)
	for i, given := range l.TrustedProxies {
		prefix, err := parsePrefix(given)
		switch {
		case err != nil:
			l.reportItem(name, given, "must be IPs or prefixes like 10.0.0.0/24, separated by commas")
			continue
		case !isPrivate(prefix) && maxPublic.exceededBy(prefix):
			l.reportItem(name, given, "%s includes %s", prefix, forged)
			continue
		case !isPrivate(prefix):
			public = append(public, prefix)
		}

		l.TrustedProxies[i] = prefix.String()
	}

	if maxPublic.exceededBy(public...) {
		l.report(name, "together these prefixes include %s", forged)
	}
}

// parsePrefix parses a prefix or a single IP, which becomes a /32 or /128. It converts IPv4-mapped
// IPv6 to IPv4, as is done for client IPs. An IPv4-mapped prefix shorter than /96 is an error, because
// it would match no client.
func parsePrefix(given string) (netip.Prefix, error) {
	const mappedBits = 96 // the length of ::ffff:0:0/96

	ip, err := netip.ParseAddr(given)
	if err == nil {
		ip = ip.Unmap()

		return ip.Prefix(ip.BitLen())
	}

	prefix, err := netip.ParsePrefix(given)
	if err != nil || !prefix.Addr().Is4In6() {
		return prefix.Masked(), err
	}

	return prefix.Addr().Unmap().Prefix(prefix.Bits() - mappedBits)
}

// isPrivate reports whether all IPs of a prefix are private.
func isPrivate(prefix netip.Prefix) bool {
	return slices.ContainsFunc(privateNetworks, func(network netip.Prefix) bool {
		return includes(network, prefix)
	})
}

// includes reports whether all IPs of inner are in outer.
func includes(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// exceededBy reports whether the prefixes together contain more than s IPs.
func (s sizeLimit) exceededBy(prefixes ...netip.Prefix) bool {
	var v4, v6 float64 // shares of all IPs
	for i, prefix := range prefixes {
		isRepeated := slices.Contains(prefixes[:i], prefix)
		isWithinAnother := slices.ContainsFunc(prefixes, func(other netip.Prefix) bool {
			return other != prefix && includes(other, prefix)
		})

		share := math.Exp2(-float64(prefix.Bits()))
		switch {
		case isRepeated || isWithinAnother:
		case prefix.Addr().Is4():
			v4 += share
		default:
			v6 += share
		}
	}

	return v4 > math.Exp2(-float64(s.v4)) || v6 > math.Exp2(-float64(s.v6))
}

// trustsClients reports whether the trusted proxies have so many IPs that clients are probably among
// them.
func (l *loader) trustsClients() bool {
	var public []netip.Prefix
	for _, given := range l.TrustedProxies {
		prefix, err := parsePrefix(given)
		switch {
		case err != nil || prefix.Addr().IsLoopback():
		case !isPrivate(prefix):
			public = append(public, prefix)
		case widePrivate.exceededBy(prefix):
			return true
		}
	}

	return widePublic.exceededBy(public...)
}

// trustsOnlyThisMachine reports whether there are trusted proxies, and all are on this machine.
func (l *loader) trustsOnlyThisMachine() bool {
	isRemote := func(given string) bool {
		prefix, err := parsePrefix(given)

		return err != nil || !prefix.Addr().IsLoopback()
	}

	return len(l.TrustedProxies) > 0 && !slices.ContainsFunc(l.TrustedProxies, isRemote)
}
