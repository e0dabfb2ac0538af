package httpapi

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

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/oauth"
	"latchkey/internal/oauth/oauthtest"
	"latchkey/internal/ratelimit"
)

// changed is a callback with other parameters.
func changed(callback string, change func(url.Values)) string {
	u, err := url.Parse(callback)
	if err != nil {
		panic(err)
	}
	q := u.Query()
	change(q)
	u.RawQuery = q.Encode()
	return u.String()
}

// A callback signs in the browser that began, once, with the provider that it began with,
// and nobody else (OWASP ASVS 5.0 10.1.2, 10.2.1, 10.2.2).
func TestCallbackAbuse(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t)
	eve := person{sub: "eve", email: "eve@gmail.com"}
	// abuses lead a client and the callback of its own sign-in astray.
	abuses := map[string]struct {
		do   func(c *client, own string) string
		want string
	}{
		"no cookie": {func(c *client, own string) string { c.flows = nil; return own }, "sign_in_expired"},
		"the cookie of another": {func(c *client, own string) string {
			for name := range c.flows {
				c.flows[name] = strings.Repeat("A", 43)
			}
			return own
		}, "sign_in_expired"},
		"a foreign browser": {func(c *client, _ string) string {
			attacker := e.client()
			return e.atProvider("acme", e.leave(attacker, "acme", ""), eve)
		}, "sign_in_expired"},
		"a foreign browser's code": {func(c *client, own string) string {
			attacker := e.client()
			theirs := e.atProvider("acme", e.leave(attacker, "acme", ""), eve)
			return changed(own, func(q url.Values) { q.Set("code", parameter(theirs, "code")) })
		}, "provider_error"},
		"the state of another sign-in": {func(c *client, own string) string {
			other := e.leave(c, "acme", "")
			return changed(own, func(q url.Values) { q.Set("state", parameter(other, "state")) })
		}, "provider_error"},
		"no state":       {func(_ *client, own string) string { return changed(own, func(q url.Values) { q.Del("state") }) }, "sign_in_expired"},
		"an empty state": {func(_ *client, own string) string { return changed(own, func(q url.Values) { q.Set("state", "") }) }, "sign_in_expired"},
		"a long state": {func(_ *client, own string) string {
			return changed(own, func(q url.Values) { q.Set("state", strings.Repeat("A", 4000)) })
		}, "sign_in_expired"},
		"a strange state": {func(_ *client, own string) string {
			return changed(own, func(q url.Values) { q.Set("state", "\r\n; =,\"é\x00") })
		}, "sign_in_expired"},
		"half a state": {func(_ *client, own string) string {
			return changed(own, func(q url.Values) { q.Set("state", q.Get("state")[:20]) })
		}, "sign_in_expired"},
		"a state that begins alike": {func(_ *client, own string) string {
			return changed(own, func(q url.Values) { q.Set("state", q.Get("state")[:10]+strings.Repeat("A", 33)) })
		}, "sign_in_expired"},
		"two states": {func(_ *client, own string) string {
			return changed(own, func(q url.Values) { q.Add("state", q.Get("state")) })
		}, "sign_in_expired"},
		"two codes": {func(_ *client, own string) string { return changed(own, func(q url.Values) { q.Add("code", "x") }) }, "provider_error"},
		"no code":   {func(_ *client, own string) string { return changed(own, func(q url.Values) { q.Del("code") }) }, "provider_error"},
		"another code": {func(_ *client, own string) string {
			return changed(own, func(q url.Values) { q.Set("code", "guessed") })
		}, "provider_error"},
		"no issuer": {func(_ *client, own string) string { return changed(own, func(q url.Values) { q.Del("iss") }) }, "provider_error"},
		"another issuer": {func(_ *client, own string) string {
			return changed(own, func(q url.Values) { q.Set("iss", e.issuers["google"].URL) })
		}, "provider_error"},
		"two issuers": {func(_ *client, own string) string {
			return changed(own, func(q url.Values) { q.Add("iss", "https://evil.example") })
		}, "provider_error"},
		"an error beside a code": {func(_ *client, own string) string {
			return changed(own, func(q url.Values) { q.Set("error", "access_denied") })
		}, "access_denied"},
		"an error of an attacker": {func(_ *client, own string) string {
			return changed(own, func(q url.Values) { q.Set("error", "<script>"); q.Set("error_description", "<script>") })
		}, "provider_error"},
		"an error from another issuer": {func(_ *client, own string) string {
			return changed(own, func(q url.Values) { q.Set("error", "access_denied"); q.Set("iss", "https://evil.example") })
		}, "provider_error"},
		"the callback of another provider": {func(_ *client, own string) string {
			return strings.Replace(own, "/auth/acme/", "/auth/google/", 1)
		}, "sign_in_expired"},
		"the callback of a provider without an issuer": {func(_ *client, own string) string {
			return strings.Replace(own, "/auth/acme/", "/auth/github/", 1)
		}, "sign_in_expired"},
		"a code of another provider": {func(c *client, own string) string {
			theirs := e.atProvider("google", e.leave(c, "google", ""), eve)
			return changed(own, func(q url.Values) { q.Set("code", parameter(theirs, "code")) })
		}, "provider_error"},
		"a second time": {func(c *client, own string) string {
			kept := c.clone()
			e.comeBack(kept, own, "")
			kept.do("POST", "/auth/logout", nil).want(200)
			return own
		}, "sign_in_expired"},
		"too late":         {func(_ *client, own string) string { e.advance(10*time.Minute + time.Second); return own }, "sign_in_expired"},
		"nothing at all":   {func(*client, string) string { return "/auth/acme/callback?" }, "sign_in_expired"},
		"nonsense escapes": {func(*client, string) string { return "/auth/acme/callback?state=%zz&code=%zz" }, "sign_in_expired"},
	}
	for name, abuse := range abuses {
		c := e.client()
		callback := abuse.do(c, e.atProvider("acme", e.leave(c, "acme", ""), ann))
		a := c.do("GET", callback, nil).want(302)
		at, err := url.Parse(a.header.Get("Location"))
		if err != nil || at.Scheme+"://"+at.Host != testFrontend || at.Query().Get("error") != abuse.want || len(at.Query()) != 1 {
			t.Errorf("%s: sent to %s, want error %s", name, a.header.Get("Location"), abuse.want)
		}
		c.do("GET", "/auth/me", nil).want(401)
	}
	// What was signed in, once, is what "a second time" did first.
	if accounts, identities := e.count(); accounts != 1 || identities != 1 {
		t.Errorf("%d accounts, %d identities", accounts, identities)
	}
	if live := e.liveSessions(e.redis.Conn(t)); live != 0 {
		t.Errorf("%d sessions", live)
	}
}

func parameter(address, name string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	return u.Query().Get(name)
}

// A session that a browser has is no worse for a sign-in that fails.
func TestFailedSignInChangesNothing(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t)
	c := e.register("ann@example.com")
	e.comeBack(c, changed(e.atProvider("acme", e.leave(c, "acme", ""), ann), func(q url.Values) { q.Set("code", "x") }), "provider_error")
	c.do("GET", "/auth/session", nil).want(200)
	e.comeBack(c, "/auth/acme/callback?", "sign_in_expired")
	c.do("GET", "/auth/session", nil).want(200)
}

// Of one callback that comes many times at once, at two servers, one begins a session.
func TestRaceCallback(t *testing.T) {
	e := newElsewhere(t)
	eachRound(t, func(round int, judged func([]answer) bool) {
		c := e.client()
		callback := e.atProvider("acme", e.leave(c, "acme", ""), person{sub: "ann", email: "ann@gmail.com"})
		const at = 16
		answers := make([]answer, at)
		var group sync.WaitGroup
		for i := range at {
			group.Go(func() { answers[i] = c.clone().do("GET", callback, nil) })
		}
		group.Wait()
		if !judged(answers) {
			e.removeAnn()
			return
		}
		ends := map[string]int{}
		for _, a := range answers {
			ends[a.header.Get("Location")]++
		}
		if ends[testFrontend+"/"] != 1 || ends[testFrontend+"/?error=sign_in_expired"] != at-1 {
			t.Fatalf("round %d: %v", round, ends)
		}
		conn := e.redis.Conn(t)
		if live := e.liveSessions(conn); live != 1 {
			t.Fatalf("round %d: %d sessions", round, live)
		}
		if _, err := e.sessions.RevokeAll(t.Context(), e.account("ann@gmail.com").ID, "", "revoked"); err != nil {
			t.Fatal(err)
		}
	})
}

// A provider that misbehaves costs its own users their sign-in, for a time that has a
// limit, and nobody else anything.
func TestProviderTrouble(t *testing.T) {
	t.Parallel()
	hangs := make(chan struct{})
	within := http.NewServeMux()
	touched := false
	within.HandleFunc("/", func(http.ResponseWriter, *http.Request) { touched = true })
	private := listen(t, within)
	for name, c := range map[string]struct {
		at    oauthtest.Endpoint
		fault oauthtest.Fault
		want  string
	}{
		"token hangs":               {oauthtest.Token, oauthtest.Fault{Wait: hangs}, "provider_unavailable"},
		"token stops half way":      {oauthtest.Token, oauthtest.Fault{WaitBody: hangs}, "provider_unavailable"},
		"token hangs up":            {oauthtest.Token, oauthtest.Fault{Cut: true}, "provider_unavailable"},
		"token fails":               {oauthtest.Token, oauthtest.Fault{Status: 500}, "provider_unavailable"},
		"token refuses":             {oauthtest.Token, oauthtest.Fault{Status: 400}, "provider_error"},
		"token says megabytes":      {oauthtest.Token, oauthtest.Fault{Padding: 8 << 20}, "provider_error"},
		"token leads elsewhere":     {oauthtest.Token, oauthtest.Fault{Redirect: private + "/token"}, "provider_error"},
		"token is a page":           {oauthtest.Token, oauthtest.Fault{Body: "<html>"}, "provider_error"},
		"keys hang":                 {oauthtest.Keys, oauthtest.Fault{Wait: hangs}, "provider_unavailable"},
		"keys fail":                 {oauthtest.Keys, oauthtest.Fault{Status: 503}, "provider_unavailable"},
		"keys are megabytes":        {oauthtest.Keys, oauthtest.Fault{Padding: 8 << 20}, "provider_error"},
		"keys lead elsewhere":       {oauthtest.Keys, oauthtest.Fault{Redirect: private + "/keys"}, "provider_error"},
		"discovery hangs":           {oauthtest.Discovery, oauthtest.Fault{Wait: hangs}, "provider_unavailable"},
		"discovery is megabytes":    {oauthtest.Discovery, oauthtest.Fault{Padding: 8 << 20}, "provider_unavailable"},
		"discovery leads elsewhere": {oauthtest.Discovery, oauthtest.Fault{Redirect: private + "/discovery"}, "provider_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newElsewhere(t)
			c1 := e.client()
			bystander := e.register("bob@example.com")
			began := time.Now()
			if c.at == oauthtest.Discovery {
				e.issuers["acme"].Break(c.at, c.fault)
				a := c1.do("GET", "/auth/acme", nil).want(302)
				if got := parameter(a.header.Get("Location"), "error"); got != c.want {
					t.Errorf("error %q, want %q\n%s", got, c.want, e.log)
				}
				link := bystander.do("POST", "/auth/identities/acme", map[string]any{})
				if link.body["code"] != c.want {
					t.Errorf("linking: %s", link.raw)
				}
			} else {
				callback := e.atProvider("acme", e.leave(c1, "acme", ""), ann)
				e.issuers["acme"].Break(c.at, c.fault)
				var asked sync.WaitGroup
				asked.Go(func() { e.comeBack(c1, callback, c.want) })
				// Meanwhile the others are served.
				bystander.do("GET", "/auth/me", nil).want(200)
				e.signInWith(e.client(), "google", person{sub: "carol", email: "carol@gmail.com"}, "")
				asked.Wait()
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("answered after %v", took)
			}
			c1.do("GET", "/auth/me", nil).want(401)
			if touched {
				t.Error("it went where it was led")
			}
			if _, err := e.users.ByIdentity(t.Context(), e.issuers["acme"].URL, "ann"); err == nil {
				t.Error("it is linked")
			}
		})
	}
}

// A store that is away sends the browser back with a word, and leaves its session alone.
func TestSignInStoresAway(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t)
	owner := e.register("ann@gmail.com")
	c := owner.clone()
	callback := e.atProvider("acme", e.leave(c, "acme", ""), ann)

	broken := newElsewhere(t, setup{redis: nowhereRedis, mongo: e.mongo})
	stranger := broken.client()
	a := stranger.do("GET", "/auth/acme", nil).want(302)
	if got := a.header.Get("Location"); got != testFrontend+"/?error=session_store_unavailable" {
		t.Errorf("without Redis: %s", got)
	}
	b := &client{site: broken.site, token: c.token, flows: c.flows}
	if a := b.do("GET", callback, nil).want(302); a.cookie != nil || parameter(a.header.Get("Location"), "error") != "session_store_unavailable" {
		t.Errorf("without Redis: %v %s", a.cookie, a.header.Get("Location"))
	}
	owner.do("GET", "/auth/session", nil).want(200)
	if _, identities := e.count(); identities != 0 {
		t.Errorf("%d identities", identities)
	}
}

// Without MongoDB nobody is signed in, and who is stays so.
func TestSignInMongoAway(t *testing.T) {
	t.Parallel()
	uri, stop := storetest.StartMongo(t)
	e := newElsewhere(t, setup{mongo: uri})
	c := e.register("ann@gmail.com")
	callback := e.atProvider("acme", e.leave(c, "acme", ""), ann)
	stop()
	e.comeBack(c, callback, "user_store_unavailable")
	c.do("GET", "/auth/session", nil).want(200)
}

// What sends browsers to providers is limited, and says so where the browser came from.
func TestSignInLimits(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t, setup{limits: Limits{OAuth: ratelimit.Rule{Events: 3, Window: time.Minute}}})
	c := e.client()
	for i := range 5 {
		a := c.do("GET", "/auth/acme", nil).want(302)
		if limited := a.header.Get("Location") == testFrontend+"/?error=too_many_requests"; limited != (i >= 3) {
			t.Errorf("start %d: %s", i, a.header.Get("Location"))
		}
	}
	for i := range 5 {
		a := c.do("GET", fmt.Sprintf("/auth/acme/callback?state=%d", i), nil).want(302)
		if limited := a.header.Get("Location") == testFrontend+"/?error=too_many_requests"; limited != (i >= 3) {
			t.Errorf("callback %d: %s", i, a.header.Get("Location"))
		}
	}
	owner := e.register("bob@example.com")
	owner.do("POST", "/auth/identities/acme", map[string]any{}).wantCode(429, "too_many_requests") // of the same budget
	// Who has begun gets to the end, whoever else is at the same address.
	other := newElsewhere(t, setup{limits: Limits{OAuth: ratelimit.Rule{Events: 1, Window: time.Minute}, Register: ratelimit.Rule{Events: 1, Window: time.Minute}}})
	ours := other.client()
	callback := other.atProvider("acme", other.leave(ours, "acme", ""), ann)
	for i := range 5 {
		other.client().do("GET", fmt.Sprintf("/auth/acme/callback?state=%d", i), nil).want(302)
	}
	other.comeBack(ours, callback, "")
	// What claims to have begun and has not is counted: its secret is its own to choose.
	forged := other.client()
	mac := hmac.New(sha256.New, make([]byte, 32))
	mac.Write([]byte("state"))
	state := base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	forged.flows = map[string]string{"oauth-" + oauth.FlowID(state): strings.Repeat("A", 43)}
	for range 3 {
		a := forged.clone().do("GET", "/auth/acme/callback?state="+state, nil).want(302)
		if parameter(a.header.Get("Location"), "error") != "too_many_requests" {
			t.Errorf("a forged one: %s", a.header.Get("Location"))
		}
	}
	// An account is a registration, whatever it is made by.
	other.client().do("POST", "/auth/register", map[string]any{"name": "Bob", "email": "bob@example.com", "password": testPassword}).wantCode(429, "too_many_requests")
}
