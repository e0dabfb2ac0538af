package oauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"latchkey/internal/oauth/oauthtest"
)

// While a provider is down, discovery is retried every five seconds and not for each request.
// When it is back, it is used again.
func TestProviderDown(t *testing.T) {
	t.Parallel()

	w, i := oneIssuer(t)
	i.Break(oauthtest.Discovery, oauthtest.Fault{Status: 503})
	start := func(want error, requests int) {
		t.Helper()

		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, _, _, err := w.Start(context.Background(), "home", Flow{})
				wantError(t, err, want)
			})
		}

		wg.Wait()
		if n := i.Calls(oauthtest.Discovery); n != requests {
			t.Errorf("got %d discovery requests, want %d", n, requests)
		}
	}

	start(ErrUnavailable, 1)
	w.clock.move(retryInterval - time.Millisecond)
	start(ErrUnavailable, 1)
	w.clock.move(time.Millisecond)
	start(ErrUnavailable, 2)
	i.Break(oauthtest.Discovery, oauthtest.Fault{})
	start(ErrUnavailable, 2)
	w.clock.move(retryInterval)
	start(nil, 3)
	w.clock.move(metadataTTL - time.Millisecond)
	start(nil, 3)
}

// Metadata is refreshed every day. If that fails, the old metadata stays in use.
func TestMetadataRefresh(t *testing.T) {
	t.Parallel()

	w, i := oneIssuer(t)
	for _, tc := range []struct {
		move     time.Duration
		fault    oauthtest.Fault
		requests int
	}{
		{0, oauthtest.Fault{}, 1},
		{metadataTTL, oauthtest.Fault{Status: 500}, 2},
		{retryInterval - 1, oauthtest.Fault{Status: 500}, 2},
		{1, oauthtest.Fault{Body: "{}"}, 3},
		{retryInterval, oauthtest.Fault{}, 4},
		{metadataTTL - 1, oauthtest.Fault{}, 4},
	} {
		w.clock.move(tc.move)
		i.Break(oauthtest.Discovery, tc.fault)
		wantError(t, w.signIn(t, i), nil)
		if n := i.Calls(oauthtest.Discovery); n != tc.requests {
			t.Errorf("got %d discovery requests, want %d", n, tc.requests)
		}
	}

	if log := w.log.String(); strings.Count(log, "cannot refresh provider metadata") != 2 {
		t.Errorf("got log %s, want two warnings", log)
	}

	// If the provider hangs, the old metadata is used after the timeout.
	w.clock.move(metadataTTL)
	i.Break(oauthtest.Discovery, oauthtest.Fault{Wait: make(chan struct{})})
	w.startTimeout = shortTimeout
	if _, _, _, err := w.Start(context.Background(), "home", Flow{}); err != nil {
		t.Errorf("got error %v, want none", err)
	}
}

// Concurrent callers share a discovery request. If the first caller is cancelled, the others
// still get the response.
func TestCancelledRequest(t *testing.T) {
	t.Parallel()

	w, i := oneIssuer(t)
	gate := make(chan struct{})
	i.Break(oauthtest.Discovery, oauthtest.Fault{Wait: gate})
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, _, err := w.Start(cancelled, "home", Flow{})
	wantError(t, err, ErrUnavailable)
	close(gate)
	wantError(t, w.signIn(t, i), nil)
	if n := i.Calls(oauthtest.Discovery); n != 1 {
		t.Errorf("got %d discovery requests, want 1", n)
	}
}

// If the provider hangs, Start fails after its timeout.
func TestStartTimeout(t *testing.T) {
	t.Parallel()

	w, i := oneIssuer(t)
	i.Break(oauthtest.Discovery, oauthtest.Fault{Wait: make(chan struct{})})
	w.startTimeout = shortTimeout
	start := time.Now()
	_, _, _, err := w.Start(context.Background(), "home", Flow{})
	wantError(t, err, ErrUnavailable)
	if took := time.Since(start); took > 20*shortTimeout {
		t.Errorf("got an error after %v, want it after %v", took, shortTimeout)
	}
}

// A new key of the provider works immediately, and a withdrawn key no longer works.
func TestKeyRotation(t *testing.T) {
	t.Parallel()

	w, i := oneIssuer(t)
	oldKey := i.Key()

	for range 3 {
		wantError(t, w.signIn(t, i), nil)
	}

	if n := i.Calls(oauthtest.Keys); n != 1 {
		t.Errorf("got %d requests for keys, want 1", n)
	}

	i.UseKey(oauthtest.NewKey(t, jose.ES256))
	wantError(t, w.signIn(t, i), nil)
	wantError(t, w.signIn(t, i), nil)
	if n := i.Calls(oauthtest.Keys); n != 2 {
		t.Errorf("got %d requests for keys, want 2", n)
	}

	i.Behave(by(oldKey, nil))
	wantError(t, w.signIn(t, i), ErrRefused)
	if n := i.Calls(oauthtest.Discovery); n != 1 {
		t.Errorf("got %d discovery requests, want 1", n)
	}
}

// A withdrawn key is dropped when the metadata is refreshed, even if no token with a new key
// was received.
func TestKeysExpire(t *testing.T) {
	t.Parallel()

	w, i := oneIssuer(t)
	wantError(t, w.signIn(t, i), nil)
	i.Behave(by(i.Key(), nil))
	i.UseKey(oauthtest.NewKey(t, jose.ES256))
	w.clock.move(metadataTTL)
	wantError(t, w.signIn(t, i), ErrRefused)
}

// Metadata is rejected if it belongs to another issuer, or if codes and secrets would be sent
// unencrypted (OWASP ASVS 5.0 10.5.3 and 12.2.1).
func TestMetadata(t *testing.T) {
	t.Parallel()

	i := oauthtest.NewTLSIssuer(t, clientID, clientSecret)
	trusted := x509.NewCertPool()
	trusted.AddCert(i.Certificate())
	plain := "http" + strings.TrimPrefix(i.URL, "https")
	set := func(name string, value any) func(map[string]any) {
		return func(d map[string]any) {
			if d[name] = value; value == nil {
				delete(d, name)
			}
		}
	}

	for name, tc := range map[string]struct {
		change func(map[string]any)
		ok     bool
	}{
		"valid":                       {func(map[string]any) {}, true},
		"wrong issuer":                {set("issuer", "https://evil.example"), false},
		"no issuer":                   {set("issuer", nil), false},
		"member name in wrong case":   {func(d map[string]any) { d["Issuer"] = d["issuer"]; delete(d, "issuer") }, false},
		"authorization without TLS":   {set("authorization_endpoint", plain+"/authorize"), false},
		"token without TLS":           {set("token_endpoint", plain+"/token"), false},
		"keys without TLS":            {set("jwks_uri", plain+"/keys"), false},
		"userinfo without TLS":        {set("userinfo_endpoint", plain+"/userinfo"), false},
		"javascript endpoint":         {set("authorization_endpoint", "javascript:alert(1)"), false},
		"no host":                     {set("token_endpoint", "https:///token"), false},
		"endpoint with user":          {set("token_endpoint", "https://user@"+strings.TrimPrefix(i.URL, "https://")), false},
		"endpoint with fragment":      {set("token_endpoint", i.URL+"/token#x"), false},
		"invalid URL":                 {set("token_endpoint", "https://%zz"), false},
		"no token":                    {set("token_endpoint", nil), false},
		"no userinfo":                 {set("userinfo_endpoint", nil), true},
		"client secret not supported": {set("token_endpoint_auth_methods_supported", []string{"private_key_jwt", "none"}), false},
		"default authentication":      {set("token_endpoint_auth_methods_supported", nil), true},
		"client_secret_basic":         {set("token_endpoint_auth_methods_supported", []string{"none", "client_secret_basic"}), true},
		"client_secret_post":          {set("token_endpoint_auth_methods_supported", []string{"client_secret_post"}), true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t, settingsOf(OIDC, "home", i.URL))
			w.client.transport.TLSClientConfig = &tls.Config{RootCAs: trusted}
			w.clock.at = time.Now()
			i.Behave(oauthtest.Behaviour{Document: tc.change})

			if tc.ok {
				wantError(t, w.signIn(t, i), nil)
				return
			}
			_, _, _, err := w.Start(context.Background(), "home", Flow{})
			wantError(t, err, ErrUnavailable)
		})
	}
}

// An issuer with a trailing slash works, and the slash is part of the identifier.
func TestIssuerWithSlash(t *testing.T) {
	t.Parallel()

	i := oauthtest.NewIssuer(t, clientID, clientSecret)
	w := newFixture(t, settingsOf(OIDC, "home", i.URL+"/"))
	w.use(i)

	b := changed(map[string]any{"iss": i.URL + "/"})
	b.Document = func(d map[string]any) {
		d["issuer"] = i.URL + "/"
		delete(d, "authorization_response_iss_parameter_supported")
	}

	b.Callback = func(q url.Values) { q.Del("iss") }
	i.Behave(b)
	wantError(t, w.signIn(t, i), nil)
}
