package loopback

import (
	"net/netip"
	"strings"
)

// Host reports whether host, without a port, is localhost or a loopback IP. An IPv6 IP may
// be in brackets. Subdomains of localhost do not count, because only browsers resolve them
// without DNS.
func Host(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}

	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}
