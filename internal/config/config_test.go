package config

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caarlos0/env/v10"
)

const goodSecret = "Zm9ydHktdHdvIGNoYXJhY3RlcnMgb2YgcmFuZG9tbmVzcw"

// good is the least that production needs.
func good(changes map[string]string) map[string]string {
	vars := map[string]string{"SESSION_SECRET": goodSecret, "MONGODB_URI": "mongodb://db/latchkey", "TRUSTED_PROXIES": "127.0.0.1"}
	maps.Copy(vars, changes)
	return vars
}

func load(t *testing.T, vars map[string]string) Config {
	t.Helper()
	c, err := Load(vars)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c := load(t, good(nil))
	if c.AppEnv != Production || c.Addr() != ":3000" || c.LogFormat != "json" || c.LogLevel != slog.LevelInfo || c.BcryptCost != 10 {
		t.Errorf("%+v", c)
	}
	if k := c.Cookie; k.Name != "__Host-sid" || !k.Secure || k.Domain != "" || k.SameSite != http.SameSiteLaxMode {
		t.Errorf("cookie %+v", k)
	}
	if s := c.Session; time.Duration(s.MaxAge) != 24*time.Hour || time.Duration(s.AbsoluteMaxAge) != 720*time.Hour || time.Duration(s.TouchInterval) != time.Minute {
		t.Errorf("session %+v", s)
	}
	if c.Redis.Addr() != "localhost:6379" || len(c.Warnings) != 1 || !strings.HasPrefix(c.Warnings[0], "SMTP_URL is missing") {
		t.Errorf("redis %+v, warnings %v", c.Redis, c.Warnings)
	}
}

// The .env files of both guides, as they stand there.
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
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		vars, err := Environ([]string{"PORT=4000"}, path)
		if err != nil {
			t.Fatal(err)
		}
		c := load(t, vars)
		if c.HTTPPort != 4000 || c.AppEnv != Development || c.LogFormat != "text" || c.Cookie.Secure {
			t.Errorf("%s: %+v", name, c)
		}
		switch name {
		case "first":
			if c.Cookie.Name != "nestjs.sid" || c.Cookie.Domain != "" || time.Duration(c.Session.MaxAge) != 24*time.Hour || c.FrontendURL[0] != "http://localhost:3001" {
				t.Errorf("first: %+v", c)
			}
		case "second":
			if c.Redis.Addr() != "localhost:6380" || c.Redis.Password != "secret of redis" || c.Cookie.Name != "sid" {
				t.Errorf("second: %+v %s", c.Redis, c.Cookie.Name)
			}
		}
	}
}

// Each refused setting, by what its line must start with.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		vars map[string]string
		want string
	}{
		{map[string]string{"SESSION_SECRET": ""}, "SESSION_SECRET: is missing"},
		{map[string]string{"SESSION_SECRET": "short"}, "SESSION_SECRET: must have at least 32"},
		{map[string]string{"SESSION_SECRET": goodSecret + ",short"}, "SESSION_SECRET: must have at least 32"},
		{map[string]string{"SESSION_SECRET": goodSecret + ",,"}, "SESSION_SECRET: one of the secrets"},
		{map[string]string{"SESSION_SECRET": "your-super-secret-key-change-this-in-production"}, "SESSION_SECRET: is an example"},
		{map[string]string{"SESSION_SECRET": "please_CHANGE_THIS_secret_before_production"}, "SESSION_SECRET: is an example"},
		{map[string]string{"COOKIE_SAME_SITE": "none", "COOKIE_SECURE": "false"}, "COOKIE_SAME_SITE: none needs"},
		{map[string]string{"COOKIE_SAME_SITE": "sometimes"}, "COOKIE_SAME_SITE: must be"},
		{map[string]string{"COOKIE_SECURE": "false"}, "COOKIE_SECURE: false would send"},
		{map[string]string{"COOKIE_SECURE": "maybe"}, "COOKIE_SECURE: must be"},
		{map[string]string{"SESSION_NAME": "__Host-sid", "COOKIE_DOMAIN": "example.com"}, "SESSION_NAME: browsers drop a __Host- cookie that has a Domain"},
		{map[string]string{"SESSION_NAME": "__host-sid", "COOKIE_SECURE": "false"}, "SESSION_NAME: browsers drop a __host- cookie without Secure"},
		{map[string]string{"SESSION_NAME": "__Secure-sid", "COOKIE_SECURE": "false"}, "SESSION_NAME: browsers drop a __Secure- cookie"},
		{map[string]string{"SESSION_NAME": "my sid"}, "SESSION_NAME: must be"},
		{map[string]string{"COOKIE_DOMAIN": "https://example.com"}, "COOKIE_DOMAIN: must be"},
		{map[string]string{"COOKIE_DOMAIN": "127.0.0.1"}, "COOKIE_DOMAIN: must be"},
		{map[string]string{"COOKIE_DOMAIN": "com."}, "COOKIE_DOMAIN: must be"},
		{map[string]string{"COOKIE_DOMAIN": "a..b.com"}, "COOKIE_DOMAIN: must be"},
		{map[string]string{"COOKIE_DOMAIN": "bücher.example"}, "COOKIE_DOMAIN: must be"},
		{map[string]string{"REDIS_URI": "redis://x?tls=true"}, "REDIS_URI: must look like"},
		{map[string]string{"SESSION_SECRET": strings.Repeat("a", 40)}, "SESSION_SECRET: is too regular"},
		{map[string]string{"COOKIE_DOMAIN": "com"}, "COOKIE_DOMAIN: must be"},
		{map[string]string{"FRONTEND_URL": "*"}, "FRONTEND_URL: * would let"},
		{map[string]string{"FRONTEND_URL": "https://*.example.com"}, "FRONTEND_URL: * would let"},
		{map[string]string{"FRONTEND_URL": "null"}, "FRONTEND_URL: must be"},
		{map[string]string{"FRONTEND_URL": "https://a.example,app.example.com"}, "FRONTEND_URL: must be"},
		{map[string]string{"FRONTEND_URL": "https://app.example.com/path"}, "FRONTEND_URL: must be"},
		{map[string]string{"MONGODB_URI": ""}, "MONGODB_URI: is missing"},
		{map[string]string{"MONGODB_URI": "postgres://u:hunter2@db/x"}, "MONGODB_URI: must look like"},
		{map[string]string{"MONGODB_URI": "mongodb://u:hunter2@"}, "MONGODB_URI: must look like"},
		{map[string]string{"REDIS_URI": "http://u:hunter2@x"}, "REDIS_URI: must look like"},
		{map[string]string{"REDIS_URI": "redis://u:hunter%zz2@x"}, "REDIS_URI: must look like"},
		{map[string]string{"REDIS_URI": "redis://x/sessions"}, "REDIS_URI: the part after"},
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
		{map[string]string{"SESSION_ABSOLUTE_MAX_AGE": "1h"}, "SESSION_ABSOLUTE_MAX_AGE: must not be shorter"},
		{map[string]string{"SESSION_TOUCH_INTERVAL": "13h"}, "SESSION_TOUCH_INTERVAL: must be at most half"},
		{map[string]string{"SESSION_SECRET_FILE": "/x"}, "SESSION_SECRET: set it or SESSION_SECRET_FILE"},
		{map[string]string{"REDIS_PASSWORD_FILE": "/does/not/exist"}, "REDIS_PASSWORD_FILE: no such file"},
		{map[string]string{"REDIS_PASSWORD_FILE": "/dev/zero"}, "REDIS_PASSWORD_FILE: is larger than"},
		{map[string]string{"TLS_CERT_FILE": "/x"}, "TLS_CERT_FILE: set it and TLS_KEY_FILE"},
		{map[string]string{"TRUSTED_PROXIES": ""}, "TRUSTED_PROXIES: name the proxy"},
		{map[string]string{"TRUSTED_PROXIES": "proxy.example.com"}, "TRUSTED_PROXIES: must be addresses"},
		{map[string]string{"TRUSTED_PROXIES": "10.0.0.0/8,0.0.0.0/0"}, "TRUSTED_PROXIES: 0.0.0.0/0 is everybody"},
		{map[string]string{"FRONTEND_URL": "http://app.example.com"}, "FRONTEND_URL: http://app.example.com must be https"},
		{map[string]string{"REDIS_SENTINELS": "a:1,redis://b"}, "REDIS_SENTINELS: must be addresses like"},
		{map[string]string{"REDIS_SENTINELS": "a:1,"}, "REDIS_SENTINELS: must be addresses like"},
		{map[string]string{"REDIS_SENTINELS": "a", "REDIS_URI": "redis://:hunter2@b"}, "REDIS_SENTINELS: set it or REDIS_URI"},
		{map[string]string{"REDIS_SENTINEL_MASTER": "m"}, "REDIS_SENTINELS: is missing"},
		{map[string]string{"REDIS_CLUSTER": "a:x"}, "REDIS_CLUSTER: must be addresses like"},
		{map[string]string{"REDIS_CLUSTER": "a:1", "REDIS_SENTINELS": "b:1"}, "REDIS_CLUSTER: set it or REDIS_SENTINELS"},
		{map[string]string{"REDIS_CLUSTER": "a:1", "REDIS_DB": "1"}, "REDIS_DB: a cluster has no other"},
		{map[string]string{"RATE_LIMIT": "on"}, "RATE_LIMIT: must be a rate like 10/60s, or off"},
		{map[string]string{"RATE_LIMIT": "0/60s"}, "RATE_LIMIT: must be a rate"},
		{map[string]string{"RATE_LIMIT_LOGIN": "off"}, "RATE_LIMIT_LOGIN: must be a rate like"},
		{map[string]string{"RATE_LIMIT_ACCOUNT": "10/60"}, "RATE_LIMIT_ACCOUNT: must be a rate like"},
		{map[string]string{"RATE_LIMIT_DEVICE": "10/1000h"}, "RATE_LIMIT_DEVICE: must be a rate like"},
		{map[string]string{"SMTP_URL": "http://u:hunter2@x", "MAIL_FROM": "a@b.example", "PUBLIC_URL": "https://a.example"}, "SMTP_URL: must look like"},
		{map[string]string{"SMTP_URL": "smtp://u:hunter%zz2@x", "MAIL_FROM": "a@b.example", "PUBLIC_URL": "https://a.example"}, "SMTP_URL: must look like"},
		{map[string]string{"SMTP_URL": "smtp://u:hunter2@x", "PUBLIC_URL": "https://a.example"}, "MAIL_FROM: must be the sender"},
		{map[string]string{"SMTP_URL": "smtp://u:hunter2@x", "MAIL_FROM": "a@b.example"}, "PUBLIC_URL: say where"},
		{map[string]string{"PUBLIC_URL": "http://app.example.com"}, "PUBLIC_URL: must be https"},
		{map[string]string{"PUBLIC_URL": "https://app.example.com/?x=1"}, "PUBLIC_URL: must look like"},
		{map[string]string{"PUBLIC_URL": "https://bücher.example"}, "PUBLIC_URL: must be in ASCII"},
		{map[string]string{"PASSWORD_BREACH_URL": "pwned"}, "PASSWORD_BREACH_URL: must look like"},
		{map[string]string{"PASSWORD_BREACH_URL": "http://breach.example"}, "PASSWORD_BREACH_URL: must be https"},
		{map[string]string{"PASSWORD_COMMON": "yes"}, "PASSWORD_COMMON: must be refuse or accept"},
		{map[string]string{"MAIL_INTERVAL": "1ms"}, "MAIL_INTERVAL: must be at least"},
		{map[string]string{"STEP_UP_MAX_AGE": "x"}, "STEP_UP_MAX_AGE: must be a duration"},
	} {
		_, err := Load(good(tc.vars))
		if err == nil || !strings.Contains(err.Error(), "\n  "+tc.want) {
			t.Errorf("%v: %v; want %s", tc.vars, err, tc.want)
			continue
		}
		if strings.Contains(err.Error(), "hunter") || strings.Contains(err.Error(), goodSecret) {
			t.Errorf("%v: the error holds a secret: %v", tc.vars, err)
		}
	}
}

// Origins are compared with what browsers send, so they are written as these do.
func TestOrigins(t *testing.T) {
	t.Parallel()
	c := load(t, good(map[string]string{
		"FRONTEND_URL":    "HTTPS://App.Example.com:443/, https://bücher.example,http://localhost:3001,http://[0:0:0:0:0:0:0:1]:80,https://a.example:8443,http://LOCALHOST:3001/",
		"TRUSTED_PROXIES": "10.1.2.3/8, ::1,::ffff:10.0.0.1",
	}))
	const want = "https://app.example.com https://xn--bcher-kva.example http://localhost:3001 http://[::1] https://a.example:8443"
	if got := strings.Join(c.FrontendURL, " "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := strings.Join(c.TrustedProxies, " "); got != "10.0.0.0/8 ::1/128 10.0.0.1/32" {
		t.Errorf("proxies %s", got)
	}
	if c := load(t, map[string]string{"APP_ENV": "development", "SESSION_SECRET": "x"}); len(c.FrontendURL) != 1 || c.FrontendURL[0] != "http://localhost:3001" {
		t.Errorf("in development: %s", c.FrontendURL)
	}
}

// A Redis of several servers is named by addresses, with or without a port.
func TestRedisPlaces(t *testing.T) {
	t.Parallel()
	c := load(t, good(map[string]string{"REDIS_SENTINELS": "a, 10.0.0.1:1 ,::1,[::2]:3", "REDIS_SENTINEL_PASSWORD": "p"}))
	if got := strings.Join(c.Redis.Sentinels, " "); got != "a:26379 10.0.0.1:1 [::1]:26379 [::2]:3" || c.Redis.Master != "mymaster" {
		t.Errorf("the Sentinels of %s are %s", c.Redis.Master, got)
	}
	c = load(t, good(map[string]string{"REDIS_CLUSTER": "a,b:7000", "REDIS_HOST": "localhost"}))
	if got := strings.Join(c.Redis.Cluster, " "); got != "a:6379 b:7000" {
		t.Errorf("the cluster is %s", got)
	}
}

// What is unsafe in production is allowed where one tries things out.
func TestAccounts(t *testing.T) {
	t.Parallel()
	c := load(t, good(map[string]string{
		"FRONTEND_URL": "https://z.example,https://a.example", "RATE_LIMIT": "20/1m", "RATE_LIMIT_LOGIN": "5/30s",
		"SMTP_URL": "smtps://u:p@mail.example", "MAIL_FROM": "Latchkey <no-reply@example.com>",
	}))
	if c.Accounts.PublicURL != "https://z.example" || !c.Accounts.RefuseCommon || len(c.Warnings) != 0 {
		t.Errorf("%+v, warnings %v", c.Accounts, c.Warnings)
	}
	if l := c.Limits; l.Off || l.Login != (Rate{5, 30 * time.Second}) || l.Register != (Rate{20, time.Minute}) || l.Device != l.Register || l.Account != (Rate{15, 30 * time.Second}) {
		t.Errorf("%+v", l)
	}
	c = load(t, good(map[string]string{"RATE_LIMIT": "OFF", "APP_ENV": "development", "PUBLIC_URL": "https://app.example/auth/"}))
	if !c.Limits.Off || c.Accounts.RefuseCommon || c.Accounts.PublicURL != "https://app.example/auth" {
		t.Errorf("%+v %+v", c.Limits, c.Accounts)
	}
	if len(c.Warnings) != 1 || !strings.HasPrefix(c.Warnings[0], "RATE_LIMIT is off") {
		t.Errorf("warnings %v", c.Warnings)
	}
}

func TestDevelopmentIsLenient(t *testing.T) {
	t.Parallel()
	c := load(t, map[string]string{"APP_ENV": "development", "SESSION_SECRET": "x", "BCRYPT_COST": "4"})
	if c.MongoURI != "mongodb://localhost:27017/latchkey" || c.Cookie.Secure {
		t.Errorf("%+v", c)
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := Load(map[string]string{"PORT": "x", "REDIS_PORT": "y", "BCRYPT_COST": "1", "COOKIE_SAME_SITE": "no", "FRONTEND_URL": "*"})
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	if lines[0] != fmt.Sprintf("%d settings are wrong:", len(lines)-1) {
		t.Errorf("the first line is %q for %d faults", lines[0], len(lines)-1)
	}
	for _, name := range []string{"PORT", "REDIS_PORT", "BCRYPT_COST", "COOKIE_SAME_SITE", "FRONTEND_URL", "SESSION_SECRET", "MONGODB_URI"} {
		if !strings.Contains(err.Error(), "\n  "+name+": ") {
			t.Errorf("%s is not reported:\n%v", name, err)
		}
	}
}

func TestSecretFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(goodSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	vars := good(map[string]string{"SESSION_SECRET": "", "SESSION_SECRET_FILE": path, "REDIS_PASSWORD_FILE": path})
	c := load(t, vars)
	if c.Session.Secrets[0] != goodSecret || c.Redis.Password != goodSecret {
		t.Error("the files were not read")
	}
	if err := os.WriteFile(path, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(vars); err == nil || !strings.Contains(err.Error(), "SESSION_SECRET_FILE: the file is empty") {
		t.Errorf("an empty file: %v", err)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	c := load(t, good(map[string]string{
		"SESSION_SECRET": goodSecret + "," + goodSecret, "REDIS_URI": "rediss://u:hunter2@r/3", "MONGODB_URI": "mongodb://u:hunter2@db/x",
	}))
	if c.Redis.Password != "hunter2" || c.Redis.Username != "u" || c.Redis.DB != 3 || !c.Redis.TLS || c.Redis.Addr() != "r:6379" {
		t.Errorf("REDIS_URI came to %+v", c.Redis)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", c.Redis.Password, "config", c)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", c.Redis.Password, "config", c)
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%s %v %q", c.MongoURI, c.Session.Secrets, c.Redis.Password), log.String()} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, goodSecret) {
			t.Errorf("a secret is printed: %s", text)
		}
	}
}

func TestTelemetry(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "headers")
	if err := os.WriteFile(file, []byte("authorization=Bearer hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := load(t, good(map[string]string{"OTEL_SERVICE_NAME": "x", "OPS_ADDR": ":9090", "OTEL_SDK_DISABLED": "", "OTEL_EXPORTER_OTLP_HEADERS_FILE": file, "PATH": "/bin"}))
	if c.Telemetry["OTEL_SERVICE_NAME"] != "x" || c.Telemetry["OTEL_EXPORTER_OTLP_HEADERS"] != "authorization=Bearer hunter2" || c.Telemetry["PATH"] != "" || c.OpsAddr != ":9090" {
		t.Errorf("%#v", c.Telemetry)
	}
	if strings.Contains(fmt.Sprintf("%+v", c), "hunter2") {
		t.Error("what the collector knows us by is printed")
	}
}

func TestBadEnvFileIsNotQuoted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(path, []byte("SESSION_SECRET='hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Environ(nil, path); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Environ: %v", err)
	}
}

// Every setting stands in .env.example and in the README's table, and they have
// no others.
func TestSettingsAreDocumented(t *testing.T) {
	t.Parallel()
	want := []string{"NODE_ENV", "OIDC_<NAME>_CLIENT_SECRET_FILE"}
	for of, prefix := range map[any]string{&Config{}: "", &namedSettings{}: "", &oidcSettings{}: "OIDC_<NAME>_"} {
		params, err := env.GetFieldParamsWithOptions(of, env.Options{Prefix: prefix})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range params {
			want = append(want, p.Key)
		}
	}
	for _, name := range secrets {
		want = append(want, name+"_FILE")
	}
	slices.Sort(want)
	for file, setting := range map[string]*regexp.Regexp{
		"../../.env.example": regexp.MustCompile(`(?m)^(?:# )?([A-Z][A-Z_]+)=|\b([A-Z][A-Z_]+_FILE)\b`),
		"../../README.md":    regexp.MustCompile("(?m)^\\| `([A-Z][A-Z_<>]+)`|`([A-Z][A-Z_<>]+_FILE)`"),
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range setting.FindAllStringSubmatch(string(text), -1) {
			// An example has a name.
			name := strings.Replace(m[1]+m[2], "OIDC_KEYCLOAK_", "OIDC_<NAME>_", 1)
			if name != "OTEL_EXPORTER_OTLP_ENDPOINT" { // OpenTelemetry's, which has many more
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, want) {
			t.Errorf("%s has\n%v, want\n%v", file, got, want)
		}
	}
}

// Each field that can fail to parse is named by its variable.
func TestParseFaultsNameVariables(t *testing.T) {
	t.Parallel()
	for field, name := range variableOf {
		_, err := Load(good(map[string]string{name: "?"}))
		if err == nil || !strings.Contains(err.Error(), "\n  "+name+": ") {
			t.Errorf("%s (%s): %v", field, name, err)
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
			t.Errorf("%s=%q leaves %+v", name, value, c)
		}
	})
}
