package config

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/internal/testkit"
)

const noMailWarning = "SMTP_URL is not set: no email is sent, and nobody can reset a password"

const goodSecret = "Zm9ydHktdHdvIGNoYXJhY3RlcnMgb2YgcmFuZG9tbmVzcw"

// good returns the minimal settings for production, with changes.
func good(changes map[string]string) map[string]string {
	vars := map[string]string{
		"SESSION_SECRET":  goodSecret,
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

// diff reports how a value differs from what a test wants.
func diff(t *testing.T, what string, got, want any) {
	t.Helper()

	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s: (-want +got)\n%s", what, d)
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()

	c := load(t, good(nil))

	diff(t, "APP_ENV", c.AppEnv, Production)
	diff(t, "listen address", c.Addr(), ":3000")
	diff(t, "LOG_FORMAT", c.LogFormat, "json")
	diff(t, "LOG_LEVEL", c.LogLevel, slog.LevelInfo)
	diff(t, "BCRYPT_COST", c.BcryptCost, 10)
	diff(t, "Redis", c.Redis.Addr(), "localhost:6379")
	diff(t, "cookie", c.Cookie, Cookie{
		Name:     "__Host-sid",
		Secure:   true,
		SameSite: http.SameSiteLaxMode,
	})

	diff(t, "SESSION_MAX_AGE", c.Session.MaxAge, 24*time.Hour)
	diff(t, "SESSION_ABSOLUTE_MAX_AGE", c.Session.AbsoluteMaxAge, 720*time.Hour)
	diff(t, "SESSION_TOUCH_INTERVAL", c.Session.TouchInterval, time.Minute)

	diff(t, "warnings", c.Warnings, []string{noMailWarning})
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

# Redis Configuration
REDIS_HOST=localhost
REDIS_PORT=6379
REDIS_PASSWORD=
REDIS_DB=0

# Session Configuration
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
POSTGRES_HOST=localhost
POSTGRES_PORT=5432
POSTGRES_USER=
POSTGRES_PASSWORD=
POSTGRES_DB_NAME=
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
		diff(t, name+": PORT", c.HTTPPort, 4000)
		diff(t, name+": APP_ENV", c.AppEnv, Development)
		diff(t, name+": LOG_FORMAT", c.LogFormat, "text")
		diff(t, name+": COOKIE_SECURE", c.Cookie.Secure, false)

		switch name {
		case "first":
			diff(t, "SESSION_NAME", c.Cookie.Name, "nestjs.sid")
			diff(t, "COOKIE_DOMAIN", c.Cookie.Domain, "")
			diff(t, "SESSION_MAX_AGE", c.Session.MaxAge, 24*time.Hour)
			diff(t, "FRONTEND_URL", c.FrontendURL, []string{"http://localhost:3001"})
		case "second":
			diff(t, "REDIS_URI", c.Redis.Addr(), "localhost:6380")
			diff(t, "REDIS_PASSWORD", c.Redis.Password, Secret("secret of redis"))
			diff(t, "SESSION_NAME", c.Cookie.Name, "sid")
		}
	}
}

// TestRefused checks how the line about each invalid setting starts.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		vars map[string]string
		want string
	}{
		{map[string]string{"SESSION_SECRET": ""}, "SESSION_SECRET: required"},
		{map[string]string{"SESSION_SECRET": "short"}, "SESSION_SECRET: must have at least 32"},
		{map[string]string{"SESSION_SECRET": goodSecret + ",short"}, "SESSION_SECRET: must have at least 32"},
		{map[string]string{"SESSION_SECRET": goodSecret + ",,"}, "SESSION_SECRET: contains an empty secret"},
		{map[string]string{"SESSION_SECRET": "your-super-secret-key-change-this-in-production"}, "SESSION_SECRET: a published example"},
		{map[string]string{"SESSION_SECRET": "please_CHANGE_THIS_secret_before_production"}, "SESSION_SECRET: a published example"},
		{map[string]string{"COOKIE_SAME_SITE": "none", "COOKIE_SECURE": "false"}, "COOKIE_SAME_SITE: none requires"},
		{map[string]string{"COOKIE_SAME_SITE": "sometimes"}, "COOKIE_SAME_SITE: must be"},
		{map[string]string{"COOKIE_SECURE": "false"}, "COOKIE_SECURE: must be true in production"},
		{map[string]string{"COOKIE_SECURE": "maybe"}, "COOKIE_SECURE: must be"},
		{map[string]string{"SESSION_NAME": "__Host-sid", "COOKIE_DOMAIN": "example.com"}, "SESSION_NAME: browsers drop a __Host- cookie with a domain"},
		{map[string]string{"SESSION_NAME": "__host-sid", "COOKIE_SECURE": "false"}, "SESSION_NAME: browsers drop a __Host- or __Secure- cookie that is not Secure"},
		{map[string]string{"SESSION_NAME": "__Secure-sid", "COOKIE_SECURE": "false"}, "SESSION_NAME: browsers drop a __Host- or __Secure- cookie that is not Secure"},
		{map[string]string{"SESSION_NAME": "my sid"}, "SESSION_NAME: must consist"},
		{map[string]string{"COOKIE_DOMAIN": "https://example.com"}, "COOKIE_DOMAIN: must be"},
		{map[string]string{"COOKIE_DOMAIN": "127.0.0.1"}, "COOKIE_DOMAIN: must be"},
		{map[string]string{"COOKIE_DOMAIN": "com."}, "COOKIE_DOMAIN: must be"},
		{map[string]string{"COOKIE_DOMAIN": "a..b.com"}, "COOKIE_DOMAIN: must be"},
		{map[string]string{"COOKIE_DOMAIN": "bücher.example"}, "COOKIE_DOMAIN: must be"},
		{map[string]string{"REDIS_URI": "redis://x?tls=true"}, "REDIS_URI: must look like"},
		{map[string]string{"SESSION_SECRET": strings.Repeat("a", 40)}, "SESSION_SECRET: too repetitive"},
		{map[string]string{"COOKIE_DOMAIN": "com"}, "COOKIE_DOMAIN: must be"},
		{map[string]string{"FRONTEND_URL": "*"}, "FRONTEND_URL: * would let"},
		{map[string]string{"FRONTEND_URL": "https://*.example.com"}, "FRONTEND_URL: * would let"},
		{map[string]string{"FRONTEND_URL": "null"}, "FRONTEND_URL: must be"},
		{map[string]string{"FRONTEND_URL": "https://a.example,app.example.com"}, "FRONTEND_URL: must be"},
		{map[string]string{"FRONTEND_URL": "https://app.example.com/path"}, "FRONTEND_URL: must be"},
		{map[string]string{"MONGODB_URI": ""}, "MONGODB_URI: required"},
		{map[string]string{"MONGODB_URI": "postgres://u:hunter2@db/x"}, "MONGODB_URI: must look like"},
		{map[string]string{"MONGODB_URI": "mongodb://u:hunter2@"}, "MONGODB_URI: must look like"},
		{map[string]string{"REDIS_URI": "http://u:hunter2@x"}, "REDIS_URI: must look like"},
		{map[string]string{"REDIS_URI": "redis://u:hunter%zz2@x"}, "REDIS_URI: must look like"},
		{map[string]string{"REDIS_URI": "redis://x/sessions"}, "REDIS_URI: must end in a database number"},
		{map[string]string{"REDIS_PORT": "x"}, "REDIS_PORT: must be a whole number"},
		{map[string]string{"REDIS_PORT": "70000"}, "REDIS_PORT: must be from"},
		{map[string]string{"REDIS_DB": "-1"}, "REDIS_DB: must be 0 or more"},
		{map[string]string{"REDIS_TLS": "perhaps"}, "REDIS_TLS: must be true or false"},
		{map[string]string{"PORT": "http"}, "PORT: must be a whole number"},
		{map[string]string{"PORT": "65536"}, "PORT: must be from"},
		{map[string]string{"LOG_LEVEL": "loud"}, "LOG_LEVEL: must be"},
		{map[string]string{"LOG_FORMAT": "xml"}, "LOG_FORMAT: must be"},
		{map[string]string{"APP_ENV": "staging"}, "APP_ENV: must be"},
		{map[string]string{"BCRYPT_COST": "9"}, "BCRYPT_COST: must be from 10 to 14"},
		{map[string]string{"BCRYPT_COST": "15"}, "BCRYPT_COST: must be from 10 to 14"},
		{map[string]string{"SESSION_MAX_AGE": "soon"}, "SESSION_MAX_AGE: must be a duration"},
		{map[string]string{"SESSION_MAX_AGE": "-5"}, "SESSION_MAX_AGE: must be a duration"},
		{map[string]string{"SESSION_MAX_AGE": "1ms"}, "SESSION_MAX_AGE: must be at least"},
		{map[string]string{"SESSION_MAX_AGE": "9999999999999999"}, "SESSION_MAX_AGE: must be a duration"},
		{map[string]string{"SESSION_ABSOLUTE_MAX_AGE": "1h"}, "SESSION_ABSOLUTE_MAX_AGE: must be at least SESSION_MAX_AGE"},
		{map[string]string{"SESSION_TOUCH_INTERVAL": "13h"}, "SESSION_TOUCH_INTERVAL: must be at most half"},
		{map[string]string{"SESSION_SECRET_FILE": "/x"}, "SESSION_SECRET: set either this or SESSION_SECRET_FILE"},
		{map[string]string{"REDIS_PASSWORD_FILE": "/does/not/exist"}, "REDIS_PASSWORD_FILE: no such file"},
		{map[string]string{"REDIS_PASSWORD_FILE": "/dev/zero"}, "REDIS_PASSWORD_FILE: the file is larger than"},
		{map[string]string{"TLS_CERT_FILE": "/x"}, "TLS_CERT_FILE: set both TLS_CERT_FILE and TLS_KEY_FILE"},
		{map[string]string{"TRUSTED_PROXIES": ""}, "TRUSTED_PROXIES: required"},
		{map[string]string{"TRUSTED_PROXIES": "proxy.example.com"}, "TRUSTED_PROXIES: must be IPs"},
		{map[string]string{"TRUSTED_PROXIES": "10.0.0.0/8,0.0.0.0/0"}, "TRUSTED_PROXIES: 0.0.0.0/0 includes untrusted clients"},
		{map[string]string{"FRONTEND_URL": "http://app.example.com"}, "FRONTEND_URL: must be https"},
		{map[string]string{"REDIS_SENTINELS": "a:1,redis://b"}, "REDIS_SENTINELS: must be hosts like"},
		{map[string]string{"REDIS_SENTINELS": "a:1,"}, "REDIS_SENTINELS: must be hosts like"},
		{map[string]string{"REDIS_SENTINELS": "a", "REDIS_URI": "redis://:hunter2@b"}, "REDIS_SENTINELS: set either this or REDIS_URI"},
		{map[string]string{"REDIS_SENTINEL_MASTER": "m"}, "REDIS_SENTINELS: required if"},
		{map[string]string{"REDIS_CLUSTER": "a:x"}, "REDIS_CLUSTER: must be hosts like"},
		{map[string]string{"REDIS_CLUSTER": "a:1", "REDIS_SENTINELS": "b:1"}, "REDIS_CLUSTER: set either this or REDIS_SENTINELS"},
		{map[string]string{"REDIS_CLUSTER": "a:1", "REDIS_DB": "1"}, "REDIS_DB: must be 0 with REDIS_CLUSTER"},
		{map[string]string{"RATE_LIMIT": "on"}, "RATE_LIMIT: must be a rate like 10/60s, or off"},
		{map[string]string{"RATE_LIMIT": "0/60s"}, "RATE_LIMIT: must be a rate"},
		{map[string]string{"RATE_LIMIT_LOGIN": "off"}, "RATE_LIMIT_LOGIN: must be a rate like"},
		{map[string]string{"RATE_LIMIT_ACCOUNT": "10/60"}, "RATE_LIMIT_ACCOUNT: must be a rate like"},
		{map[string]string{"RATE_LIMIT_DEVICE": "10/1000h"}, "RATE_LIMIT_DEVICE: must be a rate like"},
		{map[string]string{"SMTP_URL": "http://u:hunter2@x", "MAIL_FROM": "a@b.example", "PUBLIC_URL": "https://a.example"}, "SMTP_URL: must look like"},
		{map[string]string{"SMTP_URL": "smtp://u:hunter%zz2@x", "MAIL_FROM": "a@b.example", "PUBLIC_URL": "https://a.example"}, "SMTP_URL: must look like"},
		{map[string]string{"SMTP_URL": "smtp://u:hunter2@x", "PUBLIC_URL": "https://a.example"}, "MAIL_FROM: must be the sender"},
		{map[string]string{"SMTP_URL": "smtp://u:hunter2@x", "MAIL_FROM": "a@b.example"}, "PUBLIC_URL: required for links"},
		{map[string]string{"PUBLIC_URL": "http://app.example.com"}, "PUBLIC_URL: must be https"},
		{map[string]string{"PUBLIC_URL": "https://app.example.com/?x=1"}, "PUBLIC_URL: must look like"},
		{map[string]string{"PUBLIC_URL": "https://bücher.example"}, "PUBLIC_URL: must be ASCII"},
		{map[string]string{"PASSWORD_BREACH_URL": "pwned"}, "PASSWORD_BREACH_URL: must look like"},
		{map[string]string{"PASSWORD_BREACH_URL": "http://breach.example"}, "PASSWORD_BREACH_URL: must be https"},
		{map[string]string{"PASSWORD_COMMON": "yes"}, "PASSWORD_COMMON: must be refuse or accept"},
		{map[string]string{"MAIL_INTERVAL": "1ms"}, "MAIL_INTERVAL: must be at least"},
		{map[string]string{"STEP_UP_MAX_AGE": "x"}, "STEP_UP_MAX_AGE: must be a duration"},
	} {
		_, err := Load(good(tc.vars))
		if err == nil || !strings.Contains(err.Error(), "\n  "+tc.want) {
			t.Errorf("%v: got error %v, want %s", tc.vars, err, tc.want)
			continue
		}
		if strings.Contains(err.Error(), "hunter") || strings.Contains(err.Error(), goodSecret) {
			t.Errorf("%v: got an error with a secret: %v", tc.vars, err)
		}
	}
}

// TestOrigins writes origins as browsers do, because they are compared with what browsers send.
func TestOrigins(t *testing.T) {
	t.Parallel()

	c := load(t, good(map[string]string{
		"FRONTEND_URL":    "HTTPS://App.Example.com:443/, https://bücher.example,http://localhost:3001,http://[0:0:0:0:0:0:0:1]:80,https://a.example:8443,http://LOCALHOST:3001/",
		"TRUSTED_PROXIES": "10.1.2.3/8, ::1,::ffff:10.0.0.1",
	}))
	diff(t, "FRONTEND_URL", c.FrontendURL, []string{
		"https://app.example.com",
		"https://xn--bcher-kva.example",
		"http://localhost:3001",
		"http://[::1]",
		"https://a.example:8443",
	})
	diff(t, "TRUSTED_PROXIES", c.TrustedProxies, []string{"10.0.0.0/8", "::1/128", "10.0.0.1/32"})

	c = load(t, map[string]string{"APP_ENV": "development", "SESSION_SECRET": "x"})
	diff(t, "FRONTEND_URL in development", c.FrontendURL, []string{"http://localhost:3001"})
}

// TestRedisServers lists servers with and without a port.
func TestRedisServers(t *testing.T) {
	t.Parallel()

	c := load(t, good(map[string]string{"REDIS_SENTINELS": "a, 10.0.0.1:1 ,::1,[::2]:3", "REDIS_SENTINEL_PASSWORD": "p"}))
	diff(t, "REDIS_SENTINELS", c.Redis.Sentinels, []string{"a:26379", "10.0.0.1:1", "[::1]:26379", "[::2]:3"})
	diff(t, "REDIS_SENTINEL_MASTER", c.Redis.Master, "mymaster")

	c = load(t, good(map[string]string{"REDIS_CLUSTER": "a,b:7000", "REDIS_HOST": "localhost"}))
	diff(t, "REDIS_CLUSTER", c.Redis.Cluster, []string{"a:6379", "b:7000"})
}

func TestAccounts(t *testing.T) {
	t.Parallel()

	c := load(t, good(map[string]string{
		"FRONTEND_URL":     "https://z.example,https://a.example",
		"RATE_LIMIT":       "20/1m",
		"RATE_LIMIT_LOGIN": "5/30s",
		"SMTP_URL":         "smtps://u:p@mail.example",
		"MAIL_FROM":        "Latchkey <no-reply@example.com>",
	}))
	diff(t, "PUBLIC_URL", c.Accounts.PublicURL, "https://z.example")
	diff(t, "PASSWORD_COMMON", c.Accounts.RefuseCommon, Refuse(true))
	diff(t, "warnings", len(c.Warnings), 0)
	diff(t, "RATE_LIMIT_LOGIN", c.Limits.Login, Rate{Events: 5, Window: 30 * time.Second})
	diff(t, "RATE_LIMIT_REGISTER", c.Limits.Register, Rate{Events: 20, Window: time.Minute})
	diff(t, "RATE_LIMIT_DEVICE", c.Limits.Device, Rate{Events: 20, Window: time.Minute})
	diff(t, "RATE_LIMIT_ACCOUNT", c.Limits.Account, Rate{Events: 15, Window: 30 * time.Second})

	c = load(t, good(map[string]string{
		"APP_ENV":          "development",
		"PUBLIC_URL":       "https://app.example/auth/",
		"RATE_LIMIT":       "OFF",
		"RATE_LIMIT_LOGIN": "5/30s",
	}))
	diff(t, "PUBLIC_URL", c.Accounts.PublicURL, "https://app.example/auth")
	diff(t, "PASSWORD_COMMON in development", c.Accounts.RefuseCommon, Refuse(false))
	diff(t, "limits with RATE_LIMIT=off", c.Limits, Limits{})
	if len(c.Warnings) != 1 || !strings.HasPrefix(c.Warnings[0], "RATE_LIMIT is off") {
		t.Errorf("got warnings %q, want one about RATE_LIMIT", c.Warnings)
	}
}

// TestDevelopmentIsLenient loads settings that production would reject.
func TestDevelopmentIsLenient(t *testing.T) {
	t.Parallel()

	c := load(t, map[string]string{"APP_ENV": "development", "SESSION_SECRET": "x", "BCRYPT_COST": "4"})
	diff(t, "MONGODB_URI", c.MongoURI, Secret("mongodb://localhost:27017/latchkey"))
	diff(t, "COOKIE_SECURE", c.Cookie.Secure, false)
}

func TestAllProblemsAtOnce(t *testing.T) {
	t.Parallel()

	_, err := Load(map[string]string{
		"PORT":             "x",
		"REDIS_PORT":       "y",
		"BCRYPT_COST":      "1",
		"COOKIE_SAME_SITE": "no",
		"FRONTEND_URL":     "*",
	})
	if err == nil {
		t.Fatal("got no error, want problems")
	}

	lines := strings.Split(err.Error(), "\n")
	diff(t, "first line", lines[0], fmt.Sprintf("%d invalid settings:", len(lines)-1))
	for _, name := range []string{"PORT", "REDIS_PORT", "BCRYPT_COST", "COOKIE_SAME_SITE", "FRONTEND_URL", "SESSION_SECRET", "MONGODB_URI"} {
		if !strings.Contains(err.Error(), "\n  "+name+": ") {
			t.Errorf("got %v, want a line about %s", err, name)
		}
	}
}

func TestSecretFiles(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "secret")
	testkit.NoError(t, os.WriteFile(path, []byte(goodSecret+"\n"), 0o600))

	vars := good(map[string]string{"SESSION_SECRET": "", "SESSION_SECRET_FILE": path, "REDIS_PASSWORD_FILE": path})
	c := load(t, vars)
	if c.Session.Secrets[0] != goodSecret || c.Redis.Password != goodSecret {
		t.Error("SESSION_SECRET_FILE or REDIS_PASSWORD_FILE was not read")
	}

	testkit.NoError(t, os.WriteFile(path, []byte("\n"), 0o600))
	_, err := Load(vars)
	if want := "SESSION_SECRET_FILE: the file is empty"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want %s", err, want)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()

	c := load(t, good(map[string]string{
		"SESSION_SECRET": goodSecret + "," + goodSecret,
		"REDIS_URI":      "rediss://u:hunter2@r/3",
		"MONGODB_URI":    "mongodb://u:hunter2@db/x",
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
		fmt.Sprintf("%s %v %q", c.MongoURI, c.Session.Secrets, c.Redis.Password),
		log.String(),
	} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, goodSecret) {
			t.Errorf("secret printed: %s", text)
		}
	}
}

func TestTelemetry(t *testing.T) {
	t.Parallel()

	file := filepath.Join(t.TempDir(), "headers")
	testkit.NoError(t, os.WriteFile(file, []byte("authorization=Bearer hunter2\n"), 0o600))

	c := load(t, good(map[string]string{
		"OTEL_SERVICE_NAME":               "x",
		"OTEL_SDK_DISABLED":               "",
		"OTEL_EXPORTER_OTLP_HEADERS_FILE": file,
		"OPS_ADDR":                        ":9090",
		"PATH":                            "/bin",
	}))
	diff(t, "OPS_ADDR", c.OpsAddr, ":9090")
	diff(t, "OTEL_SERVICE_NAME", c.Telemetry["OTEL_SERVICE_NAME"], Secret("x"))
	diff(t, "OTEL_EXPORTER_OTLP_HEADERS", string(c.Telemetry["OTEL_EXPORTER_OTLP_HEADERS"]), "authorization=Bearer hunter2")
	diff(t, "PATH", c.Telemetry["PATH"], Secret(""))

	if strings.Contains(fmt.Sprintf("%+v", c), "hunter2") {
		t.Error("credentials for the OpenTelemetry collector printed")
	}
}

func TestBadEnvFileIsNotQuoted(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), ".env")
	testkit.NoError(t, os.WriteFile(path, []byte("SESSION_SECRET='hunter2\n"), 0o600))

	_, err := Environ(nil, path)
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got error %v, want one without the secret", err)
	}
}

// broken returns variables that are almost all invalid.
func broken() map[string]string {
	vars := map[string]string{
		"GOOGLE_CLIENT_ID": "x", "GITHUB_CLIENT_SECRET_FILE": "/does/not/exist", "OIDC_ACME_ISSUER": "http://id.example.com",
		"OIDC_ACME_ISSUR": "hunter2", "OIDC__TITLE": "x", "OIDC_YOU_SCOPES": "email",
		"FRONTEND_URL": "https://a.example/path,http://b.example,*", "TRUSTED_PROXIES": "a,0.0.0.0/0,10.0.0.0/8,b",
		"SESSION_SECRET": "hunter2,,hunter3", "REDIS_SENTINELS": "a:x,b:70000,:hunter2@c", "REDIS_CLUSTER": "d:0",
		"SMTP_URL": "ftp://hunter2", "MAIL_FROM": "Latchkey no-reply@example.com", "PUBLIC_URL": "https://a.example?hunter2",
	}
	for _, s := range settingsOf(reflect.TypeFor[settings](), "") {
		if _, set := vars[s.name]; !set && !s.secret && !strings.HasPrefix(s.name, "G") {
			vars[s.name] = "bad value"
		}
	}
	vars["APP_ENV"] = Production

	return vars
}

// TestProblemsAreInOrder wants the same report for the same mistakes, in the order of the settings.
func TestProblemsAreInOrder(t *testing.T) {
	t.Parallel()

	_, err := Load(broken())
	if err == nil {
		t.Fatal("got no error, want problems")
	}
	for range 20 {
		if _, again := Load(broken()); again.Error() != err.Error() {
			t.Fatalf("got different reports:\n%v\nand\n%v", err, again)
		}
	}

	var got []string
	seen := map[string]bool{}
	for _, line := range strings.Split(err.Error(), "\n")[1:] {
		if seen[line] {
			t.Errorf("got this line twice, want it once: %s", line)
		}
		seen[line] = true
		name, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		got = append(got, name)
	}
	want := []string{
		"OIDC_ACME_ISSUR", "OIDC__TITLE", "PORT", "LOG_LEVEL", "LOG_FORMAT", "OPS_ADDR", "DRAIN_TIME",
		"FRONTEND_URL", "FRONTEND_URL", "FRONTEND_URL", "TRUSTED_PROXIES", "TRUSTED_PROXIES", "TRUSTED_PROXIES",
		"MONGODB_URI", "MONGODB_TIMEOUT", "BCRYPT_COST", "REDIS_PORT", "REDIS_DB", "REDIS_TLS", "REDIS_TIMEOUT",
		"REDIS_SENTINELS", "REDIS_SENTINELS", "REDIS_SENTINELS", "REDIS_CLUSTER", "REDIS_CLUSTER",
		"SESSION_SECRET", "SESSION_SECRET", "SESSION_MAX_AGE", "SESSION_ABSOLUTE_MAX_AGE", "SESSION_TOUCH_INTERVAL", "SESSION_MAX_PER_USER",
		"SESSION_NAME", "COOKIE_DOMAIN", "COOKIE_SECURE", "COOKIE_SAME_SITE",
		"PUBLIC_URL", "PASSWORD_COMMON", "PASSWORD_BREACH_URL", "STEP_UP_MAX_AGE", "RESET_LINK_MAX_AGE", "VERIFY_LINK_MAX_AGE", "ACTIVITY_RETENTION",
		"RATE_LIMIT", "RATE_LIMIT_REGISTER", "RATE_LIMIT_LOGIN", "RATE_LIMIT_MAIL", "RATE_LIMIT_TOKEN", "RATE_LIMIT_PASSWORD",
		"RATE_LIMIT_OAUTH", "RATE_LIMIT_ACCOUNT", "RATE_LIMIT_DEVICE", "SMTP_URL", "MAIL_FROM", "MAIL_INTERVAL",
		"GOOGLE_CLIENT_SECRET", "GOOGLE_CALLBACK_URL", "GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET_FILE", "GITHUB_CALLBACK_URL",
		"OIDC_ACME_CLIENT_ID", "OIDC_ACME_CLIENT_SECRET", "OIDC_ACME_CALLBACK_URL", "OIDC_ACME_ISSUER",
		"OIDC_YOU_CLIENT_ID", "OIDC_YOU_CLIENT_SECRET", "OIDC_YOU_CALLBACK_URL", "OIDC_YOU_ISSUER", "OIDC_YOU_SCOPES",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%v\nwant the order\n%v", err, want)
	}
	if strings.Contains(err.Error(), "hunter") {
		t.Errorf("got an error with a secret: %v", err)
	}
}

// TestProblemsQuoteTheValue wants the invalid value, or the invalid item of a list, in each message.
func TestProblemsQuoteTheValue(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct{ value, want string }{
		"PORT":                     {"http", `PORT: must be a whole number (got "http")`},
		"LOG_LEVEL":                {"loud", `LOG_LEVEL: must be debug, info, warn or error (got "loud")`},
		"APP_ENV":                  {"staging", `APP_ENV: must be production, development or test (got "staging")`},
		"SESSION_MAX_AGE":          {"so\x1b[2Jon", `SESSION_MAX_AGE: must be a duration like 24h or a number of milliseconds (got "so\x1b[2Jon")`},
		"SESSION_ABSOLUTE_MAX_AGE": {"1h", `SESSION_ABSOLUTE_MAX_AGE: must be at least SESSION_MAX_AGE (24h0m0s) (got "1h")`},
		"COOKIE_DOMAIN":            {"com", `COOKIE_DOMAIN: must be a domain like example.com, without a scheme, port or path (got "com")`},
		"TRUSTED_PROXIES":          {"10.0.0.0/8,proxy", `TRUSTED_PROXIES: must be IPs or prefixes like 10.0.0.0/8, separated by commas (got "proxy")`},
		"FRONTEND_URL":             {"https://a.example, a.example", `FRONTEND_URL: must be origins like https://app.example.com, without a path, separated by commas (got " a.example")`},
		"REDIS_CLUSTER":            {"a,b:x", `REDIS_CLUSTER: must be hosts like redis-1.example.com:6379, separated by commas (got "b:x")`},
		"PUBLIC_URL":               {"app.example.com", `PUBLIC_URL: must look like https://app.example.com, without a user, query or fragment (got "app.example.com")`},
		"OIDC_MY_IDP_ISSUER":       {"http://id.example.com", `OIDC_MY_IDP_ISSUER: must be https; http is allowed for localhost only (got "http://id.example.com")`},
		// Possible secrets are not quoted.
		"SESSION_SECRET":     {"hunter2", `SESSION_SECRET: must have at least 32 characters; generate one with: openssl rand -base64 32`},
		"REDIS_URI":          {"hunter2", `REDIS_URI: must look like redis://user:password@host:6379/0 or rediss://`},
		"OIDC_MY_IDP_SECRET": {"hunter2", `OIDC_MY_IDP_SECRET: unknown setting; OIDC_<NAME>_ must be followed by one of CLIENT_ID, CLIENT_SECRET, CALLBACK_URL, ISSUER, SCOPES, TITLE`},
		"GITHUB_URL":         {"https://u:hunter2@github.com", `GITHUB_URL: must look like https://github.com, without a user, query or fragment`},
	} {
		_, err := Load(provided(map[string]string{name: tc.value}))
		if want := "1 invalid setting:\n  " + tc.want; err == nil || err.Error() != want {
			t.Errorf("%s=%q: got error %v\nwant %s", name, tc.value, err, want)
		}
	}
}

// TestOneMistakeIsOneProblem: a setting that does not parse falls back to its default, so that it
// does not break other rules.
func TestOneMistakeIsOneProblem(t *testing.T) {
	t.Parallel()

	for _, s := range settingsOf(reflect.TypeFor[settings](), "") {
		if s.secret {
			continue
		}
		_, err := Load(good(map[string]string{s.name: "?"}))
		if err != nil && strings.Contains(err.Error(), "\n  "+s.name+": ") && !strings.HasPrefix(err.Error(), "1 invalid setting:") {
			t.Errorf("%s: got %v, want one problem", s.name, err)
		}
	}

	for name, vars := range map[string]map[string]string{
		"APP_ENV":                  {"APP_ENV": "staging", "MONGODB_URI": "", "TRUSTED_PROXIES": ""},
		"SESSION_MAX_AGE":          {"SESSION_MAX_AGE": "x", "SESSION_TOUCH_INTERVAL": "1m"},
		"SESSION_ABSOLUTE_MAX_AGE": {"SESSION_ABSOLUTE_MAX_AGE": "x", "SESSION_MAX_AGE": "1000h"},
		"COOKIE_SECURE":            {"COOKIE_SECURE": "x", "COOKIE_SAME_SITE": "none"},
		"SESSION_SECRET_FILE":      {"SESSION_SECRET_FILE": "/does/not/exist", "SESSION_SECRET": ""},
	} {
		_, err := Load(good(vars))
		if err == nil || !strings.HasPrefix(err.Error(), "1 invalid setting:\n  "+name+": ") {
			t.Errorf("%v: got %v, want one problem with %s", vars, err, name)
		}
	}
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
