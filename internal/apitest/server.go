package apitest

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"go.mongodb.org/mongo-driver/mongo"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/coherence"
	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/hashpool"
	"latchkey/internal/httpapi"
	"latchkey/internal/mail"
	"latchkey/internal/mongoconn"
	"latchkey/internal/oauth"
	"latchkey/internal/origin"
	"latchkey/internal/pending"
	"latchkey/internal/ratelimit"
	"latchkey/internal/redischeck"
	"latchkey/internal/redisconn"
	"latchkey/internal/session"
	"latchkey/internal/telemetry"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// The settings of every Server.
const (
	IdleTimeout     = time.Hour
	AbsoluteTimeout = 4 * time.Hour
	StepUpMaxAge    = 10 * time.Minute
	DataKey         = "the data key of the tests, 32 bytes+"
	SessionSecret   = "the secret of the tests, 32 bytes+"
)

// Server is an API server that listens on a free port. Its parts are exported so that
// tests can set up and inspect state that the API does not expose.
type Server struct {
	T        testing.TB
	API      *httpapi.Server
	URL      string
	HTTP     *http.Client
	Auth     *auth.Service
	Users    *user.Store
	Sessions *session.Manager
	Pending  *pending.Store
	Hasher   *hashpool.Pool
	Outbox   *Outbox // nil if the server sends no emails
	Redis    storetest.Redis
	MongoURI string
	DB       *mongo.Database
	Cookie   httpapi.Cookie
	Origins  []string
	Log      *testkit.Buffer
	Secrets  Secrets
	Cache    *coherence.Cache // nil without Options.SessionCache

	// SkipContract reports whether a response need not be compared with the OpenAPI
	// document. If it is nil, all responses are compared.
	SkipContract func(Response) bool

	conns    *redisconn.Client
	activity *activity.Recorder
	metrics  *telemetry.Metrics
	log      *slog.Logger
	secrets  [][]byte
	dataKeys []string
	skew     atomic.Int64 // nanoseconds that the server's clock is ahead
}

// Options are the choices that a test makes. The zero value is a server with its own
// database and Redis, no emails and no rate limits.
type Options struct {
	// RealTimeouts sets the time limits of production, for tests that break a store.
	RealTimeouts bool

	Redis         *storetest.Redis
	MongoURI      string
	StoresOf      *Server // uses the stores of another server
	TouchInterval time.Duration
	MaxPerUser    int
	// SessionCache keeps sessions in memory, except with the in-process Redis. Then what a test changes
	// in Redis takes effect a moment later.
	SessionCache bool
	Cookie       httpapi.Cookie
	Secrets      []string
	Origins      []string
	// LoopbackOrigins trusts every page of this machine, as in development.
	LoopbackOrigins bool
	TrustedProxies  []string
	SignInPage      string
	Limits          httpapi.Limits
	Rules           auth.Rules
	Mail            mail.Sender // usually an Outbox
	QueueOnly       bool        // leave emails in the queue until DeliverMails is called
	RedisDial       dial        // opens connections to Redis
	MongoDial       dial        // opens connections to MongoDB
	Providers       []oauth.Settings
	BcryptCost      int

	// Registration decides who may create an account.
	Registration auth.RegistrationPolicy
	// MFA determines which accounts need a second factor. "" means those that have one.
	MFA auth.MFAMode
	// DataKeys encrypt the seeds of authenticator apps. Nil means one key, and an empty list means none.
	DataKeys []string

	// RequireVerifiedEmail closes most routes to users whose email is not verified.
	RequireVerifiedEmail bool
}

// dial is the type of net.Dialer.DialContext.
type dial = func(ctx context.Context, network, addr string) (net.Conn, error)

// UnreachableRedis is a Redis that refuses connections.
var UnreachableRedis = &storetest.Redis{Addr: "127.0.0.1:1"}

// New starts a server that runs until the test ends. It connects the parts as package app
// does.
func New(t testing.TB, options ...Options) *Server {
	t.Helper()
	contract() // takes seconds with the race detector, and some tests measure response times

	var o Options
	if len(options) > 0 {
		o = options[0]
	}
	if o.Cookie.Name == "" {
		o.Cookie = httpapi.Cookie{Name: "sid", SameSite: http.SameSiteLaxMode}
	}
	if o.Secrets == nil {
		o.Secrets = []string{SessionSecret}
	}
	if o.DataKeys == nil {
		o.DataKeys = []string{DataKey}
	}

	s := &Server{
		T:       t,
		Cookie:  o.Cookie,
		Origins: o.Origins,
		Log:     &testkit.Buffer{},
		metrics: telemetry.NewMetrics(),

		dataKeys: o.DataKeys,
	}
	s.log = slog.New(slog.NewTextHandler(s.Log, nil))
	for _, secret := range o.Secrets {
		s.secrets = append(s.secrets, []byte(secret))
	}

	s.chooseStores(o)
	s.startServices(o)
	s.sendMails(o)
	s.startAPI(o)

	return s
}

func (s *Server) chooseStores(o Options) {
	s.T.Helper()

	if o.StoresOf != nil {
		o.Redis = &o.StoresOf.Redis
		o.MongoURI = o.StoresOf.MongoURI
	}

	if o.Redis == nil {
		r := storetest.NewRedis(s.T)
		o.Redis = &r
	}
	if o.MongoURI == "" {
		o.MongoURI = storetest.Mongo(s.T)
	}

	s.Redis = *o.Redis
	s.MongoURI = o.MongoURI
}

// startServices connects to the stores and starts everything below the API.
func (s *Server) startServices(o Options) {
	s.T.Helper()

	var mongoTimeout, redisTimeout time.Duration
	if o.RealTimeouts {
		mongoTimeout = mongoconn.DefaultTimeout
		redisTimeout = redisconn.DefaultTimeout
	}
	db := conntest.Mongo(s.T, mongoconn.Options{URI: s.MongoURI, Timeout: mongoTimeout, Dial: o.MongoDial, Metrics: s.metrics})
	s.conns = conntest.Redis(s.T, s.Redis, redisconn.Options{Timeout: redisTimeout, Dial: o.RedisDial, Metrics: s.metrics, Log: s.log})

	hasCache := o.SessionCache || os.Getenv("TEST_SESSION_CACHE") != "" // set it to try the cache in any test
	if hasCache && !s.Redis.InProcess {
		s.Cache = coherence.New(s.conns, coherence.Options{Prefixes: session.CachedPrefixes(), MaxBytes: 1 << 20, Log: s.log})
		s.T.Cleanup(s.Cache.Close)
	}

	s.DB = db.Database
	s.Users = user.New(db, s.Now)
	if s.Cache != nil {
		s.Users.UseCache(s.Cache, time.Minute) // so that tests notice if a change is not reported
	}
	s.Sessions = session.New(s.conns, session.Options{
		Secrets:       s.secrets,
		Idle:          IdleTimeout,
		Absolute:      AbsoluteTimeout,
		TouchInterval: cmp.Or(o.TouchInterval, time.Minute),
		MaxPerUser:    o.MaxPerUser,
		Cache:         s.Cache,
		Now:           s.Now,
		Metrics:       s.metrics,
		Log:           s.log,
	})
	s.Hasher = hashpool.New(max(4, o.BcryptCost), s.metrics)
	s.T.Cleanup(s.Hasher.Close)

	s.activity = activity.New(db, activity.Options{Retention: 90 * 24 * time.Hour, Now: s.Now, Log: s.log})
	s.T.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.activity.Close(ctx) // the test may have stopped MongoDB
	})

	composer, err := mail.NewComposer(mail.ComposerOptions{})
	testkit.NoError(s.T, err)

	s.Pending = pending.New(s.conns, s.secrets, s.Now)

	const retryPause = 20 * time.Millisecond
	s.Auth = auth.New(s.Users, s.Sessions, s.Hasher, auth.Options{
		Rules:        o.Rules,
		Registration: o.Registration,
		Sender:       o.Mail,
		Composer:     composer,
		Queue:        mail.NewQueue(s.conns, mail.QueueOptions{Interval: retryPause, Backoff: retryPause, Metrics: s.metrics, Log: s.log}),
		MailInterval: time.Minute,
		BaseURL:      "https://app.example.com",
		ResetMaxAge:  30 * time.Minute,
		VerifyMaxAge: 24 * time.Hour,

		InvitationMaxAge: 7 * 24 * time.Hour,

		MFA:      o.MFA,
		DataKeys: s.keyring(),
		Pending:  s.Pending,
		Issuer:   "Latchkey",

		Providers: authProviders(o.Providers),
		Limiter:   ratelimit.New(s.conns),
		Now:       s.Now,
		Log:       s.log,
	})
}

func (s *Server) startAPI(o Options) {
	s.T.Helper()

	var err error
	s.API, err = httpapi.New(s.Users, s.Auth, s.Sessions, httpapi.Options{
		Cookie:         o.Cookie,
		Origins:        origin.Trusted{Listed: o.Origins, Loopback: o.LoopbackOrigins},
		TrustedProxies: o.TrustedProxies,
		SignInPage:     o.SignInPage,
		Limits:         o.Limits,
		Limiter:        ratelimit.New(s.conns),
		RedisBudget:    s.conns.Timeout() * 7 / 4,
		Secrets:        s.secrets,
		MinPassword:    o.Rules.MinLength,
		CheckRedis:     redischeck.New(s.conns, session.KeyPrefixes()).Ready,
		CheckMongo:     s.Users.CheckReady,
		Activity:       s.activity,
		Providers:      oauth.New(s.conns, s.secrets, o.Providers, oauth.Options{Now: s.Now, Log: s.log}),
		StepUpMaxAge:   StepUpMaxAge,
		Now:            s.Now,
		Metrics:        s.metrics,
		Log:            s.log,

		RequireVerifiedEmail: o.RequireVerifiedEmail,
	})
	testkit.NoError(s.T, err)

	s.URL = Listen(s.T, s.API)
	s.T.Cleanup(s.checkLeaks)

	s.HTTP = &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.T.Cleanup(s.HTTP.CloseIdleConnections)
}

func authProviders(settings []oauth.Settings) (providers []auth.Provider) {
	for _, p := range settings {
		providers = append(providers, auth.Provider{Name: p.Name, Title: p.Title, Issuer: p.Issuer})
	}

	return providers
}

// sendMails sends the emails in the mail queue until the test ends.
func (s *Server) sendMails(o Options) {
	if o.Mail == nil {
		return
	}

	if outbox, ok := o.Mail.(*Outbox); ok {
		s.Outbox = outbox
		outbox.secrets = &s.Secrets
	}

	if o.QueueOnly {
		return
	}

	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Auth.RunMail(ctx) })
	s.T.Cleanup(func() {
		stop()
		running.Wait()
	})
}

// Listen serves a handler on a free port until the test ends.
func Listen(t testing.TB, h http.Handler) (url string) {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)

	return server.URL
}

// Now returns the time on the server's clock.
func (s *Server) Now() time.Time { return time.Now().Add(time.Duration(s.skew.Load())) }

// Advance moves the server's clock forward. Redis keeps its own clock.
func (s *Server) Advance(d time.Duration) { s.skew.Add(int64(d)) }

// Database returns the server's database, on a connection of its own.
func (s *Server) Database() *mongo.Database { return storetest.Database(s.T, s.MongoURI) }

// LiveSessions counts the session records in Redis.
func (s *Server) LiveSessions(conn redis.Conn) int {
	s.T.Helper()

	keys, err := redis.Strings(conn.Do("KEYS", "sess:*"))
	testkit.NoError(s.T, err)

	return len(keys)
}

// RecordKey returns the Redis key of a session.
func (s *Server) RecordKey(id string) string {
	if s.Redis.Cluster == nil {
		return "sess:" + id
	}

	return "sess:{" + id[:2] + "}" + id[2:]
}

// IndexKey returns the Redis key of a user's session index. id is the ID of one of the user's
// sessions.
func (s *Server) IndexKey(id, userID string) string {
	if s.Redis.Cluster == nil {
		return "idx:" + userID
	}

	return "idx:{" + id[:2] + "}" + userID
}

// ResetLimits refills all rate limits and forgets how many emails were sent to whom.
func (s *Server) ResetLimits() {
	s.T.Helper()

	conn := s.Redis.Conn(s.T)
	defer func() { _ = conn.Close() }() // some tests call this thousands of times

	for _, pattern := range []string{"limit:*", "mail:{queue}:throttle:*", "mail:{queue}:day:*"} {
		keys, err := redis.Strings(conn.Do("KEYS", pattern))
		testkit.NoError(s.T, err)

		for _, key := range keys {
			_, err := conn.Do("DEL", key)
			testkit.NoError(s.T, err)
		}
	}
}
