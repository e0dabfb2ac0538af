package config

import (
	"cmp"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"latchkey/internal/loopback"
	"latchkey/internal/origin"
)

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

// checkOrigins normalizes FRONTEND_URL to the form that browsers send, and removes duplicates. It
// keeps the order, because links in emails use the first origin.
func (l *loader) checkOrigins() {
	const name = "FRONTEND_URL"

	var distinct []string
	for _, given := range entries(l.FrontendURL) {
		text, secure, ok := parseOrigin(given)
		switch {
		case strings.Contains(given, "*"):
			l.reportItem(name, given, "* would let any website act for a signed-in user; list the origins")
		case !ok:
			l.reportItem(name, given, "must be http or https origins like https://app.example.com, without a path, separated by commas")
		case !secure && l.AppEnv == Production:
			l.reportItem(name, given, "must be https; a page loaded over http can be modified in transit")
		}

		if !slices.Contains(distinct, text) {
			distinct = append(distinct, text)
		}
	}
	l.FrontendURL = distinct
}

// parseOrigin parses an origin, with or without a slash at its end.
func parseOrigin(given string) (text string, secure, ok bool) {
	given = strings.TrimSuffix(given, "/")
	u, ok := parseURL(given, "http", "https")
	if !ok || u.User != nil || u.Path != "" || strings.ContainsAny(given, "?#") {
		return given, false, false
	}

	text, ok = origin.Of(u)

	return text, isSecure(u), ok
}
