package httpapi_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
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

	theirs := func() string { return e.authenticate("acme", e.startSignIn(e.NewClient(), "acme", ""), eve) }
	set := func(name string, value func(old string) string) func(*apitest.Client, string) string {
		return func(_ *apitest.Client, callback string) string {
			return withParameters(callback, func(q url.Values) { q.Set(name, value(q.Get(name))) })
		}
	}
	to := func(value string) func(string) string { return func(string) string { return value } }
	path := func(callback string) func(*apitest.Client, string) string {
		return func(*apitest.Client, string) string { return callback }
	}

	// Each case may modify the client and returns a callback URL that must not sign it in.
	cases := map[string]struct {
		tamper    func(c *apitest.Client, callback string) string
		wantError string
	}{
		"no cookie": {func(c *apitest.Client, callback string) string {
			c.Flows = nil
			return callback
		}, "sign_in_expired"},
		"wrong sign-in cookie": {func(c *apitest.Client, callback string) string {
			for name := range c.Flows {
				c.Flows[name] = strings.Repeat("A", 43)
			}

			return callback
		}, "sign_in_expired"},
		"state of another sign-in": {func(c *apitest.Client, callback string) string {
			other := parameter(e.startSignIn(c, "acme", ""), "state")

			return withParameters(callback, func(q url.Values) { q.Set("state", other) })
		}, "provider_error"},
		"two states": {func(_ *apitest.Client, callback string) string {
			return callback + "&state=" + parameter(callback, "state")
		}, "sign_in_expired"},
		"callback path of another provider": {func(_ *apitest.Client, callback string) string {
			return strings.Replace(callback, "/auth/acme/", "/auth/google/", 1)
		}, "sign_in_expired"},
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
		"callback of another browser":   {func(*apitest.Client, string) string { return theirs() }, "sign_in_expired"},
		"code of another browser":       {set("code", func(string) string { return parameter(theirs(), "code") }), "provider_error"},
		"wrong code":                    {set("code", to("guessed")), "provider_error"},
		"oversized state":               {set("state", to(strings.Repeat("A", 4000))), "sign_in_expired"},
		"state with special characters": {set("state", to("\r\n; =,\"é\x00")), "sign_in_expired"},
		"state with the same prefix": {set("state", func(old string) string {
			return old[:10] + strings.Repeat("A", 33)
		}), "sign_in_expired"},
		"wrong issuer":      {set("iss", to(e.issuers["google"].URL)), "provider_error"},
		"error with a code": {set("error", to("access_denied")), "access_denied"},
		"unknown error":     {set("error", to("<script>")), "provider_error"},
		"no parameters":     {path("/auth/acme/callback?"), "sign_in_expired"},
		"invalid escapes":   {path("/auth/acme/callback?state=%zz&code=%zz"), "sign_in_expired"},
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

	e.wantCounts(1, 1) // from the first use in "used twice"
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

// A provider that hangs fails a sign-in within a time limit, and affects no other users.
func TestBrokenProvider(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t)
	client := e.NewClient()
	bystander := e.Register("bob@example.com")
	callback := e.authenticate("acme", e.startSignIn(client, "acme", ""), ann)

	e.issuers["acme"].Break(oauthtest.Token, oauthtest.Fault{Wait: make(chan struct{})})
	start := time.Now()
	var signIn sync.WaitGroup
	signIn.Go(func() { e.finishSignIn(client, callback, "provider_unavailable") })

	bystander.Do("GET", "/auth/me", nil).Want(200)
	e.signInWith(e.NewClient(), "google", providerUser{sub: "carol", email: "carol@gmail.com"}, "")
	signIn.Wait()
	if elapsed := time.Since(start); elapsed > 20*time.Second {
		t.Errorf("response time: got %v, want at most 20s", elapsed)
	}
	client.Do("GET", "/auth/me", nil).Want(401)

	// On a server that does not know its metadata yet, a sign-in cannot even start.
	e = newProviderEnv(t)
	e.issuers["acme"].Break(oauthtest.Discovery, oauthtest.Fault{Cut: true})
	a := e.NewClient().Do("GET", "/auth/acme", nil).Want(302)
	if got := parameter(a.Header.Get("Location"), "error"); got != "provider_unavailable" {
		t.Errorf("error: got %q, want provider_unavailable\n%s", got, e.Log)
	}
	e.Register("bob@example.com").Do("POST", "/auth/identities/acme", map[string]any{}).WantCode(503, "provider_unavailable")
}

// Optional claims do not decide whether a user may sign in. The userinfo endpoint is needed only
// by a new user whose email is not in the ID token.
func TestOptionalClaimsDoNotDecide(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t)
	acme := e.issuers["acme"]
	only := func(present ...string) oauthtest.Behaviour {
		return oauthtest.Behaviour{IDToken: func(claims map[string]any) {
			for _, name := range []string{"email", "email_verified", "name", "picture"} {
				if !slices.Contains(present, name) {
					delete(claims, name)
				}
			}
		}}
	}

	for name, c := range map[string]struct {
		fault     oauthtest.Fault
		wantError string // for a new user without an email
	}{
		"forbidden":    {oauthtest.Fault{Status: 403}, "provider_error"},
		"broken":       {oauthtest.Fault{Status: 500}, "provider_unavailable"},
		"a page":       {oauthtest.Fault{Body: "<html>"}, "provider_error"},
		"a signed JWT": {oauthtest.Fault{Body: "eyJhbGciOiJub25lIn0.e30."}, "provider_error"},
		"another type": {oauthtest.Fault{Body: `{"sub":5}`}, "provider_error"},
		"no email":     {oauthtest.Fault{Body: `{"sub":"ann"}`}, "email_missing"},
	} {
		acme.Break(oauthtest.UserInfo, c.fault)

		// A new user without an email in the ID token.
		acme.Behave(only("name"))
		e.signInWith(e.NewClient(), "acme", ann, c.wantError)
		if isLogged := strings.Contains(e.Log.String(), "email is missing"); !isLogged && c.wantError != "email_missing" {
			t.Errorf("%s: the log does not name the email", name)
		}
		e.wantCounts(0, 0)

		// A new user with nothing but an email.
		acme.Behave(only("email"))
		client := e.NewClient()
		e.signInWith(client, "acme", ann, "")
		if got := client.Do("GET", "/auth/me", nil).Want(200).JSON["user"].(map[string]any); got["emailVerified"] != false || got["name"] != "ann" {
			t.Errorf("%s: account: got %v, want an unverified email and the name ann", name, got)
		}

		// A returning user without any of it.
		calls := acme.Calls(oauthtest.UserInfo)
		acme.Behave(only())
		e.signInWith(e.NewClient(), "acme", ann, "")
		if got := acme.Calls(oauthtest.UserInfo); got != calls {
			t.Errorf("%s: requests to the userinfo endpoint for a returning user: got %d, want 0", name, got-calls)
		}
		e.wantCounts(1, 1)

		// A user who links the external account.
		e.deleteAnn()
		owner := e.Register("ann@gmail.com")
		e.linkWith(owner, "acme", ann, "")
		wantLinked(owner, "acme")
		e.deleteAnn()
	}

	// GitHub's list of emails is not needed by a returning user either.
	e.signInWith(e.NewClient(), "github", ann, "")
	e.github.Break(oauthtest.Emails, oauthtest.Fault{Status: 500})
	e.signInWith(e.NewClient(), "github", ann, "")
	e.signInWith(e.NewClient(), "github", providerUser{sub: "someone", email: "bob@gmail.com"}, "provider_unavailable")
	e.wantCounts(1, 1)
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

	browser := &apitest.Client{Server: broken.Server, Token: c.Token, Flows: c.Flows}
	broken.finishSignIn(browser, callback, "session_store_unavailable")

	owner.Do("GET", "/auth/session", nil).Want(200)
	e.wantCounts(1, 0)
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
