package config

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/internal/testkit"
)

const noMailWarning = "SMTP_URL is not set: no email is sent, and nobody can reset a password. " +
	"Therefore, 100 wrong passwords in a row only limit further attempts to 10 an hour from each IP"

// Values of SESSION_SECRET and of DATA_KEY that production accepts.
const (
	goodSecret = "Zm9ydHktdHdvIGNoYXJhY3RlcnMgb2YgcmFuZG9tbmVzcw"
	goodKey    = "q7ZpT2mVx9KdR4wLc8NbY1sHf6JgA3uEoXi5tPyBzWk"
)

// good returns settings for production, with changes. Without changes, they are the fewest that cause only
// the warning about SMTP_URL.
func good(changes map[string]string) map[string]string {
	vars := map[string]string{
		"SESSION_SECRET":  goodSecret,
		"DATA_KEY":        goodKey,
		"MONGODB_URI":     "mongodb://db/latchkey",
		"TRUSTED_PROXIES": "127.0.0.1",
	}
	maps.Copy(vars, changes)

	return vars
}

func load(t *testing.T, vars map[string]string) Config {
	t.Helper()

	c, err := Load(vars)
	testkit.NoError(t, err)

	return c
}

// checkEqual fails the test with a diff if got differs from want.
func checkEqual(t *testing.T, what string, got, want any) {
	t.Helper()

	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s: (-want +got)\n%s", what, d)
	}
}

// TestDefaults checks the defaults that follow from other settings. TestReferenceIsCurrent pins the others.
func TestDefaults(t *testing.T) {
	t.Parallel()

	c := load(t, good(nil))

	checkEqual(t, "APP_ENV", c.AppEnv, Production)
	checkEqual(t, "listen address", c.Addr(), ":3000")
	checkEqual(t, "cookie", c.Cookie, Cookie{
		Name:     "__Host-sid",
		Secure:   true,
		SameSite: http.SameSiteLaxMode,
	})
	checkEqual(t, "SESSION_TOUCH_INTERVAL", c.Session.TouchInterval, time.Minute)
	checkEqual(t, "warnings", c.Warnings, []string{noMailWarning})

	for name, vars := range map[string]map[string]string{
		"__Secure-sid": {"COOKIE_DOMAIN": "example.com"},
		"sid":          {"APP_ENV": "test", "COOKIE_DOMAIN": "example.com"},
	} {
		checkEqual(t, fmt.Sprint("SESSION_NAME with ", vars), load(t, good(vars)).Cookie.Name, name)
	}
}

// TestGuideEnv loads the .env files from both guides.
func TestGuideEnv(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"first": `# Application
NODE_ENV=development
PORT=3000
FRONTEND_URL=http://localhost:3001
REDIS_HOST=localhost
REDIS_PORT=6379
REDIS_PASSWORD=
REDIS_DB=0
SESSION_SECRET=your-super-secret-key-change-this-in-production
SESSION_NAME=nestjs.sid
SESSION_MAX_AGE=86400000
COOKIE_DOMAIN=localhost
COOKIE_SECURE=false

# Database
MONGODB_URI=mongodb://localhost:27017/nestjs-auth
`,
		"second": `PORT=3000
NODE_ENV=development
GOOGLE_CLIENT_ID=
GOOGLE_CLIENT_SECRET=
GOOGLE_CALLBACK_URL=http://localhost:3000/auth/google/callback
POSTGRES_PASSWORD=
REDIS_PASSWORD=secret of redis
REDIS_HOST=redis
REDIS_PORT=6379
REDIS_URI=redis://localhost:6380
SESSION_SECRET=any
`,
	} {
		path := filepath.Join(dir, name)
		testkit.NoError(t, os.WriteFile(path, []byte(text), 0o600))

		vars, err := Environ([]string{"PORT=4000"}, path)
		testkit.NoError(t, err)

		c := load(t, vars)
		checkEqual(t, name+": PORT", c.HTTPPort, 4000)
		checkEqual(t, name+": APP_ENV", c.AppEnv, Development)
		checkEqual(t, name+": LOG_FORMAT", c.LogFormat, "text")
		checkEqual(t, name+": COOKIE_SECURE", c.Cookie.Secure, false)

		switch name {
		case "first":
			checkEqual(t, "SESSION_NAME", c.Cookie.Name, "nestjs.sid")
			checkEqual(t, "COOKIE_DOMAIN", c.Cookie.Domain, "")
			checkEqual(t, "SESSION_MAX_AGE", c.Session.MaxAge, 24*time.Hour)
			checkEqual(t, "FRONTEND_URL", c.FrontendURL, []string{"http://localhost:3001"})
		case "second":
			checkEqual(t, "REDIS_URI", c.Redis.Addr(), "localhost:6380")
			checkEqual(t, "REDIS_PASSWORD", c.Redis.Password, Secret("secret of redis"))
			checkEqual(t, "SESSION_NAME", c.Cookie.Name, "sid")
		}
	}
}

// TestOrigins writes origins as browsers do, because they are compared with what browsers send.
func TestOrigins(t *testing.T) {
	t.Parallel()

	c := load(t, good(map[string]string{
		"FRONTEND_URL": "HTTPS://App.Example.com:443/, https://bücher.example,http://localhost:3001,http://[0:0:0:0:0:0:0:1]:80,https://a.example:8443,http://LOCALHOST:3001/," +
			"https://10.0.0.5:8443,https://[2001:DB8:0::1]:08443,https://v2--app.netlify.app,https://my_app.example.com,https://a._b.example.,https://1.example,https://3scale:3001,",
		"TRUSTED_PROXIES": "10.1.2.3/8, ::1,::ffff:10.0.0.1,::ffff:10.1.2.3/120,",
	}))
	checkEqual(t, "FRONTEND_URL", c.FrontendURL, []string{
		"https://app.example.com",
		"https://xn--bcher-kva.example",
		"http://localhost:3001",
		"http://[::1]",
		"https://a.example:8443",
		"https://10.0.0.5:8443",
		"https://[2001:db8::1]:8443",
		"https://v2--app.netlify.app",
		"https://my_app.example.com",
		"https://a._b.example.",
		"https://1.example",
		"https://3scale:3001",
	})
	checkEqual(t, "TRUSTED_PROXIES", c.TrustedProxies, []string{"10.0.0.0/8", "::1/128", "10.0.0.1/32", "10.1.2.0/24"})
}

// TestRedisServers lists servers with and without a port.
func TestRedisServers(t *testing.T) {
	t.Parallel()

	c := load(t, good(map[string]string{"REDIS_SENTINELS": "a, 10.0.0.1:1 ,::1,[::2]:3", "REDIS_SENTINEL_PASSWORD": "p"}))
	checkEqual(t, "REDIS_SENTINELS", c.Redis.Sentinels, []string{"a:26379", "10.0.0.1:1", "[::1]:26379", "[::2]:3"})
	checkEqual(t, "REDIS_SENTINEL_MASTER", c.Redis.Master, "mymaster")

	c = load(t, good(map[string]string{"REDIS_CLUSTER": "a,b:7000", "REDIS_HOST": "localhost"}))
	checkEqual(t, "REDIS_CLUSTER", c.Redis.Cluster, []string{"a:6379", "b:7000"})

	for host, want := range map[string]string{"[::1]": "[::1]:6379", "::1": "[::1]:6379", "my_redis.": "my_redis.:6379"} {
		c = load(t, good(map[string]string{"REDIS_HOST": host, "HOST": host}))
		checkEqual(t, "REDIS_HOST="+host, c.Redis.Addr(), want)
		checkEqual(t, "HOST="+host, c.Addr(), strings.Replace(want, "6379", "3000", 1))
	}
}

// TestInvisibleCharacters loads values as "echo | base64", docker run --env-file and copying add
// characters to them.
func TestInvisibleCharacters(t *testing.T) {
	t.Parallel()

	given := provided(map[string]string{
		"PORT":                       "4000",
		"REDIS_URI":                  "redis://u@h/3",
		"REDIS_USERNAME":             "v",
		"COOKIE_SECURE":              "true",
		"SESSION_MAX_AGE":            "1h",
		"SMTP_URL":                   "smtp://x",
		"MAIL_FROM":                  "Latchkey <no-reply@example.com>",
		"OTEL_EXPORTER_OTLP_HEADERS": "a=b",
		"OIDC_MY_IDP_TITLE":          "Mine",
	})
	want := load(t, given)

	for _, around := range [][2]string{{"", "\n"}, {"", "\r\n"}, {"\ufeff", "\n\n"}, {"\u200b ", "\u00a0\t "}} {
		vars := maps.Clone(given)
		for name, value := range vars {
			vars[name] = around[0] + value + around[1]
		}
		// A space may be part of a password.
		for name := range vars {
			if strings.HasSuffix(name, "_SECRET") && strings.Contains(around[0]+around[1], " ") {
				vars[name] = given[name]
			}
		}

		checkEqual(t, fmt.Sprintf("settings in %q", around), load(t, vars), want)
	}

	c := load(t, good(map[string]string{"REDIS_PASSWORD": " p \r\n", "REDIS_HOST": "\n"}))
	checkEqual(t, "REDIS_PASSWORD", c.Redis.Password, Secret(" p "))
	checkEqual(t, "REDIS_HOST", c.Redis.Host, "localhost")
}

// certificate returns a certificate and its key in PEM.
func certificate(t *testing.T) []byte {
	t.Helper()

	server := httptest.NewTLSServer(nil)
	defer server.Close()
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	testkit.NoError(t, err)

	return slices.Concat(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
}

// TestMongoURI checks that valid URIs are accepted.
func TestMongoURI(t *testing.T) {
	t.Parallel()

	ca := filepath.Join(t.TempDir(), "ca.pem")
	testkit.NoError(t, os.WriteFile(ca, certificate(t), 0o600))

	for _, uri := range []string{
		"mongodb://a,b:27018,[::1]:27019",
		"mongodb://u:p%40ss%3C%3E@a/my-db_1?authSource=admin&retryWrites=true&w=majority",
		"mongodb://a/x?tls=true&tlsCAFile=" + ca,
		"mongodb+srv://u:p@cluster0.example.mongodb.net/?retryWrites=true&w=majority&appName=Cluster0",
		"mongodb+srv://cluster0.example.mongodb.net/latchkey?srvMaxHosts=2&srvServiceName=x&w=1",
		"mongodb://a,b/x?replicaSet=rs0&readPreference=secondaryPreferred&readPreferenceTags=dc:1&maxStalenessSeconds=120",
		"mongodb://a/x?unknown=1",
	} {
		if _, err := Load(good(map[string]string{"MONGODB_URI": uri})); err != nil {
			t.Errorf("%s: got error %v, want none", uri, err)
		}
	}
}

func TestAccounts(t *testing.T) {
	t.Parallel()

	c := load(t, good(map[string]string{
		"FRONTEND_URL":     "https://z.example,https://a.example",
		"RATE_LIMIT":       "20/1m",
		"RATE_LIMIT_LOGIN": "5/30s",
		"APP_NAME":         "Acme",
		"SMTP_URL":         "smtps://u:p@mail.example",
		"SMTP_HELO_NAME":   "latchkey.example.com",
		"MAIL_FROM":        "Latchkey <no-reply@example.com>",
	}))
	checkEqual(t, "PUBLIC_URL", c.Accounts.PublicURL, "https://z.example")
	checkEqual(t, "PASSWORD_COMMON", c.Accounts.RefuseCommon, Refuse(true))
	checkEqual(t, "SMTP_HELO_NAME", c.Mail.HeloName, "latchkey.example.com")
	checkEqual(t, "PASSWORD_MIN_LENGTH", c.Accounts.PasswordMinLength, 8)
	checkEqual(t, "warnings", len(c.Warnings), 0)
	checkEqual(t, "RATE_LIMIT_LOGIN", c.Limits.Login, Rate{Events: 5, Window: 30 * time.Second})
	checkEqual(t, "RATE_LIMIT_REGISTER", c.Limits.Register, Rate{Events: 20, Window: time.Minute})
	checkEqual(t, "RATE_LIMIT_DEVICE", c.Limits.Device, Rate{Events: 20, Window: time.Minute})
	checkEqual(t, "RATE_LIMIT_OAUTH", c.Limits.OAuth, Rate{Events: 120, Window: time.Minute})
	checkEqual(t, "RATE_LIMIT_ACCOUNT", c.Limits.Account, Rate{Events: 15, Window: 30 * time.Second})

	c = load(t, good(map[string]string{
		"APP_ENV":          "development",
		"PUBLIC_URL":       "https://app.example/auth/",
		"RATE_LIMIT":       "OFF",
		"RATE_LIMIT_LOGIN": "5/30s",
	}))
	checkEqual(t, "PUBLIC_URL", c.Accounts.PublicURL, "https://app.example/auth")
	checkEqual(t, "PASSWORD_COMMON in development", c.Accounts.RefuseCommon, Refuse(false))
	checkEqual(t, "limits with RATE_LIMIT=off", c.Limits, Limits{})
}

// TestDevelopmentIsLenient loads settings that production would reject.
func TestDevelopmentIsLenient(t *testing.T) {
	t.Parallel()

	c := load(t, map[string]string{"APP_ENV": "development", "SESSION_SECRET": "x", "BCRYPT_COST": "4"})
	checkEqual(t, "MONGODB_URI", c.MongoURI, Secret("mongodb://localhost:27017/latchkey"))
	checkEqual(t, "FRONTEND_URL", c.FrontendURL, []string{"http://localhost:3001"})
}

func TestSecretFiles(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "secret")
	keyPath := filepath.Join(t.TempDir(), "key")
	testkit.NoError(t, os.WriteFile(path, []byte(goodSecret+"\n"), 0o600))
	testkit.NoError(t, os.WriteFile(keyPath, []byte(goodKey+",old"+goodKey+"\n"), 0o600))

	vars := provided(map[string]string{"DATA_KEY": "", "DATA_KEY_FILE": keyPath})
	for _, name := range []string{
		"SESSION_SECRET", "REDIS_PASSWORD", "OTEL_EXPORTER_OTLP_HEADERS",
		"GOOGLE_CLIENT_SECRET", "GITHUB_CLIENT_SECRET", "OIDC_MY_IDP_CLIENT_SECRET",
	} {
		vars[name] = ""
		vars[name+"_FILE"] = path
	}

	c := load(t, vars)
	got := slices.Concat(c.Session.Secrets, []Secret{c.Redis.Password, c.Telemetry["OTEL_EXPORTER_OTLP_HEADERS"]})
	for _, p := range c.Providers {
		got = append(got, p.ClientSecret)
	}
	if want := slices.Repeat([]Secret{goodSecret}, 6); !slices.Equal(got, want) {
		t.Errorf("got secrets %s, want those in the files", cmp.Diff(want, got))
	}
	if want := []Secret{goodKey, "old" + goodKey}; !slices.Equal(c.Factors.DataKeys, want) {
		t.Errorf("got keys %s, want those in the file", cmp.Diff(want, c.Factors.DataKeys))
	}

	testkit.NoError(t, os.WriteFile(path, []byte("\n"), 0o600))
	checkRefused(t, vars, "SESSION_SECRET_FILE: the file is empty")
}

func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()

	c := load(t, provided(map[string]string{
		"SESSION_SECRET":             goodSecret + ",old" + goodSecret,
		"REDIS_URI":                  "rediss://u:hunter2@r/3",
		"MONGODB_URI":                "mongodb://u:hunter2@db/x",
		"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer hunter2",
	}))
	if c.Redis.Password != "hunter2" || c.Redis.Username != "u" || c.Redis.DB != 3 || !c.Redis.TLS || c.Redis.Addr() != "r:6379" {
		t.Errorf("got %+v, want the parts of REDIS_URI", c.Redis)
	}

	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", c.Redis.Password, "config", c)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", c.Redis.Password, "config", c)

	for _, text := range []string{
		fmt.Sprint(c),
		fmt.Sprintf("%+v", c),
		fmt.Sprintf("%#v", c),
		fmt.Sprintf("%s %v %q %v", c.MongoURI, c.Session.Secrets, c.Redis.Password, c.Factors),
		log.String(),
	} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, goodSecret) || strings.Contains(text, goodKey) {
			t.Errorf("secret printed: %s", text)
		}
	}
}

func TestTelemetry(t *testing.T) {
	t.Parallel()

	c := load(t, good(map[string]string{"OTEL_SERVICE_NAME": "x", "OTEL_SDK_DISABLED": "", "OPS_ADDR": ":9090", "PATH": "/bin"}))
	checkEqual(t, "telemetry", c.Telemetry, map[string]Secret{"OTEL_SERVICE_NAME": "x"})
}

func FuzzLoad(f *testing.F) {
	f.Add("REDIS_URI", "redis://u:p@h:1/2")
	f.Add("SESSION_MAX_AGE", "86400000")
	f.Add("COOKIE_DOMAIN", ".example.com")
	f.Add("FRONTEND_URL", "https://a.example,https://b.example")
	f.Fuzz(func(t *testing.T, name, value string) {
		if strings.HasSuffix(name, "_FILE") {
			return
		}
		c, err := Load(good(map[string]string{name: value}))
		if err != nil {
			return
		}
		if len(c.Session.Secrets) == 0 || c.MongoURI == "" || c.Cookie.Name == "" || c.BcryptCost < minBcryptCost {
			t.Errorf("%s=%q: got %+v, want required settings", name, value, c)
		}
	})
}
