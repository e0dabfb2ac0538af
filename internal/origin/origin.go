package origin

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"golang.org/x/net/idna"
)

// defaultPorts maps each scheme to the port that its URLs can omit.
var defaultPorts = map[string]string{"http": "80", "https": "443"}

// Of returns the origin of an http or https URL as browsers write it. It returns false for a host
// or port that browsers reject, or that it cannot write as they do.
func Of(u *url.URL) (string, bool) {
	host, ok := browserHost(u.Hostname())
	if !ok {
		return "", false
	}

	defaultPort := defaultPorts[u.Scheme]
	port := strings.TrimLeft(u.Port(), "0")
	if u.Port() != "" && port == "" {
		return "", false // port 0
	}

	host = net.JoinHostPort(host, cmp.Or(port, defaultPort))

	return u.Scheme + "://" + strings.TrimSuffix(host, ":"+defaultPort), true
}

var (
	// browserIDNA converts host names as browsers do (WHATWG URL section 3.3, "domain to ASCII").
	// Unlike registries, browsers allow hyphens in the third and fourth place.
	browserIDNA = idna.New(
		idna.MapForLookup(),
		idna.BidiRule(),
		idna.Transitional(false),
		idna.CheckHyphens(false),
		idna.StrictDomainName(false),
	)
	// browserName matches host names, and browserNumber the ones that browsers read as an IPv4 IP.
	browserName   = regexp.MustCompile(`^([a-z0-9_-]+\.)*[a-z0-9_-]+\.?$`)
	browserNumber = regexp.MustCompile(`(^|\.)([0-9]+|0x[0-9a-f]*)\.?$`)
)

// browserHost returns a host as browsers write it.
func browserHost(host string) (string, bool) {
	if ip, err := netip.ParseAddr(host); err == nil {
		// Browsers reject zones, and write IPv4-mapped IPv6 differently.
		return ip.String(), ip.Zone() == "" && !ip.Is4In6()
	}

	name, err := browserIDNA.ToASCII(host)

	return name, err == nil && browserName.MatchString(name) && !browserNumber.MatchString(name)
}
