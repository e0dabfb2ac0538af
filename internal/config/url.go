package config

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"latchkey/internal/loopback"
)

// defaultPorts maps each scheme to the port that its URLs can omit.
var defaultPorts = map[string]string{"http": "80", "https": "443"}

// parseURL parses a URL with one of the schemes, one host and an optional valid port.
func parseURL(given string, schemes ...string) (*url.URL, bool) {
	u, err := url.Parse(given)
	if err != nil || !isHost(u.Hostname()) || !slices.Contains(schemes, u.Scheme) {
		return nil, false
	}

	_, err = strconv.ParseUint(cmp.Or(u.Port(), "0"), 10, 16)

	return u, err == nil
}

// isHost reports whether host is a host name or an IP, without a port, and without brackets.
func isHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}

	isInvalid := func(r rune) bool { return r <= ' ' || strings.ContainsRune(`/\:,;@?#[]<>"`, r) }

	return host != "" && !strings.ContainsFunc(host, isInvalid)
}

// webURL parses an http or https URL. If it is invalid, webURL reports it and returns nil.
func (l *loader) webURL(setting, given, example string) *url.URL {
	u, ok := parseURL(given, "http", "https")
	switch {
	case !ok || u.User != nil || strings.ContainsAny(given, "?#") || strings.HasSuffix(u.Host, ":"):
		l.report(setting, "must look like %s, without a user, query or fragment", example)
	case strings.ContainsFunc(given, func(r rune) bool { return r <= ' ' || r > '~' }):
		l.report(setting, "must be ASCII without spaces; write the host like xn--bcher-kva.example")
	default:
		return u
	}

	return nil
}

// secureURL is like webURL, but allows http only for this machine. It is for URLs that receive
// codes and secrets, and for links in emails.
func (l *loader) secureURL(setting, given, example string) *url.URL {
	u := l.webURL(setting, given, example)
	if u != nil && !isSecure(u) {
		l.report(setting, "must be https; http is allowed for localhost only")
		return nil
	}

	return u
}

// isSecure reports whether traffic to the URL is encrypted or stays on this machine.
func isSecure(u *url.URL) bool { return u.Scheme == "https" || loopback.Host(u.Hostname()) }

// originOf returns the origin of a URL as browsers write it: in lower case, with an ASCII host,
// without the default port.
func originOf(u *url.URL) (string, bool) {
	host, ok := browserHost(u.Hostname())
	if !ok {
		return "", false
	}

	usual := defaultPorts[u.Scheme]
	port := strings.TrimLeft(u.Port(), "0")
	host = net.JoinHostPort(host, cmp.Or(port, usual))

	return u.Scheme + "://" + strings.TrimSuffix(host, ":"+usual), true
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
	// browserName matches host names, and browserNumber those that browsers take for an IPv4 IP.
	browserName   = regexp.MustCompile(`^([a-z0-9_-]+\.)*[a-z0-9_-]+\.?$`)
	browserNumber = regexp.MustCompile(`(^|\.)([0-9]+|0x[0-9a-f]*)\.?$`)
)

// browserHost returns a host as browsers write it.
func browserHost(host string) (string, bool) {
	if ip, err := netip.ParseAddr(host); err == nil {
		// Browsers reject zones, and write an IPv4 IP within IPv6 differently.
		return ip.String(), ip.Zone() == "" && !ip.Is4In6()
	}

	name, err := browserIDNA.ToASCII(host)

	return name, err == nil && browserName.MatchString(name) && !browserNumber.MatchString(name)
}

// checkOrigins normalizes FRONTEND_URL to the form that browsers send, and removes duplicates. It
// keeps the order, because links in emails use the first origin.
func (l *loader) checkOrigins() {
	const name = "FRONTEND_URL"

	var distinct []string
	for _, given := range entries(l.FrontendURL) {
		origin, secure, ok := parseOrigin(given)
		switch {
		case strings.Contains(given, "*"):
			l.reportItem(name, given, "* would let any website act for a signed-in user; list the origins")
		case !ok:
			l.reportItem(name, given, "must be http or https origins like https://app.example.com, without a path, separated by commas")
		case !secure && l.AppEnv == Production:
			l.reportItem(name, given, "must be https; a page loaded over http can be modified in transit")
		}

		if !slices.Contains(distinct, origin) {
			distinct = append(distinct, origin)
		}
	}
	l.FrontendURL = distinct
}

// parseOrigin parses an origin, with or without a slash at its end.
func parseOrigin(given string) (origin string, secure, ok bool) {
	given = strings.TrimSuffix(given, "/")
	u, ok := parseURL(given, "http", "https")
	if !ok || u.User != nil || u.Path != "" || strings.ContainsAny(given, "?#") {
		return given, false, false
	}

	origin, ok = originOf(u)

	return origin, isSecure(u), ok
}
