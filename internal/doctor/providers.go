package doctor

import (
	"net/url"
	"strings"
	"time"
)

// A token of a provider lives for some minutes, of which a wrong clock takes its share.
const (
	riskySkew = 30 * time.Second
	fatalSkew = 5 * time.Minute
)

// Provider is one whose accounts people may sign in with, as it is set up and as it
// answers.
type Provider struct {
	Kind     string // "oidc", "google" or "github"
	Name     string // as in /auth/<name>
	Prefix   string // of the names of its settings
	Issuer   string
	Callback string // where it sends the browser back to

	Production bool
	API        string // the API's address for browsers; empty where that is not known

	Skew time.Duration // its clock minus ours
	Err  error         // it does not answer, or not as it must
}

// Check judges it.
func (p Provider) Check() []Finding {
	var f findings
	p.redirect(&f)
	about := p.about()
	if p.Err != nil {
		f.fault(about, p.reach(), "nobody can sign in with it: %s", strings.TrimPrefix(p.Err.Error(), p.Name+": "))
	}
	how, away := "ahead of", p.Skew.Round(time.Second)
	if away < 0 {
		how, away = "behind", -away
	}
	const fix = "turn on the synchronisation of time (chrony, systemd-timesyncd) on the machine whose clock is wrong"
	switch {
	case away > fatalSkew && p.Kind != "github":
		f.fault(about, fix, "its clock is %v %s ours: its ID tokens are refused as expired, or as not valid yet", away, how)
	case away > fatalSkew:
		f.risk(about, fix, "its clock is %v %s ours: it does not mind, but what is noted here has the wrong time", away, how)
	case away > riskySkew:
		f.risk(about, fix, "its clock is %v %s ours: beyond five minutes nobody can sign in with it", away, how)
	case p.Err == nil:
		f.fine(about, "answers, and its clock agrees with ours")
	}
	return f
}

func (p Provider) about() string { return "Provider " + p.Name }

// redirect looks at where the browser comes back to.
func (p Provider) redirect(f *findings) {
	about, path := p.about(), "/auth/"+p.Name+"/callback"
	set := p.Prefix + "CALLBACK_URL="
	back, ok := address(new(findings), "", p.Callback)
	if !ok {
		f.fault(about, set+"https://api.example.com"+path, "sends the browser back to %q, which is no address of a web server", p.Callback)
		return
	}
	api, known := address(new(findings), "", p.API)
	right := url.URL{Scheme: "https", Host: back.Host, Path: path}
	if back.Scheme == "http" && loopback(back.Hostname()) {
		right.Scheme = "http"
	}
	if known {
		right.Scheme, right.Host = api.Scheme, api.Host
	}
	fix := set + right.String() + ", which is also to be registered at the provider"
	before, ends := strings.CutSuffix(back.EscapedPath(), path)
	switch {
	case back.Scheme == "http" && !loopback(back.Hostname()):
		f.fault(about, fix, "sends the browser back to %s in the clear: whoever is on the way can be that user", p.Callback)
	case !ends:
		f.fault(about, fix, "sends the browser back to %s, where nothing awaits it: the route is %s", p.Callback, path)
	case known && api.Scheme == "http" && !loopback(api.Hostname()):
		f.fault(about, "serve the API over https, and say so: --api https://"+api.Host, "sends the browser back over https, and the API is at %s", originOf(api))
	case known && originOf(back) != originOf(api):
		f.fault(about, fix, "sends the browser back to %s, and the API is at %s: the cookie of the sign-in does not come along, and it fails", originOf(back), originOf(api))
	case before != "":
		f.risk(about, fix, "sends the browser back to %s: a proxy must take %s off, for the route is %s", p.Callback, before, path)
	case p.Production && !known && loopback(back.Hostname()):
		f.risk(about, set+"https://api.example.com"+path+", with the host of the API", "sends the browser back to %s, which is the machine of whoever signs in", originOf(back))
	default:
		f.fine(about, "sends the browser back to %s, which must be registered there as the redirect URI", p.Callback)
	}
}

// reach is what to see to where a provider does not answer.
func (p Provider) reach() string {
	const proxy = " (by HTTPS_PROXY, if there is no other way)"
	switch p.Kind {
	case "google":
		return "let this machine reach accounts.google.com, oauth2.googleapis.com and www.googleapis.com" + proxy
	case "github":
		return "see GITHUB_URL and GITHUB_API_URL, and that this machine gets to both" + proxy
	}
	return "see that " + p.Prefix + "ISSUER is the \"issuer\" in " + strings.TrimSuffix(p.Issuer, "/") +
		"/.well-known/openid-configuration to the letter, and that this machine gets there" + proxy
}
