package doctor

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"

	"latchkey/internal/origin"
)

// Setup holds the settings that affect browsers.
type Setup struct {
	Production     bool
	Port           int
	TLS            bool // the server terminates TLS itself
	TrustedProxies []string
	Origins        origin.Trusted // as the server uses them
	CookieName     string
	CookieDomain   string
	Secure         bool
	SameSite       http.SameSite
	MaxAge         int // of the cookie, in seconds
}

// Subjects of findings about browsers.
const (
	subjectURL       = "URL"
	subjectSite      = "Site"
	subjectTransport = "Transport"
	subjectCookie    = "Cookie"
	subjectSending   = "Sending"
	subjectCORS      = "CORS"
	subjectClient    = "Client IP"
)

// Browser reports whether a page at the URL spa can use the API at the URL api.
func Browser(s Setup, spa, api string) []Finding {
	var f findings

	page, pageOK := parseURL(&f, "--spa", spa)
	server, serverOK := parseURL(&f, "--api", api)
	if !pageOK || !serverOK {
		return f
	}

	if strings.Trim(server.Path, "/") != "" {
		f.problem(subjectURL, "serve the API at the root of a host, for example "+server.Scheme+"://api."+server.Hostname(),
			"the URL of the API has the path %s, but its routes and its cookie are at the root", server.Path)
	}

	rel := relate(page, server)
	f.ok(subjectSite, "%s and %s are %s", originOf(page), originOf(server), rel)

	s.checkTransport(&f, page, server)
	if s.checkStored(&f, server) {
		s.checkSent(&f, page, server, rel)
	}
	s.checkCORS(&f, page, rel)
	s.checkClientIP(&f, server)

	return f
}

const (
	sameOrigin relation = iota
	sameSite
	crossSite
)

// checkTransport checks http and https.
func (s Setup) checkTransport(f *findings, page, server *url.URL) {
	mixed := page.Scheme == "https" && server.Scheme == "http"
	local := isLocal(server.Hostname())
	switch {
	case mixed && !local:
		f.problem(subjectTransport, "serve the API over https as well",
			"an https page cannot call an http API: browsers block it as mixed content")
	case mixed:
		f.warning(subjectTransport, "use http://localhost for the page during development, or https for the API",
			"Safari blocks calls from an https page to http://localhost, and recent versions of Chrome ask the user for permission")
	case server.Scheme == "http" && !local:
		f.warning(subjectTransport, "use https",
			"over http anyone on the network can read the cookie and act as the user")
	}

	if s.TLS && server.Scheme == "http" {
		f.problem(subjectTransport, "call the API over https, or unset TLS_CERT_FILE",
			"TLS_CERT_FILE is set, so the server accepts https only")
	}
	if s.Production && server.Scheme == "https" && !s.TLS && len(s.TrustedProxies) == 0 {
		f.problem(subjectTransport, "set TRUSTED_PROXIES to the IP of the TLS proxy, or set TLS_CERT_FILE and TLS_KEY_FILE",
			"nothing terminates TLS: neither the server nor a trusted proxy")
	}
}

// checkStored shows the session cookie and reports whether browsers store it.
func (s Setup) checkStored(f *findings, server *url.URL) bool {
	cookie := http.Cookie{
		Name:     s.CookieName,
		Value:    "(43 characters)",
		Path:     "/",
		Domain:   s.CookieDomain,
		MaxAge:   s.MaxAge,
		HttpOnly: true,
		Secure:   s.Secure,
		SameSite: s.SameSite,
	}
	f.ok(subjectCookie, "Set-Cookie: %s", strings.ReplaceAll(cookie.String(), `"`, ""))

	domainOK := s.checkDomain(f, server.Hostname())
	prefixOK := s.checkSecure(f, server)

	sameSiteOK := s.SameSite != http.SameSiteNoneMode || s.Secure
	if !sameSiteOK {
		f.problem(subjectCookie, "set COOKIE_SECURE=true, or COOKIE_SAME_SITE=lax",
			"browsers drop the cookie: SameSite=None requires Secure")
	}

	return domainOK && prefixOK && sameSiteOK
}

// checkDomain reports whether browsers accept the Domain of the cookie from the host.
func (s Setup) checkDomain(f *findings, host string) bool {
	domain := s.CookieDomain
	if domain == "" {
		return true
	}

	suffix, _ := publicsuffix.PublicSuffix(domain)
	switch {
	case net.ParseIP(host) != nil || isLocal(host):
		f.problem(subjectCookie, "unset COOKIE_DOMAIN",
			"browsers drop the cookie: COOKIE_DOMAIN=%s does not match %s", domain, host)
	case host != domain && !strings.HasSuffix(host, "."+domain):
		f.problem(subjectCookie, "unset COOKIE_DOMAIN, or set it to "+siteOf(host),
			"browsers drop the cookie: the API is at %s, which is not in COOKIE_DOMAIN=%s", host, domain)
	case suffix == domain:
		f.problem(subjectCookie, "unset COOKIE_DOMAIN, or set it to "+siteOf(host),
			"browsers drop the cookie: COOKIE_DOMAIN=%s is a public suffix", domain)
	default:
		f.warning(subjectCookie, "unset COOKIE_DOMAIN unless other hosts need the cookie",
			"every host below %s receives the cookie, and can overwrite it", domain)
		return true
	}

	return false
}

// checkSecure reports whether browsers accept the Secure attribute and the prefix of the name.
func (s Setup) checkSecure(f *findings, server *url.URL) bool {
	host := server.Hostname()
	name := strings.ToLower(s.CookieName)
	isHost := strings.HasPrefix(name, "__host-")
	needsSecure := isHost || strings.HasPrefix(name, "__secure-")

	switch {
	case needsSecure && !s.Secure:
		f.problem(subjectCookie, "set COOKIE_SECURE=true, or choose another SESSION_NAME",
			"browsers drop the cookie: the name %s requires Secure", s.CookieName)
	case isHost && s.CookieDomain != "":
		f.problem(subjectCookie, "unset COOKIE_DOMAIN, or choose another SESSION_NAME",
			"browsers drop the cookie: the name %s forbids a Domain", s.CookieName)
	case s.Secure && server.Scheme == "http" && !isLocal(host):
		f.problem(subjectCookie, "serve the API over https; for development, set APP_ENV=development",
			"browsers drop the cookie: it is Secure, but the API is called over http")
	case s.Secure && server.Scheme == "http":
		f.warning(subjectCookie, "to develop with Safari, set COOKIE_SECURE=false (needs APP_ENV=development)",
			"the cookie is Secure, but the API is at http://%s: recent versions of Chrome and Firefox store it, Safari drops it", host)
		return true
	case !s.Secure && server.Scheme == "https":
		f.warning(subjectCookie, "set COOKIE_SECURE=true",
			"the API is called over https, but browsers would also send the cookie over http")
		return true
	default:
		return true
	}

	return false
}

// checkSent reports whether browsers send the stored cookie with requests of the page.
func (s Setup) checkSent(f *findings, page, server *url.URL, rel relation) {
	oneDomain := "use one domain for both, such as app." + siteOf(page.Hostname()) + " and api." + siteOf(page.Hostname())
	bothLocal := isLocal(page.Hostname()) && isLocal(server.Hostname())

	switch {
	case rel == sameOrigin:
		f.ok(subjectSending, "Chrome, Firefox and Safari send the cookie with every request of the page")
	case rel == sameSite:
		f.ok(subjectSending, "Chrome, Firefox and Safari send the cookie if the page asks for it: fetch(url, {credentials: 'include'})")
	case s.SameSite == http.SameSiteNoneMode:
		f.warning(subjectSending, oneDomain,
			"page and API are different sites: Chrome sends the cookie unless third-party cookies are blocked, "+
				"Firefox keeps a separate cookie for each page, Safari never sends it")
	case page.Hostname() == server.Hostname():
		f.problem(subjectSending, "use http or https for both",
			"browsers do not send the cookie: http and https make %s and %s different sites", originOf(page), originOf(server))
	case bothLocal:
		f.problem(subjectSending, "use localhost for both, or 127.0.0.1 for both",
			"browsers do not send the cookie: %s and %s are the same machine, but different sites", page.Hostname(), server.Hostname())
	default:
		f.problem(subjectSending, oneDomain,
			"browsers do not send the cookie: page and API are different sites, and the cookie is SameSite=%s", sameSiteName(s.SameSite))
	}
}

func sameSiteName(s http.SameSite) string {
	if s == http.SameSiteStrictMode {
		return "Strict"
	}

	return "Lax"
}

// checkCORS reports what the server answers to the page.
func (s Setup) checkCORS(f *findings, page *url.URL, rel relation) {
	pageOrigin := originOf(page)
	switch {
	case rel == sameOrigin:
		f.ok(subjectCORS, "not needed: the page has the same origin as the API")
	case s.Origins.Contains(pageOrigin):
		f.ok(subjectCORS, "the server allows %s to read and change data, with credentials", pageOrigin)
	default:
		all := append(slices.Clone(s.Origins.Listed), pageOrigin)
		f.problem(subjectCORS, "FRONTEND_URL="+strings.Join(all, ","),
			"%s is not in FRONTEND_URL%s: the page cannot read responses, and its changes are rejected with 403 cross_origin_denied",
			pageOrigin, s.similarOrigin(page))
	}
}

// similarOrigin names a listed origin that is easily confused with the page.
func (s Setup) similarOrigin(page *url.URL) string {
	for _, listed := range s.Origins.Listed {
		u, err := url.Parse(listed)
		if err != nil {
			continue
		}

		if strings.TrimPrefix(u.Hostname(), "www.") == strings.TrimPrefix(page.Hostname(), "www.") {
			return " (" + listed + " is a different origin)"
		}
	}

	return ""
}

// checkClientIP reports which IP the server records for its clients.
func (s Setup) checkClientIP(f *findings, server *url.URL) {
	port := server.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[server.Scheme]
	}

	behindProxy := strconv.Itoa(s.Port) != port || server.Scheme == "https" && !s.TLS
	switch {
	case len(s.TrustedProxies) > 0:
		f.ok(subjectClient, "taken from X-Forwarded-For if the connection comes from %s, otherwise from the connection",
			strings.Join(s.TrustedProxies, " or "))
	case behindProxy && !isLocal(server.Hostname()):
		f.warning(subjectClient, "set TRUSTED_PROXIES to the IP of the proxy",
			"the server listens on port %d, but browsers use %s, so there is a proxy: every session will have the IP of the proxy",
			s.Port, originOf(server))
	default:
		f.ok(subjectClient, "taken from the connection; X-Forwarded-For is ignored")
	}
}
