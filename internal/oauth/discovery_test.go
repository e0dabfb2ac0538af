package oauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"latchkey/internal/oauth/oauthtest"
)

// signIn goes through a whole flow.
func (w *world) signIn(t *testing.T, i *oauthtest.Issuer) error {
	t.Helper()
	address, _, secret, err := w.Start(context.Background(), "home", Flow{})
	if err != nil {
		return err
	}
	_, _, err = w.end(t, "home", secret, i.Authorize(t, address, ann))
	return err
}

// paddedDocument is a discovery document of so many bytes.
func paddedDocument(i *oauthtest.Issuer, size int) string {
	document, _ := json.Marshal(map[string]any{ // strings cannot fail
		"issuer": i.URL, "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token", "jwks_uri": i.URL + "/keys",
	})
	return string(document) + strings.Repeat(" ", size-len(document))
}

// A dead provider is asked once in five seconds, not by each request, and is used again
// when it is back.
func TestDeadProvider(t *testing.T) {
	t.Parallel()
	w, i := oneIssuer(t)
	i.Break(oauthtest.Discovery, oauthtest.Fault{Status: 503})
	start := func(want error, asked int) {
		t.Helper()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, _, _, err := w.Start(context.Background(), "home", Flow{})
				only(t, err, want)
			})
		}
		wg.Wait()
		if n := i.Calls(oauthtest.Discovery); n != asked {
			t.Errorf("the provider was asked %d times, want %d", n, asked)
		}
	}
	start(ErrUnavailable, 1)
	w.clock.move(failureLife - time.Millisecond)
	start(ErrUnavailable, 1)
	w.clock.move(time.Millisecond)
	start(ErrUnavailable, 2)
	i.Break(oauthtest.Discovery, oauthtest.Fault{})
	start(ErrUnavailable, 2)
	w.clock.move(failureLife)
	start(nil, 3)
	w.clock.move(metadataLife - time.Millisecond)
	start(nil, 3)
	if log := w.log.String(); log != "" {
		t.Errorf("what was returned was logged, too: %s", log)
	}
}

// Metadata are renewed every day; where that cannot be, the old ones are used on.
func TestMetadataAge(t *testing.T) {
	t.Parallel()
	w, i := oneIssuer(t)
	for _, tc := range []struct {
		move  time.Duration
		fault oauthtest.Fault
		asked int
	}{
		{0, oauthtest.Fault{}, 1},
		{metadataLife, oauthtest.Fault{Status: 500}, 2},
		{failureLife - 1, oauthtest.Fault{Status: 500}, 2},
		{1, oauthtest.Fault{Body: "{}"}, 3},
		{failureLife, oauthtest.Fault{}, 4},
		{metadataLife - 1, oauthtest.Fault{}, 4},
	} {
		w.clock.move(tc.move)
		i.Break(oauthtest.Discovery, tc.fault)
		only(t, w.signIn(t, i), nil)
		if n := i.Calls(oauthtest.Discovery); n != tc.asked {
			t.Errorf("the provider was asked %d times, want %d", n, tc.asked)
		}
	}
	if log := w.log.String(); strings.Count(log, "could not be renewed") != 2 {
		t.Errorf("the log has %s", log)
	}
	// One that hangs is waited for, and then the old ones do as well.
	w.clock.move(metadataLife)
	i.Break(oauthtest.Discovery, oauthtest.Fault{Wait: make(chan struct{})})
	w.startLimit = patience
	if _, _, _, err := w.Start(context.Background(), "home", Flow{}); err != nil {
		t.Error(err)
	}
}

// Who asks may go away: those who wait with them get the answer all the same.
func TestAskerGoesAway(t *testing.T) {
	t.Parallel()
	w, i := oneIssuer(t)
	gate := make(chan struct{})
	i.Break(oauthtest.Discovery, oauthtest.Fault{Wait: gate})
	gone, leave := context.WithCancel(context.Background())
	leave()
	_, _, _, err := w.Start(gone, "home", Flow{})
	only(t, err, ErrUnavailable)
	close(gate)
	only(t, w.signIn(t, i), nil)
	if n := i.Calls(oauthtest.Discovery); n != 1 {
		t.Errorf("the provider was asked %d times", n)
	}
}

// A hanging provider does not keep the browser longer than the limit of a start.
func TestStartLimit(t *testing.T) {
	t.Parallel()
	w, i := oneIssuer(t)
	i.Break(oauthtest.Discovery, oauthtest.Fault{Wait: make(chan struct{})})
	w.startLimit = patience
	start := time.Now()
	_, _, _, err := w.Start(context.Background(), "home", Flow{})
	only(t, err, ErrUnavailable)
	if took := time.Since(start); took > 20*patience {
		t.Errorf("it took %v", took)
	}
}

// A new key at the provider works at once, and the one that it has withdrawn no more.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	w, i := oneIssuer(t)
	old := i.Key()
	for range 3 {
		only(t, w.signIn(t, i), nil)
	}
	if n := i.Calls(oauthtest.Keys); n != 1 {
		t.Errorf("the keys were asked for %d times", n)
	}
	i.UseKey(oauthtest.NewKey(t, jose.ES256))
	only(t, w.signIn(t, i), nil)
	only(t, w.signIn(t, i), nil)
	if n := i.Calls(oauthtest.Keys); n != 2 {
		t.Errorf("the keys were asked for %d times", n)
	}
	i.Behave(by(old, nil))
	only(t, w.signIn(t, i), ErrRefused)
	if n := i.Calls(oauthtest.Discovery); n != 1 {
		t.Errorf("the metadata were asked for %d times", n)
	}
}

// A key that was withdrawn is forgotten with the metadata, even where no new one was met.
func TestKeysAge(t *testing.T) {
	t.Parallel()
	w, i := oneIssuer(t)
	only(t, w.signIn(t, i), nil)
	i.Behave(by(i.Key(), nil))
	i.UseKey(oauthtest.NewKey(t, jose.ES256))
	w.clock.move(metadataLife)
	only(t, w.signIn(t, i), ErrRefused)
}

// Metadata that are another's, or would send codes and secrets in the clear, are not
// used (OWASP ASVS 5.0 10.5.3 and 12.2.1).
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
		"as it should be":           {func(map[string]any) {}, true},
		"another issuer":            {set("issuer", "https://evil.example"), false},
		"the issuer with a slash":   {set("issuer", i.URL+"/"), false},
		"no issuer":                 {set("issuer", nil), false},
		"the issuer in capitals":    {func(d map[string]any) { d["Issuer"] = d["issuer"]; delete(d, "issuer") }, false},
		"authorization without TLS": {set("authorization_endpoint", plain+"/authorize"), false},
		"token without TLS":         {set("token_endpoint", plain+"/token"), false},
		"keys without TLS":          {set("jwks_uri", plain+"/keys"), false},
		"userinfo without TLS":      {set("userinfo_endpoint", plain+"/userinfo"), false},
		"a script":                  {set("authorization_endpoint", "javascript:alert(1)"), false},
		"a file":                    {set("jwks_uri", "file:///etc/passwd"), false},
		"a path":                    {set("token_endpoint", "/token"), false},
		"no host":                   {set("token_endpoint", "https:///token"), false},
		"a user in it":              {set("token_endpoint", "https://user@"+strings.TrimPrefix(i.URL, "https://")), false},
		"a fragment":                {set("token_endpoint", i.URL+"/token#x"), false},
		"no URL":                    {set("token_endpoint", "https://%zz"), false},
		"no authorization":          {set("authorization_endpoint", nil), false},
		"no token":                  {set("token_endpoint", nil), false},
		"no keys":                   {set("jwks_uri", nil), false},
		"no userinfo":               {set("userinfo_endpoint", nil), true},
		"nothing but issuer":        {func(d map[string]any) { clear(d); d["issuer"] = i.URL }, false},
		"no way for our secret":     {set("token_endpoint_auth_methods_supported", []string{"private_key_jwt", "none"}), false},
		"the usual way":             {set("token_endpoint_auth_methods_supported", nil), true},
		"by header":                 {set("token_endpoint_auth_methods_supported", []string{"none", "client_secret_basic"}), true},
		"by form":                   {set("token_endpoint_auth_methods_supported", []string{"client_secret_post"}), true},
		"an endpoint with a query":  {set("authorization_endpoint", i.URL+"/authorize?"), true},
	} {
		w := newWorld(t, settingsOf(OIDC, "home", i.URL))
		w.client.transport.TLSClientConfig = &tls.Config{RootCAs: trusted}
		w.clock.at = time.Now()
		i.Behave(oauthtest.Behaviour{Document: tc.change})
		address, _, secret, err := w.Start(context.Background(), "home", Flow{})
		if !tc.ok {
			if only(t, err, ErrUnavailable); err == nil {
				t.Errorf("%s: it was used", name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		address = strings.Replace(address, "/authorize?&", "/authorize?", 1)
		if _, _, err := w.end(t, "home", secret, i.Authorize(t, address, ann)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An issuer whose identifier ends with a slash is found, and held to the slash.
func TestIssuerWithSlash(t *testing.T) {
	t.Parallel()
	var w *world
	i := newIssuer(t, &w)
	w = newWorld(t, settingsOf(OIDC, "home", i.URL+"/"))
	b := changed(map[string]any{"iss": i.URL + "/"})
	b.Document = func(d map[string]any) {
		d["issuer"] = i.URL + "/"
		delete(d, "authorization_response_iss_parameter_supported")
	}
	b.Callback = func(q url.Values) { q.Del("iss") }
	i.Behave(b)
	only(t, w.signIn(t, i), nil)
}
