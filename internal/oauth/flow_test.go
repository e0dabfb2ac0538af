package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/google/go-cmp/cmp"

	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/oauth/oauthtest"
	"latchkey/internal/redisconn"
	"latchkey/internal/seal"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

var ann = map[string]any{
	"sub": "u-1", "email": "Ann@Example.com", "email_verified": true, "name": " Ann Example ", "picture": "https://img.example.com/ann",
}

// allKinds returns a fixture with a provider of each kind: "google", "github" and "home".
func allKinds(t *testing.T) (w *fixture, home, google *oauthtest.Issuer, hub *oauthtest.GitHubServer) {
	t.Helper()

	home = oauthtest.NewIssuer(t, clientID, clientSecret)
	google = oauthtest.NewIssuer(t, clientID, clientSecret)
	hub = oauthtest.NewGitHub(t, clientID, clientSecret)
	gitHub := gitHubSettings(hub)
	gitHub.Issuer += "/"
	w = newFixture(t, settingsOf(Google, "google", google.URL), gitHub, settingsOf(OIDC, "home", home.URL))
	w.use(home, google)
	w.known = append(w.known, hub)

	return w, home, google, hub
}

// A sign-in with each kind of provider returns the claims of the user.
func TestSignIn(t *testing.T) {
	t.Parallel()

	w, home, google, hub := allKinds(t)
	if diff := cmp.Diff([]Provider{{"google", "At google"}, {"github", "At github"}, {"home", "At home"}}, w.Providers()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if home.Calls(oauthtest.Discovery)+google.Calls(oauthtest.Discovery) != 0 {
		t.Error("got a request in New, want none before the first sign-in")
	}

	hosted := maps.Clone(ann)
	hosted["hd"] = "example.com"

	octo := oauthtest.Account{
		ID: 583231, Login: "octo", Name: "Ann Example", AvatarURL: "https://avatars.example.com/u/583231",
		Emails: []oauthtest.Email{{Email: "other@example.com", Verified: true}, {Email: "ann@example.com", Primary: true, Verified: true}},
	}

	for _, tc := range []struct {
		provider, issuer, subject, picture string
		authorize                          func(address string) string
	}{
		{"home", home.URL, "u-1", "https://img.example.com/ann", func(a string) string { return home.Authorize(t, a, ann) }},
		{"google", google.URL, "u-1", "https://img.example.com/ann", func(a string) string { return google.Authorize(t, a, hosted) }},
		{"github", hub.URL + "/", "583231", octo.AvatarURL, func(a string) string { return hub.Authorize(t, a, octo) }},
	} {
		began := Flow{ReturnTo: "/after", UserID: "user", SessionID: "session", Reauthenticate: tc.provider == "home"}
		f := w.begin(t, tc.provider, began)
		back := tc.authorize(f.redirect)
		if !strings.HasPrefix(back, callbackURL+"?") || FlowID(queryOf(t, back).Get("state")) != f.id {
			t.Errorf("%s: got callback %s, want a URL under %s with the state of flow %s", tc.provider, back, callbackURL, f.id)
		}

		w.clock.move(time.Minute)
		claims, flow, err := w.end(t, tc.provider, f.secret, back)
		testkit.NoError(t, err)

		want := user.Claims{
			Provider: tc.provider, Issuer: tc.issuer, Subject: tc.subject, Email: "ann@example.com", EmailVerified: true,
			Name: "Ann Example", Picture: tc.picture, AuthenticatedAt: w.clock.now(),
		}

		if tc.provider == "home" { // the provider was asked for auth_time
			want.AuthenticatedAt = w.clock.now().Add(-time.Minute)
		}
		if diff := cmp.Diff(want, claims); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tc.provider, diff)
		}
		if flow != began {
			t.Errorf("%s: got flow %+v, want %+v", tc.provider, flow, began)
		}
	}

	if n := w.pendingFlows(t); n != 0 {
		t.Errorf("got %d flows in Redis, want 0", n)
	}
	if home.Calls(oauthtest.UserInfo) != 0 {
		t.Error("got a userinfo request, want none because the ID token is complete")
	}
}

// The authorization request contains the required parameters and nothing else.
func TestAuthorizationRequest(t *testing.T) {
	t.Parallel()

	w, _, _, _ := allKinds(t)
	seen := map[string]bool{}
	common := url.Values{
		"response_type": {"code"}, "client_id": {clientID}, "redirect_uri": {callbackURL}, "code_challenge_method": {"S256"},
	}

	for _, tc := range []struct {
		provider, scope string
		reauthenticate  url.Values // additional parameters
	}{
		{"home", "openid email profile", url.Values{"prompt": {"login"}, "max_age": {"0"}}},
		{"google", "openid email profile", url.Values{"prompt": {"select_account"}}},
		{"github", "user:email", url.Values{"prompt": {"select_account"}}},
	} {
		for _, reauthenticate := range []bool{false, true} {
			f := w.begin(t, tc.provider, Flow{Reauthenticate: reauthenticate})
			q := queryOf(t, f.redirect)
			random := []string{q.Get("state"), q.Get("code_challenge"), f.secret}
			if tc.provider != "github" {
				random = append(random, q.Get("nonce"))
			}

			for _, value := range random {
				if len(value) != 43 || seen[value] {
					t.Errorf("%s: got %q, want 43 new characters (256 bits)", tc.provider, value)
				}
				seen[value] = true
			}

			for _, name := range []string{"state", "nonce", "code_challenge"} {
				q.Del(name)
			}

			want := maps.Clone(common)
			want.Set("scope", tc.scope)
			if reauthenticate {
				maps.Copy(want, tc.reauthenticate)
			}
			if diff := cmp.Diff(want, q); diff != "" {
				t.Errorf("%s: (-want +got)\n%s", tc.provider, diff)
			}
		}
	}
}

// A record in Redis is readable JSON, but does not contain what is needed to finish the flow.
func TestFlowAtRest(t *testing.T) {
	t.Parallel()

	w, _ := oneIssuer(t)
	f := w.begin(t, "home", Flow{ReturnTo: "/x", UserID: "0123", SessionID: "handle"})
	keys, _ := keysOf(f.secret)
	names, err := redis.Strings(w.redis.Do("KEYS", "*"))
	if err != nil || len(names) != 1 || !strings.HasPrefix(names[0], "oauth:") || len(names[0]) != len("oauth:")+43 {
		t.Fatalf("got keys %v, error %v, want one key oauth:<43 characters>", names, err)
	}

	value, err := redis.Bytes(w.redis.Do("GET", names[0]))
	testkit.NoError(t, err)

	secrets := []string{f.secret, keys.state, keys.nonce, keys.verifier}
	slices.Sort(secrets)
	if len(slices.Compact(slices.Clone(secrets))) != len(secrets) {
		t.Error("two secrets are equal: anyone who learns the state could redeem the code")
	}

	for _, secret := range append(secrets, f.id) {
		if strings.Contains(names[0]+string(value), secret) {
			t.Errorf("Redis contains the secret %s", secret)
		}
	}

	record, _, _ := strings.Cut(string(value), "\nmac=")
	var got any
	testkit.NoError(t, json.Unmarshal([]byte(record), &got))

	want := map[string]any{
		"provider": "home", "startedAt": "2026-03-01T12:00:00Z",
		"flow": map[string]any{"returnTo": "/x", "userId": "0123", "sessionId": "handle"},
	}

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	ttl, err := redis.Int(w.redis.Do("TTL", names[0]))
	if err != nil || ttl > 600 || ttl < 500 {
		t.Errorf("got TTL %d s, error %v, want about 600 s", ttl, err)
	}
}

// A malformed record in Redis fails the flow, without a request to the provider.
func TestMalformedRecord(t *testing.T) {
	t.Parallel()

	for name, value := range map[string]string{
		"not JSON":        "x",
		"no start time":   `{"provider":"home"}`,
		"repeated member": `{"provider":"other","provider":"home","startedAt":"2026-03-01T12:00:00Z"}`,
	} {
		w, i := oneIssuer(t)
		f := w.begin(t, "home", Flow{})
		keys, _ := keysOf(f.secret)
		if _, err := w.redis.Do("SET", keys.name, w.sealKeys.Seal(keys.name, []byte(value))); err != nil {
			t.Fatal(err)
		}

		_, _, err := w.end(t, "home", f.secret, i.Authorize(t, f.redirect, ann))
		wantError(t, err, ErrNoFlow)
		if i.Calls(oauthtest.Token) != 0 {
			t.Errorf("%s: got a token request, want none", name)
		}
	}
}

// An attacker with write access to Redis cannot change what their own flow does: they can neither
// put another user into it nor copy another user's flow. Records that were signed with an earlier
// secret are still accepted.
func TestForgedRecord(t *testing.T) {
	t.Parallel()

	oldKeys := seal.New([][]byte{[]byte("an earlier secret")}, sealPurpose)
	for name, tc := range map[string]struct {
		forge func(w *fixture, own, victims string) []byte
		want  error
	}{
		"unchanged": {
			func(w *fixture, own, _ string) []byte { return w.value(t, own) },
			nil,
		},
		"signed with an earlier secret": {
			func(w *fixture, own, _ string) []byte {
				record, _ := w.sealKeys.Open(own, w.value(t, own))

				return oldKeys.Seal(own, slices.Clone(record))
			},
			nil,
		},
		"another user": {
			func(w *fixture, own, _ string) []byte {
				return bytes.Replace(w.value(t, own), []byte("eve"), []byte("ann"), 1)
			},
			ErrNoFlow,
		},
		"the victim's record": {
			func(w *fixture, _, victims string) []byte { return w.value(t, victims) },
			ErrNoFlow,
		},
		"no MAC": {
			func(w *fixture, own, _ string) []byte {
				record, _ := w.sealKeys.Open(own, w.value(t, own))

				return record
			},
			ErrNoFlow,
		},
		"signed with another secret": {
			func(w *fixture, own, _ string) []byte {
				record, _ := w.sealKeys.Open(own, w.value(t, own))

				return seal.New([][]byte{[]byte("a guess")}, sealPurpose).Seal(own, slices.Clone(record))
			},
			ErrNoFlow,
		},
		"empty": {
			func(*fixture, string, string) []byte { return nil },
			ErrNoFlow,
		},
	} {
		w, i := oneIssuer(t)
		w.sealKeys = append(w.sealKeys, oldKeys...)

		own := w.begin(t, "home", Flow{UserID: "eve", SessionID: "eve's"})
		victims := w.begin(t, "home", Flow{UserID: "ann", SessionID: "ann's", Link: true})
		ownKeys, _ := keysOf(own.secret)
		victimsKeys, _ := keysOf(victims.secret)

		forged := tc.forge(w, ownKeys.name, victimsKeys.name)
		if _, err := w.redis.Do("SET", ownKeys.name, forged); err != nil {
			t.Fatal(err)
		}

		_, finished, err := w.end(t, "home", own.secret, i.Authorize(t, own.redirect, ann))
		if !errors.Is(err, tc.want) || finished.UserID == "ann" {
			t.Errorf("%s: got flow %+v, error %v, want error %v", name, finished, err, tc.want)
		}
	}
}

// value returns a value in Redis.
func (w *fixture) value(t *testing.T, name string) []byte {
	t.Helper()

	value, err := redis.Bytes(w.redis.Do("GET", name))
	testkit.NoError(t, err)

	return value
}

// Exactly one of several concurrent callbacks finishes the flow.
func TestConcurrentCallbacks(t *testing.T) {
	t.Parallel()

	w, i := oneIssuer(t)
	other := New(w.Service.redis, fixtureSecrets, []Settings{settingsOf(OIDC, "home", i.URL)}, Options{Now: w.clock.now})

	for range 5 {
		f := w.begin(t, "home", Flow{})
		query := queryOf(t, i.Authorize(t, f.redirect, ann))
		before := i.Calls(oauthtest.Token)
		errs := testkit.Concurrently(16, func(n int) error {
			s := []*Service{w.Service, other}[n%2] // two processes
			_, err := s.Finish(context.Background(), "home", f.secret, query)

			return err
		})

		finished := 0
		for _, err := range errs {
			if err == nil {
				finished++
			} else {
				wantError(t, err, ErrNoFlow)
			}
		}

		if finished != 1 {
			t.Fatalf("got %d callbacks that finish the flow, want 1", finished)
		}
		if calls := i.Calls(oauthtest.Token) - before; calls != 1 {
			t.Fatalf("got %d token requests, want 1", calls)
		}
	}
}

// While Redis is down, flows neither start nor finish, and the code is not sent.
func TestRedisDown(t *testing.T) {
	t.Parallel()

	w, i := oneIssuer(t)
	f := w.begin(t, "home", Flow{})
	back := i.Authorize(t, f.redirect, ann)

	w.Service.redis = conntest.Redis(t, storetest.Redis{Addr: "127.0.0.1:1"}, redisconn.Options{})
	_, _, _, err := w.Start(context.Background(), "home", Flow{})
	wantError(t, err, redisconn.ErrUnavailable)
	_, _, err = w.end(t, "home", f.secret, back)
	wantError(t, err, redisconn.ErrUnavailable)
	if i.Calls(oauthtest.Token) != 0 {
		t.Error("got a token request, want none")
	}
}

func TestFlowID(t *testing.T) {
	t.Parallel()

	good := strings.Repeat("A", 43)
	for state, want := range map[string]string{
		good: "AAAAAAAAAA", "": "", good[1:]: "", good + "A": "", good[:42] + "B": "", good[:42] + "=": "",
		good[:41] + "\r\n": "", good[:5] + "\n" + good[6:]: "", strings.Repeat(";", 43): "",
	} {
		if got := FlowID(state); got != want {
			t.Errorf("FlowID(%q) = %q, want %q", state, got, want)
		}

		// A secret has only one valid encoding, too.
		if _, ok := keysOf(state); ok != (want != "") {
			t.Errorf("keysOf(%q): got %t, want %t", state, ok, want != "")
		}
	}
}
