package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// devFrontend is where the page of someone who tries things out is: the guides' own.
const devFrontend = "http://localhost:3001"

func (c *Config) validateOrigins() []error {
	var faults []error
	if len(c.FrontendURL) == 0 && c.AppEnv == Development {
		c.FrontendURL = []string{devFrontend}
	}
	for i, given := range c.FrontendURL {
		origin, secure, ok := canonicalOrigin(given)
		c.FrontendURL[i] = origin
		switch {
		case strings.Contains(given, "*"):
			faults = append(faults, errors.New("FRONTEND_URL: * would let any site act for a signed-in user; list the origins"))
		case !ok:
			faults = append(faults, errors.New("FRONTEND_URL: must be origins like https://app.example.com, without a path, separated by commas"))
		case !secure && c.AppEnv == Production:
			faults = append(faults, fmt.Errorf("FRONTEND_URL: %s must be https; a page that comes in the clear can be changed on the way", origin))
		}
	}
	// In the order in which they are given: links in mails lead to the first.
	var distinct []string
	for _, origin := range c.FrontendURL {
		if !slices.Contains(distinct, origin) {
			distinct = append(distinct, origin)
		}
	}
	c.FrontendURL = distinct
	return faults
}

// canonicalOrigin writes an origin as browsers do: in lower case, the host in ASCII,
// without the port that the scheme has anyway. It is secure where nobody on the way can
// change what comes from there.
func canonicalOrigin(given string) (origin string, secure, ok bool) {
	u, err := url.Parse(strings.TrimSuffix(strings.TrimSpace(given), "/"))
	if err != nil || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return given, false, false
	}
	ports := map[string]string{"http": "80", "https": "443"}
	usual, known := ports[strings.ToLower(u.Scheme)]
	host, port := strings.ToLower(u.Hostname()), u.Port()
	ip, err := netip.ParseAddr(host)
	switch {
	case !known:
		return given, false, false
	case err == nil:
		if host = ip.String(); ip.Is6() {
			host = "[" + host + "]"
		}
	default:
		if host, err = idna.Lookup.ToASCII(host); err != nil {
			return given, false, false
		}
	}
	origin = strings.ToLower(u.Scheme) + "://" + host
	if port != "" && port != usual {
		origin += ":" + port
	}
	return origin, strings.EqualFold(u.Scheme, "https") || isLoopback(host), true
}

// isLoopback tells whether a host is this machine, whose own wire nobody listens at.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// minPrefixBits is the widest prefix that can name proxies, and not everybody.
const minPrefixBits = 4

// validateEdge checks what stands between the server and its clients.
func (c *Config) validateEdge() []error {
	var faults []error
	for i, given := range c.TrustedProxies {
		given = strings.TrimSpace(given)
		prefix, err := netip.ParsePrefix(given)
		if ip, ipErr := netip.ParseAddr(given); ipErr == nil {
			ip = ip.Unmap()
			prefix, err = ip.Prefix(ip.BitLen())
		}
		if err != nil {
			faults = append(faults, errors.New("TRUSTED_PROXIES: must be addresses or prefixes like 10.0.0.0/8, separated by commas"))
			break
		}
		if prefix.Bits() < minPrefixBits {
			faults = append(faults, fmt.Errorf("TRUSTED_PROXIES: %s is everybody, so that anybody could say who they are", given))
		}
		c.TrustedProxies[i] = prefix.Masked().String()
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		faults = append(faults, errors.New("TLS_CERT_FILE: set it and TLS_KEY_FILE, or neither"))
	}
	if c.AppEnv == Production && c.TLSCertFile == "" && len(c.TrustedProxies) == 0 {
		faults = append(faults, errors.New("TRUSTED_PROXIES: name the proxy that speaks TLS in front of this server, as in 127.0.0.1; or set TLS_CERT_FILE and TLS_KEY_FILE"))
	}
	return faults
}
