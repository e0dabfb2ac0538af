package config

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/caarlos0/env/v10"
)

// Kinds of providers.
const (
	OIDC   = "oidc" // any issuer of OpenID Connect
	Google = "google"
	GitHub = "github"
)

// Provider is one with whom people have an account by which they may sign in here.
type Provider struct {
	Kind   string // OIDC, Google or GitHub
	Name   string // as in /auth/<name>
	Title  string // for a button
	Prefix string // of the names of its settings, for what is said about them
	// Issuer is the issuer identifier, every character of which counts. Of GitHub it is
	// the address of its pages.
	Issuer string
	APIURL string // GitHub only

	ClientID     string
	ClientSecret Secret
	Scopes       []string
	CallbackURL  string
}

// client is what a provider knows us by.
type client struct {
	ID          string `env:"CLIENT_ID"`
	Secret      Secret `env:"CLIENT_SECRET"`
	CallbackURL string `env:"CALLBACK_URL"`
}

type githubSettings struct {
	Client client
	URL    string `env:"URL" envDefault:"https://github.com"`
	APIURL string `env:"API_URL"`
}

// namedSettings are those of the providers that need no name.
type namedSettings struct {
	Google client         `envPrefix:"GOOGLE_"`
	GitHub githubSettings `envPrefix:"GITHUB_"`
}

const (
	googleIssuer = "https://accounts.google.com"
	githubURL    = "https://github.com"
	githubAPI    = "https://api.github.com"
)

// providerReader makes the providers of a Config from variables.
type providerReader struct {
	*Config
	vars   map[string]string
	faults []error
}

func (r *providerReader) fault(variable, format string, args ...any) {
	r.faults = append(r.faults, fmt.Errorf("%s: %w", variable, fmt.Errorf(format, args...)))
}

// readProviders fills in Providers and returns all that is wrong with them.
func (c *Config) readProviders(vars map[string]string) []error {
	r := providerReader{Config: c, vars: vars}
	var named namedSettings
	if err := env.ParseWithOptions(&named, env.Options{Environment: vars}); err != nil {
		return parseFaults(err)
	}
	if r.wanted("GOOGLE_", "Google", named.Google) {
		r.add(Provider{
			Kind: Google, Name: "google", Title: "Google", Prefix: "GOOGLE_",
			Issuer: googleIssuer, Scopes: []string{"openid", "email", "profile"},
		}, named.Google)
	}
	if r.wanted("GITHUB_", "GitHub", named.GitHub.Client) {
		r.addGitHub(named.GitHub)
	}
	for _, name := range r.oidcNames() {
		r.addOIDC(name)
	}
	if len(c.Providers) > 0 && len(c.FrontendURL) == 0 {
		r.fault("FRONTEND_URL", "is missing: say where the browser goes back to after it was at %s", c.Providers[0].Title)
	}
	return r.faults
}

// wanted tells whether a provider that needs no name is set up. An address alone sets up
// nothing: the guide's .env has that of the callback, and GitHub's own runners set
// GITHUB_API_URL.
func (r *providerReader) wanted(prefix, title string, by client) bool {
	if by.ID != "" || by.Secret != "" || r.vars[prefix+"CLIENT_SECRET_FILE"] != "" {
		return true
	}
	for _, address := range []string{"CALLBACK_URL", "URL"} {
		if r.vars[prefix+address] != "" {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s%s is set, but %[1]sCLIENT_ID is not: nobody can sign in with %[3]s", prefix, address, title))
		}
	}
	return false
}

func (r *providerReader) addGitHub(given githubSettings) {
	p := Provider{Kind: GitHub, Name: "github", Title: "GitHub", Prefix: "GITHUB_", Scopes: []string{"user:email"}, APIURL: given.APIURL}
	p.Issuer = r.base("GITHUB_URL", given.URL, githubURL)
	switch {
	case given.APIURL != "":
		p.APIURL = r.base("GITHUB_API_URL", given.APIURL, githubAPI)
	case p.Issuer == githubURL:
		p.APIURL = githubAPI
	default:
		p.APIURL = p.Issuer + "/api/v3" // GitHub Enterprise
	}
	r.add(p, given.Client)
}

// base is an address that others are made of, in one spelling: accounts are known by it.
func (r *providerReader) base(variable, given, example string) string {
	u, ok := r.address(variable, given, example)
	if !ok {
		return given
	}
	host := strings.TrimSuffix(strings.ToLower(u.Host), map[string]string{"https": ":443", "http": ":80"}[u.Scheme])
	return u.Scheme + "://" + host + strings.TrimRight(u.EscapedPath(), "/")
}

// add completes a provider by what it knows us by, and judges that.
func (r *providerReader) add(p Provider, by client) {
	p.ClientID, p.ClientSecret, p.CallbackURL = by.ID, by.Secret, by.CallbackURL
	if p.ClientID == "" {
		r.missing(p, "CLIENT_ID")
	}
	if p.ClientSecret == "" && r.vars[p.Prefix+"CLIENT_SECRET_FILE"] == "" {
		r.missing(p, "CLIENT_SECRET")
	}
	path := "/auth/" + p.Name + "/callback"
	if p.CallbackURL == "" && r.AppEnv == Development && r.HTTPPort != 0 {
		scheme, host := "http", "localhost"
		if r.TLSCertFile != "" {
			scheme = "https"
		}
		if isLoopback(r.Host) {
			host = r.Host // the cookie of a sign-in goes back there
		}
		p.CallbackURL = scheme + "://" + net.JoinHostPort(host, strconv.Itoa(r.HTTPPort)) + path
	}
	if example := "https://api.example.com" + path; p.CallbackURL == "" {
		r.fault(p.Prefix+"CALLBACK_URL", "is missing: say where %s sends the browser back to, as in %s", p.Title, example)
	} else if u, ok := r.address(p.Prefix+"CALLBACK_URL", p.CallbackURL, example); ok && !strings.HasSuffix(u.EscapedPath(), path) {
		r.fault(p.Prefix+"CALLBACK_URL", "its path must end in %s", path)
	}
	r.Providers = append(r.Providers, p)
}

func (r *providerReader) missing(p Provider, setting string) {
	r.fault(p.Prefix+setting, "is missing, though another %s name is set", p.Prefix)
}

// address parses an address of a provider, or one that it is to send a browser to. Codes
// and secrets travel to both, so that anything but https is for this machine alone. What
// was given is not repeated: it may hold a password.
func (r *providerReader) address(variable, given, example string) (*url.URL, bool) {
	u, err := url.Parse(given)
	port := 0
	if err == nil && u.Port() != "" {
		port, err = strconv.Atoi(u.Port())
	}
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil ||
		strings.ContainsAny(given, "?#") || strings.HasSuffix(u.Host, ":") || port < 0 || port > 65535:
		r.fault(variable, "must look like %s, without a user, ? or #", example)
	case strings.ContainsFunc(given, func(r rune) bool { return r <= ' ' || r > '~' }):
		r.fault(variable, "must be in ASCII and without spaces, the host as in xn--bcher-kva.example")
	case u.Scheme == "http" && !isLoopback(strings.ToLower(u.Hostname())):
		r.fault(variable, "must be https; http is for localhost")
	default:
		return u, true
	}
	return nil, false
}
