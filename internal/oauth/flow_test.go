package oauth

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/google/go-cmp/cmp"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/oauth/oauthtest"
	"latchkey/internal/redisconn"
	"latchkey/internal/user"
)

var ann = map[string]any{
	"sub": "u-1", "email": "Ann@Example.com", "email_verified": true, "name": " Ann Example ", "picture": "https://img.example.com/ann",
}

// A sign-in at each kind of provider, from the button to the claims.
func TestSignIn(t *testing.T) {
	t.Parallel()
	var w *world
	home, google, hub := newIssuer(t, &w), newIssuer(t, &w), oauthtest.NewGitHub(t, clientID, clientSecret)
	gitHubSettings := settingsOf(GitHub, "github", hub.URL)
	gitHubSettings.APIURL, gitHubSettings.Scopes = hub.APIURL, []string{"user:email"}
	w = newWorld(t, settingsOf(Google, "google", google.URL), gitHubSettings, settingsOf(OIDC, "home", home.URL))
	w.known = []secretive{home, google, hub}

	if diff := cmp.Diff(w.Providers(), []Provider{{"google", "At google"}, {"github", "At github"}, {"home", "At home"}}); diff != "" {
		t.Error(diff)
	}
	if home.Calls(oauthtest.Discovery)+google.Calls(oauthtest.Discovery) != 0 {
		t.Error("New has asked somebody")
	}
	hosted := map[string]any{"hd": "example.com"}
	for name, value := range ann {
		hosted[name] = value
	}
	octo := oauthtest.Account{
		ID: 583231, Login: "octo", Name: "Ann Example", AvatarURL: "https://avatars.example.com/u/583231",
		Emails: []oauthtest.Address{{Email: "other@example.com", Verified: true}, {Email: "ann@example.com", Primary: true, Verified: true}},
	}
	for _, tc := range []struct {
		provider, issuer, subject, picture string
		authorize                          func(address string) string
	}{
		{"home", home.URL, "u-1", "https://img.example.com/ann", func(a string) string { return home.Authorize(t, a, ann) }},
		{"google", google.URL, "u-1", "https://img.example.com/ann", func(a string) string { return google.Authorize(t, a, hosted) }},
		{"github", hub.URL, "583231", octo.AvatarURL, func(a string) string { return hub.Authorize(t, a, octo) }},
	} {
		began := Flow{ReturnTo: "/after", UserID: "user", SessionID: "session", Reauthenticate: tc.provider == "home"}
		f := w.begin(t, tc.provider, began)
		back := tc.authorize(f.address)
		if !strings.HasPrefix(back, callbackURL+"?") || FlowID(queryOf(t, back).Get("state")) != f.id {
			t.Errorf("%s: the browser comes back to %s", tc.provider, back)
		}
		w.clock.move(time.Minute)
		claims, flow, err := w.end(t, tc.provider, f.secret, back)
		if err != nil {
			t.Fatal(err)
		}
		want := user.Claims{
			Provider: tc.provider, Issuer: tc.issuer, Subject: tc.subject, Email: "ann@example.com", EmailVerified: true,
			Name: "Ann Example", Picture: tc.picture, AuthenticatedAt: w.clock.now(),
		}
		if tc.provider == "home" { // it was asked for the time of the proof
			want.AuthenticatedAt = w.clock.now().Add(-time.Minute)
		}
		if diff := cmp.Diff(want, claims); diff != "" {
			t.Errorf("%s: %s", tc.provider, diff)
		}
		if flow != began {
			t.Errorf("%s: the flow is %+v", tc.provider, flow)
		}
	}
	if n := w.flowsIn(t); n != 0 {
		t.Errorf("%d flows are left in Redis", n)
	}
	if home.Calls(oauthtest.UserInfo) != 0 {
		t.Error("the userinfo endpoint was asked for what is in the ID token")
	}
}

// The browser takes to the provider what the flow needs and nothing else.
func TestAuthorizationRequest(t *testing.T) {
	t.Parallel()
	var w *world
	i, g := newIssuer(t, &w), oauthtest.NewGitHub(t, clientID, clientSecret)
	gitHubSettings := settingsOf(GitHub, "github", g.URL+"/")
	gitHubSettings.APIURL, gitHubSettings.Scopes = g.APIURL, []string{"user:email"}
	w = newWorld(t, settingsOf(OIDC, "home", i.URL), settingsOf(Google, "google", i.URL), gitHubSettings)
	common := url.Values{
		"response_type": {"code"}, "client_id": {clientID}, "redirect_uri": {callbackURL}, "code_challenge_method": {"S256"},
	}
	for _, tc := range []struct {
		provider, scope string
		again           url.Values
	}{
		{"home", "openid email profile", url.Values{"prompt": {"login"}, "max_age": {"0"}}},
		{"google", "openid email profile", url.Values{"prompt": {"select_account"}}},
		{"github", "user:email", url.Values{"prompt": {"select_account"}}},
	} {
		for _, again := range []bool{false, true} {
			f := w.begin(t, tc.provider, Flow{Reauthenticate: again})
			q := queryOf(t, f.address)
			random := []string{q.Get("state"), q.Get("code_challenge"), f.secret}
			if tc.provider != "github" {
				random = append(random, q.Get("nonce"))
			}
			slices.Sort(random)
			for _, value := range random {
				if len(value) != 43 {
					t.Errorf("%s: %q is not 256 bits", tc.provider, value)
				}
			}
			if len(slices.Compact(random)) != len(random) {
				t.Errorf("%s: one value is used twice", tc.provider)
			}
			for _, name := range []string{"state", "nonce", "code_challenge"} {
				q.Del(name)
			}
			want := url.Values{"scope": {tc.scope}}
			for name, value := range common {
				want[name] = value
			}
			if again {
				for name, value := range tc.again {
					want[name] = value
				}
			}
			if diff := cmp.Diff(want, q); diff != "" {
				t.Errorf("%s: %s", tc.provider, diff)
			}
		}
	}
}

// Who reads Redis can finish no flow, and a person can read what waits there.
func TestFlowAtRest(t *testing.T) {
	t.Parallel()
	w, i := oneIssuer(t)
	f := w.begin(t, "home", Flow{ReturnTo: "/x", UserID: "0123", SessionID: "handle"})
	keys, _ := keysOf(f.secret)
	names, err := redis.Strings(w.redis.Do("KEYS", "*"))
	if err != nil || len(names) != 1 || !strings.HasPrefix(names[0], "oauth:") || len(names[0]) != len("oauth:")+43 {
		t.Fatalf("in Redis are %v: %v", names, err)
	}
	value, err := redis.Bytes(w.redis.Do("GET", names[0]))
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{f.secret, keys.state, keys.nonce, keys.verifier}
	if slices.Sort(secrets); len(slices.Compact(slices.Clone(secrets))) != len(secrets) {
		t.Error("one secret is another: who learns the state could redeem the code")
	}
	for _, secret := range append(secrets, f.id) {
		if strings.Contains(names[0]+string(value), secret) {
			t.Errorf("Redis knows %s", secret)
		}
	}
	var got any
	if err := json.Unmarshal(value, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"provider": "home", "startedAt": "2026-03-01T12:00:00Z",
		"flow": map[string]any{"returnTo": "/x", "userId": "0123", "sessionId": "handle"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	ttl, err := redis.Int(w.redis.Do("TTL", names[0]))
	if err != nil || ttl > 600 || ttl < 500 {
		t.Errorf("it lives for %d s: %v", ttl, err)
	}
	if _, _, err := w.end(t, "home", f.secret, i.Authorize(t, f.address, ann)); err != nil {
		t.Fatal(err)
	}
	if n := w.flowsIn(t); n != 0 {
		t.Errorf("%d flows are left in Redis", n)
	}
}

// What is in Redis and was not written by us ends the flow and nothing else.
func TestForeignValue(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"not JSON": "x", "a list": "[]", "empty": "", "of nobody": `{"provider":"","startedAt":"2026-03-01T12:00:00Z"}`,
		"no time": `{"provider":"home"}`, "twice": `{"provider":"other","provider":"home","startedAt":"2026-03-01T12:00:00Z"}`,
	} {
		w, i := oneIssuer(t)
		f := w.begin(t, "home", Flow{})
		keys, _ := keysOf(f.secret)
		if _, err := w.redis.Do("SET", keys.name, value); err != nil {
			t.Fatal(err)
		}
		_, _, err := w.end(t, "home", f.secret, i.Authorize(t, f.address, ann))
		t.Logf("%s: %v", name, err)
		only(t, err, ErrNoFlow)
		if i.Calls(oauthtest.Token) != 0 {
			t.Errorf("%s: the code was redeemed", name)
		}
	}
}

// Of many callbacks at once exactly one is the end of the flow.
func TestRaceForOneFlow(t *testing.T) {
	t.Parallel()
	w, i := oneIssuer(t)
	other := New(w.Service.redis, []Settings{settingsOf(OIDC, "home", i.URL)}, Options{Now: w.clock.now})
	for range 5 {
		f := w.begin(t, "home", Flow{})
		query := queryOf(t, i.Authorize(t, f.address, ann))
		var ended, none atomic.Int64
		var wg sync.WaitGroup
		start := make(chan struct{})
		before := i.Calls(oauthtest.Token)
		for n := range 16 {
			s := []*Service{w.Service, other}[n%2] // two processes
			wg.Go(func() {
				<-start
				_, _, err := s.Finish(context.Background(), "home", f.secret, query)
				if err == nil {
					ended.Add(1)
				} else {
					only(t, err, ErrNoFlow)
					none.Add(1)
				}
			})
		}
		close(start)
		wg.Wait()
		if ended.Load() != 1 || none.Load() != 15 {
			t.Fatalf("%d ended the flow, %d found none", ended.Load(), none.Load())
		}
		if calls := i.Calls(oauthtest.Token) - before; calls != 1 {
			t.Fatalf("the code was sent %d times", calls)
		}
	}
}

// Without Redis no flow begins, and none ends: the code stays unused.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	direct, proxied, proxy := storetest.ProxiedRedis(t)
	var w *world
	i := newIssuer(t, &w)
	w = newWorldOn(t, proxied, direct.Conn(t), settingsOf(OIDC, "home", i.URL))
	w.known = []secretive{i}
	f := w.begin(t, "home", Flow{})
	query := queryOf(t, i.Authorize(t, f.address, ann))
	proxy.Silence()
	start := time.Now()
	_, _, _, err := w.Start(context.Background(), "home", Flow{})
	only(t, err, redisconn.ErrUnavailable)
	_, _, err = w.endWith(t, "home", f.secret, query)
	only(t, err, redisconn.ErrUnavailable)
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
	if i.Calls(oauthtest.Token) != 0 {
		t.Error("the code was redeemed")
	}
	proxy.Refuse()
	proxy.Restore(t)
	f = w.begin(t, "home", Flow{})
	_, _, err = w.end(t, "home", f.secret, i.Authorize(t, f.address, ann))
	only(t, err, nil)
}

func TestFlowID(t *testing.T) {
	t.Parallel()
	good := strings.Repeat("A", 43)
	for state, want := range map[string]string{
		good: "AAAAAAAAAA", "": "", good[1:]: "", good + "A": "", good[:42] + "B": "", good[:42] + "=": "", good[:42] + "\n": "",
		good[:41] + "\r\n": "", strings.Repeat("A", 5) + "\n" + good[6:]: "", strings.Repeat("/", 43): "", strings.Repeat("é", 43): "",
		strings.Repeat(";", 43): "",
	} {
		if got := FlowID(state); got != want {
			t.Errorf("FlowID(%q) = %q, want %q", state, got, want)
		}
	}
}
