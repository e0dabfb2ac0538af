package httpapi_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/httpapi"
	"latchkey/internal/oauth"
	"latchkey/internal/oauth/oauthtest"
	"latchkey/internal/ratelimit"
	"latchkey/internal/testkit/suite"
)

// withParameters returns a callback URL with changed parameters.
func withParameters(callback string, change func(url.Values)) string {
	u, err := url.Parse(callback)
	if err != nil {
		panic(err)
	}

	q := u.Query()
	change(q)
	u.RawQuery = q.Encode()

	return u.String()
}

// A callback works only once, and only in the browser and for the provider of the sign-in
// (OWASP ASVS 5.0 10.1.2, 10.2.1, 10.2.2).
func TestTamperedCallback(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t)
	eve := providerUser{sub: "eve", email: "eve@gmail.com"}

	// Each case may modify the client and returns a callback URL that must not sign it in.
	cases := map[string]struct {
		tamper    func(c *apitest.Client, callback string) string
		wantError string
	}{
		"no cookie": {func(c *apitest.Client, callback string) string { c.Flows = nil; return callback }, "sign_in_expired"},
		"wrong sign-in cookie": {func(c *apitest.Client, callback string) string {
			for name := range c.Flows {
				c.Flows[name] = strings.Repeat("A", 43)
			}

			return callback
		}, "sign_in_expired"},
		"callback of another browser": {func(c *apitest.Client, _ string) string {
			attacker := e.NewClient()

			return e.authenticate("acme", e.startSignIn(attacker, "acme", ""), eve)
		}, "sign_in_expired"},
		"code of another browser": {func(c *apitest.Client, callback string) string {
			attacker := e.NewClient()
			theirs := e.authenticate("acme", e.startSignIn(attacker, "acme", ""), eve)

			return withParameters(callback, func(q url.Values) { q.Set("code", parameter(theirs, "code")) })
		}, "provider_error"},
		"state of another sign-in": {func(c *apitest.Client, callback string) string {
			other := e.startSignIn(c, "acme", "")

			return withParameters(callback, func(q url.Values) { q.Set("state", parameter(other, "state")) })
		}, "provider_error"},
		"no state": {func(_ *apitest.Client, callback string) string {
			return withParameters(callback, func(q url.Values) { q.Del("state") })
		}, "sign_in_expired"},
		"empty state": {func(_ *apitest.Client, callback string) string {
			return withParameters(callback, func(q url.Values) { q.Set("state", "") })
		}, "sign_in_expired"},
		"oversized state": {func(_ *apitest.Client, callback string) string {
			return withParameters(callback, func(q url.Values) { q.Set("state", strings.Repeat("A", 4000)) })
		}, "sign_in_expired"},
		"state with special characters": {func(_ *apitest.Client, callback string) string {
			return withParameters(callback, func(q url.Values) { q.Set("state", "\r\n; =,\"é\x00") })
		}, "sign_in_expired"},
		"truncated state": {func(_ *apitest.Client, callback string) string {
			return withParameters(callback, func(q url.Values) { q.Set("state", q.Get("state")[:20]) })
		}, "sign_in_expired"},
		"state with the same prefix": {func(_ *apitest.Client, callback string) string {
			return withParameters(callback, func(q url.Values) { q.Set("state", q.Get("state")[:10]+strings.Repeat("A", 33)) })
		}, "sign_in_expired"},
		"two states": {func(_ *apitest.Client, callback string) string {
			return withParameters(callback, func(q url.Values) { q.Add("state", q.Get("state")) })
		}, "sign_in_expired"},
		"two codes": {func(_ *apitest.Client, callback string) string {
			return withParameters(callback, func(q url.Values) { q.Add("code", "x") })
		}, "provider_error"},
		"no code": {func(_ *apitest.Client, callback string) string {
			return withParameters(callback, func(q url.Values) { q.Del("code") })
		}, "provider_error"},
		"wrong code": {func(_ *apitest.Client, callback string) string {
			return withParameters(callback, func(q url.Values) { q.Set("code", "guessed") })
		}, "provider_error"},
		"no issuer": {func(_ *apitest.Client, callback string) string {
			return withParameters(callback, func(q url.Values) { q.Del("iss") })
		}, "provider_error"},
		"wrong issuer": {func(_ *apitest.Client, callback string) string {
			return withParameters(callback, func(q url.Values) { q.Set("iss", e.issuers["google"].URL) })
		}, "provider_error"},
		"two issuers": {func(_ *apitest.Client, callback string) string {
			return withParameters(callback, func(q url.Values) { q.Add("iss", "https://evil.example") })
		}, "provider_error"},
		"error with a code": {func(_ *apitest.Client, callback string) string {
			return withParameters(callback, func(q url.Values) { q.Set("error", "access_denied") })
		}, "access_denied"},
		"unknown error": {func(_ *apitest.Client, callback string) string {
			return withParameters(callback, func(q url.Values) { q.Set("error", "<script>"); q.Set("error_description", "<script>") })
		}, "provider_error"},
		"error from another issuer": {func(_ *apitest.Client, callback string) string {
			return withParameters(callback, func(q url.Values) { q.Set("error", "access_denied"); q.Set("iss", "https://evil.example") })
		}, "provider_error"},
		"callback path of another provider": {func(_ *apitest.Client, callback string) string {
			return strings.Replace(callback, "/auth/acme/", "/auth/google/", 1)
		}, "sign_in_expired"},
		"callback path of a provider without an issuer": {func(_ *apitest.Client, callback string) string {
			return strings.Replace(callback, "/auth/acme/", "/auth/github/", 1)
		}, "sign_in_expired"},
		"code of another provider": {func(c *apitest.Client, callback string) string {
			theirs := e.authenticate("google", e.startSignIn(c, "google", ""), eve)

			return withParameters(callback, func(q url.Values) { q.Set("code", parameter(theirs, "code")) })
		}, "provider_error"},
		"used twice": {func(c *apitest.Client, callback string) string {
			copied := c.Clone()
			e.finishSignIn(copied, callback, "")
			copied.Do("POST", "/auth/logout", nil).Want(200)

			return callback
		}, "sign_in_expired"},
		"expired": {func(_ *apitest.Client, callback string) string {
			e.Advance(10*time.Minute + time.Second)
			return callback
		}, "sign_in_expired"},
		"no parameters":   {func(*apitest.Client, string) string { return "/auth/acme/callback?" }, "sign_in_expired"},
		"invalid escapes": {func(*apitest.Client, string) string { return "/auth/acme/callback?state=%zz&code=%zz" }, "sign_in_expired"},
	}

	for name, tc := range cases {
		c := e.NewClient()
		callback := tc.tamper(c, e.authenticate("acme", e.startSignIn(c, "acme", ""), ann))
		a := c.Do("GET", callback, nil).Want(302)

		location, err := url.Parse(a.Header.Get("Location"))
		if err != nil || location.Scheme+"://"+location.Host != testFrontend || location.Query().Get("error") != tc.wantError || len(location.Query()) != 1 {
			t.Errorf("%s: redirect: got %s, want %s with error %s", name, a.Header.Get("Location"), testFrontend, tc.wantError)
		}
		c.Do("GET", "/auth/me", nil).Want(401)
	}

	// Only the first use in "used twice" has signed in.
	if accounts, identities := e.count(); accounts != 1 || identities != 1 {
		t.Errorf("got %d accounts and %d identities, want 1 of each", accounts, identities)
	}

	if live := e.LiveSessions(e.Redis.Conn(t)); live != 0 {
		t.Errorf("live sessions: got %d, want 0", live)
	}
}

// The browser is not redirected to an origin that was removed from the list during the
// sign-in.
func TestReturnURLIsRechecked(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t)
	later := apitest.New(t, apitest.Options{StoresOf: e.Server, Origins: []string{testFrontend}, Providers: e.settings})
	for _, p := range []providerUser{ann, {}} {
		c := e.NewClient()
		callback := e.authenticate("acme", e.startSignIn(c, "acme", "?return_to=http://localhost:3001/x"), p)
		a := (&apitest.Client{Server: later, Flows: c.Flows}).Do("GET", callback, nil).Want(302)
		wantError := p.sub == ""
		if got := a.Header.Get("Location"); !strings.HasPrefix(got, testFrontend+"/") || strings.Contains(got, "error") != wantError {
			t.Errorf("user %q: redirect: got %s, want %s with an error: %v", p.sub, got, testFrontend, wantError)
		}
	}
}

// parameter returns a query parameter of a URL.
func parameter(rawURL, name string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		panic(err)
	}

	return u.Query().Get(name)
}

// A failed sign-in leaves the browser's session alone.
func TestFailedSignInKeepsSession(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t)
	c := e.Register("ann@example.com")
	e.finishSignIn(c, withParameters(e.authenticate("acme", e.startSignIn(c, "acme", ""), ann), func(q url.Values) { q.Set("code", "x") }), "provider_error")
	c.Do("GET", "/auth/session", nil).Want(200)
	e.finishSignIn(c, "/auth/acme/callback?", "sign_in_expired")
	c.Do("GET", "/auth/session", nil).Want(200)
}

// A callback that is received many times at once starts one session.
func TestRaceCallback(t *testing.T) {
	suite.Require(t, suite.Race, suite.Ordinary)

	e := newProviderEnv(t)
	eachRound(t, func(round int, conclusive func([]apitest.Response) bool) {
		c := e.NewClient()
		callback := e.authenticate("acme", e.startSignIn(c, "acme", ""), providerUser{sub: "ann", email: "ann@gmail.com"})

		const callbacks = 16
		responses := make([]apitest.Response, callbacks)
		var group sync.WaitGroup
		for i := range callbacks {
			group.Go(func() { responses[i] = c.Clone().Do("GET", callback, nil) })
		}
		group.Wait()

		if !conclusive(responses) {
			e.deleteAnn()

			return
		}

		redirects := map[string]int{}
		for _, a := range responses {
			redirects[a.Header.Get("Location")]++
		}
		if redirects[testFrontend+"/"] != 1 || redirects[testFrontend+"/?error=sign_in_expired"] != callbacks-1 {
			t.Fatalf("round %d: got %v, want one success and %d times sign_in_expired", round, redirects, callbacks-1)
		}

		if live := e.LiveSessions(e.Redis.Conn(t)); live != 1 {
			t.Fatalf("round %d: live sessions: got %d, want 1", round, live)
		}

		if _, err := e.Sessions.RevokeAll(t.Context(), e.Account("ann@gmail.com").ID, "", "revoked"); err != nil {
			t.Fatal(err)
		}
	})
}

// A request to a broken provider fails within a time limit and affects no other users.
func TestBrokenProvider(t *testing.T) {
	t.Parallel()

	hangs := make(chan struct{})
	followed := false // a redirect to the private host
	private := apitest.Listen(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed = true }))

	for name, c := range map[string]struct {
		endpoint  oauthtest.Endpoint
		fault     oauthtest.Fault
		wantError string
	}{
		"token endpoint hangs":                     {oauthtest.Token, oauthtest.Fault{Wait: hangs}, "provider_unavailable"},
		"token response stops halfway":             {oauthtest.Token, oauthtest.Fault{WaitBody: hangs}, "provider_unavailable"},
		"token endpoint closes the connection":     {oauthtest.Token, oauthtest.Fault{Cut: true}, "provider_unavailable"},
		"token endpoint fails":                     {oauthtest.Token, oauthtest.Fault{Status: 500}, "provider_unavailable"},
		"token endpoint rejects the code":          {oauthtest.Token, oauthtest.Fault{Status: 400}, "provider_error"},
		"token response is huge":                   {oauthtest.Token, oauthtest.Fault{Padding: 8 << 20}, "provider_error"},
		"token endpoint redirects to another host": {oauthtest.Token, oauthtest.Fault{Redirect: private + "/token"}, "provider_error"},
		"token response is HTML":                   {oauthtest.Token, oauthtest.Fault{Body: "<html>"}, "provider_error"},
		"keys hang":                                {oauthtest.Keys, oauthtest.Fault{Wait: hangs}, "provider_unavailable"},
		"keys fail":                                {oauthtest.Keys, oauthtest.Fault{Status: 503}, "provider_unavailable"},
		"keys are huge":                            {oauthtest.Keys, oauthtest.Fault{Padding: 8 << 20}, "provider_error"},
		"keys redirect to another host":            {oauthtest.Keys, oauthtest.Fault{Redirect: private + "/keys"}, "provider_error"},
		"discovery hangs":                          {oauthtest.Discovery, oauthtest.Fault{Wait: hangs}, "provider_unavailable"},
		"discovery document is huge":               {oauthtest.Discovery, oauthtest.Fault{Padding: 8 << 20}, "provider_unavailable"},
		"discovery redirects to another host":      {oauthtest.Discovery, oauthtest.Fault{Redirect: private + "/discovery"}, "provider_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			e := newProviderEnv(t)
			client := e.NewClient()
			bystander := e.Register("bob@example.com")
			start := time.Now()
			if c.endpoint == oauthtest.Discovery {
				e.issuers["acme"].Break(c.endpoint, c.fault)
				a := client.Do("GET", "/auth/acme", nil).Want(302)
				if got := parameter(a.Header.Get("Location"), "error"); got != c.wantError {
					t.Errorf("error: got %q, want %q\n%s", got, c.wantError, e.Log)
				}

				link := bystander.Do("POST", "/auth/identities/acme", map[string]any{})
				if got := link.JSON["code"]; got != c.wantError {
					t.Errorf("code of linking: got %v, want %s", got, c.wantError)
				}
			} else {
				callback := e.authenticate("acme", e.startSignIn(client, "acme", ""), ann)
				e.issuers["acme"].Break(c.endpoint, c.fault)
				var signIn sync.WaitGroup
				signIn.Go(func() { e.finishSignIn(client, callback, c.wantError) })

				// Other requests are served meanwhile.
				bystander.Do("GET", "/auth/me", nil).Want(200)
				e.signInWith(e.NewClient(), "google", providerUser{sub: "carol", email: "carol@gmail.com"}, "")
				signIn.Wait()
			}

			if elapsed := time.Since(start); elapsed > 20*time.Second {
				t.Errorf("response time: got %v, want at most 20s", elapsed)
			}
			client.Do("GET", "/auth/me", nil).Want(401)
			if followed {
				t.Error("the server followed a redirect to a private host")
			}

			if _, err := e.Users.ByIdentity(t.Context(), e.issuers["acme"].URL, "ann"); err == nil {
				t.Error("the identity is linked, want it not linked")
			}
		})
	}
}

// If a store is down, the browser is redirected with an error and its session stays.
func TestSignInWithoutStores(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t)
	owner := e.Register("ann@gmail.com")
	c := owner.Clone()
	callback := e.authenticate("acme", e.startSignIn(c, "acme", ""), ann)

	broken := newProviderEnv(t, apitest.Options{Redis: apitest.UnreachableRedis, MongoURI: e.MongoURI})
	a := broken.NewClient().Do("GET", "/auth/acme", nil).Want(302)
	want := testFrontend + "/?error=session_store_unavailable"
	if got := a.Header.Get("Location"); got != want {
		t.Errorf("start without Redis: redirect: got %s, want %s", got, want)
	}

	a = (&apitest.Client{Server: broken.Server, Token: c.Token, Flows: c.Flows}).Do("GET", callback, nil).Want(302)
	if got := parameter(a.Header.Get("Location"), "error"); got != "session_store_unavailable" {
		t.Errorf("callback without Redis: error: got %q, want session_store_unavailable", got)
	}
	if a.Cookie != nil {
		t.Errorf("callback without Redis: session cookie: got %v, want none", a.Cookie)
	}

	owner.Do("GET", "/auth/session", nil).Want(200)
	if _, identities := e.count(); identities != 0 {
		t.Errorf("identities: got %d, want 0", identities)
	}
}

// Without MongoDB, sign-ins fail and existing sessions continue.
func TestSignInWithoutMongo(t *testing.T) {
	t.Parallel()

	uri, stop := storetest.StartMongo(t)
	e := newProviderEnv(t, apitest.Options{MongoURI: uri})
	c := e.Register("ann@gmail.com")
	callback := e.authenticate("acme", e.startSignIn(c, "acme", ""), ann)
	stop()
	e.finishSignIn(c, callback, "user_store_unavailable")
	c.Do("GET", "/auth/session", nil).Want(200)
}

// Sign-ins with a provider are rate-limited, and the browser is redirected with an error.
func TestSignInLimits(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t, apitest.Options{Limits: httpapi.Limits{OAuth: ratelimit.Rule{Events: 3, Window: time.Minute}}})
	c := e.NewClient()
	for _, path := range []string{"/auth/acme", "/auth/acme/callback?state=N"} {
		for i := range 5 {
			got := c.Do("GET", strings.Replace(path, "N", fmt.Sprint(i), 1), nil).Want(302).Header.Get("Location")
			limited := got == testFrontend+"/?error=too_many_requests"
			if want := i >= 3; limited != want {
				t.Errorf("%s: request %d: limited: got %v, want %v: %s", path, i, limited, want, got)
			}
		}
	}

	// Linking shares the limit of the sign-ins.
	owner := e.Register("bob@example.com")
	owner.Do("POST", "/auth/identities/acme", map[string]any{}).WantCode(429, "too_many_requests")

	// A started sign-in can finish even if others at the same IP use up the limit.
	other := newProviderEnv(t, apitest.Options{Limits: httpapi.Limits{OAuth: ratelimit.Rule{Events: 1, Window: time.Minute}, Register: ratelimit.Rule{Events: 1, Window: time.Minute}}})
	ours := other.NewClient()
	callback := other.authenticate("acme", other.startSignIn(ours, "acme", ""), ann)
	for i := range 5 {
		other.NewClient().Do("GET", fmt.Sprintf("/auth/acme/callback?state=%d", i), nil).Want(302)
	}

	other.finishSignIn(ours, callback, "")

	// A forged callback counts against the limit.
	forged := other.NewClient()
	mac := hmac.New(sha256.New, make([]byte, 32))
	mac.Write([]byte("state"))
	state := base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	forged.Flows = map[string]string{"oauth-" + oauth.FlowID(state): strings.Repeat("A", 43)}

	for range 3 {
		a := forged.Clone().Do("GET", "/auth/acme/callback?state="+state, nil).Want(302)
		if parameter(a.Header.Get("Location"), "error") != "too_many_requests" {
			t.Errorf("forged callback: redirected to %s", a.Header.Get("Location"))
		}
	}

	// Creating an account by a sign-in counts as a registration.
	other.NewClient().Do("POST", "/auth/register", map[string]any{"name": "Bob", "email": "bob@example.com", "password": apitest.Password}).WantCode(429, "too_many_requests")
}
