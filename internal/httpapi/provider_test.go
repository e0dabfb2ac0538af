package httpapi_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/httpapi"
	"latchkey/internal/oauth"
	"latchkey/internal/oauth/oauthtest"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

const (
	testFrontend   = "https://app.example.com"
	providerSecret = "the-secret-that-providers-know-us-by"
)

// providerEnv is a server with three providers: google, acme (generic OpenID Connect) and
// github.
type providerEnv struct {
	*apitest.Server
	issuers map[string]*oauthtest.Issuer
	github  *oauthtest.GitHubServer
	// settings configure the same providers for other servers on the same stores.
	settings []oauth.Settings
}

func newProviderEnv(t *testing.T, options ...apitest.Options) *providerEnv {
	t.Helper()

	var o apitest.Options
	if len(options) > 0 {
		o = options[0]
	}

	e := &providerEnv{
		issuers: map[string]*oauthtest.Issuer{
			"google": oauthtest.NewIssuer(t, "us", providerSecret),
			"acme":   oauthtest.NewIssuer(t, "us", providerSecret),
		},
		github: oauthtest.NewGitHub(t, "us", providerSecret),
	}

	for name, kind := range map[string]oauth.Kind{"google": oauth.Google, "acme": oauth.OIDC, "github": oauth.GitHub} {
		settings := oauth.Settings{
			Kind:         kind,
			Name:         name,
			Title:        name,
			ClientID:     "us",
			ClientSecret: providerSecret,
			CallbackURL:  "https://api.example.com/auth/" + name + "/callback",
		}
		if kind == oauth.GitHub {
			settings.Issuer = e.github.URL
			settings.APIURL = e.github.APIURL
			settings.Scopes = []string{"user:email"}
		} else {
			settings.Issuer = e.issuers[name].URL
			settings.Scopes = []string{"openid", "email", "profile"}
		}
		e.settings = append(e.settings, settings)
	}

	o.Providers = e.settings
	if o.Origins == nil {
		o.Origins = []string{testFrontend, "http://localhost:3001"}
	}

	e.Server = apitest.New(t, o)
	e.Secrets.Add("our secret at a provider", providerSecret)
	t.Cleanup(func() { // runs before the server's check for leaked secrets
		issued := e.github.Secrets()
		for _, issuer := range e.issuers {
			issued = append(issued, issuer.Secrets()...)
		}

		for _, secret := range issued {
			// The secret part of a signed token is its signature.
			e.Secrets.Add("a secret issued by a provider", secret[strings.LastIndex(secret, ".")+1:])
		}
	})

	for _, issuer := range e.issuers {
		issuer.Now = e.Now
	}

	return e
}

// providerUser is a user of a provider.
type providerUser struct {
	sub, email  string
	unverified  bool
	extraClaims map[string]any
}

var ann = providerUser{sub: "ann", email: "ann@gmail.com"}

func (p providerUser) claims() map[string]any {
	claims := map[string]any{
		"sub":            p.sub,
		"name":           "Ann A.",
		"email_verified": !p.unverified,
		"picture":        "https://pictures.example/ann.png",
	}
	if p.email != "" {
		claims["email"] = p.email
	}

	maps.Copy(claims, p.extraClaims)

	return claims
}

// startSignIn starts a sign-in and returns the authorization URL at the provider.
func (e *providerEnv) startSignIn(c *apitest.Client, provider, query string) (authURL string) {
	e.T.Helper()

	return c.Do("GET", "/auth/"+provider+query, nil).Want(302).Header.Get("Location")
}

// authenticate signs in a user at the provider and returns the path of the callback.
func (e *providerEnv) authenticate(provider, authURL string, p providerUser) (callback string) {
	e.T.Helper()

	var redirect string
	if provider == "github" {
		redirect = e.github.Authorize(e.T, authURL, oauthtest.Account{
			ID: int64(len(p.sub)) + 1000, Login: p.sub, Name: "Ann A.",
			Emails: []oauthtest.Email{{Email: "other@example.com", Verified: true}, {Email: p.email, Primary: true, Verified: !p.unverified}},
		})
	} else {
		redirect = e.issuers[provider].Authorize(e.T, authURL, p.claims())
	}

	u, err := url.Parse(redirect)
	testkit.NoError(e.T, err)
	if want := "https://api.example.com/auth/" + provider + "/callback?"; !strings.HasPrefix(redirect, want) {
		e.T.Fatalf("redirect from the provider: got %s, want %s", redirect, want)
	}

	e.Secrets.Add("a code", u.Query().Get("code"))

	return u.RequestURI()
}

// finishSignIn sends the callback. The client must be redirected with the given error, or
// without one if it is empty.
func (e *providerEnv) finishSignIn(c *apitest.Client, callback, wantError string) {
	e.T.Helper()

	a := c.Do("GET", callback, nil).Want(302)
	location, err := url.Parse(a.Header.Get("Location"))
	testkit.NoError(e.T, err)
	if location.Scheme+"://"+location.Host != testFrontend || location.Query().Get("error") != wantError {
		e.T.Fatalf("redirect: got %s, want %s with error %q\n%s", location, testFrontend, wantError, e.Log)
	}

	if wantError == "" {
		return
	}
	if a.Cookie != nil {
		e.T.Fatalf("session cookie with error %q: got %v, want none", wantError, a.Cookie)
	}
	if !slices.Contains(signInErrors(), any(wantError)) {
		e.T.Fatalf("error %q is not in the OpenAPI document", wantError)
	}
}

// signInErrors returns the sign-in errors in the OpenAPI document.
var signInErrors = sync.OnceValue(func() []any {
	doc, err := openapi3.NewLoader().LoadFromData(httpapi.OpenAPI())
	if err != nil {
		panic(err)
	}
	return doc.Components.Schemas["SignInError"].Value.Enum
})

// signInWith does all steps of a sign-in.
func (e *providerEnv) signInWith(c *apitest.Client, provider string, p providerUser, want string) {
	e.T.Helper()

	e.finishSignIn(c, e.authenticate(provider, e.startSignIn(c, provider, ""), p), want)
}

// linkWith does all steps of linking a provider to the account that the client is signed in
// to.
func (e *providerEnv) linkWith(c *apitest.Client, provider string, p providerUser, want string) {
	e.T.Helper()

	authURL := c.Do("POST", "/auth/identities/"+provider, map[string]any{}).Want(200).Text("url")
	e.finishSignIn(c, e.authenticate(provider, authURL, p), want)
}

// wantCounts fails the test unless the database has this number of accounts and identities.
func (e *providerEnv) wantCounts(accounts, identities int64) {
	e.T.Helper()

	for name, want := range map[string]int64{"users": accounts, "identities": identities} {
		got, err := e.Database().Collection(name).CountDocuments(e.T.Context(), bson.D{})
		testkit.NoError(e.T, err)
		if got != want {
			e.T.Fatalf("%s: got %d, want %d", name, got, want)
		}
	}
}

// deleteAnn deletes Ann's account and sessions, if they exist.
func (e *providerEnv) deleteAnn() {
	e.T.Helper()

	u, err := e.Users.ByEmail(e.T.Context(), "ann@gmail.com")
	if err != nil {
		return
	}

	_, err = e.Sessions.RevokeAll(e.T.Context(), u.ID, "", session.Revoked)
	testkit.NoError(e.T, err)
	e.DeleteAccount(u.ID)
}

func TestProviders(t *testing.T) {
	t.Parallel()

	a := newProviderEnv(t).NewClient().Do("GET", "/auth/providers", nil).Want(200)
	if n := len(a.JSON["providers"].([]any)); n != 3 {
		t.Errorf("providers: got %d, want 3: %s", n, a.Raw)
	}

	s := apitest.New(t)
	got := string(s.NewClient().Do("GET", "/auth/providers", nil).Want(200).Raw)
	if want := `{"providers":[]}` + "\n"; got != want {
		t.Errorf("without providers: got %s, want %s", got, want)
	}

	for _, path := range []string{"/auth/google", "/auth/google/callback?code=x&state=y"} {
		s.NewClient().Do("GET", path, nil).WantCode(404, "not_found")
		s.NewClient().Do("POST", path, nil).WantCode(404, "not_found")
	}
}

// The first sign-in creates an account, the next one finds it, and each starts a session.
func TestSignInWithProvider(t *testing.T) {
	t.Parallel()

	for _, provider := range []string{"google", "acme", "github"} {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()

			e := newProviderEnv(t, apitest.Options{Mail: &apitest.Outbox{}})
			c := e.NewClient()
			e.signInWith(c, provider, ann, "")
			me := c.Do("GET", "/auth/me", nil).Want(200)
			first := me.Text("user", "id")
			account := me.JSON["user"].(map[string]any)
			if account["email"] != "ann@gmail.com" || account["name"] != "Ann A." || account["emailVerified"] != true {
				t.Errorf("account: got %s, want name, email and verified email from the provider", me.Raw)
			}
			if account["lastLogin"] == nil || provider != "github" && account["picture"] != "https://pictures.example/ann.png" {
				t.Errorf("account: got %s, want the time of the login and the picture of the provider", me.Raw)
			}

			session := c.Do("GET", "/auth/session", nil).Want(200)
			method := map[string]any{"method": "fed", "provider": provider, "at": session.JSON["authenticatedAt"]}
			if diff := cmp.Diff([]any{method}, session.JSON["methods"]); diff != "" {
				t.Errorf("methods (-want +got):\n%s", diff)
			}

			linked, hasPassword := c.Identities()
			if !slices.Equal(linked, []string{provider}) || hasPassword {
				t.Errorf("login methods: got %v, password %v; want only %s", linked, hasPassword, provider)
			}
			if len(c.Flows) > 0 {
				t.Errorf("sign-in cookies after the sign-in: got %v, want none", c.Flows)
			}
			if e.HasPassword(first, "") || c.Clone().Login("ann@gmail.com", apitest.Password) {
				t.Error("login to an account without a password succeeded")
			}

			before := c.Clone()
			e.signInWith(c, provider, ann, "")
			if got := c.Do("GET", "/auth/me", nil).Want(200).Text("user", "id"); got != first {
				t.Errorf("account of the second sign-in: got %s, want %s", got, first)
			}

			before.Do("GET", "/auth/session", nil).Want(401)
			e.wantCounts(1, 1)
			if live := e.LiveSessions(e.Redis.Conn(t)); live != 1 {
				t.Errorf("live sessions: got %d, want 1", live)
			}

			a := c.Do("GET", "/auth/activity", nil).Want(200)
			var events []string
			for _, item := range a.JSON["events"].([]any) {
				event := item.(map[string]any)
				events = append(events, fmt.Sprint(event["event"], " ", event["provider"]))
			}

			if diff := cmp.Diff([]string{"login " + provider, "login_failed <nil>", "registered " + provider}, events); diff != "" {
				t.Errorf("activity (-want +got):\n%s", diff)
			}
		})
	}
}

// A sign-in with invalid parameters is refused without a redirect.
func TestSignInParameters(t *testing.T) {
	t.Parallel()

	c := newProviderEnv(t).NewClient()
	for _, query := range []string{"?return_to=https://evil.example", "?return_to=/&return_to=//evil.example", "?prompt=none"} {
		a := c.Do("GET", "/auth/acme"+query, nil).WantCode(400, "validation_failed")
		if got := a.Header.Get("Location"); got != "" {
			t.Errorf("%s: redirect: got %s, want none", query, got)
		}
	}
}

// The browser is redirected to the requested URL if its origin is listed.
func TestSignInReturnsTo(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t)
	const page = "http://localhost:3001/x?a=b"
	for denied, want := range map[bool]string{false: page, true: page + "&error=access_denied"} {
		c := e.NewClient()
		callback := e.authenticate("acme", e.startSignIn(c, "acme", "?return_to="+url.QueryEscape(page)), ann)
		if denied {
			callback += "&error=access_denied"
		}

		if got := c.Do("GET", callback, nil).Want(302).Header.Get("Location"); got != want {
			t.Errorf("denied %v: redirect: got %s, want %s", denied, got, want)
		}
	}
}

// The session's authentication time is that of the login at the provider, which may be too
// old for a sensitive change.
func TestSignInFreshness(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t)
	c := e.NewClient()
	hourAgo := ann
	hourAgo.extraClaims = map[string]any{"auth_time": e.Now().Add(-time.Hour).Unix()}
	e.signInWith(c, "acme", hourAgo, "")
	authenticated := c.Do("GET", "/auth/session", nil).Want(200).Time("authenticatedAt")
	if age := e.Now().Sub(authenticated); age < 59*time.Minute {
		t.Errorf("age of the authentication: got %v, want an hour", age)
	}

	c.Do("DELETE", "/profile", nil).WantCode(403, "step_up_required")
	c.Do("POST", "/auth/step-up", map[string]any{"password": apitest.Password}).WantCode(409, "no_password")
	e.finishSignIn(c, e.authenticate("acme", e.startSignIn(c, "acme", "?prompt=login"), ann), "")
	c.Do("DELETE", "/profile", nil).Want(204)
	e.wantCounts(0, 0)
	e.signInWith(c, "acme", ann, "") // the identity can be used again
}

// A session that ends with the browser still does after the user has confirmed their identity
// with a provider, and the device is not remembered.
func TestTemporarySessionStaysTemporary(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t)
	linkAcme(e, e.Register("ann@gmail.com"))
	for _, rememberMe := range []bool{true, false} {
		for _, query := range []string{"?prompt=login", ""} {
			c := e.NewClient()
			login := apitest.Credentials("ann@gmail.com", apitest.Password)
			login["rememberMe"] = rememberMe
			c.Do("POST", "/auth/login", login).Want(200)

			a := c.Do("GET", e.authenticate("acme", e.startSignIn(c, "acme", query), ann), nil).Want(302)
			if a.Cookie == nil || (a.Cookie.MaxAge > 0) != rememberMe {
				t.Errorf("rememberMe %v, %q: session cookie: got %v, want it persistent only if remembered", rememberMe, query, a.Cookie)
			}
			if isKnown := c.Device != ""; isKnown != rememberMe {
				t.Errorf("rememberMe %v, %q: device remembered: got %v, want %v", rememberMe, query, isKnown, rememberMe)
			}
			c.Do("GET", "/auth/session", nil).Want(200)
		}
	}
}

// The cookies of a sign-in are sent with the redirect from the provider, and their number
// is limited.
func TestFlowCookies(t *testing.T) {
	t.Parallel()

	for want, c := range map[string]httpapi.Cookie{
		"__Host-oauth- Lax":  {Name: "__Host-sid", Secure: true, SameSite: http.SameSiteStrictMode},
		"oauth- Lax":         {Name: "sid", SameSite: http.SameSiteLaxMode},
		"__Host-oauth- None": {Name: "__Secure-sid", Domain: "example.com", Secure: true, SameSite: http.SameSiteNoneMode},
	} {
		e := newProviderEnv(t, apitest.Options{Cookie: c})
		a := e.NewClient().Do("GET", "/auth/acme", nil).Want(302)
		k, err := http.ParseSetCookie(a.Header.Get("Set-Cookie"))
		testkit.NoError(t, err)
		prefix := k.Name[:strings.LastIndex(k.Name, "oauth-")+len("oauth-")]
		sameSite := map[http.SameSite]string{http.SameSiteLaxMode: "Lax", http.SameSiteNoneMode: "None"}[k.SameSite]
		if got := prefix + " " + sameSite; got != want {
			t.Errorf("cookie: got %s, want %s", got, want)
		}
		if !k.HttpOnly || k.Secure != c.Secure || k.Path != "/" || k.Domain != "" || k.MaxAge != 600 {
			t.Errorf("cookie: got %s, want Path=/, HttpOnly, Max-Age=600 and no Domain", k)
		}
	}

	e := newProviderEnv(t)
	c := e.NewClient()
	for range 3 * httpapi.MaxFlowCookies {
		e.startSignIn(c, "acme", "")
	}

	if len(c.Flows) != httpapi.MaxFlowCookies {
		t.Errorf("sign-in cookies: got %d, want %d", len(c.Flows), httpapi.MaxFlowCookies)
	}
}

// Several tabs can sign in at once without interfering.
func TestSignInTabs(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t)
	c := e.NewClient()
	first := e.startSignIn(c, "acme", "")
	second := e.startSignIn(c, "google", "")
	third := e.startSignIn(c, "acme", "")

	e.finishSignIn(c, e.authenticate("acme", third, ann), "")
	e.finishSignIn(c, e.authenticate("google", second, providerUser{sub: "bob", email: "bob@gmail.com"}), "")
	e.finishSignIn(c, e.authenticate("acme", first, ann), "")
	if got := c.Do("GET", "/auth/me", nil).Want(200).Text("user", "email"); got != "ann@gmail.com" {
		t.Errorf("email: got %s, want ann@gmail.com", got)
	}

	if live := e.LiveSessions(e.Redis.Conn(t)); live != 1 {
		t.Errorf("live sessions: got %d, want 1", live)
	}
}

// A first sign-in in two browsers at once creates one account.
func TestRaceFirstSignIn(t *testing.T) {
	suite.Require(t, suite.Race, suite.Ordinary)

	t.Parallel()

	e := newProviderEnv(t)
	eachRound(t, func(round int, conclusive func([]apitest.Response) bool) {
		var clients []*apitest.Client
		var callbacks []string
		for range 8 {
			c := e.NewClient()
			clients = append(clients, c)
			callbacks = append(callbacks, e.authenticate("acme", e.startSignIn(c, "acme", ""), ann))
		}

		responses := testkit.Concurrently(len(clients), func(i int) apitest.Response {
			return clients[i].Do("GET", callbacks[i], nil)
		})
		defer e.deleteAnn()
		if !conclusive(responses) {
			return
		}

		e.wantCounts(1, 1)
		signedIn := slices.ContainsFunc(responses, func(a apitest.Response) bool {
			return a.Cookie != nil && a.Cookie.MaxAge > 0
		})
		if !signedIn {
			t.Fatalf("round %d: no sign-in succeeded: %s", round, responses[0].Header.Get("Location"))
		}
	})
}

// Stepping up with another account of the provider fails, and the session stays as it was.
func TestConfirmWithAnotherAccount(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t)
	c := e.NewClient()
	e.signInWith(c, "acme", ann, "")

	for _, other := range []providerUser{{sub: "bob", email: "bob@example.com"}, {sub: "bob", email: "ann@gmail.com"}} {
		e.finishSignIn(c, e.authenticate("acme", e.startSignIn(c, "acme", "?prompt=login"), other), "wrong_account")
	}

	if got := c.Do("GET", "/auth/me", nil).Want(200).Text("user", "email"); got != "ann@gmail.com" {
		t.Errorf("email: got %s, want ann@gmail.com", got)
	}

	e.wantCounts(1, 1)

	// A plain sign-in may change the account.
	e.signInWith(c, "acme", providerUser{sub: "bob", email: "bob@example.com"}, "")
}

// With SameSite=Strict a browser returns from a provider without its session. The sign-in
// still replaces that session, and the device stays known.
func TestSignInStrict(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t, apitest.Options{Cookie: httpapi.Cookie{Name: "sid", SameSite: http.SameSiteStrictMode}, Mail: &apitest.Outbox{}})
	c := e.NewClient()
	e.signInWith(c, "acme", ann, "")
	before := c.Clone()
	device := c.Device

	callback := e.authenticate("acme", e.startSignIn(c, "acme", ""), ann)
	c.Token = ""
	e.finishSignIn(c, callback, "")
	before.Do("GET", "/auth/session", nil).Want(401)
	c.Do("GET", "/auth/session", nil).Want(200)
	if name, _, _ := strings.Cut(device, "."); !strings.HasPrefix(c.Device, name) {
		t.Errorf("device: got %s, want %s", c.Device, name)
	}
	if got := countMails(e.TakeMails(), "ann@gmail.com", "New sign-in to your Latchkey account"); got > 0 {
		t.Errorf("emails about a new device: got %d, want 0", got)
	}
}

// A sign-in must start with a navigation, so that pages cannot fetch it and other sites
// cannot evict unfinished sign-ins.
func TestSignInIsNavigation(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t)
	for name, c := range map[string]struct {
		method string
		header http.Header
		want   int
	}{
		"a link":               {"GET", http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-User": {"?1"}, "Sec-Fetch-Dest": {"document"}}, 302},
		"curl":                 {"GET", nil, 302},
		"an image":             {"GET", http.Header{"Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Site": {"cross-site"}}, 400},
		"a fetch":              {"GET", http.Header{"Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Site": {"same-site"}}, 400},
		"a frame":              {"GET", http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"iframe"}}, 400},
		"a prefetch":           {"GET", http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Purpose": {"prefetch;prerender"}}, 400},
		"HEAD":                 {"HEAD", nil, 400},
		"HEAD as a navigation": {"HEAD", http.Header{"Sec-Fetch-Mode": {"navigate"}}, 400},
	} {
		a := e.NewClient().Send(c.method, "/auth/acme", c.header, nil).Want(c.want)
		wantCookie := c.want == 302
		if got := a.Header.Get("Set-Cookie") != ""; got != wantCookie {
			t.Errorf("%s: sets a cookie: got %v, want %v", name, got, wantCookie)
		}
	}
}

// A page on another site cannot sign the browser in without a click, and a click does not
// replace the session of another account (OWASP ASVS 5.0 7.6.2).
func TestSignInFromForeignPage(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t)
	navigation := func(site, user, referer string) http.Header {
		h := http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Site": {site}}
		if user != "" {
			h.Set("Sec-Fetch-User", user)
		}
		if referer != "" {
			h.Set("Referer", referer)
		}

		return h
	}

	const evil = "https://evil.example/"
	for name, c := range map[string]struct {
		header   http.Header
		starts   bool // the browser is sent to the provider
		replaces bool // the sign-in may replace the session of another account
	}{
		"no Fetch Metadata":               {nil, true, true},
		"no Fetch Metadata, foreign page": {http.Header{"Referer": {evil}}, true, true},
		"typed URL":                       {navigation("none", "?1", ""), true, true},
		"script of our page":              {navigation("same-origin", "", ""), true, true},
		"script of a sibling":             {navigation("same-site", "", ""), true, true},
		"script of a listed page":         {navigation("cross-site", "", testFrontend+"/login?x"), true, true},
		"click on a listed page":          {navigation("cross-site", "?1", testFrontend+"/"), true, true},
		"script of a foreign page":        {navigation("cross-site", "", evil), false, false},
		"script of a hidden page":         {navigation("cross-site", "", ""), false, false},
		"script of a similar page":        {navigation("cross-site", "", testFrontend+".evil.example/"), false, false},
		"script, user info in the URL":    {navigation("cross-site", "", testFrontend+"@evil.example/"), false, false},
		"script, other activation":        {navigation("cross-site", "?0", evil), false, false},
		"click on a foreign page":         {navigation("cross-site", "?1", evil), true, false},
		"click on a hidden page":          {navigation("cross-site", "?1", ""), true, false},
	} {
		for _, query := range []string{"", "?prompt=login"} {
			c2 := e.NewClient()
			to := c2.Send("GET", "/auth/acme"+query, c.header, nil).Want(302).Header.Get("Location")
			if !c.starts {
				if to != testFrontend+"/?error=cross_origin_denied" || len(c2.Flows) > 0 {
					t.Errorf("%s%s: redirect: got %s with cookies %v, want cross_origin_denied", name, query, to, c2.Flows)
				}
				continue
			}
			e.finishSignIn(c2, e.authenticate("acme", to, ann), "")
			c2.Do("GET", "/auth/session", nil).Want(200)
		}
		if !c.starts {
			continue
		}

		// A browser with a session of another account.
		other := e.NewClient()
		e.signInWith(other, "acme", providerUser{sub: "bob", email: "bob@example.com"}, "")
		before := other.SessionID()
		to := other.Send("GET", "/auth/acme", c.header, nil).Want(302).Header.Get("Location")
		wantError := "wrong_account"
		if c.replaces {
			wantError = ""
		}
		e.finishSignIn(other, e.authenticate("acme", to, ann), wantError)
		if replaced := other.SessionID() != before; replaced != c.replaces {
			t.Errorf("%s: session of another account replaced: got %v, want %v", name, replaced, c.replaces)
		}
	}

	// A browser may log in to another account before it returns from the provider.
	late := e.NewClient()
	to := late.Send("GET", "/auth/acme", navigation("cross-site", "?1", evil), nil).Want(302).Header.Get("Location")
	callback := e.authenticate("acme", to, ann)
	e.signInWith(late, "acme", providerUser{sub: "bob", email: "bob@example.com"}, "")
	before := late.SessionID()
	e.finishSignIn(late, callback, "wrong_account")
	if got := late.SessionID(); got != before {
		t.Errorf("session after the late return: got %s, want %s", got, before)
	}

	// Of two live sessions, nothing shows which account to keep.
	bob := e.NewClient()
	carol := e.NewClient()
	e.signInWith(bob, "acme", providerUser{sub: "bob", email: "bob@example.com"}, "")
	e.signInWith(carol, "acme", providerUser{sub: "carol", email: "carol@example.com"}, "")
	for site, starts := range map[string]bool{"cross-site": false, "same-origin": true} {
		h := navigation(site, "?1", "")
		h.Set("Cookie", "sid="+bob.Token+"; sid="+carol.Token)
		to := e.NewClient().Send("GET", "/auth/acme", h, nil).Want(302).Header.Get("Location")
		if refused := to == testFrontend+"/?error=cross_origin_denied"; refused == starts {
			t.Errorf("two sessions, %s: redirect: got %s", site, to)
		}
	}
}

// With SameSite=Strict the browser sends no session cookie when a page of another site navigates.
// Such a page cannot start a sign-in, because that could replace the session of another account.
func TestSignInFromForeignPageStrict(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t, apitest.Options{Cookie: httpapi.Cookie{Name: "sid", SameSite: http.SameSiteStrictMode}})
	click := http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-User": {"?1"}}
	for referer, starts := range map[string]bool{"https://evil.example/": false, "": false, testFrontend + "/": true} {
		c := e.NewClient()
		header := click.Clone()
		header.Set("Referer", referer)
		to := c.Send("GET", "/auth/acme", header, nil).Want(302).Header.Get("Location")
		if refused := to == testFrontend+"/?error=cross_origin_denied" && len(c.Flows) == 0; refused == starts {
			t.Errorf("click on a page of %q: got a redirect to %s with cookies %v, want a sign-in started: %v", referer, to, c.Flows, starts)
		}
	}
}
