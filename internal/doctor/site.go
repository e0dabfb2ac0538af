package doctor

import (
	"net"
	"net/url"
	"strings"

	"golang.org/x/net/publicsuffix"

	"latchkey/internal/loopback"
	"latchkey/internal/origin"
)

// parseURL parses the URL passed to a flag.
func parseURL(f *findings, flag, given string) (*url.URL, bool) {
	u, err := url.Parse(given)
	ok := err == nil && (u.Scheme == "http" || u.Scheme == "https")
	var written string
	if ok {
		written, ok = origin.Of(u)
	}
	if !ok {
		f.problem(subjectURL, "pass a full URL to "+flag+", such as https://www.example.com", "%s %q is not an http or https URL", flag, given)
		return nil, false
	}

	u.Host = strings.TrimPrefix(written, u.Scheme+"://")

	return u, true
}

// relation is how a browser sees two URLs.
type relation int

func (r relation) String() string {
	return [...]string{"the same origin", "two origins of the same site", "different sites"}[r]
}

func relate(a, b *url.URL) relation {
	switch {
	case originOf(a) == originOf(b):
		return sameOrigin
	case a.Scheme == b.Scheme && siteOf(a.Hostname()) == siteOf(b.Hostname()):
		return sameSite
	}

	return crossSite
}

// originOf returns the origin of a URL from parseURL.
func originOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

// siteOf returns the registrable domain of a host. IPs, localhost and public suffixes are their
// own sites.
func siteOf(host string) string {
	if net.ParseIP(host) != nil {
		return host
	}

	domain, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		return host
	}

	return domain
}

// isLocal reports whether a browser treats the host as its own machine. Browsers include every
// name below localhost.
func isLocal(host string) bool {
	return strings.HasSuffix(host, ".localhost") || loopback.Host(host)
}
