package oauth

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/internal/oauth/oauthtest"
)

// newTwoProviderFixture returns a fixture with the providers "home" and "other", and their issuers.
func newTwoProviderFixture(t *testing.T) (w *fixture, home, other *oauthtest.Issuer) {
	t.Helper()

	home = oauthtest.NewIssuer(t, clientID, clientSecret)
	other = oauthtest.NewIssuer(t, clientID, clientSecret)
	w = newFixture(t, settingsOf(OIDC, "home", home.URL), settingsOf(OIDC, "other", other.URL))
	w.use(home, other)

	return w, home, other
}

// A callback succeeds only in the browser and for the provider of the flow. The code is sent
// to the provider only if the callback belongs to the flow.
func TestCallback(t *testing.T) {
	t.Parallel()

	w, home, other := newTwoProviderFixture(t)
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
		ended    bool // the flow was found and taken
		redeemed bool // the code was sent to the token endpoint
		reason   string
	}{
		{name: "valid", ended: true, redeemed: true},
		{name: "no state", change: set("state"), want: ErrNoFlow},
		{name: "unknown state", change: set("state", good), want: ErrNoFlow},
		{name: "state of another flow", change: set("state", queryOf(t, stranger.redirect).Get("state")), want: ErrNoFlow},
		{name: "two states", change: twice("state"), want: ErrNoFlow},
		{name: "no secret", secret: func(string) string { return "" }, want: ErrNoFlow},
		{name: "another browser", secret: func(string) string { return stranger.secret }, want: ErrNoFlow},

		{name: "another provider", provider: "other", want: ErrNoFlow, ended: true, reason: "started with another provider"},
		{name: "unknown provider", provider: "nobody", want: ErrUnknownProvider},

		{name: "two codes", change: func(q url.Values) { q.Add("code", "x") }, want: ErrRefused, ended: true, reason: "repeated parameter code"},
		{name: "two issuers", change: twice("iss"), want: ErrRefused, ended: true, reason: "repeated parameter iss"},
		{name: "two errors", change: both(failed("access_denied"), twice("error")), want: ErrRefused, ended: true, reason: "repeated parameter error"},
		{name: "no code", change: set("code"), want: ErrRefused, ended: true, reason: "no code"},
		{name: "unknown code", change: set("code", "made-up-code"), want: ErrRefused, ended: true, redeemed: true, reason: "token endpoint: invalid_grant"},

		{name: "no issuer", change: set("iss"), want: ErrRefused, ended: true, reason: "iss is missing"},
		{name: "empty issuer", change: set("iss", ""), want: ErrRefused, ended: true, reason: "wrong issuer"},
		{name: "wrong issuer", change: set("iss", other.URL), want: ErrRefused, ended: true, reason: "wrong issuer"},

		{name: "denied", change: failed("access_denied"), want: ErrDenied, ended: true},
		{name: "denied, with a code", change: set("error", "access_denied"), want: ErrDenied, ended: true},
		{name: "denied by another issuer", change: both(failed("access_denied"), set("iss", other.URL)), want: ErrRefused, ended: true, reason: "wrong issuer"},
		{name: "denied without issuer", change: both(failed("access_denied"), set("iss")), want: ErrRefused, ended: true, reason: "iss is missing"},
		{name: "temporarily unavailable", change: failed("temporarily_unavailable"), want: ErrUnavailable, ended: true},
		{name: "server error", change: failed("server_error"), want: ErrUnavailable, ended: true},
		{name: "login required", change: failed("login_required"), want: ErrRefused, ended: true, reason: "callback: login_required"},
		{name: "unknown error", change: failed(clientSecret), want: ErrRefused, ended: true, reason: "unknown error code"},
		{name: "empty error", change: set("error", ""), want: ErrRefused, ended: true, reason: "unknown error code"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := w.begin(t, "home", Flow{ReturnTo: "/after"})
			query := queryOf(t, home.Authorize(t, f.redirect, ann))
			waiting := w.pendingFlows(t)
			calls := home.Calls(oauthtest.Token)
			secret := f.secret
			provider := "home"
			if tc.secret != nil {
				secret = tc.secret(secret)
			}
			if tc.change != nil {
				tc.change(query)
			}
			if tc.provider != "" {
				provider = tc.provider
			}

			_, flow, err := w.endWith(t, provider, secret, query)
			wantError(t, err, tc.want)
			if err != nil && !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("got error %v, want it to contain %q", err, tc.reason)
			}
			if ended := w.pendingFlows(t) < waiting; ended != tc.ended || (flow.ReturnTo == "/after") != tc.ended {
				t.Errorf("got ended %t and flow %+v (error %v), want ended %t", ended, flow, err, tc.ended)
			}
			if redeemed := home.Calls(oauthtest.Token) > calls; redeemed != tc.redeemed {
				t.Errorf("got code redeemed %t, want %t", redeemed, tc.redeemed)
			}
			if tc.ended { // it cannot be finished a second time
				_, _, err := w.end(t, "home", f.secret, home.Authorize(t, f.redirect, ann))
				wantError(t, err, ErrNoFlow)
			}
		})
	}

	if other.Calls(oauthtest.Token) != 0 {
		t.Error("got a token request to the other provider, want none")
	}
}

// A provider that does not announce support for iss may omit it, but a wrong value is still
// rejected.
func TestOptionalIssuerParameter(t *testing.T) {
	t.Parallel()

	w, home, other := newTwoProviderFixture(t)
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
		wantError(t, w.signIn(t, home), tc.want)
	}
}

// A flow expires after ten minutes by our clock, independently of the clock of Redis.
func TestFlowExpires(t *testing.T) {
	t.Parallel()

	w, home := oneIssuer(t)
	for _, tc := range []struct {
		wait time.Duration
		want error
	}{{FlowTTL, nil}, {FlowTTL + time.Millisecond, ErrNoFlow}} {
		f := w.begin(t, "home", Flow{ReturnTo: "/after"})
		w.clock.move(tc.wait)
		_, flow, err := w.end(t, "home", f.secret, home.Authorize(t, f.redirect, ann))
		wantError(t, err, tc.want)
		if flow.ReturnTo != "/after" {
			t.Errorf("got flow %+v, want the one that was started", flow)
		}
	}
}

// A code is rejected in another flow: an attacker cannot redeem a stolen code in a flow of
// their own, nor inject their code into the flow of a victim.
func TestSwappedCode(t *testing.T) {
	t.Parallel()

	check := func(w *fixture, provider, reason string, authorize func(redirect string) string) {
		victim := w.begin(t, provider, Flow{})
		attacker := w.begin(t, provider, Flow{})
		query := queryOf(t, authorize(attacker.redirect))
		query.Set("code", queryOf(t, authorize(victim.redirect)).Get("code"))

		_, _, err := w.endWith(t, provider, attacker.secret, query)
		wantError(t, err, ErrRefused)
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("got error %v, want the provider to reject the code verifier", err)
		}
	}

	w, i := oneIssuer(t)
	check(w, "home", "invalid_grant", func(redirect string) string { return i.Authorize(t, redirect, ann) })
	hub, g := oneGitHub(t)
	check(hub, "github", "bad_verification_code", func(redirect string) string { return g.Authorize(t, redirect, octo) })
}

func TestUnknownProvider(t *testing.T) {
	t.Parallel()

	w, home := oneIssuer(t)
	for _, name := range []string{"", "nobody", "HOME"} {
		_, _, _, err := w.Start(context.Background(), name, Flow{})
		wantError(t, err, ErrUnknownProvider)
		_, err = w.Check(context.Background(), name)
		wantError(t, err, ErrUnknownProvider)
	}

	if home.Calls(oauthtest.Discovery) != 0 || w.pendingFlows(t) != 0 {
		t.Error("got a discovery request or a stored flow, want none")
	}
}
