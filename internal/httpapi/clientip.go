package httpapi

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/go-chi/chi/v5/middleware"
)

// forwardedFor is the header in which proxies report the IP of the client.
const forwardedFor = "X-Forwarded-For"

// clientIPs finds the IPs of clients.
type clientIPs struct {
	find     http.Handler // stores the IP that it finds in a foundIP
	proxies  []netip.Prefix
	log      *slog.Logger
	reported proxySet
}

// newClientIPs returns a clientIPs for the trusted proxies: see Options.TrustedProxies.
func newClientIPs(proxies []string, log *slog.Logger) *clientIPs {
	c := &clientIPs{log: log}
	for _, prefix := range proxies {
		c.proxies = append(c.proxies, netip.MustParsePrefix(prefix))
	}

	// chi's RealIP would trust any client.
	find := middleware.ClientIPFromRemoteAddr
	if len(proxies) > 0 {
		find = middleware.ClientIPFromXFF(proxies...)
	}
	c.find = find(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(*foundIP).ip = middleware.GetClientIP(r.Context())
	}))

	return c
}

// isProxy reports whether a trusted proxy sent a request.
func (c *clientIPs) isProxy(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}

	return slices.ContainsFunc(c.proxies, func(p netip.Prefix) bool { return p.Contains(peer.Addr().Unmap()) })
}

// foundIP receives the IP that chi's middleware passes on in a context. It writes no response.
type foundIP struct {
	http.ResponseWriter
	ip string
}

// of returns the IP of the client, which is the peer of the connection or the IP that trusted proxies
// report in X-Forwarded-For. Most requests do not need it, so it is not looked up in advance.
func (c *clientIPs) of(r *http.Request) string {
	if given := r.Header[forwardedFor]; len(c.proxies) > 0 && len(given) > 0 {
		// Some gateways add the port, which chi does not read.
		r.Header[forwardedFor] = []string{withoutPorts(given)}
	}

	var found foundIP
	c.find.ServeHTTP(&found, r)
	if found.ip != "" {
		return found.ip
	}

	// X-Forwarded-For is missing or malformed, or contains trusted proxies only.
	peer := r.RemoteAddr
	if host, _, err := net.SplitHostPort(peer); err == nil {
		peer = host
	}
	if len(c.proxies) > 0 {
		c.report(r, peer)
	}

	return peer
}

// report logs that the client's IP is unknown because a trusted proxy sent an X-Forwarded-For that
// cannot be read. All clients of that proxy then share its rate limits.
func (c *clientIPs) report(r *http.Request, proxy string) {
	entry, found := unreadableEntry(r.Header.Get(forwardedFor))
	if found && c.reported.add(proxy) {
		c.log.LogAttrs(r.Context(), slog.LevelWarn, "cannot read X-Forwarded-For: all clients of this proxy share a rate limit",
			slog.String("proxy", proxy),
			slog.String("entry", entry))
	}
}

// withoutPorts returns the values of X-Forwarded-For as one list of IPs, without ports and
// brackets. Entries that are not an IP stay as they are.
func withoutPorts(values []string) string {
	entries := strings.Split(strings.Join(values, ","), ",")
	for i, entry := range entries {
		if ip, ok := parseForwarded(entry); ok {
			entries[i] = ip.String()
		}
	}

	return strings.Join(entries, ",")
}

// parseForwarded returns the IP in an entry of X-Forwarded-For: 203.0.113.7, 203.0.113.7:51234,
// 2001:db8::7, [2001:db8::7] or [2001:db8::7]:51234. No standard covers this header, and
// gateways differ.
func parseForwarded(entry string) (netip.Addr, bool) {
	entry = strings.TrimSpace(entry)
	if withPort, err := netip.ParseAddrPort(entry); err == nil {
		return withPort.Addr(), true
	}

	inner, opened := strings.CutPrefix(entry, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if opened && closed {
		entry = inner
	}
	ip, err := netip.ParseAddr(entry)

	return ip, err == nil
}

// unreadableEntry returns the last entry of an X-Forwarded-For that is not an IP.
func unreadableEntry(list string) (string, bool) {
	for _, entry := range slices.Backward(strings.Split(list, ",")) {
		entry = strings.TrimSpace(entry)
		if _, ok := parseForwarded(entry); !ok && entry != "" {
			return strings.ToValidUTF8(entry[:min(len(entry), 64)], ""), true
		}
	}

	return "", false
}

// proxySet remembers proxies that were reported.
type proxySet struct {
	mu    sync.Mutex
	known map[string]bool
}

// maxReportedProxies bounds a proxySet: a trusted prefix may contain millions of IPs.
const maxReportedProxies = 100

// add adds a proxy and reports whether it is new. A full set adds nothing.
func (p *proxySet) add(proxy string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.known[proxy] || len(p.known) == maxReportedProxies {
		return false
	}
	if p.known == nil {
		p.known = map[string]bool{}
	}
	p.known[proxy] = true

	return true
}
