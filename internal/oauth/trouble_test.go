package oauth

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/oauth/oauthtest"
)

// trouble is a provider in whom one endpoint fails.
type trouble struct {
	name  string
	fault oauthtest.Fault
	want  error
	// slow says that it is over when the time limit is.
	slow bool
}

func troubles(elsewhere string) []trouble {
	never := make(chan struct{})
	const tooMuch = maxBody + 1
	return []trouble{
		{"hangs", oauthtest.Fault{Wait: never}, ErrUnavailable, true},
		{"hangs halfway", oauthtest.Fault{WaitBody: never}, ErrUnavailable, true},
		{"cuts the connection", oauthtest.Fault{Cut: true}, ErrUnavailable, false},
		{"status 500", oauthtest.Fault{Status: 500}, ErrUnavailable, false},
		{"status 503", oauthtest.Fault{Status: 503}, ErrUnavailable, false},
		{"status 429", oauthtest.Fault{Status: 429}, ErrUnavailable, false},
		{"status 400", oauthtest.Fault{Status: 400}, ErrRefused, false},
		{"status 401", oauthtest.Fault{Status: 401}, ErrRefused, false},
		{"status 404", oauthtest.Fault{Status: 404}, ErrRefused, false},
		{"status 400 as a form", oauthtest.Fault{Status: 400, Header: http.Header{"Content-Type": {"text/plain"}}}, ErrRefused, false},
		{"megabytes", oauthtest.Fault{Padding: tooMuch}, ErrRefused, false},
		{"megabytes of an error", oauthtest.Fault{Status: 400, Padding: tooMuch}, ErrRefused, false},
		{"long headers", oauthtest.Fault{Header: http.Header{"X-Long": {strings.Repeat("x", maxHeaders+4096)}}}, ErrUnavailable, false},
		{"redirects", oauthtest.Fault{Redirect: elsewhere}, ErrRefused, false},
		{"redirects to see another", oauthtest.Fault{Status: 303, Header: http.Header{"Location": {elsewhere}}}, ErrRefused, false},
		{"redirects for good", oauthtest.Fault{Status: 301, Header: http.Header{"Location": {elsewhere}}}, ErrRefused, false},
		{"not JSON", oauthtest.Fault{Body: "<html>" + clientSecret}, ErrRefused, false},
		{"half of JSON", oauthtest.Fault{Body: `{"access_token":"` + clientSecret}, ErrRefused, false},
		{"a list", oauthtest.Fault{Body: "[]"}, ErrRefused, false},
		{"empty JSON", oauthtest.Fault{Body: "{}"}, ErrRefused, false},
		{"text", oauthtest.Fault{Body: `"` + clientSecret + `"`}, ErrRefused, false},
		{"null", oauthtest.Fault{Body: "null"}, ErrRefused, false},
	}
}

// patience is the limit of what hangs below. All else may take as long as a busy machine
// needs.
const patience = 200 * time.Millisecond

// Whatever an endpoint of a provider does, the answer comes in time, says whose fault it
// is and nothing more, and nobody else is asked.
func TestTrouble(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	t.Cleanup(func() {
		elsewhere.Close()
		if hits.Load() != 0 {
			t.Errorf("the server of the redirects was asked %d times", hits.Load())
		}
	})
	for _, e := range []oauthtest.Endpoint{oauthtest.Discovery, oauthtest.Token, oauthtest.Keys, oauthtest.UserInfo} {
		for _, tc := range troubles(elsewhere.URL) {
			t.Run(string(e)[1:]+" "+tc.name, func(t *testing.T) {
				t.Parallel()
				w, i := oneIssuer(t)
				i.Behave(changed(map[string]any{"name": nil})) // so that userinfo is asked
				testTrouble(t, w, tc, e, func(f oauthtest.Fault) { i.Break(e, f) }, func(a string) string { return i.Authorize(t, a, ann) })
			})
		}
	}
	for _, e := range []oauthtest.Endpoint{oauthtest.Token, oauthtest.User, oauthtest.Emails} {
		for _, tc := range troubles(elsewhere.URL) {
			if e == oauthtest.Emails && (tc.name == "status 404" || tc.name == "a list" || tc.name == "null") {
				continue // that is no address
			}
			t.Run("GitHub "+string(e)[1:]+" "+tc.name, func(t *testing.T) {
				t.Parallel()
				w, g := oneGitHub(t)
				testTrouble(t, w, tc, e, func(f oauthtest.Fault) { g.Break(e, f) }, func(a string) string { return g.Authorize(t, a, octo) })
			})
		}
	}
}

func testTrouble(t *testing.T, w *world, tc trouble, e oauthtest.Endpoint, breaks func(oauthtest.Fault), authorize func(string) string) {
	provider := w.Providers()[0].Name
	if e == oauthtest.Discovery {
		if breaks(tc.fault); tc.slow {
			w.client.callLimit = patience
		}
		_, _, _, err := w.Start(context.Background(), provider, Flow{})
		w.discreet(t, err)
		only(t, err, ErrUnavailable) // whatever the reason
		if n := w.flowsIn(t); n != 0 {
			t.Errorf("%d flows have begun", n)
		}
		return
	}
	f := w.begin(t, provider, Flow{ReturnTo: "/after"})
	back := authorize(f.address)
	breaks(tc.fault)
	switch {
	case tc.slow && e == oauthtest.Token:
		w.client.callLimit = patience
	case tc.slow:
		w.client.callLimit = 3 * patience // those that do not hang must come through
	}
	start := time.Now()
	_, flow, err := w.end(t, provider, f.secret, back)
	only(t, err, tc.want)
	if took := time.Since(start); tc.slow && took > 20*patience {
		t.Errorf("it took %v", took)
	}
	if flow.ReturnTo != "/after" {
		t.Errorf("the flow is %+v", flow)
	}
	// The next one does not suffer for it.
	w.client.callLimit = time.Minute
	breaks(oauthtest.Fault{})
	f = w.begin(t, provider, Flow{})
	_, _, err = w.end(t, provider, f.secret, authorize(f.address))
	only(t, err, nil)
}

// All questions of a callback together have a limit of their own.
func TestFinishLimit(t *testing.T) {
	t.Parallel()
	w, i := oneIssuer(t)
	f := w.begin(t, "home", Flow{ReturnTo: "/after"})
	i.Break(oauthtest.Token, oauthtest.Fault{Wait: make(chan struct{})})
	w.finishLimit = patience
	start := time.Now()
	_, flow, err := w.end(t, "home", f.secret, i.Authorize(t, f.address, ann))
	only(t, err, ErrUnavailable)
	if took := time.Since(start); took > 20*patience || flow.ReturnTo != "/after" {
		t.Errorf("it took %v, the flow is %+v", took, flow)
	}
}

// A provider that is slow is waited for.
func TestSlow(t *testing.T) {
	t.Parallel()
	w, i := oneIssuer(t)
	gate := make(chan struct{})
	i.Break(oauthtest.Token, oauthtest.Fault{WaitBody: gate})
	i.Break(oauthtest.Keys, oauthtest.Fault{Wait: gate})
	f := w.begin(t, "home", Flow{})
	time.AfterFunc(50*time.Millisecond, func() { close(gate) })
	_, _, err := w.end(t, "home", f.secret, i.Authorize(t, f.address, ann))
	only(t, err, nil)
}

// The limits of a Service that nobody has changed.
func TestLimits(t *testing.T) {
	t.Parallel()
	s := New(nil, nil, Options{})
	if s.startLimit != 3*time.Second || s.finishLimit != 8*time.Second || s.client.callLimit != 5*time.Second || s.client.maxBody != 1<<20 {
		t.Errorf("got %v, %v, %v, %d", s.startLimit, s.finishLimit, s.client.callLimit, s.client.maxBody)
	}
	if tr := s.client.transport; tr.MaxResponseHeaderBytes != 64<<10 || tr.MaxConnsPerHost != 32 || tr.Proxy == nil || tr.TLSClientConfig != nil && tr.TLSClientConfig.InsecureSkipVerify {
		t.Errorf("got %+v", tr)
	}
}

// A whole answer of the largest size is read, with not a byte more.
func TestLongestAnswer(t *testing.T) {
	t.Parallel()
	w, i := oneIssuer(t)
	w.client.maxBody = 4096
	i.Break(oauthtest.Discovery, oauthtest.Fault{Body: paddedDocument(i, 4096)})
	if _, _, _, err := w.Start(context.Background(), "home", Flow{}); err != nil {
		t.Error(err)
	}
	other := newWorld(t, settingsOf(OIDC, "home", i.URL))
	other.client.maxBody = 4095
	_, _, _, err := other.Start(context.Background(), "home", Flow{})
	only(t, err, ErrUnavailable)
}

// Nobody is there.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	w, i := oneIssuer(t)
	f := w.begin(t, "home", Flow{})
	back := i.Authorize(t, f.address, ann)
	i.Close()
	w.client.transport.CloseIdleConnections() // else one of them may be found dead first
	_, _, err := w.end(t, "home", f.secret, back)
	only(t, err, ErrUnavailable)
	if err == nil || !strings.Contains(err.Error(), "refused") || !strings.HasPrefix(err.Error(), "home: ") {
		t.Errorf("the operator reads %v", err)
	}
	other := newWorld(t, settingsOf(OIDC, "home", i.URL))
	_, _, _, err = other.Start(context.Background(), "home", Flow{})
	only(t, err, ErrUnavailable)
	_, err = other.Check(context.Background(), "home")
	only(t, err, ErrUnavailable)

	hub, g := oneGitHub(t)
	f = hub.begin(t, "github", Flow{})
	back = g.Authorize(t, f.address, octo)
	g.Close()
	_, _, err = hub.end(t, "github", f.secret, back)
	only(t, err, ErrUnavailable)
	_, err = hub.Check(context.Background(), "github")
	only(t, err, ErrUnavailable)
}

// A certificate that nobody vouches for ends it before anything is said.
func TestForeignCertificate(t *testing.T) {
	t.Parallel()
	i := oauthtest.NewTLSIssuer(t, clientID, clientSecret)
	w := newWorld(t, settingsOf(OIDC, "home", i.URL))
	_, _, _, err := w.Start(context.Background(), "home", Flow{})
	only(t, err, ErrUnavailable)
	if err == nil || !strings.Contains(err.Error(), "certificate") || i.Calls(oauthtest.Discovery) != 0 {
		t.Errorf("got %v", err)
	}
}

// The userinfo endpoint must speak of who has signed in.
func TestUserInfoOfAnother(t *testing.T) {
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
		f := w.begin(t, "home", Flow{})
		_, _, err := w.end(t, "home", f.secret, i.Authorize(t, f.address, maps.Clone(ann)))
		only(t, err, tc.want)
	}
}

// What the token endpoint says decides what it means.
func TestTokenAnswer(t *testing.T) {
	t.Parallel()
	w, i := oneIssuer(t)
	for name, tc := range map[string]struct {
		b      oauthtest.Behaviour
		f      oauthtest.Fault
		want   error
		reason string
	}{
		"an error of status 200": {f: oauthtest.Fault{Body: `{"error":"invalid_grant"}`}, want: ErrRefused, reason: "says invalid_grant"},
		"busy":                   {f: oauthtest.Fault{Body: `{"error":"temporarily_unavailable"}`}, want: ErrUnavailable, reason: "says temporarily_unavailable"},
		"an error of its own":    {f: oauthtest.Fault{Body: `{"error":"` + clientSecret + `"}`}, want: ErrRefused, reason: "not in the standard"},
		"another token type": {
			b: oauthtest.Behaviour{Answer: func(a map[string]any) { a["token_type"] = "DPoP" }}, want: ErrRefused, reason: "not for bearers",
		},
		"no token type":   {b: oauthtest.Behaviour{Answer: func(a map[string]any) { delete(a, "token_type") }}},
		"no access token": {b: oauthtest.Behaviour{Answer: func(a map[string]any) { delete(a, "access_token") }}, want: ErrRefused},
		"an access token that is no header": {
			b: oauthtest.Behaviour{
				Answer:  func(a map[string]any) { a["access_token"] = "x\r\nHost: y" },
				IDToken: changed(map[string]any{"at_hash": nil, "email": nil}).IDToken,
			}, want: ErrUnavailable, // nothing of it was sent
		},
	} {
		i.Behave(tc.b)
		i.Break(oauthtest.Token, tc.f)
		b := w.begin(t, "home", Flow{})
		_, _, err := w.end(t, "home", b.secret, i.Authorize(t, b.address, ann))
		if only(t, err, tc.want); err != nil && !strings.Contains(err.Error(), tc.reason) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
