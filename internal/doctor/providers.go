package doctor

import (
	"net/url"
	"strings"
	"time"
)

// riskySkew and fatalSkew are differences between the clocks that are reported as a warning and as a
// problem. ID tokens are valid for only a few minutes.
const (
	riskySkew = 30 * time.Second
	fatalSkew = 5 * time.Minute
)

// Provider is a sign-in provider: its settings, and how it answered.
type Provider struct {
	Kind     string // "oidc", "google" or "github"
	Name     string // as in /auth/<name>
	Prefix   string // of its settings
	Issuer   string
	Callback string // where the provider redirects the browser to

	Production bool
	API        string // URL of the API for browsers; empty if unknown

	Skew          time.Duration // the provider's clock minus ours
	MalformedKeys int           // keys that are ignored because they are malformed
	Err           error         // set if the provider cannot be used
}

// Check judges the provider.
func (p Provider) Check() []Finding {
	var f findings

	p.checkCallback(&f)
	if p.Err != nil {
		f.problem(p.subject(), p.reachFix(), "nobody can sign in: %s", strings.TrimPrefix(p.Err.Error(), p.Name+": "))
	}
	p.checkKeys(&f)
	p.checkClock(&f)

	return f
}

func (p Provider) subject() string { return "Provider " + p.Name }

// checkKeys reports keys that cannot be used.
func (p Provider) checkKeys(f *findings) {
	if p.MalformedKeys > 0 {
		f.warning(p.subject(), "have the provider correct the document at its jwks_uri",
			"malformed keys that are ignored: %d; ID tokens signed with them are rejected", p.MalformedKeys)
	}
}

func (p Provider) checkClock(f *findings) {
	const fix = "synchronize the clock that is wrong (chrony, systemd-timesyncd)"

	direction := "ahead of"
	skew := p.Skew.Round(time.Second)
	if skew < 0 {
		direction = "behind"
		skew = -skew
	}

	switch {
	case skew > fatalSkew && p.Kind != "github":
		f.problem(p.subject(), fix, "its clock is %v %s ours, so its ID tokens are rejected", skew, direction)
	case skew > fatalSkew:
		f.warning(p.subject(), fix, "its clock is %v %s ours: signing in works, but our timestamps are wrong", skew, direction)
	case skew > riskySkew:
		f.warning(p.subject(), fix, "its clock is %v %s ours: beyond five minutes nobody can sign in", skew, direction)
	case p.Err == nil:
		f.ok(p.subject(), "can be reached, and its clock agrees with ours")
	}
}

// checkCallback checks the URL that the provider redirects the browser to.
func (p Provider) checkCallback(f *findings) {
	subject := p.subject()
	path := "/auth/" + p.Name + "/callback"
	setting := p.Prefix + "CALLBACK_URL="

	callback, ok := parseURL(new(findings), "", p.Callback)
	if !ok {
		f.problem(subject, setting+"https://api.example.com"+path, "the callback URL %q is not an http or https URL", p.Callback)
		return
	}
	api, apiKnown := parseURL(new(findings), "", p.API)

	want := url.URL{Scheme: "https", Host: callback.Host, Path: path}
	switch {
	case apiKnown:
		want.Scheme = api.Scheme
		want.Host = api.Host
	case callback.Scheme == "http" && isLocal(callback.Hostname()):
		want.Scheme = "http"
	}
	fix := setting + want.String() + ", and register the same URL with the provider"

	before, hasPath := strings.CutSuffix(callback.EscapedPath(), path)
	switch {
	case callback.Scheme == "http" && !isLocal(callback.Hostname()):
		f.problem(subject, fix, "the callback URL %s is not encrypted: anyone on the network can take over the sign-in", p.Callback)
	case !hasPath:
		f.problem(subject, fix, "the callback URL %s is not a route of this server: it must end in %s", p.Callback, path)
	case apiKnown && api.Scheme == "http" && !isLocal(api.Hostname()):
		f.problem(subject, "serve the API over https, then use --api https://"+api.Host,
			"the callback URL is https, but the API is at %s", originOf(api))
	case apiKnown && originOf(callback) != originOf(api):
		f.problem(subject, fix, "the callback URL is at %s, but the API is at %s: the sign-in cookie is not sent, so signing in fails",
			originOf(callback), originOf(api))
	case before != "":
		f.warning(subject, fix, "the callback URL %s needs a proxy that strips %s", p.Callback, before)
	case p.Production && !apiKnown && isLocal(callback.Hostname()):
		f.warning(subject, setting+"https://api.example.com"+path+", with the host of your API",
			"the callback URL is at %s, which is the user's own machine", originOf(callback))
	default:
		f.ok(subject, "the callback URL is %s; it must be registered with the provider", p.Callback)
	}
}

// reachFix returns what to check if a provider cannot be reached.
func (p Provider) reachFix() string {
	const proxy = "; set HTTPS_PROXY if it needs a proxy"

	switch p.Kind {
	case "google":
		return "allow this machine to reach accounts.google.com, oauth2.googleapis.com and www.googleapis.com" + proxy
	case "github":
		return "check GITHUB_URL and GITHUB_API_URL, and allow this machine to reach both" + proxy
	}

	return "check that " + p.Prefix + `ISSUER is exactly the "issuer" in ` + strings.TrimSuffix(p.Issuer, "/") +
		"/.well-known/openid-configuration, and allow this machine to reach it" + proxy
}
