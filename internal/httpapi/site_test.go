package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"go.mongodb.org/mongo-driver/mongo"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/mail"
	"latchkey/internal/mongoconn"
	"latchkey/internal/oauth"
	"latchkey/internal/ratelimit"
	"latchkey/internal/redisconn"
	"latchkey/internal/session"
	"latchkey/internal/telemetry"
	"latchkey/internal/user"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// site is a whole server on stores of its own, listening.
type site struct {
	t        testing.TB
	api      *Server
	url      string
	http     *http.Client
	users    *user.Store
	auth     *auth.Service
	sessions *session.Manager
	activity *activity.Recorder
	outbox   *outbox // nil where no mail is sent
	redis    storetest.Redis
	mongo    string
	db       *mongo.Database
	canaries canaries
	cookie   Cookie
	origins  []string
	log      *syncBuffer
	metrics  *telemetry.Metrics
	skew     atomic.Int64 // how far the server's clock is ahead, in nanoseconds
	// unread says which answers need not be compared with the OpenAPI document, which
	// takes longer than most requests; nil is none.
	unread func(answer) bool
}

// setup are the choices that a test makes; the zero value is the usual site.
type setup struct {
	redis         *storetest.Redis
	mongo         string
	touchInterval time.Duration
	maxPerUser    int
	cookie        Cookie
	secrets       []string
	origins       []string
	proxies       []string
	stores        *site // share the stores of another site
	limits        Limits
	rules         auth.Rules
	mail          mail.Sender // &outbox{} keeps what is sent
	providers     []oauth.Settings
	cost          int
}

const (
	testIdle     = time.Hour
	testAbsolute = 4 * time.Hour
	testFresh    = 10 * time.Minute
	testLink     = "https://app.example.com"
)

func newSite(t testing.TB, options ...setup) *site {
	t.Helper()
	var o setup
	if len(options) > 0 {
		o = options[0]
	}
	s := &site{t: t, log: &syncBuffer{}, metrics: telemetry.NewMetrics()}
	switch {
	case o.stores != nil:
		s.redis, s.mongo = o.stores.redis, o.stores.mongo
	default:
		if o.redis != nil {
			s.redis = *o.redis
		} else {
			s.redis = storetest.NewRedis(t)
		}
		if s.mongo = o.mongo; s.mongo == "" {
			s.mongo = storetest.Mongo(t)
		}
	}
	if o.touchInterval == 0 {
		o.touchInterval = time.Minute
	}
	if o.cookie.Name == "" {
		o.cookie = Cookie{Name: "sid", SameSite: http.SameSiteLaxMode}
	}
	if o.secrets == nil {
		o.secrets = []string{testSecret}
	}
	now := s.now
	log := newLogger(s.log)
	db, err := mongoconn.Open(s.mongo, s.metrics)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Client().Disconnect(context.Background()) })
	s.users, s.db = user.New(db, now), db
	conns := redisconn.New(redisconn.Options{
		Addr: s.redis.Addr, DB: s.redis.DB, Username: s.redis.Username, Password: s.redis.Password, Sentinels: s.redis.Sentinels, Master: s.redis.Master, Cluster: s.redis.Cluster,
		Metrics: s.metrics, Log: log,
	})
	t.Cleanup(conns.Close)
	var secrets [][]byte
	for _, secret := range o.secrets {
		secrets = append(secrets, []byte(secret))
	}
	s.sessions = session.New(conns, session.Options{
		Secrets: secrets, Idle: testIdle, Absolute: testAbsolute,
		TouchInterval: o.touchInterval, MaxPerUser: o.maxPerUser, Now: now, Metrics: s.metrics, Log: log,
	})
	s.cookie, s.origins = o.cookie, o.origins
	limiter := ratelimit.New(conns)
	s.auth = auth.New(s.users, auth.Options{
		Cost: max(4, o.cost), Rules: o.rules, Sender: o.mail,
		Queue:        mail.NewQueue(conns, mail.QueueOptions{Interval: 20 * time.Millisecond, Backoff: 20 * time.Millisecond, Metrics: s.metrics, Log: log}),
		MailInterval: time.Minute, Link: testLink, ResetMaxAge: 30 * time.Minute, VerifyMaxAge: 24 * time.Hour,
		Providers: providersOf(o.providers), Now: now, Metrics: s.metrics, Log: log,
	})
	t.Cleanup(s.auth.Close)
	if s.outbox, _ = o.mail.(*outbox); s.outbox != nil {
		s.outbox.canaries = &s.canaries
	}
	if o.mail != nil {
		ctx, stop := context.WithCancel(context.Background())
		sending := make(chan struct{})
		go func() { defer close(sending); s.auth.RunMail(ctx) }()
		t.Cleanup(func() { stop(); <-sending })
	}
	s.activity = activity.New(db, activity.Options{Retention: 90 * 24 * time.Hour, Now: now, Log: log})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.activity.Close(ctx) // MongoDB may be away, by the test's doing
	})
	api, err := New(s.users, s.auth, s.sessions, Options{
		Cookie: o.cookie, Origins: o.origins, TrustedProxies: o.proxies,
		Limits: o.limits, Limiter: limiter, Secrets: secrets, Activity: s.activity, Providers: oauth.New(conns, o.providers, oauth.Options{Now: now, Log: log}), StepUpMaxAge: testFresh, Now: now, Metrics: s.metrics, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.api, s.url = api, listen(t, api)
	t.Cleanup(s.sing)
	s.http = &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(s.http.CloseIdleConnections)
	return s
}

func providersOf(settings []oauth.Settings) (all []auth.Provider) {
	for _, p := range settings {
		all = append(all, auth.Provider{Name: p.Name, Title: p.Title, Issuer: p.Issuer})
	}
	return all
}

// now is the server's clock.
func (s *site) now() time.Time { return time.Now().Add(time.Duration(s.skew.Load())) }

// advance moves the server's clock.
func (s *site) advance(d time.Duration) { s.skew.Add(int64(d)) }

// database is the site's MongoDB database.
func (s *site) database() *mongo.Database { return storetest.Database(s.t, s.mongo) }

// liveSessions counts the sessions in Redis.
func (s *site) liveSessions(conn redis.Conn) int {
	s.t.Helper()
	keys, err := redis.Strings(conn.Do("KEYS", "sess:*"))
	if err != nil {
		s.t.Fatal(err)
	}
	return len(keys)
}

// signIn begins a session without the cost of a password, for tests that are not
// about passwords. Mongo need not know the user.
func (s *site) signIn() *client { return s.signInAs(testUser) }

func (s *site) signInAs(userID string) *client {
	s.t.Helper()
	epoch, err := s.sessions.Epoch(context.Background(), userID)
	if err != nil {
		s.t.Fatal(err)
	}
	_, token, err := s.sessions.Begin(context.Background(), session.SignIn{
		UserID: userID, Email: "ann@example.com", Method: "password", Persistent: true, Epoch: epoch,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return &client{site: s, token: token}
}

// register makes an account and returns a client that is signed in to it.
func (s *site) register(email string) *client {
	s.t.Helper()
	c := s.client()
	c.do("POST", "/auth/register", map[string]any{"name": "Ann", "email": email, "password": testPassword}).want(201)
	return c
}

// testUser is whom signIn signs in.
const testUser = "0123456789abcdef01234567"

const (
	testPassword = "correct horse battery"
	testSecret   = "the secret of the tests, 32 bytes+"
)

// client is a user agent with a cookie for each purpose. It is not safe for concurrent
// use; clone it.
type client struct {
	*site
	token  string            // the session cookie; "" sends none
	device string            // that of the device, likewise
	flows  map[string]string // those of sign-ins with a provider, by name
}

func (s *site) client() *client { return &client{site: s} }

func (c *client) clone() *client {
	return &client{site: c.site, token: c.token, device: c.device, flows: maps.Clone(c.flows)}
}

// preflight sends what a browser asks before a request of a page of another origin.
func (c *client) preflight(path string, header http.Header) answer {
	c.t.Helper()
	req, err := http.NewRequest(http.MethodOptions, c.url+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header = header
	res, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	return answer{t: c.t, request: "OPTIONS " + path, status: res.StatusCode, header: res.Header}
}

// encoded is a body as JSON.
func encoded(body any) []byte {
	raw, _ := json.Marshal(body)
	return raw
}

// nowhereRedis is where no Redis is.
var nowhereRedis = &storetest.Redis{Addr: "127.0.0.1:1"}

// answer is what came back.
type answer struct {
	t       testing.TB
	request string
	status  int
	header  http.Header
	raw     []byte
	body    map[string]any
	cookie  *http.Cookie // nil where the answer does not touch the session cookie
}

// do sends a request with a JSON body, or none where body is nil, keeps the
// cookie that comes back, and checks what must hold for every answer.
func (c *client) do(method, path string, body any) answer {
	c.t.Helper()
	var raw []byte
	header := http.Header{}
	if body != nil {
		raw = encoded(body)
		header.Set("Content-Type", "application/json")
	}
	return c.send(method, path, header, raw)
}

// send is do with a body and headers of the test's own.
func (c *client) send(method, path string, header http.Header, body []byte) answer {
	c.t.Helper()
	a, err := c.try(method, path, header, body)
	if err != nil {
		// Not Fatal: races send from goroutines. The status 0 fails what follows.
		c.t.Error(err)
		return answer{t: c.t, request: method + " " + path}
	}
	return a
}

func (c *client) try(method, path string, header http.Header, body []byte) (answer, error) {
	req, err := http.NewRequest(method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if len(body) == 0 {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	maps.Copy(req.Header, header)
	if c.token != "" {
		req.AddCookie(&http.Cookie{Name: c.cookie.Name, Value: c.token})
	}
	deviceName := newDevices(c.cookie, nil).cookie.Name
	if c.device != "" {
		req.AddCookie(&http.Cookie{Name: deviceName, Value: c.device})
	}
	for name, value := range c.flows {
		req.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	res, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	a := answer{t: c.t, request: method + " " + path, status: res.StatusCode, header: res.Header}
	if a.raw, err = io.ReadAll(res.Body); err != nil {
		return answer{}, err
	}
	flowPrefix := newFlowCookies(c.cookie).cookie.Name
	cookies := slices.DeleteFunc(res.Cookies(), func(k *http.Cookie) bool {
		switch {
		case k.Name == deviceName:
			c.device = k.Value
			c.canaries.add("a device's proof", k.Value[strings.LastIndex(k.Value, ".")+1:])
		case strings.HasPrefix(k.Name, flowPrefix):
			if c.flows == nil {
				c.flows = map[string]string{}
			}
			if c.flows[k.Name] = k.Value; k.MaxAge < 0 {
				delete(c.flows, k.Name)
			}
			c.canaries.add("the secret of a sign-in", k.Value)
		default:
			c.canaries.add("a session's token", k.Value)
			return false
		}
		return true
	})
	if err := a.parse(method, c.cookie.Name, cookies); err != nil {
		return answer{}, fmt.Errorf("%s %d: %w\n%s", a.request, a.status, err, a.raw)
	}
	if found := c.canaries.in(string(a.raw)); found != "" && !strings.HasSuffix(path, ".json") { // the documents have examples
		return answer{}, fmt.Errorf("%s %d holds %s: %s", a.request, a.status, found, a.raw)
	}
	if c.unread == nil || !c.unread(a) {
		if err := matchesContract(req, a); err != nil {
			return answer{}, fmt.Errorf("%s %d: %w", a.request, a.status, err)
		}
	}
	if a.cookie != nil {
		if c.token = a.cookie.Value; a.cookie.MaxAge < 0 {
			c.token = ""
		}
	}
	return a, nil
}

// parse reads the answer and checks the headers that every answer has.
func (a *answer) parse(method, cookieName string, cookies []*http.Cookie) error {
	for _, k := range cookies {
		if k.Name != cookieName || a.cookie != nil {
			return fmt.Errorf("unexpected Set-Cookie %s", k)
		}
		a.cookie = k
	}
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := a.header.Values(name); len(got) != 1 || got[0] != want {
			return fmt.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if len(a.header.Values("Cache-Control")) != 1 || a.header.Get(requestIDHeader) == "" {
		return fmt.Errorf("Cache-Control %q, %s %q", a.header.Values("Cache-Control"), requestIDHeader, a.header.Get(requestIDHeader))
	}
	if policy := a.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'") {
		return fmt.Errorf("Content-Security-Policy is %q", policy)
	}
	contentType := a.header.Get("Content-Type")
	if a.status >= 400 && contentType != "application/problem+json; charset=utf-8" {
		return fmt.Errorf("a failure of type %q", contentType)
	}
	if strings.Contains(contentType, "json") && method != http.MethodHead {
		if a.header.Get("Cache-Control") != "no-store" {
			return fmt.Errorf("Cache-Control is %q", a.header.Get("Cache-Control"))
		}
		return json.Unmarshal(a.raw, &a.body) // fails for a second body behind the first
	}
	return nil
}

// want fails the test unless the status is the wanted one.
func (a answer) want(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: got %d, want %d\n%s", a.request, a.status, status, a.raw)
	}
	return a
}

// wantCode fails the test unless the answer is the wanted failure.
func (a answer) wantCode(status int, code string) answer {
	a.t.Helper()
	a.want(status)
	if a.body["code"] != code || a.body["message"] != a.body["detail"] {
		a.t.Fatalf("%s: got %s, want code %s", a.request, a.raw, code)
	}
	return a
}

// text returns a member of the answer by its path.
func (a answer) text(path ...string) string {
	a.t.Helper()
	var v any = a.body
	for _, name := range path {
		v = v.(map[string]any)[name]
	}
	s, _ := v.(string)
	return s
}

// syncBuffer is a log that a test can read while the server writes.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *syncBuffer) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b.Reset()
}

func newLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// listen serves h until the test ends.
func listen(t testing.TB, h http.Handler) (url string) {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}
