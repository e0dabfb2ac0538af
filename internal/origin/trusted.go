package origin

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Trusted are the origins whose pages may call the API from a browser, besides the API's own. The
// server and the doctor both use it, so that they agree.
type Trusted struct {
	// Listed are origins as Of returns them.
	Listed []string
	// Loopback also trusts the http pages of this machine on any port. Set it for development only:
	// in production, other programs on a user's machine must not act as the user.
	Loopback bool
}

// Contains reports whether pages of an origin are trusted. The origin must be spelled as browsers
// spell it, so a string that parsers could interpret in different ways is not trusted.
func (t Trusted) Contains(origin string) bool {
	return slices.Contains(t.Listed, origin) || t.Loopback && isLoopback(origin)
}

// IsEmpty reports whether no origin is trusted.
func (t Trusted) IsEmpty() bool { return len(t.Listed) == 0 && !t.Loopback }

// loopbackOrigins are the origins of this machine without a port. The other IPs in 127.0.0.0/8
// are unusual, so they must be listed.
var loopbackOrigins = []string{"http://localhost", "http://127.0.0.1", "http://[::1]"}

// isLoopback reports whether an origin is one of loopbackOrigins, possibly with a port.
func isLoopback(origin string) bool {
	for _, host := range loopbackOrigins {
		port, found := strings.CutPrefix(origin, host)
		if found && (port == "" || isPort(port)) {
			return true
		}
	}

	return false
}

// isPort reports whether s is a colon and a port as browsers write it.
func isPort(s string) bool {
	digits, found := strings.CutPrefix(s, ":")
	number, err := strconv.ParseUint(digits, 10, 16)

	return found && err == nil && number > 0 && digits == strconv.FormatUint(number, 10)
}

// IsCanonical reports whether s is an http or https origin as browsers write it. Only such an
// origin can be listed.
func IsCanonical(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	written, ok := Of(u)

	return ok && written == s
}
