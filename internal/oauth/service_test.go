package oauth

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/oauth/oauthtest"
	"latchkey/internal/redisconn"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

func TestMain(m *testing.M) { storetest.MainParallel(m) }

const (
	clientID = "latchkey at home"
	// clientSecret contains characters that are encoded differently in forms, URLs and headers.
	clientSecret = "s3cr+t/:%ü &="
	callbackURL  = "https://app.example.com/auth/any/callback"
)

// clock is a clock that only advances when move is called.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()

	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// secretProvider is implemented by the providers of package oauthtest.
type secretProvider interface{ Secrets() []string }

// fixture is a Service with its own clock and Redis.
type fixture struct {
	*Service
	clock *clock
	redis redis.Conn
	log   *testkit.Buffer
	known []secretProvider
}

// fixtureSecrets are the secrets that sign the flows of a fixture.
var fixtureSecrets = [][]byte{[]byte("the secret of the tests")}

func newFixture(t *testing.T, settings ...Settings) *fixture {
	t.Helper()

	r := storetest.NewRedis(t)
	conns := conntest.Redis(t, r, redisconn.Options{})
	w := &fixture{clock: newClock(), redis: r.Conn(t), log: &testkit.Buffer{}}
	w.Service = New(conns, fixtureSecrets, settings, Options{Now: w.clock.now, Log: slog.New(slog.NewTextHandler(w.log, nil))})

	// The machine may be busy. Tests of timeouts set their own.
	w.startTimeout = time.Minute
	w.finishTimeout = time.Minute
	w.client.timeout = time.Minute

	t.Cleanup(w.client.transport.CloseIdleConnections)

	return w
}

// use makes issuers use the clock of the fixture, and keeps their secrets out of errors.
func (w *fixture) use(issuers ...*oauthtest.Issuer) {
	for _, i := range issuers {
		i.Now = w.clock.now
		w.known = append(w.known, i)
	}
}

func settingsOf(kind Kind, name, issuer string) Settings {
	return Settings{
		Kind: kind, Name: name, Title: "At " + name, Issuer: issuer, ClientID: clientID, ClientSecret: clientSecret,
		Scopes: []string{"openid", "email", "profile"}, CallbackURL: callbackURL,
	}
}

func gitHubSettings(g *oauthtest.GitHubServer) Settings {
	s := settingsOf(GitHub, "github", g.URL)
	s.APIURL = g.APIURL
	s.Scopes = []string{"user:email"}

	return s
}

// oneIssuer returns a fixture with one OpenID Connect provider, named "home".
func oneIssuer(t *testing.T) (*fixture, *oauthtest.Issuer) {
	t.Helper()

	return issuerOf(t, OIDC)
}

// issuerOf returns a fixture with one provider of the given kind, named "home".
func issuerOf(t *testing.T, kind Kind) (*fixture, *oauthtest.Issuer) {
	t.Helper()

	i := oauthtest.NewIssuer(t, clientID, clientSecret)
	w := newFixture(t, settingsOf(kind, "home", i.URL))
	w.use(i)

	return w, i
}

// oneGitHub returns a fixture with one GitHub provider, named "github".
func oneGitHub(t *testing.T) (*fixture, *oauthtest.GitHubServer) {
	t.Helper()

	g := oauthtest.NewGitHub(t, clientID, clientSecret)
	w := newFixture(t, gitHubSettings(g))
	w.known = []secretProvider{g}

	return w, g
}

// startedFlow is the result of Service.Start.
type startedFlow struct{ redirect, id, secret string }

func (w *fixture) begin(t *testing.T, provider string, f Flow) startedFlow {
	t.Helper()

	redirect, id, secret, err := w.Start(context.Background(), provider, f)
	testkit.NoError(t, err)

	return startedFlow{redirect, id, secret}
}

func queryOf(t *testing.T, address string) url.Values {
	t.Helper()

	u, err := url.Parse(address)
	testkit.NoError(t, err)

	return u.Query()
}

// signIn runs a complete flow with the provider "home".
func (w *fixture) signIn(t *testing.T, i *oauthtest.Issuer) error {
	t.Helper()

	f := w.begin(t, "home", Flow{})
	_, _, err := w.end(t, "home", f.secret, i.Authorize(t, f.redirect, ann))

	return err
}

// end finishes a flow, completes the claims, and checks that an error contains no secrets.
func (w *fixture) end(t *testing.T, provider, secret, callback string) (user.Claims, Flow, error) {
	t.Helper()

	return w.endWith(t, provider, secret, queryOf(t, callback))
}

func (w *fixture) endWith(t *testing.T, provider, secret string, query url.Values) (user.Claims, Flow, error) {
	t.Helper()

	finished, err := w.Finish(context.Background(), provider, secret, query)
	claims := finished.Claims
	if err == nil {
		claims, err = finished.Complete(context.Background())
	}
	w.checkNoSecrets(t, err, secret, query.Get("code"), query.Get("state"))
	if err != nil && claims != (user.Claims{}) {
		t.Errorf("got claims %+v together with an error", claims)
	}

	return claims, finished.Flow, err
}

func (w *fixture) checkNoSecrets(t *testing.T, err error, more ...string) {
	t.Helper()

	if err == nil {
		return
	}

	more = append(more, clientSecret, url.QueryEscape(clientSecret))
	for _, k := range w.known {
		more = append(more, k.Secrets()...)
	}

	for _, secret := range more {
		if secret != "" && strings.Contains(err.Error(), secret) {
			t.Errorf("got a secret in the error: %v", err)
		}
	}

	if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) || len(err.Error()) > 300 {
		t.Errorf("got error %q, want at most 300 characters without control characters", err)
	}
}

// sentinels lists the errors that Finish may wrap.
var sentinels = []error{ErrUnknownProvider, ErrNoFlow, ErrDenied, ErrRefused, ErrUnavailable, redisconn.ErrUnavailable}

// wantError fails the test unless err wraps want and no other sentinel.
func wantError(t *testing.T, err, want error) {
	t.Helper()

	for _, sentinel := range sentinels {
		if errors.Is(err, sentinel) != errors.Is(want, sentinel) {
			t.Errorf("got %v, want %v", err, want)
			return
		}
	}

	if want == nil && err != nil {
		t.Errorf("got error %v, want none", err)
	}
}

// pendingFlows returns the number of flows in Redis that no callback has taken.
func (w *fixture) pendingFlows(t *testing.T) (n int) {
	t.Helper()

	keys, err := redis.Strings(w.redis.Do("KEYS", "*"))
	testkit.NoError(t, err)

	for _, key := range keys {
		record, err := redis.String(w.redis.Do("GET", key))
		testkit.NoError(t, err)
		if !strings.HasPrefix(record, "taken by ") {
			n++
		}
	}

	return n
}
