package oauth

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/oauth/oauthtest"
	"latchkey/internal/redisconn"
	"latchkey/internal/user"
)

func TestMain(m *testing.M) { storetest.MainOfMany(m) }

const (
	clientID = "latchkey at home"
	// clientSecret has what is spelled differently in a form, a URL and a header.
	clientSecret = "s3cr+t/:%ü &="
	callbackURL  = "https://app.example.com/auth/any/callback"
)

// clock is one that only moves when it is told to.
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

// secretive is a provider of package oauthtest.
type secretive interface{ Secrets() []string }

// world is a Service with a clock and a Redis of its own.
type world struct {
	*Service
	clock *clock
	redis redis.Conn
	log   *lockedBuffer
	known []secretive
}

func newWorld(t *testing.T, settings ...Settings) *world {
	t.Helper()
	r := storetest.NewRedis(t)
	return newWorldOn(t, r, r.Conn(t), settings...)
}

func newWorldOn(t *testing.T, r storetest.Redis, conn redis.Conn, settings ...Settings) *world {
	t.Helper()
	conns := redisconn.New(redisconn.Options{
		Addr: r.Addr, DB: r.DB, Sentinels: r.Sentinels, Master: r.Master, Cluster: r.Cluster,
		Log: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(conns.Close)
	w := &world{clock: newClock(), redis: conn, log: &lockedBuffer{}}
	w.Service = New(conns, settings, Options{Now: w.clock.now, Log: slog.New(slog.NewTextHandler(w.log, nil))})
	// The machine may be busy. What is about time limits sets its own.
	w.startLimit, w.finishLimit, w.client.callLimit = time.Minute, time.Minute, time.Minute
	t.Cleanup(w.client.transport.CloseIdleConnections)
	return w
}

// newIssuer starts an issuer on the clock of a world that is yet to be made.
func newIssuer(t *testing.T, w **world) *oauthtest.Issuer {
	t.Helper()
	i := oauthtest.NewIssuer(t, clientID, clientSecret)
	i.Now = func() time.Time { return (*w).clock.now() }
	return i
}

func settingsOf(kind Kind, name, issuer string) Settings {
	return Settings{
		Kind: kind, Name: name, Title: "At " + name, Issuer: issuer, ClientID: clientID, ClientSecret: clientSecret,
		Scopes: []string{"openid", "email", "profile"}, CallbackURL: callbackURL,
	}
}

// oneIssuer is a world with one provider of OpenID Connect, named "home".
func oneIssuer(t *testing.T) (*world, *oauthtest.Issuer) {
	t.Helper()
	var w *world
	i := newIssuer(t, &w)
	w = newWorld(t, settingsOf(OIDC, "home", i.URL))
	w.known = []secretive{i}
	return w, i
}

// oneGitHub is a world with one provider, named "github".
func oneGitHub(t *testing.T) (*world, *oauthtest.GitHubServer) {
	t.Helper()
	g := oauthtest.NewGitHub(t, clientID, clientSecret)
	s := settingsOf(GitHub, "github", g.URL)
	s.APIURL, s.Scopes = g.APIURL, []string{"user:email"}
	w := newWorld(t, s)
	w.known = []secretive{g}
	return w, g
}

// begun is a flow that a browser has begun.
type begun struct{ address, id, secret string }

func (w *world) begin(t *testing.T, provider string, f Flow) begun {
	t.Helper()
	address, id, secret, err := w.Start(context.Background(), provider, f)
	if err != nil {
		t.Fatal(err)
	}
	return begun{address, id, secret}
}

func queryOf(t *testing.T, address string) url.Values {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// end finishes a flow and makes sure that no error says what nobody may know.
func (w *world) end(t *testing.T, provider, secret, callback string) (user.Claims, Flow, error) {
	t.Helper()
	return w.endWith(t, provider, secret, queryOf(t, callback))
}

func (w *world) endWith(t *testing.T, provider, secret string, query url.Values) (user.Claims, Flow, error) {
	t.Helper()
	claims, flow, err := w.Finish(context.Background(), provider, secret, query)
	w.discreet(t, err, secret, query.Get("code"), query.Get("state"))
	if err != nil && claims != (user.Claims{}) {
		t.Errorf("claims with an error: %+v", claims)
	}
	return claims, flow, err
}

func (w *world) discreet(t *testing.T, err error, more ...string) {
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
			t.Errorf("the error has a secret in it: %v", err)
		}
	}
	if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) || len(err.Error()) > 300 {
		t.Errorf("the error is none for a log: %q", err)
	}
}

// sentinels are all errors that Finish may wrap.
var sentinels = []error{ErrUnknown, ErrNoFlow, ErrDenied, ErrRefused, ErrUnavailable, redisconn.ErrUnavailable}

// only fails unless err is want and nothing else that a caller could take it for.
func only(t *testing.T, err, want error) {
	t.Helper()
	for _, sentinel := range sentinels {
		if errors.Is(err, sentinel) != errors.Is(want, sentinel) {
			t.Errorf("got %v, want %v", err, want)
			return
		}
	}
	if want == nil && err != nil {
		t.Errorf("got %v", err)
	}
}

// flowsIn counts the flows that wait in Redis.
func (w *world) flowsIn(t *testing.T) int {
	t.Helper()
	keys, err := redis.Strings(w.redis.Do("KEYS", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(keys)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
