package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/testkit"
)

// weakCases lists changes to strong settings, and the names of the settings that are then reported.
var weakCases = []struct {
	vars map[string]string
	want []string
}{
	{map[string]string{}, nil},

	{map[string]string{"APP_ENV": "test"}, []string{"APP_ENV"}},
	{map[string]string{"NODE_ENV": "development", "RATE_LIMIT": "off"}, []string{"APP_ENV"}},

	{map[string]string{"RATE_LIMIT": "off", "RATE_LIMIT_LOGIN": "1000000/1s"}, []string{"RATE_LIMIT"}},
	{map[string]string{"RATE_LIMIT": "1000000/1s"}, []string{"RATE_LIMIT"}},
	{map[string]string{"RATE_LIMIT": "1001/24h"}, []string{"RATE_LIMIT"}},
	{map[string]string{"RATE_LIMIT": "100/60s", "RATE_LIMIT_OAUTH": "600/60s", "RATE_LIMIT_ACCOUNT": "1000/1h"}, nil},
	{map[string]string{"RATE_LIMIT_LOGIN": "101/60s", "RATE_LIMIT_ACCOUNT": "301/60s"}, []string{"RATE_LIMIT_LOGIN", "RATE_LIMIT_ACCOUNT"}},
	{map[string]string{"RATE_LIMIT_OAUTH": "601/60s", "RATE_LIMIT_DEVICE": "101/60s"}, []string{"RATE_LIMIT_OAUTH", "RATE_LIMIT_DEVICE"}},
	{map[string]string{"MAIL_INTERVAL": "9s"}, []string{"MAIL_INTERVAL"}},
	{map[string]string{"PASSWORD_COMMON": "accept"}, []string{"PASSWORD_COMMON"}},
	{map[string]string{"REQUIRE_MFA": "off"}, []string{"REQUIRE_MFA"}},
	{map[string]string{"REQUIRE_MFA": "OFF", "DATA_KEY": ""}, []string{"REQUIRE_MFA"}},
	{map[string]string{"REQUIRE_MFA": "all"}, nil},

	{map[string]string{"STEP_UP_MAX_AGE": "1h", "RESET_LINK_MAX_AGE": "24h", "SESSION_MAX_AGE": "168h"}, nil},
	{map[string]string{"STEP_UP_MAX_AGE": "87600h"}, []string{"STEP_UP_MAX_AGE"}},
	{map[string]string{"RESET_LINK_MAX_AGE": "25h"}, []string{"RESET_LINK_MAX_AGE"}},
	{map[string]string{"VERIFY_LINK_MAX_AGE": "87600h"}, []string{"VERIFY_LINK_MAX_AGE"}},
	{map[string]string{"INVITATION_MAX_AGE": "721h"}, []string{"INVITATION_MAX_AGE"}},
	{map[string]string{"SESSION_MAX_AGE": "169h"}, []string{"SESSION_MAX_AGE"}},
	{map[string]string{"SESSION_ABSOLUTE_MAX_AGE": "721h"}, []string{"SESSION_ABSOLUTE_MAX_AGE"}},
	{map[string]string{"SESSION_MAX_PER_USER": "0"}, []string{"SESSION_MAX_PER_USER"}},
	{map[string]string{"ACTIVITY_RETENTION": "719h"}, []string{"ACTIVITY_RETENTION"}},
	{map[string]string{"LOG_LEVEL": "error"}, []string{"LOG_LEVEL"}},
	{map[string]string{"LOG_LEVEL": "warn"}, nil},

	{map[string]string{"OPS_ADDR": "0.0.0.0:9090"}, []string{"OPS_ADDR"}},
	{map[string]string{"OPS_ADDR": ":9090"}, []string{"OPS_ADDR"}},
	{map[string]string{"OPS_ADDR": "[2001:db8::1]:9090"}, []string{"OPS_ADDR"}},
	{map[string]string{"OPS_ADDR": "10.0.0.5:9090"}, nil},
	{map[string]string{"OPS_ADDR": "[fe80::1%eth0]:9090"}, nil},
	{map[string]string{"OPS_ADDR": "localhost:9090"}, nil},
	{map[string]string{"HOST": ""}, []string{"HOST"}},
	{map[string]string{"HOST": "0.0.0.0", "TRUSTED_PROXIES": "127.0.0.0/8,::1"}, []string{"HOST"}},
	{map[string]string{"HOST": "", "TRUSTED_PROXIES": "127.0.0.1,10.0.0.5"}, nil},
	{map[string]string{"HOST": "", "TLS_CERT_FILE": "/x", "TLS_KEY_FILE": "/y"}, nil},
	{map[string]string{"TRUSTED_PROXIES": "10.0.0.0/8"}, []string{"TRUSTED_PROXIES"}},
	{map[string]string{"TRUSTED_PROXIES": "fd00::/8"}, []string{"TRUSTED_PROXIES"}},
	{map[string]string{"TRUSTED_PROXIES": "8.0.0.0/9,9.0.0.0/10"}, []string{"TRUSTED_PROXIES"}},
	{map[string]string{"TRUSTED_PROXIES": "2001:db8::/23"}, []string{"TRUSTED_PROXIES"}},
	{map[string]string{"TRUSTED_PROXIES": "10.244.0.0/16,104.16.0.0/13,2400:cb00::/32,127.0.0.0/8"}, nil},

	{map[string]string{"FRONTEND_URL": "https://app.example.com,http://localhost:3001"}, []string{"FRONTEND_URL"}},
	{withSMTP(map[string]string{"PUBLIC_URL": "http://127.0.0.1:3001"}), []string{"PUBLIC_URL"}},
	{withSMTP(map[string]string{"FRONTEND_URL": "http://localhost:3001"}), []string{"FRONTEND_URL", "PUBLIC_URL"}},
	{map[string]string{"COOKIE_SAME_SITE": "none"}, []string{"COOKIE_SAME_SITE"}},
	{map[string]string{"COOKIE_DOMAIN": "example.com"}, []string{"COOKIE_DOMAIN"}},
	{map[string]string{"SESSION_NAME": "nestjs.sid"}, []string{"SESSION_NAME"}},
	{map[string]string{"SESSION_NAME": "__secure-sid"}, nil},

	{map[string]string{"MONGODB_URI": "mongodb://u:p@db/x"}, []string{"MONGODB_URI"}},
	{map[string]string{"MONGODB_URI": "mongodb://db/x"}, []string{"MONGODB_URI", "MONGODB_URI"}},
	{map[string]string{"MONGODB_URI": "mongodb://u:p@db/x?tls=true"}, nil},
	{map[string]string{"MONGODB_URI": "mongodb://u:p@127.0.0.1,db/x?tls=true&tlsInsecure=true"}, []string{"MONGODB_URI"}},
	{map[string]string{"MONGODB_URI": "mongodb+srv://u:p@cluster0.example.net/x"}, nil},
	{map[string]string{"MONGODB_URI": "mongodb+srv://u:p@cluster0.example.net/x?tls=false"}, []string{"MONGODB_URI"}},
	{map[string]string{"MONGODB_URI": "mongodb://%2Ftmp%2Fmongodb-27017.sock/x"}, nil},

	{map[string]string{"REDIS_HOST": "redis"}, []string{"REDIS_TLS", "REDIS_PASSWORD"}},
	{map[string]string{"REDIS_HOST": "::1"}, nil},
	{map[string]string{"REDIS_HOST": "redis", "REDIS_TLS": "true", "REDIS_PASSWORD": "p"}, nil},
	{map[string]string{"REDIS_URI": "rediss://redis"}, []string{"REDIS_URI"}},
	{map[string]string{"REDIS_URI": "redis://u:p@redis"}, []string{"REDIS_URI"}},
	{map[string]string{"REDIS_SENTINELS": "127.0.0.1,s2", "REDIS_PASSWORD": "p"}, []string{"REDIS_TLS"}},
	{map[string]string{"REDIS_CLUSTER": "r1", "REDIS_TLS": "true"}, []string{"REDIS_PASSWORD"}},
}

// withSMTP adds an SMTP server to settings and returns them.
func withSMTP(vars map[string]string) map[string]string {
	vars["SMTP_URL"] = "smtp://localhost"
	vars["MAIL_FROM"] = "no-reply@example.com"

	return vars
}

// strong returns settings for production, with changes. Without changes, none of them is weak.
func strong(changes map[string]string) map[string]string {
	vars := map[string]string{"HOST": "localhost", "MONGODB_URI": "mongodb://localhost/latchkey"}
	for name, value := range changes {
		vars[name] = value
	}

	return good(vars)
}

// TestWeaknesses checks that exactly the settings that are weaker than the default are reported.
// Every rule has a case.
func TestWeaknesses(t *testing.T) {
	t.Parallel()

	reported := map[Weakness]bool{}
	check := func(vars map[string]string, want []string) {
		t.Helper()

		var got []string
		for _, w := range load(t, vars).Weaknesses {
			got = append(got, w.Name)
			reported[Weakness{Risk: w.Risk, Fix: w.Fix}] = true
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v: got %v, want %v", vars, got, want)
		}
	}

	for _, tc := range weakCases {
		check(strong(tc.vars), tc.want)
	}

	dir := t.TempDir()
	file := func(name string, mode os.FileMode, text string) string {
		path := filepath.Join(dir, name)
		testkit.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		testkit.NoError(t, os.Chmod(path, mode))

		return path
	}
	open := file("open", 0o644, goodSecret)
	closed := file("closed", 0o640, goodSecret)
	check(strong(map[string]string{"SESSION_SECRET": "", "SESSION_SECRET_FILE": open}), []string{"SESSION_SECRET_FILE"})
	check(strong(map[string]string{"SESSION_SECRET": "", "SESSION_SECRET_FILE": closed}), nil)
	check(strong(map[string]string{"TLS_CERT_FILE": open, "TLS_KEY_FILE": open}), []string{"TLS_KEY_FILE"})
	openCertificate := file("certificate.pem", 0o644, string(certificate(t)))
	check(strong(map[string]string{"MONGODB_URI": "mongodb://u:p@db/x?tls=true&tlsCertificateKeyFile=" + openCertificate}), []string{"MONGODB_URI"})

	for mode, want := range map[os.FileMode][]string{0o644: {".env"}, 0o600: nil} {
		vars, err := Environ(nil, file(".env", mode, "HOST=localhost\n"))
		testkit.NoError(t, err)
		check(strong(vars), want)
	}

	for _, rule := range append([]weakRule{environmentRule}, weakRules...) {
		if !reported[Weakness{Risk: rule.risk, Fix: rule.fix}] {
			t.Errorf("%s, %s: no case for this rule", rule.names, rule.values)
		}
		for _, text := range []string{rule.risk, rule.fix} {
			if strings.HasSuffix(text, ".") || text == "" {
				t.Errorf("%s: got text %q, want text without a full stop", rule.names, text)
			}
		}
	}
}

// TestSafeDefaults pins the defaults that users rely on, so that nobody weakens one by accident.
func TestSafeDefaults(t *testing.T) {
	t.Parallel()

	c := load(t, strong(nil))
	rate := func(events int) Rate { return Rate{Events: events, Window: time.Minute} }

	checkEqual(t, "weaknesses", c.Weaknesses, []Weakness(nil))
	checkEqual(t, "RATE_LIMIT", c.Limits.Default.Rate, defaultRate)
	checkEqual(t, "limits", c.Limits, Limits{
		Default:  RateOrOff{rate(10)},
		Register: rate(10),
		Login:    rate(10),
		Mail:     rate(10),
		Token:    rate(10),
		Password: rate(10),
		OAuth:    rate(60),
		Account:  rate(30),
		Device:   rate(10),
	})
	checkEqual(t, "accounts", c.Accounts, Accounts{
		PasswordMinLength: 8,
		RefuseCommon:      true,
		StepUpMaxAge:      10 * time.Minute,
		ResetMaxAge:       30 * time.Minute,
		VerifyMaxAge:      24 * time.Hour,
		CacheMaxAge:       time.Second,
		ActivityRetention: 90 * 24 * time.Hour,
	})
	checkEqual(t, "factors", c.Factors, Factors{DataKeys: []Secret{goodKey}, Require: MFAEnrolled})
	checkEqual(t, "registration", c.Registration, Registration{Mode: OpenRegistration, InvitationMaxAge: 7 * 24 * time.Hour})
	checkEqual(t, "MAIL_INTERVAL", c.Mail.Interval, time.Minute)
	checkEqual(t, "SESSION_MAX_AGE", c.Session.MaxAge, 24*time.Hour)
	checkEqual(t, "SESSION_ABSOLUTE_MAX_AGE", c.Session.AbsoluteMaxAge, 30*24*time.Hour)
	checkEqual(t, "SESSION_MAX_PER_USER", c.Session.MaxPerUser, 100)
	checkEqual(t, "BCRYPT_COST", c.BcryptCost, 10)
}

// TestDevServer checks that cmd/dev changes only settings that exist, to values that work.
func TestDevServer(t *testing.T) {
	t.Parallel()

	known := settingsOf(reflect.TypeFor[settings](), "")
	vars := map[string]string{"APP_ENV": Development, "SESSION_SECRET": "x"}
	for name, value := range DevServer {
		vars[name] = value
		if !slices.Contains(known, setting{name: name}) {
			t.Errorf("%s: unknown setting", name)
		}
	}

	load(t, vars)
}
