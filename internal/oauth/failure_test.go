package oauth

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/oauth/oauthtest"
)

// failure is a way in which an endpoint of a provider fails.
type failure struct {
	name  string
	fault oauthtest.Fault
	want  error
	// hangs means that the request ends only with the timeout.
	hangs bool
}

func failures(redirectURL string) []failure {
	never := make(chan struct{})
	location := http.Header{"Location": {redirectURL}}

	return []failure{
		{"hangs", oauthtest.Fault{Wait: never}, ErrUnavailable, true},
		{"hangs in the body", oauthtest.Fault{WaitBody: never}, ErrUnavailable, true},
		{"closes the connection", oauthtest.Fault{Cut: true}, ErrUnavailable, false},
		{"status 500", oauthtest.Fault{Status: 500}, ErrUnavailable, false},
		{"status 429", oauthtest.Fault{Status: 429}, ErrUnavailable, false},
		{"status 400", oauthtest.Fault{Status: 400}, ErrRefused, false},
		{"response too large", oauthtest.Fault{Padding: maxBody}, ErrRefused, false},
		{"error response too large", oauthtest.Fault{Status: 400, Padding: maxBody}, ErrRefused, false},
		{"headers too large", oauthtest.Fault{Header: http.Header{"X-Long": {strings.Repeat("x", maxHeaders+4096)}}}, ErrUnavailable, false},
		{"redirect 307", oauthtest.Fault{Status: 307, Header: location}, ErrRefused, false},
		{"redirect 303", oauthtest.Fault{Status: 303, Header: location}, ErrRefused, false},
		{"not JSON", oauthtest.Fault{Body: "<html>" + clientSecret}, ErrRefused, false},
		{"truncated JSON", oauthtest.Fault{Body: `{"access_token":"` + clientSecret}, ErrRefused, false},
		{"empty object", oauthtest.Fault{Body: "{}"}, ErrRefused, false},
	}
}

// shortTimeout is the timeout for endpoints that hang. All other requests may take as long as
// they need on a busy machine.
const shortTimeout = 200 * time.Millisecond

// However an endpoint fails, the call returns in time with the right error, without secrets in
// its text, and without following redirects.
func TestProviderFailures(t *testing.T) {
	t.Parallel()

	var hits atomic.Int64
	redirectTarget := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))

	t.Cleanup(func() {
		redirectTarget.Close()
		if hits.Load() != 0 {
			t.Errorf("got %d requests to the target of redirects, want 0", hits.Load())
		}
	})

	for _, e := range []oauthtest.Endpoint{oauthtest.Discovery, oauthtest.Token, oauthtest.Keys, oauthtest.UserInfo} {
		for _, tc := range failures(redirectTarget.URL) {
			t.Run(string(e)[1:]+" "+tc.name, func(t *testing.T) {
				t.Parallel()

				w, i := oneIssuer(t)
				i.Behave(changed(map[string]any{"email": nil})) // so that userinfo is requested
				testFailure(t, w, tc, e, func(f oauthtest.Fault) { i.Break(e, f) }, func(a string) string { return i.Authorize(t, a, ann) })
			})
		}
	}

	for _, e := range []oauthtest.Endpoint{oauthtest.Token, oauthtest.User, oauthtest.Emails} {
		for _, tc := range failures(redirectTarget.URL) {
			t.Run("GitHub "+string(e)[1:]+" "+tc.name, func(t *testing.T) {
				t.Parallel()
				w, g := oneGitHub(t)
				testFailure(t, w, tc, e, func(f oauthtest.Fault) { g.Break(e, f) }, func(a string) string { return g.Authorize(t, a, octo) })
			})
		}
	}
}

func testFailure(t *testing.T, w *fixture, tc failure, e oauthtest.Endpoint, breaks func(oauthtest.Fault), authorize func(string) string) {
	provider := w.Providers()[0].Name
	if e == oauthtest.Discovery {
		breaks(tc.fault)
		if tc.hangs {
			w.client.timeout = shortTimeout
		}

		_, _, _, err := w.Start(context.Background(), provider, Flow{})
		w.checkNoSecrets(t, err)
		wantError(t, err, ErrUnavailable) // for every kind of failure
		if n := w.pendingFlows(t); n != 0 {
			t.Errorf("got %d stored flows, want 0", n)
		}

		return
	}

	f := w.begin(t, provider, Flow{ReturnTo: "/after"})
	back := authorize(f.redirect)
	breaks(tc.fault)

	switch {
	case tc.hangs && e == oauthtest.Token:
		w.client.timeout = shortTimeout
	case tc.hangs:
		w.client.timeout = 3 * shortTimeout // the other requests must succeed
	}

	start := time.Now()
	_, flow, err := w.end(t, provider, f.secret, back)
	wantError(t, err, tc.want)
	if took := time.Since(start); tc.hangs && took > 20*shortTimeout {
		t.Errorf("got an error after %v, want it within %v", took, 20*shortTimeout)
	}
	if flow.ReturnTo != "/after" {
		t.Errorf("got flow %+v, want the one that was started", flow)
	}

	// The next sign-in succeeds.
	w.client.timeout = time.Minute
	breaks(oauthtest.Fault{})
	f = w.begin(t, provider, Flow{})
	_, _, err = w.end(t, provider, f.secret, authorize(f.redirect))
	wantError(t, err, nil)
}

// Finish limits the time of all its requests together.
func TestFinishTimeout(t *testing.T) {
	t.Parallel()

	w, i := oneIssuer(t)
	i.Break(oauthtest.Token, oauthtest.Fault{Wait: make(chan struct{})})
	w.finishTimeout = shortTimeout
	start := time.Now()
	wantError(t, w.signIn(t, i), ErrUnavailable)
	if took := time.Since(start); took > 20*shortTimeout {
		t.Errorf("got an error after %v, want it within %v", took, 20*shortTimeout)
	}
}

// A new Service has the documented limits.
func TestDefaultLimits(t *testing.T) {
	t.Parallel()

	s := New(nil, nil, nil, Options{})
	if s.startTimeout != 3*time.Second || s.finishTimeout != 8*time.Second || s.client.timeout != 5*time.Second {
		t.Errorf("got timeouts %v, %v, %v, want 3s, 8s, 5s", s.startTimeout, s.finishTimeout, s.client.timeout)
	}
	if tr := s.client.transport; tr.MaxConnsPerHost != 32 || tr.Proxy == nil {
		t.Errorf("got transport %+v, want 32 connections to a host and proxies from the environment", tr)
	}
}

// A refused connection is reported as such.
func TestConnectionRefused(t *testing.T) {
	t.Parallel()

	w, i := oneIssuer(t)
	f := w.begin(t, "home", Flow{})
	back := i.Authorize(t, f.redirect, ann)
	i.Close()
	w.client.transport.CloseIdleConnections() // otherwise a request may fail on an idle connection first
	_, _, err := w.end(t, "home", f.secret, back)
	wantError(t, err, ErrUnavailable)
	if err == nil || !strings.Contains(err.Error(), "refused") || !strings.HasPrefix(err.Error(), "home: ") {
		t.Errorf("got error %v, want the name of the provider and the reason", err)
	}

	_, err = w.Check(context.Background(), "home")
	wantError(t, err, ErrUnavailable)
	hub, g := oneGitHub(t)
	g.Close()
	_, err = hub.Check(context.Background(), "github")
	wantError(t, err, ErrUnavailable)
}

// A provider with an untrusted certificate receives no request.
func TestUntrustedCertificate(t *testing.T) {
	t.Parallel()

	i := oauthtest.NewTLSIssuer(t, clientID, clientSecret)
	w := newFixture(t, settingsOf(OIDC, "home", i.URL))
	_, _, _, err := w.Start(context.Background(), "home", Flow{})
	wantError(t, err, ErrUnavailable)
	if err == nil || !strings.Contains(err.Error(), "certificate") || i.Calls(oauthtest.Discovery) != 0 {
		t.Errorf("got error %v, want a certificate error and no request", err)
	}
}

// A userinfo response about another user is rejected.
func TestUserInfoSubject(t *testing.T) {
	t.Parallel()

	w, i := oneIssuer(t)
	for _, tc := range []struct {
		change map[string]any
		want   error
	}{
		{nil, nil},
		{map[string]any{"sub": "u-2"}, ErrRefused},
		{map[string]any{"sub": nil}, ErrRefused},
		{map[string]any{"sub": ""}, ErrRefused},
		{map[string]any{"sub": "U-1"}, ErrRefused},
		{map[string]any{"Sub": "u-1", "sub": nil}, ErrRefused},
	} {
		b := changed(map[string]any{"email": nil})
		b.UserInfo = changed(tc.change).IDToken
		i.Behave(b)
		wantError(t, w.signIn(t, i), tc.want)
	}
}

// The userinfo endpoint can verify only the email of the ID token, and cannot replace it. If it
// fails, the email counts as unverified.
func TestUserInfoVerifiesEmail(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		userInfo map[string]any
		fault    oauthtest.Fault
		verified bool
	}{
		"same email":      {verified: true},
		"other spelling":  {userInfo: map[string]any{"email": "ANN@example.COM"}, verified: true},
		"other email":     {userInfo: map[string]any{"email": "eve@example.com"}},
		"no email":        {userInfo: map[string]any{"email": nil}},
		"not verified":    {userInfo: map[string]any{"email_verified": false}},
		"another user":    {userInfo: map[string]any{"sub": "u-2"}},
		"sub is a number": {userInfo: map[string]any{"sub": 5}},
		"forbidden":       {fault: oauthtest.Fault{Status: 403}},
		"broken":          {fault: oauthtest.Fault{Status: 500}},
		"a signed JWT":    {fault: oauthtest.Fault{Body: "eyJhbGciOiJub25lIn0.e30."}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w, i := oneIssuer(t)
			b := changed(map[string]any{"email_verified": nil})
			b.UserInfo = changed(tc.userInfo).IDToken
			i.Behave(b)
			i.Break(oauthtest.UserInfo, tc.fault)

			f := w.begin(t, "home", Flow{})
			got, _, err := w.end(t, "home", f.secret, i.Authorize(t, f.redirect, ann))
			wantError(t, err, nil)
			if got.Email != "ann@example.com" || got.EmailVerified != tc.verified {
				t.Errorf("got email %q (verified %t), want ann@example.com (verified %t)", got.Email, got.EmailVerified, tc.verified)
			}

			isFailure := tc.fault.Status != 0 || tc.fault.Body != "" || tc.userInfo["sub"] != nil
			if logged := strings.Contains(w.log.String(), "email_verified"); logged != isFailure {
				t.Errorf("got log %q, want the claim in it only after a failure", w.log)
			}
		})
	}
}

// Errors and invalid tokens in a response of the token endpoint are recognized.
func TestTokenResponse(t *testing.T) {
	t.Parallel()

	w, i := oneIssuer(t)
	for name, tc := range map[string]struct {
		b      oauthtest.Behaviour
		f      oauthtest.Fault
		want   error
		reason string
	}{
		"error with status 200":   {f: oauthtest.Fault{Body: `{"error":"invalid_grant"}`}, want: ErrRefused, reason: "token endpoint: invalid_grant"},
		"temporarily unavailable": {f: oauthtest.Fault{Body: `{"error":"temporarily_unavailable"}`}, want: ErrUnavailable, reason: "token endpoint: temporarily_unavailable"},
		"unknown error":           {f: oauthtest.Fault{Body: `{"error":"` + clientSecret + `"}`}, want: ErrRefused, reason: "unknown error code"},
		"wrong token type": {
			b: oauthtest.Behaviour{TokenResponse: func(a map[string]any) { a["token_type"] = "DPoP" }}, want: ErrRefused, reason: "not a bearer token",
		},
		"no token type":   {b: oauthtest.Behaviour{TokenResponse: func(a map[string]any) { delete(a, "token_type") }}},
		"no access token": {b: oauthtest.Behaviour{TokenResponse: func(a map[string]any) { delete(a, "access_token") }}, want: ErrRefused},
		"access token with line breaks": {
			b: oauthtest.Behaviour{
				TokenResponse: func(a map[string]any) { a["access_token"] = "x\r\nHost: y" },
				IDToken:       changed(map[string]any{"at_hash": nil, "email": nil}).IDToken,
			}, want: ErrUnavailable, // the request was not sent
		},
	} {
		i.Behave(tc.b)
		i.Break(oauthtest.Token, tc.f)
		err := w.signIn(t, i)
		wantError(t, err, tc.want)
		if err != nil && !strings.Contains(err.Error(), tc.reason) {
			t.Errorf("%s: got error %v, want it to contain %q", name, err, tc.reason)
		}
	}
}
