package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"latchkey/internal/loopback"
	"latchkey/internal/origin"
)

type githubSettings struct {
	Client Client
	URL    string `env:"URL" envDefault:"https://github.com"`
	APIURL string `env:"API_URL"`
}

const (
	googleIssuer = "https://accounts.google.com"
	githubURL    = "https://github.com"
	githubAPI    = "https://api.github.com"
)

// readProviders fills in Providers.
func (l *loader) readProviders() {
	if l.isConfigured("GOOGLE_", "Google", l.Google) {
		l.addProvider(Provider{
			Kind:   Google,
			Name:   "google",
			Title:  "Google",
			Prefix: "GOOGLE_",
			Issuer: googleIssuer,
			Scopes: []string{"openid", "email", "profile"},
			Client: l.Google,
		})
	}
	if l.isConfigured("GITHUB_", "GitHub", l.GitHub.Client) {
		l.addGitHub()
	}
	for _, name := range l.oidcNames() {
		l.addOIDC(name)
	}

	if len(l.Providers) > 0 && len(l.FrontendURL) == 0 && !bool(l.Accounts.Pages) {
		l.report("FRONTEND_URL", "required if users can sign in with %s: the browser is redirected there", l.Providers[0].Title)
	}
}

// isConfigured reports whether a provider with a fixed name is configured. A URL alone does not count:
// the guide's .env sets the callback URL, and GitHub Actions sets GITHUB_API_URL.
func (l *loader) isConfigured(prefix, title string, client Client) bool {
	if client.ClientID != "" || client.ClientSecret != "" || l.rejected[prefix+"CLIENT_SECRET"] {
		return true
	}

	for _, suffix := range []string{"CALLBACK_URL", "URL"} {
		name := prefix + suffix
		if l.vars[name] != "" {
			l.warn(fmt.Sprintf("%s is set, but %sCLIENT_ID is not: signing in with %s is disabled", name, prefix, title))
		}
	}

	return false
}

func (l *loader) addGitHub() {
	given := l.GitHub
	p := Provider{
		Kind:   GitHub,
		Name:   "github",
		Title:  "GitHub",
		Prefix: "GITHUB_",
		Issuer: l.baseURL("GITHUB_URL", given.URL, githubURL),
		Scopes: []string{"user:email"},
		Client: given.Client,
	}

	switch {
	case given.APIURL != "":
		p.APIURL = l.baseURL("GITHUB_API_URL", given.APIURL, githubAPI)
	case p.Issuer == githubURL:
		p.APIURL = githubAPI
	default:
		p.APIURL = p.Issuer + "/api/v3" // GitHub Enterprise
	}

	l.addProvider(p)
}

// baseURL normalizes the base of other URLs. Accounts are identified by it, so it must have only
// one spelling.
func (l *loader) baseURL(setting, given, example string) string {
	u := l.secureURL(setting, given, example)
	if u == nil {
		return given
	}

	base, ok := origin.Of(u)
	if !ok {
		l.report(setting, "must look like %s", example)
	}

	return base + strings.TrimRight(u.EscapedPath(), "/")
}

// addProvider checks the credentials and the callback URL of a provider, and adds it.
func (l *loader) addProvider(p Provider) {
	const missing = "required if another %s* setting is set"

	if p.ClientID == "" {
		l.report(p.Prefix+"CLIENT_ID", missing, p.Prefix)
	}
	if p.ClientSecret == "" {
		l.report(p.Prefix+"CLIENT_SECRET", missing, p.Prefix)
	}

	l.checkCallback(&p)
	l.Providers = append(l.Providers, p)
}

// checkCallback checks the URL that the provider redirects the browser to.
func (l *loader) checkCallback(p *Provider) {
	setting := p.Prefix + "CALLBACK_URL"
	path := "/auth/" + p.Name + "/callback"
	example := "https://api.example.com" + path
	if p.CallbackURL == "" && l.AppEnv == Development && l.HTTPPort != 0 {
		p.CallbackURL = l.ownURL() + path
	}
	if p.CallbackURL == "" {
		l.report(setting, "required, for example %s", example)
		return
	}

	u := l.secureURL(setting, p.CallbackURL, example)
	if u != nil && !strings.HasSuffix(u.EscapedPath(), path) {
		l.report(setting, "must end in %s", path)
	}
}

// ownURL returns the URL of this server for browsers on the same machine.
func (l *loader) ownURL() string {
	scheme := "http"
	if l.TLSCertFile != "" {
		scheme = "https"
	}

	host := "localhost"
	if loopback.Host(l.Host) {
		host = l.Host // browsers send the sign-in cookie to this host only
	}

	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(l.HTTPPort))
}
