package oauth

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/internal/oauth/oauthtest"
)

// twoIssuers is a world with the providers "home" and "other".
func twoIssuers(t *testing.T) (w *world, home, other *oauthtest.Issuer) {
	t.Helper()
	home, other = newIssuer(t, &w), newIssuer(t, &w)
	w = newWorld(t, settingsOf(OIDC, "home", home.URL), settingsOf(OIDC, "other", other.URL))
	w.known = []secretive{home, other}
	return w, home, other
}

// Who has not begun a flow in this browser, at this provider, in time, ends none; and
// whatever a callback says, the provider is not asked unless it is of our flow.
func TestCallback(t *testing.T) {
	t.Parallel()
	w, home, other := twoIssuers(t)
	good := strings.Repeat("A", 43)
	set := func(name string, values ...string) func(url.Values) {
		return func(q url.Values) {
			if q[name] = values; len(values) == 0 {
				q.Del(name)
			}
		}
	}
	failed := func(code string) func(url.Values) {
		return func(q url.Values) {
			q.Del("code")
			q.Set("error", code)
			q.Set("error_description", "because of "+clientSecret)
		}
	}
	both := func(a, b func(url.Values)) func(url.Values) { return func(q url.Values) { a(q); b(q) } }
	twice := func(name string) func(url.Values) { return func(q url.Values) { q.Add(name, q.Get(name)) } }
	stranger := w.begin(t, "home", Flow{})
	for _, tc := range []struct {
		name     string
		provider string
		secret   func(own string) string
		change   func(url.Values)
		want     error
		ended    bool // the flow is known, and has come to its end
		redeemed bool // the code was sent
		reason   string
	}{
		{name: "as it should be", ended: true, redeemed: true},
		{name: "no state", change: set("state"), want: ErrNoFlow},
		{name: "an empty state", change: set("state", ""), want: ErrNoFlow},
		{name: "a malformed state", change: set("state", "../x"), want: ErrNoFlow},
		{name: "a made-up state", change: set("state", good), want: ErrNoFlow},
		{name: "a longer state", change: func(q url.Values) { q.Set("state", q.Get("state")+"A") }, want: ErrNoFlow},
		{name: "a shorter state", change: func(q url.Values) { q.Set("state", q.Get("state")[:10]) }, want: ErrNoFlow},
		{name: "the state of another flow", change: set("state", queryOf(t, stranger.address).Get("state")), want: ErrNoFlow},
		{name: "two states", change: twice("state"), want: ErrNoFlow},
		{name: "two states, one foreign", change: func(q url.Values) { q.Add("state", good) }, want: ErrNoFlow},
		{name: "no secret", secret: func(string) string { return "" }, want: ErrNoFlow},
		{name: "another browser", secret: func(string) string { return stranger.secret }, want: ErrNoFlow},
		{name: "a malformed secret", secret: func(own string) string { return own[:42] }, want: ErrNoFlow},
		{name: "a secret with a line break", secret: func(own string) string { return own[:41] + "\r\n" }, want: ErrNoFlow},
		{name: "a secret in another spelling", secret: respelled, want: ErrNoFlow},
		{name: "the state for a secret", secret: func(string) string { return good }, change: set("state", good), want: ErrNoFlow},
		{name: "nothing at all", change: func(q url.Values) { clear(q) }, want: ErrNoFlow},

		{name: "another provider", provider: "other", want: ErrNoFlow, ended: true, reason: "another provider"},
		{name: "no provider", provider: "nobody", want: ErrUnknown},
		{name: "an empty provider", provider: "-", want: ErrUnknown},

		{name: "two codes", change: func(q url.Values) { q.Add("code", "x") }, want: ErrRefused, ended: true, reason: "several of code"},
		{name: "one code twice", change: twice("code"), want: ErrRefused, ended: true, reason: "several of code"},
		{name: "two issuers", change: twice("iss"), want: ErrRefused, ended: true, reason: "several of iss"},
		{name: "two errors", change: both(failed("access_denied"), twice("error")), want: ErrRefused, ended: true, reason: "several of error"},
		{name: "no code", change: set("code"), want: ErrRefused, ended: true, reason: "no code"},
		{name: "an empty code", change: set("code", ""), want: ErrRefused, ended: true, reason: "no code"},
		{name: "a made-up code", change: set("code", "made-up-code"), want: ErrRefused, ended: true, redeemed: true, reason: "says invalid_grant"},
		{name: "a strange code", change: set("code", "\x00&client_id=x\r\n"), want: ErrRefused, ended: true, redeemed: true, reason: "says invalid_grant"},

		{name: "no issuer", change: set("iss"), want: ErrRefused, ended: true, reason: "does not name the issuer"},
		{name: "an empty issuer", change: set("iss", ""), want: ErrRefused, ended: true, reason: "names another issuer"},
		{name: "another issuer", change: set("iss", other.URL), want: ErrRefused, ended: true, reason: "names another issuer"},
		{name: "almost the issuer", change: set("iss", home.URL+"/"), want: ErrRefused, ended: true, reason: "names another issuer"},

		{name: "denied", change: failed("access_denied"), want: ErrDenied, ended: true},
		{name: "denied, with a code", change: set("error", "access_denied"), want: ErrDenied, ended: true},
		{name: "denied by another", change: both(failed("access_denied"), set("iss", other.URL)), want: ErrRefused, ended: true, reason: "names another issuer"},
		{name: "denied by whom", change: both(failed("access_denied"), set("iss")), want: ErrRefused, ended: true, reason: "does not name the issuer"},
		{name: "busy", change: failed("temporarily_unavailable"), want: ErrUnavailable, ended: true},
		{name: "broken", change: failed("server_error"), want: ErrUnavailable, ended: true},
		{name: "wants more", change: failed("login_required"), want: ErrRefused, ended: true, reason: "says login_required"},
		{name: "an error of its own", change: failed(clientSecret), want: ErrRefused, ended: true, reason: "not in the standard"},
		{name: "an empty error", change: set("error", ""), want: ErrRefused, ended: true, reason: "not in the standard"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := w.begin(t, "home", Flow{ReturnTo: "/after"})
			query := queryOf(t, home.Authorize(t, f.address, ann))
			waiting, asked := w.flowsIn(t), home.Calls(oauthtest.Token)
			secret, provider := f.secret, "home"
			if tc.secret != nil {
				secret = tc.secret(secret)
			}
			if tc.change != nil {
				tc.change(query)
			}
			if tc.provider != "" {
				provider = strings.TrimPrefix(tc.provider, "-")
			}
			_, flow, err := w.endWith(t, provider, secret, query)
			if only(t, err, tc.want); err != nil && !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("got %v, want %q", err, tc.reason)
			}
			if ended := w.flowsIn(t) < waiting; ended != tc.ended || (flow.ReturnTo == "/after") != tc.ended {
				t.Errorf("ended %t, the flow is %+v: %v", ended, flow, err)
			}
			if redeemed := home.Calls(oauthtest.Token) > asked; redeemed != tc.redeemed {
				t.Errorf("the code was sent: %t", redeemed)
			}
			if tc.ended { // and once it has ended, nothing ends it again
				_, _, err := w.end(t, "home", f.secret, home.Authorize(t, f.address, ann))
				only(t, err, ErrNoFlow)
			}
		})
	}
	if other.Calls(oauthtest.Token) != 0 {
		t.Error("a code was sent to another provider")
	}
}

// respelled has the same 32 bytes for who decodes carelessly.
func respelled(secret string) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(digits, secret[42])
	return secret[:42] + digits[last|1:][:1]
}

// A provider that does not announce that it names itself need not, and is held to what
// it says all the same.
func TestIssuerNotAnnounced(t *testing.T) {
	t.Parallel()
	w, home, other := twoIssuers(t)
	var iss []string
	home.Behave(oauthtest.Behaviour{
		Document: func(d map[string]any) { delete(d, "authorization_response_iss_parameter_supported") },
		Callback: func(q url.Values) { q["iss"] = iss },
	})
	for _, tc := range []struct {
		iss  []string
		want error
	}{{nil, nil}, {[]string{home.URL}, nil}, {[]string{other.URL}, ErrRefused}, {[]string{""}, ErrRefused}} {
		iss = tc.iss
		f := w.begin(t, "home", Flow{})
		_, _, err := w.end(t, "home", f.secret, home.Authorize(t, f.address, ann))
		only(t, err, tc.want)
	}
}

// A flow lasts ten minutes on our clock, whatever that of Redis says.
func TestFlowTakesTooLong(t *testing.T) {
	t.Parallel()
	w, home := oneIssuer(t)
	for _, tc := range []struct {
		wait time.Duration
		want error
	}{{flowLife, nil}, {flowLife + time.Millisecond, ErrNoFlow}} {
		f := w.begin(t, "home", Flow{ReturnTo: "/after"})
		w.clock.move(tc.wait)
		_, flow, err := w.end(t, "home", f.secret, home.Authorize(t, f.address, ann))
		only(t, err, tc.want)
		if flow.ReturnTo != "/after" {
			t.Errorf("the flow is %+v", flow)
		}
	}
}

// A code that belongs to another flow signs nobody in: an attacker who has got hold of
// a victim's code cannot redeem it in a flow of their own, nor the other way around.
func TestSwappedCode(t *testing.T) {
	t.Parallel()
	w, home := oneIssuer(t)
	victim, attacker := w.begin(t, "home", Flow{}), w.begin(t, "home", Flow{})
	stolen := queryOf(t, home.Authorize(t, victim.address, ann)).Get("code")
	query := queryOf(t, home.Authorize(t, attacker.address, ann))
	query.Set("code", stolen)
	_, _, err := w.endWith(t, "home", attacker.secret, query)
	only(t, err, ErrRefused)
	if err == nil || !strings.Contains(err.Error(), "invalid_grant") {
		t.Errorf("PKCE did not refuse it: %v", err)
	}

	hub, g := oneGitHub(t)
	victim, attacker = hub.begin(t, "github", Flow{}), hub.begin(t, "github", Flow{})
	stolen = queryOf(t, g.Authorize(t, victim.address, octo)).Get("code")
	query = queryOf(t, g.Authorize(t, attacker.address, octo))
	query.Set("code", stolen)
	_, _, err = hub.endWith(t, "github", attacker.secret, query)
	only(t, err, ErrRefused)
	if err == nil || !strings.Contains(err.Error(), "bad_verification_code") {
		t.Errorf("PKCE did not refuse it: %v", err)
	}
}

func TestStartUnknown(t *testing.T) {
	t.Parallel()
	w, home := oneIssuer(t)
	for _, name := range []string{"", "nobody", "HOME", "home/"} {
		_, _, _, err := w.Start(context.Background(), name, Flow{})
		only(t, err, ErrUnknown)
		_, err = w.Check(context.Background(), name)
		only(t, err, ErrUnknown)
	}
	if home.Calls(oauthtest.Discovery) != 0 || w.flowsIn(t) != 0 {
		t.Error("a flow has begun")
	}
}
