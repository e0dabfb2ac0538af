package doctor

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// Level is how bad a finding is.
type Level string

const (
	// Fine is how it is, for information.
	Fine Level = "ok"
	// Risk works, and may not for everybody or for ever.
	Risk Level = "risk"
	// Fault cannot work.
	Fault Level = "FAULT"
)

// Finding is one thing about the set-up. Fix is empty where there is nothing to mend.
type Finding struct {
	Level Level  `json:"level"`
	About string `json:"about"`
	Says  string `json:"says"`
	Fix   string `json:"fix,omitempty"`
}

// Setup are the settings that browsers notice.
type Setup struct {
	Production     bool
	Port           int
	TLS            bool // the server speaks it itself
	TrustedProxies []string
	Origins        []string // FRONTEND_URL
	CookieName     string
	CookieDomain   string
	Secure         bool
	SameSite       http.SameSite
	MaxAge         int // of the cookie, in seconds
}

// findings collects what is found.
type findings []Finding

func (f *findings) fine(about, says string, args ...any) {
	*f = append(*f, Finding{Level: Fine, About: about, Says: fmt.Sprintf(says, args...)})
}

func (f *findings) risk(about, fix, says string, args ...any) {
	*f = append(*f, Finding{Risk, about, fmt.Sprintf(says, args...), fix})
}

func (f *findings) fault(about, fix, says string, args ...any) {
	*f = append(*f, Finding{Fault, about, fmt.Sprintf(says, args...), fix})
}

// Browser says how a page at the address spa and the API at the address api will get on
// with each other, with the settings of s.
func Browser(s Setup, spa, api string) []Finding {
	var f findings
	page, ok := address(&f, "--spa", spa)
	server, ok2 := address(&f, "--api", api)
	if !ok || !ok2 {
		return f
	}
	if strings.Trim(server.Path, "/") != "" {
		f.fault("address", "serve the API at the root of a host, for example "+server.Scheme+"://api."+server.Hostname(),
			"the API's address has the path %s, but its routes and its cookie are at the root", server.Path)
	}
	how := relate(page, server)
	f.fine("relation", "%s and %s are %s", originOf(page), originOf(server), how)
	s.transport(&f, page, server)
	stored := s.stored(&f, server)
	s.sent(&f, page, server, how, stored)
	s.allowed(&f, page, how)
	s.client(&f, server)
	return f
}

// address parses an address that was given as name.
func address(f *findings, name, given string) (*url.URL, bool) {
	u, err := url.Parse(given)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		f.fault("address", "give "+name+" as in https://app.example.com", "%s is %q, which is no address of a web server", name, given)
		return nil, false
	}
	u.Host = strings.ToLower(u.Host)
	return u, true
}

// relation is how two addresses stand to each other, for a browser.
type relation int

const (
	sameOrigin relation = iota
	sameSite
	crossSite
)

func (r relation) String() string {
	return [...]string{"the same origin", "two origins of the same site", "of different sites"}[r]
}

func relate(a, b *url.URL) relation {
	switch {
	case originOf(a) == originOf(b):
		return sameOrigin
	case a.Scheme == b.Scheme && site(a.Hostname()) == site(b.Hostname()):
		return sameSite
	}
	return crossSite
}

// originOf is the origin of an address as a browser writes it.
func originOf(u *url.URL) string {
	host := u.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port := u.Port(); port != "" && (u.Scheme != "http" || port != "80") && (u.Scheme != "https" || port != "443") {
		host = net.JoinHostPort(u.Hostname(), port)
	}
	return u.Scheme + "://" + host
}

// site is the registrable domain of a host: below a public suffix, everybody is a
// stranger to everybody. An address of numbers and localhost are sites by themselves.
func site(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return host
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		return host
	}
	return domain
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.IsLoopback()
}

// transport looks at what the two are reached by.
func (s Setup) transport(f *findings, page, server *url.URL) {
	switch {
	case page.Scheme == "https" && server.Scheme == "http" && !loopback(server.Hostname()):
		f.fault("transport", "serve the API over https as well", "a page over https may not call http: browsers block it as mixed content")
	case page.Scheme == "https" && server.Scheme == "http":
		f.risk("transport", "serve the page over http://localhost while trying things out, or the API over https", "Safari blocks calls from https to http://localhost, and recent Chrome asks the user for permission")
	case server.Scheme == "http" && !loopback(server.Hostname()):
		f.risk("transport", "put TLS in front", "over http anyone on the way can read the cookie and be that user")
	}
	if s.TLS && server.Scheme == "http" {
		f.fault("transport", "call the API over https, or unset TLS_CERT_FILE", "TLS_CERT_FILE is set, so the server answers https only")
	}
	if s.Production && server.Scheme == "https" && !s.TLS && len(s.TrustedProxies) == 0 {
		f.fault("transport", "set TRUSTED_PROXIES to the proxy, or TLS_CERT_FILE and TLS_KEY_FILE", "nothing speaks TLS: neither the server nor a proxy that it knows of")
	}
}

// stored says what cookie is set, and whether browsers keep it.
func (s Setup) stored(f *findings, server *url.URL) bool {
	cookie := http.Cookie{
		Name: s.CookieName, Value: "(43 characters)", Path: "/", Domain: s.CookieDomain, MaxAge: s.MaxAge,
		HttpOnly: true, Secure: s.Secure, SameSite: s.SameSite,
	}
	f.fine("cookie", "Set-Cookie: %s", strings.ReplaceAll(cookie.String(), `"`, ""))
	host, kept := server.Hostname(), true
	lost := func(fix, says string, args ...any) {
		kept = false
		f.fault("cookie", fix, says, args...)
	}
	switch domain := s.CookieDomain; {
	case domain == "":
	case net.ParseIP(host) != nil || loopback(host):
		lost("unset COOKIE_DOMAIN", "COOKIE_DOMAIN=%s does not fit %s: every browser drops the cookie", domain, host)
	case host != domain && !strings.HasSuffix(host, "."+domain):
		lost("unset COOKIE_DOMAIN, or set it to "+site(host), "the API is at %s, which is not in COOKIE_DOMAIN=%s: every browser drops the cookie", host, domain)
	default:
		if suffix, _ := publicsuffix.PublicSuffix(domain); suffix == domain {
			lost("unset COOKIE_DOMAIN, or set it to "+site(host), "COOKIE_DOMAIN=%s is a public suffix, which everybody shares: every browser drops the cookie", domain)
		} else {
			f.risk("cookie", "unset COOKIE_DOMAIN unless another host must get the cookie", "every host below %s gets the cookie, and can set one of its name", domain)
		}
	}
	lower := strings.ToLower(s.CookieName)
	hostPrefix := strings.HasPrefix(lower, "__host-")
	switch {
	case (hostPrefix || strings.HasPrefix(lower, "__secure-")) && !s.Secure:
		lost("set COOKIE_SECURE=true or another SESSION_NAME", "%s needs Secure: every browser drops the cookie", s.CookieName)
	case hostPrefix && s.CookieDomain != "":
		lost("unset COOKIE_DOMAIN or set another SESSION_NAME", "%s may have no Domain: every browser drops the cookie", s.CookieName)
	case s.Secure && server.Scheme == "http" && loopback(host):
		f.risk("cookie", "set COOKIE_SECURE=false (APP_ENV=development) to try things out in Safari", "the cookie is Secure and the API is at http://%s: recent Chrome and Firefox keep it there, Safari drops it", host)
	case s.Secure && server.Scheme == "http":
		lost("serve the API over https; or COOKIE_SECURE=false, with APP_ENV=development, where nothing is at stake", "the cookie is Secure and the API is reached over http: every browser drops it")
	case !s.Secure && server.Scheme == "https":
		f.risk("cookie", "set COOKIE_SECURE=true", "the API is reached over https, and the cookie would also be sent in the clear")
	}
	if s.SameSite == http.SameSiteNoneMode && !s.Secure {
		lost("set COOKIE_SECURE=true, or COOKIE_SAME_SITE=lax", "SameSite=None needs Secure: every browser drops the cookie")
	}
	return kept
}

// sent says whether browsers send the cookie with what the page asks.
func (s Setup) sent(f *findings, page, server *url.URL, how relation, stored bool) {
	if !stored {
		return // there is none
	}
	none := s.SameSite == http.SameSiteNoneMode
	switch {
	case how == sameOrigin:
		f.fine("sending", "Chrome, Firefox and Safari send the cookie with every request of the page")
	case how == sameSite:
		f.fine("sending", "Chrome, Firefox and Safari send the cookie where the page asks for it: fetch(..., {credentials: 'include'})")
	case !none && page.Hostname() != server.Hostname() && loopback(page.Hostname()) && loopback(server.Hostname()):
		f.fault("sending", "use localhost for both, or 127.0.0.1 for both", "%s and %s are one machine and two sites: no browser sends the cookie", page.Hostname(), server.Hostname())
	case !none && page.Hostname() == server.Hostname():
		f.fault("sending", "use http or https for both", "%s and %s differ in http and https, which makes them two sites for Chrome: it does not send the cookie", originOf(page), originOf(server))
	case !none:
		f.fault("sending", fmt.Sprintf("give both one domain, as app.%[1]s and api.%[1]s", site(page.Hostname())),
			"they are of different sites and the cookie is SameSite=%s: no browser sends it", map[bool]string{true: "Strict", false: "Lax"}[s.SameSite == http.SameSiteStrictMode])
	default:
		f.risk("sending", fmt.Sprintf("give both one domain, as app.%[1]s and api.%[1]s", site(page.Hostname())),
			"they are of different sites: Chrome sends the cookie unless third-party cookies are blocked, Firefox keeps it in a jar of that page alone, Safari does not send it")
	}
}

// allowed says what the server will answer to the page.
func (s Setup) allowed(f *findings, page *url.URL, how relation) {
	origin := originOf(page)
	switch {
	case how == sameOrigin:
		f.fine("CORS", "not needed: the page has the API's own origin")
	case slices.Contains(s.Origins, origin):
		f.fine("CORS", "Access-Control-Allow-Origin: %s, with credentials; the page may change things", origin)
	default:
		f.fault("CORS", "FRONTEND_URL="+strings.Join(append(slices.Clone(s.Origins), origin), ","),
			"%s is not in FRONTEND_URL%s: the page can read no answer, and what it changes gets 403 cross_origin_denied", origin, s.nearly(page))
	}
}

// nearly names what is in the list and looks like the page.
func (s Setup) nearly(page *url.URL) string {
	for _, listed := range s.Origins {
		u, err := url.Parse(listed)
		if err != nil {
			continue
		}
		if strings.TrimPrefix(u.Hostname(), "www.") == strings.TrimPrefix(page.Hostname(), "www.") {
			return " (" + listed + " is another origin)"
		}
	}
	return ""
}

// client says whom the server will take for the client.
func (s Setup) client(f *findings, server *url.URL) {
	port := server.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[server.Scheme]
	}
	behind := fmt.Sprint(s.Port) != port || server.Scheme == "https" && !s.TLS
	switch {
	case len(s.TrustedProxies) > 0:
		f.fine("client", "its address is taken from X-Forwarded-For where %s connects, otherwise it is who connects", strings.Join(s.TrustedProxies, " or "))
	case behind && !loopback(server.Hostname()):
		f.risk("client", "set TRUSTED_PROXIES to the address of the proxy", "the server listens at port %d and is reached at %s, so there is a proxy; it will be taken for the client of every session", s.Port, originOf(server))
	default:
		f.fine("client", "its address is that of who connects; X-Forwarded-For is not believed")
	}
}
