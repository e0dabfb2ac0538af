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

// clientIP returns the IP of the client, which is the peer of the connection or the IP that
// trusted proxies report in X-Forwarded-For: see Options.TrustedProxies.
func clientIP(r *http.Request) string {
	if ip := middleware.GetClientIP(r.Context()); ip != "" {
		return ip
	}

	// X-Forwarded-For is missing or malformed, or contains trusted proxies only.
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}

	return host
}

// findClientIP returns the middleware that stores the client's IP for clientIP. chi's RealIP would
// trust any client.
func (s *Server) findClientIP() func(http.Handler) http.Handler {
	if len(s.proxies) == 0 {
		return middleware.ClientIPFromRemoteAddr
	}

	find := middleware.ClientIPFromXFF(s.proxies...)

	return func(next http.Handler) http.Handler {
		find := find(s.reportForwardedFor(next))

		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// Some gateways add the port, which chi does not read.
			if given := r.Header[forwardedFor]; len(given) > 0 {
				r.Header[forwardedFor] = []string{withoutPorts(given)}
			}

			find.ServeHTTP(w, r)
		})
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

// reportForwardedFor logs that the client's IP is unknown because a trusted proxy sent an
// X-Forwarded-For that cannot be read. All clients of that proxy then share its rate limits.
func (s *Server) reportForwardedFor(next http.Handler) http.Handler {
	var reported proxySet

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// chi stores no IP if it came to an entry that is not an IP, or if all are trusted proxies.
		if middleware.GetClientIP(r.Context()) == "" {
			entry, found := unreadableEntry(r.Header.Get(forwardedFor))
			if proxy := clientIP(r); found && reported.add(proxy) {
				s.log.LogAttrs(r.Context(), slog.LevelWarn, "cannot read X-Forwarded-For: all clients of this proxy share a rate limit",
					slog.String("proxy", proxy),
					slog.String("entry", entry))
			}
		}

		next.ServeHTTP(w, r)
	})
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
