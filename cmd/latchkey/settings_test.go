package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// TestSettingsReachTheProgram starts the whole program with an unusual value for every setting, and
// observes its effect from outside: in responses, in the stores, in emails and on the network. The
// test fails for a setting that is read but not used, and for one without an observation.
func TestSettingsReachTheProgram(t *testing.T) {
	t.Parallel()
	o := &observer{seen: map[string]bool{}}

	all := t.Run("all", func(t *testing.T) {
		for name, observe := range observations {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				observe(t, o)
				o.finish()
			})
		}
	})

	if !all || o.finished < len(observations) {
		return // some failed, or -run selected only some
	}
	for _, name := range documentedSettings(t) {
		if !o.seen[name] {
			t.Errorf("%s: its effect is not observed; add that to this test", name)
		}
	}
}

// observations are the parts of TestSettingsReachTheProgram.
var observations = map[string]func(*testing.T, *observer){
	"environments":    observeEnvironments,
	"sessions":        observeSessions,
	"session cache":   observeSessionCache,
	"user cache":      observeUserCache,
	"session secrets": observeSecrets,
	"second factors":  observeFactors,
	"log":             observeLog,
	"TLS":             observeTLS,
	"passwords":       observePasswords,
	"pages":           observePages,
	"registration":    observeRegistration,
	"invitations":     observeInvitations,
	"expiry":          observeUnverifiedMaxAge,
	"emails":          observeEmails,
	"languages":       observeLanguages,
	"default limit":   observeDefaultLimit,
	"limits":          observeLimits,
	"Redis":           observeRedis,
	"Redis with TLS":  observeRedisTLS,
	"Redis URI":       observeRedisURI,
	"Redis Sentinel":  observeSentinel,
	"Redis Cluster":   observeCluster,
	"Redis timeout":   observeRedisTimeout,
	"MongoDB timeout": observeMongoTimeout,
	"OpenID Connect":  observeOIDC,
	"GitHub":          observeGitHub,
	"Google":          observeGoogle,
	"traces":          observeTraces,
	"weak settings":   observeWeakSettings,
}

// observer compares the effects of settings with what they should be, and remembers which settings
// had an effect.
type observer struct {
	mu       sync.Mutex
	seen     map[string]bool
	finished int // subtests
}

// equal fails the test unless the effect of a setting is what it should be.
func (o *observer) equal(t *testing.T, setting string, got, want any) {
	t.Helper()

	o.mu.Lock()
	o.seen[setting] = true
	o.mu.Unlock()

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("effect of %s: got %v, want %v", setting, got, want)
	}
}

// finish counts a subtest.
func (o *observer) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()

	o.finished++
}

// documentedSettings returns the names of all settings. A test of package config compares SETTINGS.md
// with the settings.
func documentedSettings(t *testing.T) []string {
	t.Helper()

	text, err := os.ReadFile("../../deployments/SETTINGS.md")
	testkit.NoError(t, err)

	var names []string
	for _, match := range regexp.MustCompile("(?m)^\\| `([A-Z_<>]+)` \\|").FindAllSubmatch(text, -1) {
		names = append(names, string(match[1]))
	}
	if len(names) < 60 {
		t.Fatalf("settings in SETTINGS.md: got %d, want at least 60", len(names))
	}

	return names
}

// settingIn returns the last value of a setting in an environment.
func settingIn(environ []string, name string) string {
	value := ""
	for _, variable := range environ {
		if given, ok := strings.CutPrefix(variable, name+"="); ok {
			value = given
		}
	}

	return value
}

const (
	annsPassword = "a long password"
	annsAccount  = `{"name":"Ann","email":"ann@example.com","password":"` + annsPassword + `"}`
	annsLogin    = `{"email":"ann@example.com","password":"` + annsPassword + `"}`
)

// sessionCookie returns the session cookie that a response sets.
func sessionCookie(t *testing.T, res response) *http.Cookie {
	t.Helper()

	for _, c := range res.Cookies() {
		if c.Value != "" && !strings.HasSuffix(c.Name, "device") {
			return c
		}
	}
	t.Fatalf("got %d %s, want a session cookie", res.StatusCode, res.text)

	return nil
}

// decode decodes the JSON body of a response.
func decode[T any](t *testing.T, res response) (value T) {
	t.Helper()

	if err := json.Unmarshal([]byte(res.text), &value); err != nil {
		t.Fatalf("got %d %s, want JSON: %v", res.StatusCode, res.text, err)
	}

	return value
}

// In development and tests, cookies work without https. In production they do not.
func observeEnvironments(t *testing.T, o *observer) {
	register := func(more ...string) *http.Cookie {
		addr, _, _ := start(t, environment(t, append([]string{"BCRYPT_COST=4", "LOG_FORMAT=json"}, more...)...))

		return sessionCookie(t, mustSend(t, 201, "POST", "http://"+addr+"/auth/register", annsAccount))
	}

	for _, name := range []string{"APP_ENV", "NODE_ENV"} {
		c := register(name + "=development")
		o.equal(t, name, fmt.Sprint(c.Name, " ", c.Secure), "sid false")
	}

	c := register("APP_ENV=test", "COOKIE_SECURE=true")
	o.equal(t, "COOKIE_SECURE", fmt.Sprint(c.Name, " ", c.Secure), "__Host-sid true")
}

// sessionTimes are the times in the response to GET /auth/session.
type sessionTimes struct {
	CreatedAt     time.Time `json:"createdAt"`
	LastSeenAt    time.Time `json:"lastSeenAt"`
	IdleExpiresAt time.Time `json:"idleExpiresAt"`
	ExpiresAt     time.Time `json:"expiresAt"`
}

func observeSessions(t *testing.T, o *observer) {
	_, port, err := net.SplitHostPort(testkit.FreeAddr(t))
	testkit.NoError(t, err)
	environ := environment(t,
		"HOST=127.0.0.2",
		"PORT="+port,
		"OPS_ADDR=127.0.0.3:0",
		"OPS_HOSTS=ops.odd.example",
		"DRAIN_TIME=1234ms",
		"FRONTEND_URL=https://odd.example",
		"TRUSTED_PROXIES=127.0.0.1",
		"COOKIE_DOMAIN=odd.example",
		"COOKIE_SAME_SITE=strict",
		"SESSION_NAME=__Secure-odd",
		"SESSION_MAX_AGE=4620000", // milliseconds
		"SESSION_ABSOLUTE_MAX_AGE=123h",
		"SESSION_TOUCH_INTERVAL=1ms",
		"SESSION_MAX_PER_USER=2",
		"BCRYPT_COST=11",
	)
	addr, log, stop := start(t, environ)

	host, gotPort, err := net.SplitHostPort(addr)
	testkit.NoError(t, err)
	o.equal(t, "HOST", host, "127.0.0.2")
	o.equal(t, "PORT", gotPort, port)

	opsHost, _, err := net.SplitHostPort(opsAddr(t, log))
	testkit.NoError(t, err)
	o.equal(t, "OPS_ADDR", opsHost, "127.0.0.3")
	wantGet(t, "http://"+opsAddr(t, log)+"/metrics", 200, "latchkey_build_info")
	for name, want := range map[string]int{"ops.odd.example": 200, "other.example": 421} {
		o.equal(t, "OPS_HOSTS", send(t, "GET", "http://"+opsAddr(t, log)+"/metrics", "", "Host", name).StatusCode, want)
	}

	base := "http://" + addr
	preflight := send(t, "GET", base+"/healthz", "", "Origin", "https://odd.example")
	o.equal(t, "FRONTEND_URL", preflight.Header.Get("Access-Control-Allow-Origin"), "https://odd.example")

	res := send(t, "POST", base+"/auth/register", annsAccount, "X-Forwarded-For", "203.0.113.77")
	c := sessionCookie(t, res)
	o.equal(t, "SESSION_NAME", c.Name, "__Secure-odd")
	o.equal(t, "COOKIE_DOMAIN", c.Domain, "odd.example")
	o.equal(t, "COOKIE_SAME_SITE", c.SameSite, http.SameSiteStrictMode)
	o.equal(t, "SESSION_ABSOLUTE_MAX_AGE", time.Duration(c.MaxAge)*time.Second, 123*time.Hour)

	cookie := c.Name + "=" + c.Value
	times := decode[sessionTimes](t, send(t, "GET", base+"/auth/session", "", "Cookie", cookie))
	o.equal(t, "SESSION_MAX_AGE", times.IdleExpiresAt.Sub(times.LastSeenAt).Round(time.Second), 77*time.Minute)
	o.equal(t, "SESSION_ABSOLUTE_MAX_AGE", times.ExpiresAt.Sub(times.CreatedAt).Round(time.Second), 123*time.Hour)
	testkit.Eventually(t, "the idle timeout to be extended", func() bool {
		times = decode[sessionTimes](t, send(t, "GET", base+"/auth/session", "", "Cookie", cookie))

		return times.LastSeenAt.After(times.CreatedAt)
	})
	o.equal(t, "SESSION_TOUCH_INTERVAL", times.LastSeenAt.Sub(times.CreatedAt) < 50*time.Second, true) // the default is 1m

	list := send(t, "GET", base+"/auth/sessions", "", "Cookie", cookie)
	o.equal(t, "TRUSTED_PROXIES", strings.Contains(list.text, `"ip":"203.0.113.77"`), true)

	db := storetest.Database(t, settingIn(environ, "MONGODB_URI"))
	var stored struct{ Email, Password string }
	err = db.Collection("users").FindOne(context.Background(), bson.D{}).Decode(&stored)
	testkit.NoError(t, err)
	o.equal(t, "MONGODB_URI", stored.Email, "ann@example.com")
	o.equal(t, "BCRYPT_COST", strings.Contains(stored.Password, "$2a$11$"), true)

	for range 2 {
		mustSend(t, 200, "POST", base+"/auth/login", annsLogin)
	}
	ended := send(t, "GET", base+"/auth/session", "", "Cookie", cookie)
	o.equal(t, "SESSION_MAX_PER_USER", strings.Contains(ended.text, `"too_many_sessions"`), true)

	stopping := time.Now()
	testkit.NoError(t, stop())
	o.equal(t, "DRAIN_TIME", strings.Contains(log.String(), `"draining","for":"1.234s"`), true)
	o.equal(t, "DRAIN_TIME", time.Since(stopping) >= 1234*time.Millisecond, true)
}

// A server accepts sessions that were signed with any of its secrets.
func observeSecrets(t *testing.T, o *observer) {
	const other = "another-secret-with-many-characters-4Xz"
	environ := environment(t)
	addr, _, _ := start(t, environ)
	c := sessionCookie(t, mustSend(t, 201, "POST", "http://"+addr+"/auth/register", annsAccount))

	for secrets, want := range map[string]int{other: 401, other + "," + secret: 200} {
		addr, _, _ := start(t, append(environ[:len(environ):len(environ)], "SESSION_SECRET="+secrets))
		res := send(t, "GET", "http://"+addr+"/auth/session", "", "Cookie", c.Name+"="+c.Value)
		o.equal(t, "SESSION_SECRET", res.StatusCode, want)
	}
}

// A server offers authenticator apps only if it has a key for their seeds. If everyone needs a second factor, a
// user without one can only set one up.
func observeFactors(t *testing.T, o *observer) {
	for given, want := range map[string]bool{"": false, dataKey: true} {
		addr, _, _ := start(t, environment(t, "DATA_KEY="+given))
		offered := mustSend(t, 200, "GET", "http://"+addr+"/auth/config", "")
		o.equal(t, "DATA_KEY", strings.Contains(offered.text, `"factors":["totp"]`), want)
	}

	for required, want := range map[string]int{"enrolled": 200, "all": 403} {
		addr, _, _ := start(t, environment(t, "DATA_KEY="+dataKey, "REQUIRE_MFA="+required))
		c := sessionCookie(t, mustSend(t, 201, "POST", "http://"+addr+"/auth/register", annsAccount))
		res := send(t, "GET", "http://"+addr+"/profile", "", "Cookie", c.Name+"="+c.Value)
		o.equal(t, "REQUIRE_MFA", res.StatusCode, want)
	}

	// A user with an app is asked for its code, except with REQUIRE_MFA=off.
	environ := append(environment(t), factorSettings...)
	addr, _, _ := start(t, environ)
	b := newBrowser(t, "http://"+addr)
	b.want(201, "POST", "/auth/register", annsAccount)
	b.enrol("Phone")
	for required, want := range map[string]bool{"off": false, "enrolled": true, "all": true} {
		addr, _, _ := start(t, append(environ[:len(environ):len(environ)], "REQUIRE_MFA="+required))
		login := mustSend(t, 200, "POST", "http://"+addr+"/auth/login", annsLogin)
		o.equal(t, "REQUIRE_MFA", strings.Contains(login.text, `"factorRequired":true`), want)
	}
}

func observeLog(t *testing.T, o *observer) {
	_, port, err := net.SplitHostPort(testkit.FreeAddr(t))
	testkit.NoError(t, err)
	environ := environment(t, "PORT="+port, "LOG_LEVEL=warn", "LOG_FORMAT=text")

	// The line with the port is not logged at this level.
	ctx, cancel := context.WithCancel(context.Background())
	log := &testkit.Buffer{}
	done := make(chan error, 1)
	go func() { done <- run(ctx, nil, environ, stdio{out: log}) }()
	t.Cleanup(func() {
		cancel()
		testkit.NoError(t, testkit.Receive(t, "the server to stop", done))
	})

	url := "http://127.0.0.1:" + port + "/auth/session"
	testkit.Eventually(t, "a response", func() bool {
		_, err := fetch(http.DefaultClient, "GET", url, "")

		return err == nil
	})
	send(t, "GET", url, "") // its log line would follow that of the previous request
	o.equal(t, "LOG_LEVEL", strings.Contains(log.String(), "/auth/session"), false)
	o.equal(t, "LOG_FORMAT", strings.Contains(log.String(), `level=WARN msg="SMTP_URL is not set`), true)
}

func observeTLS(t *testing.T, o *observer) {
	certFile, keyFile := storetest.Certificate(t, t.TempDir())
	addr, _, _ := start(t, environment(t, "TRUSTED_PROXIES=", "TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile))

	text, err := os.ReadFile(certFile)
	testkit.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots})
	testkit.NoError(t, err)
	defer func() { _ = conn.Close() }()

	// The handshake fails unless the server has the key of this certificate.
	issuer := conn.ConnectionState().PeerCertificates[0].Issuer.CommonName
	o.equal(t, "TLS_CERT_FILE", issuer, "tests")
	o.equal(t, "TLS_KEY_FILE", conn.ConnectionState().HandshakeComplete, true)
}

func observePasswords(t *testing.T, o *observer) {
	var requested testkit.Buffer
	breaches := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintln(&requested, r.URL.Path)
	}))
	t.Cleanup(breaches.Close)
	addr, _, _ := start(t, environment(t,
		"PASSWORD_COMMON=accept",
		"PASSWORD_BREACH_URL="+breaches.URL+"/odd",
		"PASSWORD_MIN_LENGTH=11",
		"APP_NAME=Odd Horse",
	))

	short := send(t, "POST", "http://"+addr+"/auth/register", `{"name":"Ann","email":"ann@example.com","password":"password12"}`)
	problem := decode[struct{ Detail string }](t, short)
	o.equal(t, "PASSWORD_MIN_LENGTH", problem.Detail, "Password must be at least 11 characters long.")

	similar := send(t, "POST", "http://"+addr+"/auth/register", `{"name":"Ann","email":"ann@example.com","password":"oddhorse2026"}`)
	problem = decode[struct{ Detail string }](t, similar)
	o.equal(t, "APP_NAME", strings.HasPrefix(problem.Detail, "Password is too similar"), true)

	n := 0
	testkit.Eventually(t, "a request to PASSWORD_BREACH_URL", func() bool {
		n++
		account := fmt.Sprintf(`{"name":"Ann","email":"ann%d@example.com","password":"password123"}`, n)
		res := send(t, "POST", "http://"+addr+"/auth/register", account)
		o.equal(t, "PASSWORD_COMMON", res.StatusCode, 201)

		return requested.String() != ""
	})
	first, _, _ := strings.Cut(requested.String(), "\n")
	o.equal(t, "PASSWORD_BREACH_URL", first, "/odd/CBFDA") // SHA-1 of the password
}

func observePages(t *testing.T, o *observer) {
	addr, _, _ := start(t, withoutStores("PAGES=on", "PUBLIC_URL=https://odd.example", "APP_NAME=Odd Horse"))
	page := send(t, "GET", "http://"+addr+"/signin", "", "Accept-Language", "fr")

	o.equal(t, "PAGES", page.StatusCode, 200)
	o.equal(t, "APP_NAME", strings.Contains(page.text, "Odd Horse"), true)
}

func observeEmails(t *testing.T, o *observer) {
	s := newMailSetup(t,
		"APP_NAME=Odd Horse",
		"APP_URL=https://www.odd.example/",
		"APP_COLOR=#c0ffee",
		"APP_LOGO_URL=https://www.odd.example/logo.png",
		"MAIL_FROM=odd@sender.example",
		"SMTP_HELO_NAME=helo.odd.example",
		"PUBLIC_URL=https://odd.example",
		"MAIL_INTERVAL=7m",
		"RESET_LINK_MAX_AGE=17m",
		"VERIFY_LINK_MAX_AGE=3h",
		"ACTIVITY_RETENTION=25h",
		"STEP_UP_MAX_AGE=1s",
	)
	activity := storetest.Database(t, s.mongo).Collection("activity")
	for _, age := range []time.Duration{24 * time.Hour, 26 * time.Hour} {
		at := time.Now().Add(-age)
		_, err := activity.InsertOne(context.Background(), bson.D{
			{Key: "_id", Value: primitive.NewObjectIDFromTimestamp(at)},
			{Key: "at", Value: at},
			{Key: "name", Value: "login"},
		})
		testkit.NoError(t, err)
	}

	addr, _, _ := start(t, s.environ)
	base := "http://" + addr
	c := sessionCookie(t, mustSend(t, 201, "POST", base+"/auth/register", annsAccount))
	testkit.Eventually(t, "the first email", func() bool { return len(s.mails.Messages()) == 1 })

	mustSend(t, 202, "POST", base+"/auth/password/forgot", `{"email":"ann@example.com"}`)
	throttle := longestThrottle(t, s.redis)
	o.equal(t, "MAIL_INTERVAL", throttle > 2*time.Minute && throttle <= 7*time.Minute, true) // the default is 1m
	testkit.Eventually(t, "the second email", func() bool { return len(s.mails.Messages()) == 2 })

	verify := s.mails.Messages()[0]
	reset := s.mails.Messages()[1]
	o.equal(t, "SMTP_URL", fmt.Sprint(verify.To, " ", verify.LoggedIn), "ann@example.com true")
	o.equal(t, "MAIL_FROM", verify.From, "odd@sender.example")
	o.equal(t, "APP_NAME", verify.Header("From"), `"Odd Horse" <odd@sender.example>`)
	o.equal(t, "SMTP_HELO_NAME", verify.Helo, "helo.odd.example")
	o.equal(t, "PUBLIC_URL", strings.Contains(verify.Text(), "https://odd.example/verify-email#token="), true)

	html := verify.HTML()
	o.equal(t, "APP_NAME", verify.Subject(), "Confirm your email address for Odd Horse")
	o.equal(t, "APP_URL", strings.Contains(html, `<a class="strong" href="https://www.odd.example/"`), true)
	o.equal(t, "APP_COLOR", strings.Contains(html, `bgcolor="#c0ffee"`), true)
	o.equal(t, "APP_LOGO_URL", strings.Contains(html, `src="https://www.odd.example/logo.png" alt="Odd Horse"`), true)

	expiry := regexp.MustCompile(`expires in [^,]+`)
	o.equal(t, "VERIFY_LINK_MAX_AGE", expiry.FindString(verify.Text()), "expires in 3 hours")
	o.equal(t, "RESET_LINK_MAX_AGE", expiry.FindString(reset.Text()), "expires in 17 minutes")
	o.equal(t, "VERIFY_LINK_MAX_AGE", linkExpiry(t, s.mongo, "verify").Round(time.Minute) <= 3*time.Hour, true)
	o.equal(t, "RESET_LINK_MAX_AGE", linkExpiry(t, s.mongo, "reset").Round(time.Minute) <= 17*time.Minute, true)

	olderThan := func(age time.Duration) int64 {
		filter := bson.D{{Key: "at", Value: bson.D{{Key: "$lt", Value: time.Now().Add(-age)}}}}
		n, err := activity.CountDocuments(context.Background(), filter)
		testkit.NoError(t, err)

		return n
	}
	testkit.Eventually(t, "an old security event to be removed", func() bool { return olderThan(25*time.Hour) == 0 })
	o.equal(t, "ACTIVITY_RETENTION", olderThan(time.Hour), int64(1))

	// Unlinking needs a recent login: it fails with 404 before, and with 403 afterwards.
	testkit.Eventually(t, "the login to be too old for a sensitive change", func() bool {
		res := send(t, "DELETE", base+"/auth/identities/google", "", "Cookie", c.Name+"="+c.Value)

		return res.StatusCode == http.StatusForbidden
	})
	o.equal(t, "STEP_UP_MAX_AGE", true, true)
}

// observeLanguages registers users of several browsers, and reads their emails from the SMTP server.
func observeLanguages(t *testing.T, o *observer) {
	texts := t.TempDir()
	for name, content := range map[string]string{
		"texts.de.json":  `{"greeting": "Moin {app},"}`,
		"email.txt.tmpl": "{{.Greeting}} odd template {{.Lang}} {{.Link}}",
	} {
		testkit.NoError(t, os.WriteFile(filepath.Join(texts, name), []byte(content), 0o600))
	}

	s := newMailSetup(t, "DEFAULT_LOCALE=pl", "MAIL_TEXTS="+texts)

	// A fault in a file stops the start.
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	err := run(ended, nil, s.environ, stdio{out: &testkit.Buffer{}})
	o.equal(t, "MAIL_TEXTS", fmt.Sprint(err), "MAIL_TEXTS, DEFAULT_LOCALE: 1 invalid text:\n  texts.de.json: greeting: unknown placeholder {app}")

	testkit.NoError(t, os.WriteFile(filepath.Join(texts, "texts.de.json"), []byte(`{"greeting": "Moin,"}`), 0o600))
	addr, _, _ := start(t, s.environ)
	for i, browser := range []struct{ language, setting, subject, text string }{
		{"", "DEFAULT_LOCALE", "Potwierdź adres e-mail w serwisie Latchkey", "Dzień dobry, odd template pl "},             //nolint:misspell // Polish
		{"ca, sv;q=0.5", "DEFAULT_LOCALE", "Potwierdź adres e-mail w serwisie Latchkey", "Dzień dobry, odd template pl "}, //nolint:misspell // Polish
		{"de-CH,de;q=0.9,en;q=0.8", "MAIL_TEXTS", "Bestätigen Sie Ihre E-Mail-Adresse für Latchkey", "Moin, odd template de "},
		{"ja", "MAIL_TEXTS", "Latchkey：メールアドレスの確認", "ご利用ありがとうございます。 odd template ja "},
	} {
		account := fmt.Sprintf(`{"name":"Ann","email":"ann%d@example.com","password":"correct horse battery"}`, i)
		res := send(t, "POST", "http://"+addr+"/auth/register", account, "Accept-Language", browser.language)
		o.equal(t, browser.setting, res.StatusCode, 201)
		testkit.Eventually(t, "an email", func() bool { return len(s.mails.Messages()) == i+1 })

		m := s.mails.Messages()[i]
		o.equal(t, browser.setting, m.Subject(), browser.subject)
		o.equal(t, browser.setting, strings.HasPrefix(m.Text(), browser.text), true)
	}
}

// linkExpiry returns how long the link of the given kind in the only account still works.
func linkExpiry(t *testing.T, mongo, kind string) time.Duration {
	t.Helper()

	var stored struct {
		Tickets map[string]struct{ Expires time.Time }
	}
	err := storetest.Database(t, mongo).Collection("users").FindOne(context.Background(), bson.D{}).Decode(&stored)
	testkit.NoError(t, err)

	return time.Until(stored.Tickets[kind].Expires)
}

// longestThrottle returns the time until another email with a link can be requested.
func longestThrottle(t *testing.T, r storetest.Redis) time.Duration {
	t.Helper()

	conn := r.Conn(t)
	keys, err := redis.Strings(conn.Do("KEYS", "mail:{queue}:throttle:*"))
	testkit.NoError(t, err)

	longest := time.Duration(0)
	for _, key := range keys {
		ms, err := redis.Int64(conn.Do("PTTL", key))
		testkit.NoError(t, err)
		longest = max(longest, time.Duration(ms)*time.Millisecond)
	}

	return longest
}

// Nobody gets more attempts than RATE_LIMIT.
func observeDefaultLimit(t *testing.T, o *observer) {
	addr, _, _ := start(t, environment(t, "RATE_LIMIT=2/2h", "APP_ENV=test", "BCRYPT_COST=4"))
	for n, want := range []int{401, 401, 429} {
		res := send(t, "POST", "http://"+addr+"/auth/login", annsLogin)
		o.equal(t, "RATE_LIMIT", policyOf(res, "ip"), "2/2h0m0s")
		o.equal(t, "RATE_LIMIT", fmt.Sprint(n, ": ", res.StatusCode), fmt.Sprint(n, ": ", want))
	}
}

func observeLimits(t *testing.T, o *observer) {
	addr, _, _ := start(t, environment(t,
		"APP_ENV=test",
		"BCRYPT_COST=4",
		"RATE_LIMIT_REGISTER=3/1h",
		"RATE_LIMIT_LOGIN=4/2h",
		"RATE_LIMIT_MAIL=5/3h",
		"RATE_LIMIT_TOKEN=6/4h",
		"RATE_LIMIT_PASSWORD=7/5h",
		"RATE_LIMIT_OAUTH=8/6h",
		"RATE_LIMIT_ACCOUNT=9/7h",
		"RATE_LIMIT_DEVICE=11/8h",
	))
	base := "http://" + addr

	registered := mustSend(t, 201, "POST", base+"/auth/register", annsAccount)
	o.equal(t, "RATE_LIMIT_REGISTER", policyOf(registered, "ip"), "3/1h0m0s")
	var cookies []string
	for _, c := range registered.Cookies() {
		cookies = append(cookies, c.Name+"="+c.Value)
	}
	cookie := strings.Join(cookies, "; ")

	login := mustSend(t, 200, "POST", base+"/auth/login", annsLogin)
	o.equal(t, "RATE_LIMIT_LOGIN", policyOf(login, "ip"), "4/2h0m0s")
	o.equal(t, "RATE_LIMIT_ACCOUNT", policyOf(login, "account"), "9/7h0m0s")
	login = send(t, "POST", base+"/auth/login", `{"email":"ann@example.com","password":"wrong password"}`, "Cookie", cookie)
	o.equal(t, "RATE_LIMIT_DEVICE", policyOf(login, "device"), "11/8h0m0s")

	for name, tc := range map[string]struct{ path, body, want string }{
		"RATE_LIMIT_MAIL":     {"/auth/password/forgot", `{"email":"ann@example.com"}`, "5/3h0m0s"},
		"RATE_LIMIT_TOKEN":    {"/auth/email/verify", `{"token":"x"}`, "6/4h0m0s"},
		"RATE_LIMIT_PASSWORD": {"/auth/step-up", `{"password":"wrong password"}`, "7/5h0m0s"},
		"RATE_LIMIT_OAUTH":    {"/auth/identities/google", `{}`, "8/6h0m0s"},
	} {
		res := send(t, "POST", base+tc.path, tc.body, "Cookie", cookie)
		o.equal(t, name, policyOf(res, "ip"), tc.want)
	}

	// The fifth login of this IP is refused.
	for n, want := range []int{200, 200, 200, 429} {
		res := send(t, "POST", base+"/auth/login", annsLogin)
		o.equal(t, "RATE_LIMIT_LOGIN", fmt.Sprint(n, " ", res.StatusCode), fmt.Sprint(n, " ", want))
	}
}

// policyOf returns the rate of a budget in the header RateLimit-Policy, such as "10/1m0s".
func policyOf(res response, budget string) string {
	match := regexp.MustCompile(`"` + budget + `";q=(\d+);w=(\d+)`).FindStringSubmatch(res.Header.Get("RateLimit-Policy"))
	if match == nil {
		return fmt.Sprintf("none in %d %s", res.StatusCode, res.Header.Get("RateLimit-Policy"))
	}

	window, _ := time.ParseDuration(match[2] + "s")

	return match[1] + "/" + window.String()
}

// The server and the doctor warn of a setting that is weaker than the default, even if nothing else is
// logged.
func observeWeakSettings(t *testing.T, o *observer) {
	_, port, err := net.SplitHostPort(testkit.FreeAddr(t))
	testkit.NoError(t, err)
	environ := environment(t, "PORT="+port, "LOG_LEVEL=error", "STEP_UP_MAX_AGE=10000h")

	ctx, cancel := context.WithCancel(context.Background())
	cancel() // the warnings come first
	log := &testkit.Buffer{}
	testkit.NoError(t, run(ctx, nil, environ, stdio{out: log}))
	for _, name := range []string{"STEP_UP_MAX_AGE", "LOG_LEVEL"} {
		line := `"level":"WARN","msg":"setting is weaker than the default","setting":"` + name + `","risk":"`
		o.equal(t, name, strings.Count(log.String(), line), 1)
	}

	out, _ := command(environ, "", "doctor")
	o.equal(t, "STEP_UP_MAX_AGE", strings.Contains(out, "warning  STEP_UP_MAX_AGE: weaker than the default: "), true)
}
