package webguard

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// OwnHost reports whether the Host header of a request names this server: an IP, localhost, a name
// without a dot, or one of names. An attacker can point a name of their own at a private IP (DNS
// rebinding). A page under that name has the same origin as this server and could read its
// responses. Public DNS has no names without a dot, so the names of Docker Compose and Kubernetes
// work without being listed.
func OwnHost(r *http.Request, names ...string) bool {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	host = strings.Trim(host, "[]")

	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}

	for _, name := range names {
		if strings.EqualFold(host, name) {
			return true
		}
	}

	return !strings.Contains(host, ".") // also localhost, and HTTP/1.0 without a Host header
}

// CrossSite reports whether a browser sent a request on behalf of a page of another origin.
// Browsers indicate that in Sec-Fetch-Site or Origin. They send neither header if the page only
// embeds a plain http URL, for example as an image. The page cannot read such a response.
func CrossSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return true
	}

	for _, origin := range r.Header["Origin"] {
		u, err := url.Parse(origin)
		if err != nil || !strings.EqualFold(u.Host, r.Host) {
			return true
		}
	}

	return false
}
