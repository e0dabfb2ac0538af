package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// checkRefused fails the test unless Load reports a problem that begins with want, without a secret.
func checkRefused(t *testing.T, vars map[string]string, want string) {
	t.Helper()

	_, err := Load(vars)
	switch {
	case err == nil || !strings.Contains(err.Error(), "\n  "+want):
		t.Errorf("%q: got error %v, want %s", vars, err, want)
	case strings.Contains(err.Error(), "hunter") || strings.Contains(err.Error(), goodSecret) || strings.Contains(err.Error(), goodKey):
		t.Errorf("%q: got an error with a secret: %v", vars, err)
	}
}

// refusedValues lists invalid values by how the problem begins.
var refusedValues = map[string][]string{
	"HOST: must be a host":         {"http://127.0.0.1", "127.0.0.1:3000", ":3000"},
	"PORT: must be from":           {"65536"},
	"OPS_ADDR: must be":            {"9090"},
	"OPS_HOSTS: must be":           {"http://ops.example.com", "ops.example.com:9090", "ops.example.com,*:1"},
	"LOG_FORMAT: must be":          {"xml"},
	"BCRYPT_COST: must be":         {"9", "15"},
	"TLS_CERT_FILE: set both":      {"/x"},
	"PASSWORD_COMMON: must be":     {"yes"},
	"PASSWORD_MIN_LENGTH: must be": {"7", "65", "eight"},

	"SESSION_SECRET: required":              {""},
	"SESSION_SECRET: must have at least 32": {goodSecret + ",short"},
	"SESSION_SECRET: too regular": {
		strings.Repeat("a", 40), strings.Repeat("latchkey", 4), strings.Repeat("0123456789abcdef", 2),
		"zyxwvutsrqponmlkjihgfedcba987654", strings.Repeat("x8Kd02mQv", 4)[:35],
	},
	"SESSION_SECRET: contains the same secret": {goodSecret + ",old" + goodSecret + ", " + goodSecret},
	"SESSION_SECRET: contains an empty secret": {goodSecret + ",,"},
	"SESSION_SECRET: a published example": {
		"your-super-secret-key-change-this-in-production", "please_CHANGE_THIS_secret_before_production",
		strings.Repeat("change-me-", 4), // from the example for Kubernetes
	},
	"DATA_KEY: must have at least 32": {"short", goodKey + ",short"},
	"DATA_KEY: too regular":           {strings.Repeat("a", 40), strings.Repeat("0123456789abcdef", 2)},
	"DATA_KEY: contains the same":     {goodKey + ", " + goodKey},
	"DATA_KEY: contains an empty":     {goodKey + ",", goodKey + ",,old" + goodKey},
	"DATA_KEY: a published example":   {strings.Repeat("change-me-", 4)},
	"DATA_KEY: must not contain a":    {goodSecret, goodKey + ", " + goodSecret},
	"REQUIRE_MFA: must be off":        {"yes", "true", "optional"},

	"SESSION_MAX_AGE: must be a duration":     {"-5", "9999999999999999"},
	"SESSION_MAX_AGE: must be at least":       {"1ms"},
	"SESSION_CACHE: must be a size":           {"much", "1", "1000KiB", "2TiB", "-64MiB"},
	"SESSION_TOUCH_INTERVAL: must be at most": {"13h"},
	"MAIL_INTERVAL: must be at least":         {"1ms"},
	"STEP_UP_MAX_AGE: must be a duration":     {"x"},

	"COOKIE_SAME_SITE: must be":                                       {"sometimes"},
	"COOKIE_SECURE: must be true in production":                       {"false"},
	"COOKIE_SECURE: must be":                                          {"maybe"},
	"COOKIE_DOMAIN: must be":                                          {"https://example.com", "127.0.0.1", "com.", "a..b.com", "bücher.example"},
	"COOKIE_DOMAIN: must be a domain like example.com: browsers drop": {"com", "co.uk", ".github.io"},
	"SESSION_NAME: must consist":                                      {"my sid"},
	"SESSION_NAME: is the name of another cookie":                     {"__Host-device", "device", "__Host-oauth-abcdefghij", "oauth-x", "__Host-mfa", "mfa", "__Host-trust-x", "trust-"},
	"ACTIVITY_RETENTION: must be at least 24h":                        {"1s", "23h59m"},
	"USER_CACHE_MAX_AGE: must be from 0s to 1m":                       {"-1s", "61s"},

	"REGISTRATION: must be open":                       {"yes"},
	"INVITATION_MAX_AGE: must be at least 1s":          {"1ms", "-1h"},
	"UNVERIFIED_MAX_AGE: must be at least VERIFY_LINK": {"23h", "-1s"},
	"REQUIRE_VERIFIED_EMAIL: must be true":             {"yes"},
	"REGISTRATION_DOMAINS: must be domains": {
		"example", "ann@example.com", "*.example.com", "example.com,https://example.org", "example.com.", "192.0.2.1", "xn--a.example",
	},

	"FRONTEND_URL: required if users": {""},
	"FRONTEND_URL: * would let":       {"*", "https://*.example.com"},
	"FRONTEND_URL: must be https":     {"http://app.example.com"},
	"FRONTEND_URL: must be": {
		"null", "https://app.example.com/path", "capacitor://localhost", "https://127.1", "https://0x7f000001", "https://app.1", "https://a b.example",
		"https://[fe80::1%25eth0]", "https://[::ffff:10.0.0.1]", "https://xn--a.example", "https://a..example", "https://a.example:x", "https://a.example:0",
	},
	"TRUSTED_PROXIES: required":           {""},
	"TRUSTED_PROXIES: must be IPs":        {"::ffff:10.0.0.0/95", "::ffff:0:0/24", "10.0.0.0/8,::ffff:10.0.0.0/72"},
	"TRUSTED_PROXIES: 0.0.0.0/0 includes": {"10.0.0.0/8,0.0.0.0/0", "::ffff:0:0/96"},
	"TRUSTED_PROXIES: 2000::/4 includes":  {"2000::/4,3000::/4"},
	"TRUSTED_PROXIES: together these": {
		"8.0.0.0/8,9.0.0.0/8", "10.0.0.0/8,8.0.0.0/9,9.0.0.0/9,11.0.0.0/9", "2000::/16,2001::/17", "2a00::/17,2a01::/17,2a02::/17",
	},

	"APP_NAME: must be at most 50":           {"a\nb", "a\u202eb", "a\xff", strings.Repeat("ü", 51)},
	"APP_URL: must be https":                 {"http://www.example.com"},
	"APP_URL: must look like":                {"www.example.com", "javascript:alert(1)"},
	"APP_COLOR: must be a color":             {"blue", "#fff", "#12345g", "1f5fd0ff"},
	"DEFAULT_LOCALE: must be a language tag": {"german", "und", "de_", "d"},
	"APP_LOGO_URL: must look like": {
		"http://www.example.com/logo.png", "data:image/png;base64,AAAA", "https://u:hunter2@example.com/l.png", "https://example.com/l.png#x",
		"https://example.com/a b.png", "https://example.com/\"onload=x", "//example.com/l.png",
	},

	"PAGES: must be on or off":              {"true", "yes"},
	"PUBLIC_URL: must be https":             {"http://app.example.com"},
	"PUBLIC_URL: must look like":            {"https://app.example.com/?x=1"},
	"PUBLIC_URL: must be ASCII":             {"https://bücher.example"},
	"PASSWORD_BREACH_URL: must look like":   {"pwned"},
	"PASSWORD_BREACH_URL: must be https":    {"http://breach.example"},
	"SMTP_URL: must look like":              {"http://u:hunter2@x", "smtp://u:hunter%zz2@x"},
	"SMTP_HELO_NAME: must be a full host":   {"vm", ".example.com", "mail.example.com.", "a b.example", "192.0.2.1", "bücher.example"},
	"RATE_LIMIT: must be a rate like":       {"on", "0/60s"},
	"RATE_LIMIT_LOGIN: must be a rate like": {"off", "10/60", "10/1000h"},

	"MONGODB_URI: required": {""},
	"MONGODB_URI: must look like": {
		"postgres://u:hunter2@db/x", "mongodb://u:hunter2@", "mongodb://u:p@hunter@db/x", "mongodb+srv://u:p@hunter@db/x",
		"mongodb://u:p@v/?hunter@db/x",
	},
	"MONGODB_URI: the option readPreference is invalid": {
		"mongodb://u:hunter2@db/x?readPreference=bogus",
		"mongodb://u:hunter2@db/x?w=majority&readPreference=hunter&retryWrites=true",
		"mongodb+srv://u:hunter2@db.example.com/?readPreference=bogus",
		"mongodb://u:hunter2@db/x?readPreference",
	},
	"MONGODB_URI: the option TLS is invalid":           {"mongodb://u:hunter2@db/x?TLS=hunter"},
	"MONGODB_URI: the option maxPoolSize is invalid":   {"mongodb://u:hunter2@db/x?maxPoolSize=many;w=1"},
	"MONGODB_URI: the option authMechanism is invalid": {"mongodb://u:hunter2@db/x?authMechanism=hunter"},
	"MONGODB_URI: contains a placeholder": {
		"mongodb+srv://<db_username>:<db_password>@cluster0.example.mongodb.net/?appName=Cluster0", "mongodb://u:<PASSWORD>@db/x",
	},
	"MONGODB_URI: must have one host without a port": {"mongodb+srv://a,b/x", "mongodb+srv://a:27017/x"},
	"MONGODB_URI: must end in a database name": {
		"mongodb://db/my.db", "mongodb://db/my%20db", "mongodb://db/a/b", "mongodb+srv://db/my.db", "mongodb://db/" + strings.Repeat("a", 64),
	},
	"MONGODB_URI: cannot read a TLS file: open /does/not/exist": {
		"mongodb://u:hunter2@db/x?tls=true&tlsCAFile=/does/not/exist", "mongodb+srv://db/x?tlsCertificateKeyFile=/does/not/exist",
	},
	"MONGODB_URI: must not contain w=0": {
		"mongodb://u:hunter2@db/x?w=0",
		"mongodb://u:hunter2@db/x?readPreference=primary&W=0",
		"mongodb+srv://u:hunter2@db.example.com/x?retryWrites=false;w=0",
	},

	"REDIS_HOST: must be a host name or IP":    {"127.0.0.1:5101", "redis://127.0.0.1:5101", "u@h", "a,b", "a b"},
	"REDIS_URI: must look like":                {"http://u:hunter2@x", "redis://u:hunter%zz2@x", "redis://:hunter/2@x", "redis://x:0"},
	"REDIS_URI: must not have parameters":      {"redis://x?tls=true", "redis://x/0?family=0", "redis://:hunter?2@x", "redis://:hunter#2@x", "redis://x/0#y"},
	"REDIS_URI: must have one host":            {"redis://a:6379,b:6379", "redis://u:hunter2@a,b/0"},
	"REDIS_URI: must end in a database number": {"redis://x/sessions", "redis://x/-1"},
	"REDIS_PORT: must be a whole number":       {"x"},
	"REDIS_PORT: must be from":                 {"70000"},
	"REDIS_DB: must be 0 or more":              {"-1"},
	"REDIS_TLS: must be true or false":         {"perhaps"},
	"REDIS_PASSWORD_FILE: no such file":        {"/does/not/exist"},
	"REDIS_PASSWORD_FILE: the file is larger":  {"/dev/zero"},
	"REDIS_SENTINELS: must be hosts like":      {"a:1,redis://b", "a:1:2"},

	"GITHUB_URL: must be https":                  {"http://github.example.com"},
	"GITHUB_API_URL: must be https":              {"http://api.github.com"},
	"GITHUB_API_URL: must look like":             {"https://hunter2@api.github.com"},
	"GOOGLE_CALLBACK_URL: required, for example": {""},
	"GOOGLE_CALLBACK_URL: must be https":         {"http://api.example.com/auth/google/callback"},
	"GOOGLE_CALLBACK_URL: must look like":        {"/auth/google/callback", "https://api.example.com/auth/google/callback?x=1"},
	"GOOGLE_CALLBACK_URL: must end in": {
		"https://api.example.com/auth/google/callback/", "https://api.example.com/auth/g%6Fogle/callback",
		"https://api.example.com/auth/github/callback",
	},

	"GOOGLE_CLIENT_SECRET: required if another":      {""},
	"GITHUB_CLIENT_ID: required if another":          {""},
	"OIDC_MY_IDP_ISSUER: required if another":        {""},
	"OIDC_MY_IDP_CLIENT_ID: required":                {""},
	"OIDC_MY_IDP_CALLBACK_URL: required":             {""},
	"OIDC_MY_IDP_CALLBACK_URL: must end in /auth/my": {"https://api.example.com/auth/my_idp/callback"},
	"OIDC_MY_IDP_ISSUER: must look like": {
		"id.example.com", "ftp://id.example.com", "https://u:hunter2@id.example.com", "https://@id.example.com",
		"https://id.example.com?realm=1", "https://id.example.com?", "https://id.example.com#", "https://id.example.com:",
		"https://id.example.com:65536", "https://u:hunter%zz2@id.example.com",
	},
	"OIDC_MY_IDP_ISSUER: must be ASCII":    {"https://id.example.com/a b", "https://bücher.example"},
	"OIDC_MY_IDP_ISSUER: must be https":    {"http://localhost.example.com"},
	"OIDC_MY_IDP_ISSUER: duplicate issuer": {"https://accounts.google.com"},
	"OIDC_MY_IDP_SCOPES: must include":     {"email profile", "OPENID", ","},
	"OIDC_MY_IDP_SCOPES: must not include": {"openid offline_access"},
	"OIDC_MY_IDP_SCOPES: must be scopes":   {"openid\temail"},
	"OIDC_MY_IDP_TITLE: must be at most":   {"a\nb", "a\u202eb", "a\xff", strings.Repeat("ü", 65)},

	"OIDC_login_CLIENT_SECRET_FILE: no such":     {"/does/not/exist"},
	"OIDC__ISSUER: invalid provider name":        {"https://id.example.com"},
	"OIDC_MY__IDP_ISSUER: invalid provider name": {"https://id.example.com"},
	"OIDC_my_ISSUER: invalid provider name":      {"https://id.example.com"},
	"OIDC_MY-IDP_ISSUER: invalid provider name":  {"https://id.example.com"},
}

// refusedCombinations lists settings that are only invalid together, or by their names.
var refusedCombinations = map[string]map[string]string{
	"COOKIE_SAME_SITE: none requires":                        {"COOKIE_SAME_SITE": "none", "COOKIE_SECURE": "false"},
	"SESSION_NAME: browsers drop a __Host- cookie with":      {"SESSION_NAME": "__Host-sid", "COOKIE_DOMAIN": "example.com"},
	"SESSION_NAME: browsers drop a __Host- or":               {"SESSION_NAME": "__host-sid", "COOKIE_SECURE": "false"},
	"SESSION_NAME: browsers drop a __Host- or __Secure-":     {"SESSION_NAME": "__Secure-sid", "COOKIE_SECURE": "false"},
	"SESSION_SECRET: set either this or SESSION_SECRET_FILE": {"SESSION_SECRET_FILE": "/x"},
	"DATA_KEY: set either this or DATA_KEY_FILE":             {"DATA_KEY_FILE": "/x"},
	"DATA_KEY: must not contain a secret of SESSION_SECRET":  {"APP_ENV": "development", "DATA_KEY": "a,hunter2", "SESSION_SECRET": "b, hunter2"},
	"REQUIRE_MFA: all requires DATA_KEY":                     {"REQUIRE_MFA": "all", "DATA_KEY": ""},

	"REDIS_SENTINELS: set either this or REDIS_URI":     {"REDIS_SENTINELS": "a", "REDIS_URI": "redis://:hunter2@b"},
	"REDIS_SENTINELS: required if":                      {"REDIS_SENTINEL_MASTER": "m"},
	"REDIS_CLUSTER: set either this or REDIS_SENTINELS": {"REDIS_CLUSTER": "a:1", "REDIS_SENTINELS": "b:1"},
	"REDIS_DB: must be 0 with REDIS_CLUSTER":            {"REDIS_CLUSTER": "a:1", "REDIS_DB": "1"},
	"UNVERIFIED_MAX_AGE: requires SMTP_URL":             {"UNVERIFIED_MAX_AGE": "24h"},
	"REQUIRE_VERIFIED_EMAIL: requires SMTP_URL":         {"REQUIRE_VERIFIED_EMAIL": "true"},
	"MAIL_FROM: must be the sender":                     {"SMTP_URL": "smtp://u:hunter2@x"},
	"MAIL_INTERVAL: must be at most RESET":              {"SMTP_URL": "smtp://x", "MAIL_FROM": "a@example.com", "MAIL_INTERVAL": "31m"},
	"PUBLIC_URL: required for links":                    {"SMTP_URL": "smtp://u:hunter2@x", "FRONTEND_URL": ""},

	"OIDC_MY_IDP_CLIENT_SECRET: set either this or": {"OIDC_MY_IDP_CLIENT_SECRET_FILE": "/x"},
	"OIDC_MY_IDP_ISSUER: must be https":             {"OIDC_MY_IDP_ISSUER": "http://id.example.com", "APP_ENV": "development"},
	"GITHUB_CALLBACK_URL: required":                 {"GITHUB_CALLBACK_URL": "", "APP_ENV": "test"},
	"GOOGLE_CALLBACK_URL: required":                 ownCallbacks(map[string]string{"PORT": "0"}), // the port is not known yet
	"OIDC_B_ISSUER: required":                       {"OIDC_B_TITLE": "B"},
	"OIDC_GOOGLE_*: duplicate provider name":        {"OIDC_GOOGLE_ISSUER": "https://id.example.com"},
	`OIDC_\x1b[31m_ISSUER: invalid provider name`:   {"OIDC_\x1b[31m_ISSUER": "https://id.example.com"},
}

func TestRefused(t *testing.T) {
	t.Parallel()

	for want, values := range refusedValues {
		name, _, _ := strings.Cut(want, ": ")
		for _, value := range values {
			checkRefused(t, provided(map[string]string{name: value}), want)
		}
	}

	for want, vars := range refusedCombinations {
		checkRefused(t, provided(vars), want)
	}

	for _, name := range reserved {
		prefix := "OIDC_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "_"
		checkRefused(t, provided(map[string]string{prefix + "ISSUER": "https://id.example.com"}), prefix+"*: reserved provider name")
	}
}

// broken returns variables that are almost all invalid.
func broken() map[string]string {
	vars := map[string]string{
		"GOOGLE_CLIENT_ID": "x", "GITHUB_CLIENT_SECRET_FILE": "/does/not/exist", "OIDC_ACME_ISSUER": "http://id.example.com",
		"OIDC__TITLE": "x", "OIDC_YOU_SCOPES": "email",
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

	lines := strings.Split(err.Error(), "\n")
	checkEqual(t, "first line", lines[0], fmt.Sprintf("%d invalid settings:", len(lines)-1))

	var got []string
	seen := map[string]bool{}
	for _, line := range lines[1:] {
		if seen[line] {
			t.Errorf("duplicate line: %s", line)
		}

		seen[line] = true
		name, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		got = append(got, name)
	}

	want := []string{
		"OIDC__TITLE", "HOST", "PORT", "LOG_LEVEL", "LOG_FORMAT", "OPS_ADDR", "OPS_HOSTS", "DRAIN_TIME",
		"FRONTEND_URL", "FRONTEND_URL", "FRONTEND_URL", "TRUSTED_PROXIES", "TRUSTED_PROXIES", "TRUSTED_PROXIES",
		"MONGODB_URI", "MONGODB_TIMEOUT", "BCRYPT_COST", "REDIS_HOST", "REDIS_PORT", "REDIS_DB", "REDIS_TLS", "REDIS_TIMEOUT",
		"REDIS_SENTINELS", "REDIS_SENTINELS", "REDIS_SENTINELS", "REDIS_CLUSTER", "REDIS_CLUSTER",
		"SESSION_SECRET", "SESSION_SECRET", "SESSION_MAX_AGE", "SESSION_ABSOLUTE_MAX_AGE", "SESSION_TOUCH_INTERVAL", "SESSION_MAX_PER_USER", "SESSION_CACHE",
		"SESSION_NAME", "COOKIE_DOMAIN", "COOKIE_SECURE", "COOKIE_SAME_SITE",
		"APP_URL", "APP_COLOR", "APP_LOGO_URL", "DEFAULT_LOCALE",
		"PUBLIC_URL", "PAGES", "PASSWORD_MIN_LENGTH", "PASSWORD_COMMON", "PASSWORD_BREACH_URL", "STEP_UP_MAX_AGE", "RESET_LINK_MAX_AGE", "VERIFY_LINK_MAX_AGE", "USER_CACHE_MAX_AGE", "ACTIVITY_RETENTION", "REQUIRE_MFA",
		"RATE_LIMIT", "RATE_LIMIT_REGISTER", "RATE_LIMIT_LOGIN", "RATE_LIMIT_MAIL", "RATE_LIMIT_TOKEN", "RATE_LIMIT_PASSWORD",
		"RATE_LIMIT_OAUTH", "RATE_LIMIT_ACCOUNT", "RATE_LIMIT_DEVICE", "SMTP_URL", "MAIL_FROM", "SMTP_HELO_NAME", "MAIL_INTERVAL",
		"REGISTRATION", "REGISTRATION_DOMAINS", "INVITATION_MAX_AGE", "REQUIRE_VERIFIED_EMAIL", "UNVERIFIED_MAX_AGE",
		"GOOGLE_CLIENT_SECRET", "GOOGLE_CALLBACK_URL", "GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET_FILE", "GITHUB_CALLBACK_URL",
		"OIDC_ACME_CLIENT_ID", "OIDC_ACME_CLIENT_SECRET", "OIDC_ACME_CALLBACK_URL", "OIDC_ACME_ISSUER",
		"OIDC_YOU_CLIENT_ID", "OIDC_YOU_CLIENT_SECRET", "OIDC_YOU_CALLBACK_URL", "OIDC_YOU_ISSUER", "OIDC_YOU_SCOPES",
	}
	checkEqual(t, "order", got, want)
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
		"COOKIE_DOMAIN":            {"com", `COOKIE_DOMAIN: must be a domain like example.com: browsers drop cookies of a public suffix (got "com")`},
		"NODE_ENV":                 {"staging", `NODE_ENV: must be production, development or test (got "staging")`},
		"TRUSTED_PROXIES":          {"10.0.0.0/8,proxy", `TRUSTED_PROXIES: must be IPs or prefixes like 10.0.0.0/24, separated by commas (got "proxy")`},
		"FRONTEND_URL":             {"https://a.example, a.example", `FRONTEND_URL: must be http or https origins like https://app.example.com, without a path, separated by commas (got "a.example")`},
		"REDIS_CLUSTER":            {"a,b:x", `REDIS_CLUSTER: must be hosts like redis-1.example.com:6379, separated by commas (got "b:x")`},
		"PUBLIC_URL":               {"app.example.com", `PUBLIC_URL: must look like https://app.example.com, without a user, query or fragment (got "app.example.com")`},
		"OIDC_MY_IDP_ISSUER":       {"http://id.example.com", `OIDC_MY_IDP_ISSUER: must be https; http is allowed for localhost only (got "http://id.example.com")`},
		// Possible secrets are not quoted.
		"SESSION_SECRET": {"hunter2", `SESSION_SECRET: must have at least 32 characters; generate one with: openssl rand -base64 32`},
		"REDIS_URI":      {"hunter2", `REDIS_URI: must look like redis://user:password@host:6379/0 or rediss://; ` + percentEncoding},
		"GITHUB_URL":     {"https://u:hunter2@github.com", `GITHUB_URL: must look like https://github.com, without a user, query or fragment`},
	} {
		_, err := Load(provided(map[string]string{name: tc.value}))
		if want := "1 invalid setting:\n  " + tc.want; err == nil || err.Error() != want {
			t.Errorf("%s=%q: got error %v\nwant %s", name, tc.value, err, want)
		}
	}
}

// TestLikelyEnvironment: with a misspelled APP_ENV, the report also has what is wrong in the environment that is
// meant.
func TestLikelyEnvironment(t *testing.T) {
	t.Parallel()

	for value, wantAll := range map[string]bool{"prod": true, "Production": true, "prodution": true, "dev": false, "staging": false} {
		_, err := Load(good(map[string]string{"APP_ENV": value, "BCRYPT_COST": "4"}))
		if err == nil || !strings.Contains(err.Error(), "APP_ENV: must be") || strings.Contains(err.Error(), "BCRYPT_COST: must") != wantAll {
			t.Errorf("APP_ENV=%s: got error %v, want BCRYPT_COST in it: %t", value, err, wantAll)
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
		"NODE_ENV":                 {"NODE_ENV": "staging", "MONGODB_URI": "", "TRUSTED_PROXIES": ""},
		"REDIS_PORT":               {"REDIS_PORT": "tcp://10.0.0.1:6379"},
		"SESSION_MAX_AGE":          {"SESSION_MAX_AGE": "x", "SESSION_TOUCH_INTERVAL": "1m"},
		"SESSION_ABSOLUTE_MAX_AGE": {"SESSION_ABSOLUTE_MAX_AGE": "x", "SESSION_MAX_AGE": "1000h"},
		"COOKIE_SECURE":            {"COOKIE_SECURE": "x", "COOKIE_SAME_SITE": "none"},
		"SESSION_SECRET_FILE":      {"SESSION_SECRET_FILE": "/does/not/exist", "SESSION_SECRET": ""},
		"DATA_KEY_FILE":            {"DATA_KEY_FILE": "/does/not/exist", "DATA_KEY": "", "REQUIRE_MFA": "all"},
	} {
		_, err := Load(good(vars))
		if err == nil || !strings.HasPrefix(err.Error(), "1 invalid setting:\n  "+name+": ") {
			t.Errorf("%v: got %v, want one problem with %s", vars, err, name)
		}
	}
}

// TestPagesNeedTheirURL: links in emails would otherwise lead to the first FRONTEND_URL, which has no
// such pages.
func TestPagesNeedTheirURL(t *testing.T) {
	t.Parallel()

	checkRefused(t, good(map[string]string{"PAGES": "on", "FRONTEND_URL": "https://app.example.com"}), "PUBLIC_URL: required with PAGES=on")

	c, err := Load(good(map[string]string{"PAGES": "on", "PUBLIC_URL": "https://id.example.com/"}))
	if err != nil || !bool(c.Accounts.Pages) || c.Accounts.PublicURL != "https://id.example.com" {
		t.Errorf("got %+v, %v, want pages at https://id.example.com", c.Accounts, err)
	}
}
