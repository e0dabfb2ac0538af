package httpapi

import (
	"fmt"
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

	"latchkey/internal/oauth"
	"latchkey/internal/oauth/oauthtest"
	"latchkey/internal/session"
)

const (
	testFrontend   = "https://app.example.com"
	providerSecret = "the-secret-that-providers-know-us-by"
)

// elsewhere is a site with providers: an issuer as Google, one of another name, and a
// look-alike of GitHub.
type elsewhere struct {
	*site
	issuers map[string]*oauthtest.Issuer
	github  *oauthtest.GitHubServer
}

func newElsewhere(t *testing.T, options ...setup) *elsewhere {
	t.Helper()
	var o setup
	if len(options) > 0 {
		o = options[0]
	}
	e := &elsewhere{issuers: map[string]*oauthtest.Issuer{}}
	var settings []oauth.Settings
	for name, kind := range map[string]oauth.Kind{"google": oauth.Google, "acme": oauth.OIDC} {
		e.issuers[name] = oauthtest.NewIssuer(t, "us", providerSecret)
		settings = append(settings, oauth.Settings{
			Kind: kind, Name: name, Title: strings.ToUpper(name[:1]) + name[1:], Issuer: e.issuers[name].URL,
			ClientID: "us", ClientSecret: providerSecret, Scopes: []string{"openid", "email", "profile"},
			CallbackURL: "https://api.example.com/auth/" + name + "/callback",
		})
	}
	e.github = oauthtest.NewGitHub(t, "us", providerSecret)
	settings = append(settings, oauth.Settings{
		Kind: oauth.GitHub, Name: "github", Title: "GitHub", Issuer: e.github.URL, APIURL: e.github.APIURL,
		ClientID: "us", ClientSecret: providerSecret, Scopes: []string{"user:email"},
		CallbackURL: "https://api.example.com/auth/github/callback",
	})
	o.providers = settings
	if o.origins == nil {
		o.origins = []string{testFrontend, "http://localhost:3001"}
	}
	e.site = newSite(t, o)
	t.Cleanup(func() { // before the site looks for them
		for _, issuer := range e.issuers {
			e.keepSecret(issuer.Secrets()...)
		}
		e.keepSecret(e.github.Secrets()...)
	})
	e.canaries.add("our secret at a provider", providerSecret)
	for _, issuer := range e.issuers {
		issuer.Now = e.now
	}
	return e
}

// keepSecret notes what a provider has given. Of a signed token the signature is enough.
func (e *elsewhere) keepSecret(given ...string) {
	for _, secret := range given {
		e.canaries.add("what a provider has given", secret[strings.LastIndex(secret, ".")+1:])
	}
}

// person is who has an account at the issuers.
type person struct {
	sub, email string
	unverified bool
	more       map[string]any
}

var ann = person{sub: "ann", email: "ann@gmail.com"}

func (p person) claims() map[string]any {
	claims := map[string]any{"sub": p.sub, "name": "Ann A.", "email_verified": !p.unverified, "picture": "https://pictures.example/ann.png"}
	if p.email != "" {
		claims["email"] = p.email
	}
	for name, value := range p.more {
		claims[name] = value
	}
	return claims
}

// leave is the first half of a sign-in: the client is sent to the provider.
func (e *elsewhere) leave(c *client, provider, query string) (address string) {
	e.t.Helper()
	a := c.do("GET", "/auth/"+provider+query, nil).want(302)
	return a.header.Get("Location")
}

// atProvider is the second: who is there signs in, and is sent back to this path.
func (e *elsewhere) atProvider(provider, address string, p person) (callback string) {
	e.t.Helper()
	var back string
	if provider == "github" {
		back = e.github.Authorize(e.t, address, oauthtest.Account{
			ID: int64(len(p.sub)) + 1000, Login: p.sub, Name: "Ann A.",
			Emails: []oauthtest.Address{{Email: "other@example.com", Verified: true}, {Email: p.email, Primary: true, Verified: !p.unverified}},
		})
	} else {
		back = e.issuers[provider].Authorize(e.t, address, p.claims())
	}
	u, err := url.Parse(back)
	if err != nil || !strings.HasPrefix(back, "https://api.example.com/auth/"+provider+"/callback?") {
		e.t.Fatalf("sent back to %s", back)
	}
	e.canaries.add("a code", u.Query().Get("code"))
	return u.RequestURI()
}

// comeBack is the last: with want "" the client is signed in, otherwise it is the code of
// the error with which a page is reached.
func (e *elsewhere) comeBack(c *client, callback, want string) {
	e.t.Helper()
	a := c.do("GET", callback, nil).want(302)
	at, err := url.Parse(a.header.Get("Location"))
	if err != nil || at.Scheme+"://"+at.Host != testFrontend || at.Query().Get("error") != want {
		e.t.Fatalf("the browser comes back to %s, want error %q\n%s", a.header.Get("Location"), want, e.log)
	}
	if want != "" && (a.cookie != nil || !slices.Contains(signInErrors(), any(want))) {
		e.t.Fatalf("an error with %v, or one that the document does not have", a.cookie)
	}
}

// signInErrors are those that the document has.
var signInErrors = sync.OnceValue(func() []any {
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		panic(err)
	}
	return doc.Components.Schemas["SignInError"].Value.Enum
})

// signInWith is all of it.
func (e *elsewhere) signInWith(c *client, provider string, p person, want string) {
	e.t.Helper()
	e.comeBack(c, e.atProvider(provider, e.leave(c, provider, ""), p), want)
}

// linkWith is all of it for who is signed in and adds an account.
func (e *elsewhere) linkWith(c *client, provider string, p person, want string) {
	e.t.Helper()
	address := c.do("POST", "/auth/identities/"+provider, map[string]any{}).want(200).text("url")
	e.comeBack(c, e.atProvider(provider, address, p), want)
}

// identities are those that the owner of an account sees, by provider.
func (c *client) identities() (linked []string, hasPassword bool) {
	c.t.Helper()
	a := c.do("GET", "/auth/identities", nil).want(200)
	for _, i := range a.body["identities"].([]any) {
		linked = append(linked, i.(map[string]any)["provider"].(string))
	}
	return linked, a.body["hasPassword"].(bool)
}

// count is how many accounts and identities there are.
func (e *elsewhere) count() (accounts, identities int64) {
	e.t.Helper()
	for name, n := range map[string]*int64{"users": &accounts, "identities": &identities} {
		var err error
		if *n, err = e.database().Collection(name).CountDocuments(e.t.Context(), bson.D{}); err != nil {
			e.t.Fatal(err)
		}
	}
	return accounts, identities
}

// removeAnn deletes the account of a round and its sessions, if it was made.
func (e *elsewhere) removeAnn() {
	e.t.Helper()
	u, err := e.users.ByEmail(e.t.Context(), "ann@gmail.com")
	if err != nil {
		return
	}
	if _, err := e.sessions.RevokeAll(e.t.Context(), u.ID, "", session.Revoked); err != nil {
		e.t.Error(err)
	}
	e.remove(u.ID)
}

// confirm makes the address of an account a confirmed one.
func (s *site) confirm(email string) {
	s.t.Helper()
	_, err := s.database().Collection("users").UpdateOne(s.t.Context(), bson.D{{Key: "email", Value: email}}, bson.D{{Key: "$set", Value: bson.D{{Key: "emailVerified", Value: true}}}})
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestProviders(t *testing.T) {
	t.Parallel()
	a := newElsewhere(t).client().do("GET", "/auth/providers", nil).want(200)
	if n := len(a.body["providers"].([]any)); n != 3 {
		t.Errorf("%s", a.raw)
	}
	s := newSite(t)
	if a := s.client().do("GET", "/auth/providers", nil).want(200); string(a.raw) != `{"providers":[]}` {
		t.Errorf("%s", a.raw)
	}
	for _, path := range []string{"/auth/google", "/auth/google/callback?code=x&state=y"} {
		s.client().do("GET", path, nil).wantCode(404, "not_found")
		s.client().do("POST", path, nil).wantCode(404, "not_found")
	}
}

// A first sign-in makes an account, the next one finds it, and each begins a session of
// its own.
func TestSignInWithProvider(t *testing.T) {
	t.Parallel()
	for _, provider := range []string{"google", "acme", "github"} {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			e := newElsewhere(t, setup{mail: &outbox{}})
			c := e.client()
			e.signInWith(c, provider, ann, "")
			me := c.do("GET", "/auth/me", nil).want(200)
			first := me.text("user", "id")
			if me.text("user", "email") != "ann@gmail.com" || me.text("user", "name") != "Ann A." || me.body["user"].(map[string]any)["emailVerified"] != true {
				t.Errorf("%s", me.raw)
			}
			if me.text("user", "lastLogin") == "" {
				t.Error("the login is not noted")
			}
			if picture := me.text("user", "picture"); provider != "github" && picture != "https://pictures.example/ann.png" {
				t.Errorf("picture %q", picture)
			}
			session := c.do("GET", "/auth/session", nil).want(200)
			if diff := cmp.Diff([]any{provider}, session.body["methods"]); diff != "" {
				t.Error(diff)
			}
			linked, hasPassword := c.identities()
			if diff := cmp.Diff([]string{provider}, linked); diff != "" || hasPassword {
				t.Errorf("%s, password %v", diff, hasPassword)
			}
			if len(c.flows) > 0 {
				t.Errorf("%d cookies of flows are left", len(c.flows))
			}
			if e.proves(first, "") || c.clone().login("ann@gmail.com", testPassword) {
				t.Error("who has no password can log in with one")
			}

			before := c.clone()
			e.signInWith(c, provider, ann, "")
			if got := c.do("GET", "/auth/me", nil).want(200).text("user", "id"); got != first {
				t.Errorf("the second sign-in is to %s, the first was to %s", got, first)
			}
			before.do("GET", "/auth/session", nil).want(401)
			accounts, identities := e.count()
			if live := e.liveSessions(e.redis.Conn(t)); live != 1 || accounts != 1 || identities != 1 {
				t.Errorf("%d sessions, %d accounts, %d identities", live, accounts, identities)
			}
			a := c.do("GET", "/auth/activity", nil).want(200)
			var events []string
			for _, shown := range a.body["events"].([]any) {
				of := shown.(map[string]any)
				events = append(events, fmt.Sprint(of["event"], " ", of["provider"]))
			}
			if diff := cmp.Diff([]string{"login " + provider, "login_failed <nil>", "registered " + provider}, events); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The browser is sent on with what the standards ask for, and nothing that is not needed.
func TestAuthorizationRequest(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t)
	seen := map[string]bool{}
	for _, c := range []struct {
		provider, query string
		want            url.Values
	}{
		{"acme", "", url.Values{"scope": {"openid email profile"}}},
		{"acme", "?prompt=login&return_to=/settings", url.Values{"scope": {"openid email profile"}, "prompt": {"login"}, "max_age": {"0"}}},
		{"google", "", url.Values{"scope": {"openid email profile"}}},
		{"google", "?prompt=login", url.Values{"scope": {"openid email profile"}, "prompt": {"select_account"}}},
		{"github", "?prompt=login", url.Values{"scope": {"user:email"}, "prompt": {"select_account"}}},
	} {
		u, err := url.Parse(e.leave(e.client(), c.provider, c.query))
		if err != nil {
			t.Fatal(err)
		}
		got := u.Query()
		for _, fresh := range []string{"state", "nonce", "code_challenge"} {
			if fresh == "nonce" && c.provider == "github" {
				continue
			}
			if len(got.Get(fresh)) != 43 || seen[got.Get(fresh)] {
				t.Errorf("%s%s: %s is %q", c.provider, c.query, fresh, got.Get(fresh))
			}
			seen[got.Get(fresh)] = true
			got.Del(fresh)
		}
		c.want.Set("response_type", "code")
		c.want.Set("client_id", "us")
		c.want.Set("code_challenge_method", "S256")
		c.want.Set("redirect_uri", "https://api.example.com/auth/"+c.provider+"/callback")
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s%s: %s", c.provider, c.query, diff)
		}
	}
	for _, query := range []string{"?return_to=https://evil.example", "?return_to=//evil.example", "?return_to=/&return_to=//evil.example", "?prompt=none"} {
		a := e.client().do("GET", "/auth/acme"+query, nil).wantCode(400, "validation_failed")
		if a.header.Get("Location") != "" {
			t.Errorf("%s is sent to %s", query, a.header.Get("Location"))
		}
	}
}

// The browser goes where it wanted to go, and no further.
func TestSignInReturnsTo(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t)
	for given, want := range map[string]string{
		"":                                testFrontend + "/",
		"/settings?tab=2":                 testFrontend + "/settings?tab=2",
		testFrontend + "/a#b":             testFrontend + "/a#b",
		"http://localhost:3001/elsewhere": "http://localhost:3001/elsewhere",
		"http://localhost:3001?a=b#":      "http://localhost:3001/?a=b",
	} {
		c := e.client()
		address := e.leave(c, "acme", "?return_to="+url.QueryEscape(given))
		a := c.do("GET", e.atProvider("acme", address, ann), nil).want(302)
		if got := a.header.Get("Location"); got != want {
			t.Errorf("%q leads to %s, want %s", given, got, want)
		}
		c.do("GET", "/auth/me", nil).want(200)
	}
	c := e.client()
	address := e.leave(c, "acme", "?return_to="+url.QueryEscape("http://localhost:3001/x?a=b"))
	back, _ := url.Parse(e.issuers["acme"].Deny(t, address, "access_denied"))
	if got, want := c.do("GET", back.RequestURI(), nil).want(302).header.Get("Location"), "http://localhost:3001/x?a=b&error=access_denied"; got != want {
		t.Errorf("a denial leads to %s, want %s", got, want)
	}
}

// A session says when its user has proved who they are, which may be long ago at the
// provider: that is no fresh proof.
func TestSignInFreshness(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t)
	c := e.client()
	longAgo := ann
	longAgo.more = map[string]any{"auth_time": e.now().Add(-time.Hour).Unix()}
	e.signInWith(c, "acme", longAgo, "")
	if at := c.do("GET", "/auth/session", nil).want(200).time("authenticatedAt"); e.now().Sub(at) < 59*time.Minute {
		t.Errorf("authenticated at %v", at)
	}
	c.do("DELETE", "/profile", nil).wantCode(403, "step_up_required")
	c.do("POST", "/auth/step-up", map[string]any{"password": testPassword}).wantCode(409, "no_password")
	e.comeBack(c, e.atProvider("acme", e.leave(c, "acme", "?prompt=login"), ann), "")
	c.do("DELETE", "/profile", nil).want(204)
	if accounts, identities := e.count(); accounts+identities != 0 {
		t.Errorf("%d accounts and %d identities are left", accounts, identities)
	}
	e.signInWith(c, "acme", ann, "") // and it can be made anew
}

// What a browser keeps for a sign-in comes back after a navigation from another site, and
// is not more than a few cookies.
func TestFlowCookies(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]Cookie{
		"__Host-oauth- Lax":  {Name: "__Host-sid", Secure: true, SameSite: http.SameSiteStrictMode},
		"oauth- Lax":         {Name: "sid", SameSite: http.SameSiteLaxMode},
		"__Host-oauth- None": {Name: "__Secure-sid", Domain: "example.com", Secure: true, SameSite: http.SameSiteNoneMode},
	} {
		e := newElsewhere(t, setup{cookie: c})
		a := e.client().do("GET", "/auth/acme", nil).want(302)
		k, err := http.ParseSetCookie(a.header.Get("Set-Cookie"))
		if err != nil {
			t.Fatal(err)
		}
		same := map[http.SameSite]string{http.SameSiteLaxMode: "Lax", http.SameSiteNoneMode: "None"}[k.SameSite]
		if got := k.Name[:strings.LastIndex(k.Name, "oauth-")+len("oauth-")] + " " + same; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if !k.HttpOnly || k.Secure != c.Secure || k.Path != "/" || k.Domain != "" || k.MaxAge != 600 {
			t.Errorf("%s", k)
		}
	}
	e := newElsewhere(t)
	c := e.client()
	for range 3 * maxFlowCookies {
		e.leave(c, "acme", "")
	}
	if len(c.flows) != maxFlowCookies {
		t.Errorf("%d cookies", len(c.flows))
	}
}

// Several pages of a browser may sign in at once, and are not in each other's way.
func TestSignInTabs(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t)
	c := e.client()
	first, second, third := e.leave(c, "acme", ""), e.leave(c, "google", ""), e.leave(c, "acme", "")
	e.comeBack(c, e.atProvider("acme", third, ann), "")
	e.comeBack(c, e.atProvider("google", second, person{sub: "bob", email: "bob@gmail.com"}), "")
	e.comeBack(c, e.atProvider("acme", first, ann), "")
	if got := c.do("GET", "/auth/me", nil).want(200).text("user", "email"); got != "ann@gmail.com" {
		t.Errorf("signed in as %s", got)
	}
	if live := e.liveSessions(e.redis.Conn(t)); live != 1 {
		t.Errorf("%d sessions", live)
	}
}

// Who signs in for the first time twice at once has one account.
func TestRaceFirstSignIn(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t)
	eachRound(t, func(round int, judged func([]answer) bool) {
		const at = 8
		answers := make([]answer, at)
		var group sync.WaitGroup
		for i := range at {
			c := e.client()
			callback := e.atProvider("acme", e.leave(c, "acme", ""), ann)
			group.Go(func() { answers[i] = c.do("GET", callback, nil) })
		}
		group.Wait()
		defer e.removeAnn()
		if !judged(answers) {
			return
		}
		if accounts, identities := e.count(); accounts != 1 || identities != 1 {
			t.Fatalf("round %d: %d accounts, %d identities", round, accounts, identities)
		}
		in := 0
		for _, a := range answers {
			if a.cookie != nil && a.cookie.MaxAge > 0 {
				in++
			}
		}
		if in == 0 {
			t.Fatalf("round %d: nobody is in: %s", round, answers[0].header.Get("Location"))
		}
	})
}

// Who confirms who they are with the wrong account stays where they are.
func TestConfirmWithAnotherAccount(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t)
	c := e.client()
	e.signInWith(c, "acme", ann, "")
	for _, other := range []person{{sub: "bob", email: "bob@example.com"}, {sub: "bob", email: "ann@gmail.com"}} {
		e.comeBack(c, e.atProvider("acme", e.leave(c, "acme", "?prompt=login"), other), "wrong_account")
	}
	if got := c.do("GET", "/auth/me", nil).want(200).text("user", "email"); got != "ann@gmail.com" {
		t.Errorf("signed in as %s", got)
	}
	if accounts, identities := e.count(); accounts != 1 || identities != 1 {
		t.Errorf("%d accounts, %d identities", accounts, identities)
	}
	e.signInWith(c, "acme", person{sub: "bob", email: "bob@example.com"}, "") // a plain sign-in may change it
}

// With SameSite=Strict a browser comes back from a provider without its session: that ends
// all the same, and the device is no new one.
func TestSignInStrict(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t, setup{cookie: Cookie{Name: "sid", SameSite: http.SameSiteStrictMode}, mail: &outbox{}})
	c := e.client()
	e.signInWith(c, "acme", ann, "")
	before, device := c.clone(), c.device
	callback := e.atProvider("acme", e.leave(c, "acme", ""), ann)
	c.token = ""
	e.comeBack(c, callback, "")
	before.do("GET", "/auth/session", nil).want(401)
	c.do("GET", "/auth/session", nil).want(200)
	if name, _, _ := strings.Cut(device, "."); !strings.HasPrefix(c.device, name) {
		t.Error("the device is another one")
	}
	if told(e.drain(), "ann@gmail.com", "New sign-in to your Latchkey account") > 0 {
		t.Error("told of a new device")
	}
	a := c.do("POST", "/auth/login", map[string]any{"email": "nobody@example.com", "password": testPassword})
	a.want(401)
	remembered := e.register("bob@example.com").do("POST", "/auth/login", map[string]any{"email": "bob@example.com", "password": testPassword}).want(200)
	for _, header := range remembered.header.Values("Set-Cookie") {
		k, err := http.ParseSetCookie(header)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]http.SameSite{true: http.SameSiteLaxMode, false: http.SameSiteStrictMode}[k.Name == "device"]; k.SameSite != want {
			t.Errorf("%s", header)
		}
	}
}

// A browser goes to a provider because its user wants to: no page can have it fetched, and
// no other site can push out the sign-ins that are under way.
func TestSignInIsNavigation(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t)
	for name, c := range map[string]struct {
		method string
		header http.Header
		want   int
	}{
		"a link":       {"GET", http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Dest": {"document"}}, 302},
		"curl":         {"GET", nil, 302},
		"an image":     {"GET", http.Header{"Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Site": {"cross-site"}}, 400},
		"a fetch":      {"GET", http.Header{"Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Site": {"same-site"}}, 400},
		"a frame":      {"GET", http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"iframe"}}, 400},
		"in advance":   {"GET", http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Purpose": {"prefetch;prerender"}}, 400},
		"only a head":  {"HEAD", nil, 400},
		"a head again": {"HEAD", http.Header{"Sec-Fetch-Mode": {"navigate"}}, 400},
	} {
		a := e.client().send(c.method, "/auth/acme", c.header, nil).want(c.want)
		if set := a.header.Get("Set-Cookie") != ""; set != (c.want == 302) {
			t.Errorf("%s: Set-Cookie %v", name, set)
		}
	}
}
