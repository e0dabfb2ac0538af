package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"latchkey/internal/devstore"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/doctor"
	"latchkey/internal/mail/mailtest"
	"latchkey/internal/oauth/oauthtest"
	"latchkey/internal/testkit"
)

// The doctor accepts a working configuration, and fails with a fix if something cannot
// work.
func TestDoctor(t *testing.T) {
	t.Parallel()
	redis := storetest.StartRedis(t)
	environ := []string{
		"HOST=localhost",
		"SESSION_SECRET=" + secret,
		"TRUSTED_PROXIES=127.0.0.1",
		"FRONTEND_URL=https://app.example.com",
		"MONGODB_URI=" + storetest.Mongo(t),
		"REDIS_URI=redis://" + redis.Addr,
	}
	doctor := func(args ...string) (string, error) {
		return command(environ, "", append([]string{"doctor"}, args...)...)
	}

	out, err := doctor("--spa", "https://app.example.com", "--api", "https://api.example.com")
	expected := []string{"warning  Email: ", "warning  Second factors: nobody can set up an authenticator app", "warning  API: no response from https://api.example.com"}
	onlyExpected := !strings.Contains(out, "problem") && strings.Count(out, "warning") == len(expected) && containsAll(out, expected)
	if err != nil || !onlyExpected || !strings.Contains(out, "sessions survive a restart") {
		t.Errorf("got error %v, want only warnings about email and the API, and persistent sessions:\n%s", err, out)
	}
	if out, err := doctor(); err != nil || strings.Contains(out, "Cookie:") || !strings.Contains(out, "ok       Settings: none is weaker than the default") {
		t.Errorf("without URLs: got error %v, want no finding about the cookie, and no weak setting:\n%s", err, out)
	}

	environ = append(environ, "SMTP_URL=smtp://u:hunter2@127.0.0.1:1", "MAIL_FROM=no-reply@example.com")
	if out, err := doctor(); err == nil || !strings.Contains(out, "problem  Email: ") || strings.Contains(out, "hunter2") {
		t.Errorf("mail server down: got error %v, want a problem without the password:\n%s", err, out)
	}
	environ = environ[:len(environ)-2]

	_, err = redis.Conn(t).Do("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
	testkit.NoError(t, err)
	out, err = doctor("--spa", "https://shop.example", "--api", "https://api.example.com")
	if err == nil || err.Error() != "3 problems found" || !strings.Contains(out, "fix: FRONTEND_URL=https://app.example.com,https://shop.example") {
		t.Errorf("evicting Redis and another frontend: got error %v, want 3 problems and a fix:\n%s", err, out)
	}

	out, err = doctor("--json", "--api", "https://api.example.com")
	var report struct{ Findings []map[string]string }
	if err == nil || json.Unmarshal([]byte(out), &report) != nil || len(report.Findings) < 5 {
		t.Errorf("--json: got error %v, want an error and at least 5 findings:\n%s", err, out)
	}
}

func containsAll(text string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}

	return true
}

// shippedUser creates the user in configs/redis.conf.
func shippedUser(t *testing.T) string {
	t.Helper()

	file, err := os.ReadFile("../../configs/redis.conf")
	testkit.NoError(t, err)
	_, rules, _ := strings.Cut(string(file), "# user ")

	return "ACL SETUSER " + strings.TrimSpace(rules)
}

// The doctor tries everything that the server does with Redis, and its warnings are also in the server's
// log. A server that cannot store sessions is not ready, so that it does not replace one that can.
func TestDoctorOfRedis(t *testing.T) {
	t.Parallel()
	mongo := storetest.Mongo(t)
	mails := mailtest.New(t, mailtest.Options{})
	smtpURL := url.URL{Scheme: "smtp", User: url.UserPassword(mailtest.Username, mailtest.Password), Host: mails.Addr}

	for name, tc := range map[string]struct {
		command string // run by the administrator of Redis
		message string // in a problem; empty if there is none
		fix     string
		ready   bool
	}{
		"the shipped user":   {shippedUser(t), "", "", true},
		"a replica":          {"REPLICAOF 127.0.0.1 1", "READONLY", "to the primary", false},
		"other keys":         {"ACL SETUSER latchkey on >a-long-random-password ~other:* +@all", "the keys sess:*, ended:*, idx:*, generation:*, mfa:*, limit:*, mail:* cannot be used: redis is unavailable: NOPERM", "configs/redis.conf", false},
		"no emails":          {"ACL SETUSER latchkey on >a-long-random-password ~sess:* ~ended:* ~idx:* ~generation* ~limit:* ~mfa:* +@all", "the keys mail:* cannot be used", "configs/redis.conf", false},
		"no second factors":  {"ACL SETUSER latchkey on >a-long-random-password ~sess:* ~ended:* ~idx:* ~generation* ~limit:* ~mail:* +@all", "the keys mfa:* cannot be used", "configs/redis.conf", false},
		"no evalsha":         {"ACL SETUSER latchkey on >a-long-random-password ~* +@read +@write +@connection +info +config", "'evalsha'", "configs/redis.conf", false},
		"a disabled user":    {"ACL SETUSER latchkey off", "WRONGPASS", "REDIS_USERNAME", false},
		"no memory":          {"CONFIG SET maxmemory 1mb maxmemory-policy noeviction", "OOM", "raise maxmemory", true},
		"no healthy replica": {"CONFIG SET min-replicas-to-write 1", "NOREPLICAS", "start the replicas", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := storetest.StartRedis(t)

			words := strings.Fields(tc.command)
			args := make([]any, 0, len(words))
			for _, word := range words[1:] {
				args = append(args, word)
			}
			_, err := redis.Conn(t).Do(words[0], args...)
			testkit.NoError(t, err)

			user := ""
			if words[0] == "ACL" {
				user = "latchkey:a-long-random-password@"
			}

			environ := append(baseSettings(redis.Redis, mongo),
				"REDIS_URI=redis://"+user+redis.Addr,
				"TRUSTED_PROXIES=127.0.0.1",
				"REDIS_TIMEOUT=10s",
				"MONGODB_TIMEOUT=10s",
				"DRAIN_TIME=0",
				"FRONTEND_URL=https://app.example.com",
				"DATA_KEY="+dataKey,
				"SMTP_URL="+smtpURL.String(),
				"MAIL_FROM=no-reply@example.com")
			out, err := command(environ, "", "doctor", "--json")
			if wantErr := tc.message != ""; (err != nil) != wantErr {
				t.Errorf("got error %v, want an error: %t", err, wantErr)
			}

			var report struct{ Findings []doctor.Finding }
			testkit.NoError(t, json.Unmarshal([]byte(out), &report))

			var problems []doctor.Finding
			for _, f := range report.Findings {
				if f.Level == doctor.Problem && strings.HasPrefix(f.Subject, "Redis") {
					problems = append(problems, f)
				}
			}
			switch {
			case tc.message == "" && len(problems) > 0:
				t.Errorf("got problems %+v, want none", problems)
			case tc.message == "":
			case len(problems) != 1 || !strings.Contains(problems[0].Message, tc.message) || !strings.Contains(problems[0].Fix, tc.fix):
				t.Errorf("got problems %+v, want one with message %q and fix %q", problems, tc.message, tc.fix)
			}

			addr, log, _ := start(t, environ)
			status := http.StatusServiceUnavailable
			if tc.ready {
				status = http.StatusOK
			}
			wantGet(t, "http://"+addr+"/readyz", status, "")
			if tc.message != "" {
				testkit.Eventually(t, "the warning", func() bool { return strings.Contains(log.String(), tc.fix) })
			}
			if strings.Contains(log.String()+out, "a-long-random-password") {
				t.Errorf("the output contains the password:\n%s\n%s", out, log)
			}
		})
	}
}

// If Redis does not let the server keep sessions in memory, the doctor and the log say what to change.
// Everything else works, so the server is ready. With SESSION_CACHE=off, there is nothing to say.
func TestDoctorOfSessionCache(t *testing.T) {
	t.Parallel()

	const message = "sessions cannot be kept in memory, so every check reads Redis, and a logout takes a quarter of a second: "
	mongo := storetest.Mongo(t)
	for name, tc := range map[string]struct {
		permissions string // of the user; empty for a Redis without CLIENT TRACKING
		setting     string
		warning     string // in the report and in the log; empty for none
		fix         string // in both
	}{
		"no tracking":              {"~* &* +@all -client|tracking", "64MiB", message + "CLIENT TRACKING: NOPERM", "configs/redis.conf"},
		"no channels":              {"~* resetchannels +@all", "64MiB", message + "SUBSCRIBE: NOPERM", "configs/redis.conf"},
		"old permissions":          {oldPermissions, "64MiB", message + "CLIENT ID: NOPERM", "configs/redis.conf"},
		"unknown command":          {"", "64MiB", message + "CLIENT ID: ERR unknown", "set SESSION_CACHE=off"},
		"unknown command, but off": {"", "off", "", ""},
		"old permissions, but off": {oldPermissions, "off", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			addr := ""
			user := ""
			if tc.permissions == "" {
				var stop func()
				var err error
				addr, stop, err = devstore.StartRedis()
				testkit.NoError(t, err)
				t.Cleanup(stop)
			} else {
				r := storetest.StartRedis(t)
				_, err := r.Conn(t).Do("ACL", redis.Args{"SETUSER", "u", "on", ">any"}.AddFlat(strings.Fields(tc.permissions))...)
				testkit.NoError(t, err)
				addr = r.Addr
				user = "u:any@"
			}

			environ := environment(t, "REDIS_URI=redis://"+user+addr, "MONGODB_URI="+mongo, "SESSION_CACHE="+tc.setting)
			out, _ := command(environ, "", "doctor", "--json")
			var report struct{ Findings []doctor.Finding }
			testkit.NoError(t, json.Unmarshal([]byte(out), &report))
			var warnings []doctor.Finding
			for _, f := range report.Findings {
				if strings.Contains(f.Message, "in memory") {
					warnings = append(warnings, f)
				}
			}
			switch {
			case tc.warning == "" && len(warnings) > 0:
				t.Errorf("got %+v, want no findings", warnings)
			case tc.warning == "":
			case len(warnings) != 1 || warnings[0].Level != doctor.Warning ||
				!strings.Contains(warnings[0].Message, tc.warning) || !strings.Contains(warnings[0].Fix, tc.fix):
				t.Errorf("got %+v, want one warning with %q and fix %q", warnings, tc.warning, tc.fix)
			}

			server, log, _ := start(t, environ)
			wantGet(t, "http://"+server+"/readyz", http.StatusOK, "")
			if tc.warning != "" {
				testkit.Eventually(t, "the warning", func() bool {
					return strings.Contains(log.String(), "redis configuration: "+tc.warning) && strings.Contains(log.String(), tc.fix)
				})
			}
		})
	}
}

// oldPermissions are those that servers needed before they kept sessions in memory.
const oldPermissions = "resetchannels ~sess:* ~ended:* ~idx:* ~generation* ~limit:* ~mail:* ~oauth:* -@all " +
	"+ping +info +select +role +cluster|slots +asking +wait +get +mget +set +del +exists +hdel +hexists +hget +hincrby +hset +incr " +
	"+pexpire +pttl +scan +zadd +zcard +zrange +zrangebyscore +zscore +zrem +zremrangebyscore +time +eval +evalsha"

// The doctor tries everything that the server does with MongoDB.
func TestDoctorOfMongo(t *testing.T) {
	t.Parallel()

	other := storetest.Mongo(t)
	users := storetest.Database(t, other).Collection("users")
	_, err := users.InsertOne(t.Context(), bson.D{{Key: "email", Value: "ann@example.com"}, {Key: "isActive", Value: true}})
	testkit.NoError(t, err)
	_, err = users.Indexes().CreateOne(t.Context(), mongo.IndexModel{
		Keys:    bson.D{{Key: "isActive", Value: 1}},
		Options: options.Index().SetUnique(true).SetName("of_another_application"),
	})
	testkit.NoError(t, err)

	for name, tc := range map[string]struct{ uri, message, fix string }{
		"a unique index of another application": {other, "of_another_application", "drop the unique index of users"},
		"a secondary alone":                     {storetest.NewLaggingReplicaSet(t).Secondary, "not primary", "name the members of the replica set"},
	} {
		out, err := command(append(baseSettings(storetest.NewRedis(t), tc.uri), "TRUSTED_PROXIES=127.0.0.1", "MONGODB_TIMEOUT=10s"), "", "doctor", "--json")
		if err == nil || !strings.Contains(out, tc.message) || !strings.Contains(out, tc.fix) {
			t.Errorf("%s: got error %v, want a problem with message %q and fix %q:\n%s", name, err, tc.message, tc.fix, out)
		}
	}
}

// startIssuer starts a provider whose clock is ahead of ours, and returns its URL.
func startIssuer(t *testing.T, ahead time.Duration) string {
	t.Helper()

	issuer := oauthtest.NewIssuer(t, "x", "hunter2")
	date := time.Now().Add(ahead).UTC().Format(http.TimeFormat)
	issuer.Break(oauthtest.Discovery, oauthtest.Fault{Header: http.Header{"Date": {date}}})

	return issuer.URL
}

// The doctor reports the callback URL of a working provider, and the problem and fix of a
// broken one.
func TestDoctorOfProviders(t *testing.T) {
	t.Parallel()
	const (
		api      = "https://api.example.com"
		callback = api + "/auth/my-idp/callback"
		down     = "http://127.0.0.1:1" // a port that no test listens on
	)
	redis := storetest.NewRedis(t)
	mongo := storetest.Mongo(t)
	github := oauthtest.NewGitHub(t, "x", "hunter2")
	isProblem := func(f doctor.Finding) bool { return f.Level == doctor.Problem }
	about := func(findings []doctor.Finding, subject string) []doctor.Finding {
		return slices.DeleteFunc(slices.Clone(findings), func(f doctor.Finding) bool { return f.Subject != subject })
	}

	for name, tc := range map[string]struct {
		issuer string
		want   doctor.Finding
	}{
		"working": {startIssuer(t, 0), doctor.Finding{
			Level: doctor.OK, Message: callback + "; it must be registered",
		}},
		"down": {down, doctor.Finding{
			Level: doctor.Problem, Message: "connection refused",
			Fix: `OIDC_MY_IDP_ISSUER is exactly the "issuer" in ` + down + "/.well-known/openid-configuration",
		}},
		"another issuer": {startIssuer(t, 0) + "/", doctor.Finding{
			Level: doctor.Problem, Message: "wrong issuer", Fix: "exactly",
		}},
		"clock 10 minutes behind": {startIssuer(t, -10*time.Minute), doctor.Finding{
			Level: doctor.Problem, Message: "behind ours, so its ID tokens are rejected", Fix: "synchronize the clock",
		}},
	} {
		environ := []string{
			"SESSION_SECRET=" + secret,
			"TRUSTED_PROXIES=127.0.0.1",
			"FRONTEND_URL=https://app.example.com",
			"MONGODB_URI=" + mongo,
			fmt.Sprintf("REDIS_URI=redis://%s/%d", redis.Addr, redis.DB),
			"OIDC_MY_IDP_ISSUER=" + tc.issuer,
			"OIDC_MY_IDP_CLIENT_ID=x",
			"OIDC_MY_IDP_CLIENT_SECRET=hunter2",
			"OIDC_MY_IDP_CALLBACK_URL=" + callback,
			"GITHUB_URL=" + github.URL,
			"GITHUB_CLIENT_ID=x",
			"GITHUB_CLIENT_SECRET=hunter2",
			"GITHUB_CALLBACK_URL=" + api + "/auth/github/callback",
		}
		out, err := command(environ, "", "doctor", "--json", "--api", api)
		if strings.Contains(out, "hunter2") {
			t.Errorf("%s: the output contains the secret:\n%s", name, out)
		}
		var report struct{ Findings []doctor.Finding }
		if jsonErr := json.Unmarshal([]byte(out), &report); jsonErr != nil {
			t.Fatalf("%s: got error %v and output %q, want JSON", name, err, out)
		}

		others := about(report.Findings, "Provider github")
		if len(others) != 2 || others[0].Level != doctor.OK || others[1].Level != doctor.OK {
			t.Errorf("%s: findings about GitHub: got %+v, want 2 with level OK", name, others)
		}
		// The Redis of a test is not persistent, which is a problem of its own.
		if wantErr := slices.ContainsFunc(report.Findings, isProblem); (err != nil) != wantErr {
			t.Errorf("%s: got error %v, want an error: %v; findings: %+v", name, err, wantErr, report.Findings)
		}

		found := about(report.Findings, "Provider my-idp")
		if len(found) != 2 || slices.ContainsFunc(found, isProblem) != isProblem(tc.want) {
			t.Errorf("%s: got findings %+v, want 2, with a problem: %v", name, found, isProblem(tc.want))
		}
		if !slices.ContainsFunc(found, func(f doctor.Finding) bool {
			return f.Level == tc.want.Level && strings.Contains(f.Message, tc.want.Message) && strings.Contains(f.Fix, tc.want.Fix)
		}) {
			t.Errorf("%s: got findings %+v, want one like %+v", name, found, tc.want)
		}
	}
}

// If the mail server rejects our name, the doctor shows the reply, the name and the setting.
func TestDoctorExplainsEHLO(t *testing.T) {
	t.Parallel()

	s := newMailSetup(t, "SMTP_HELO_NAME=latchkey.example.com")
	s.mails.FailAt(mailtest.Hello, mailtest.Reply(504, "unknown host"))

	out, err := command(s.environ, "", "doctor")
	for _, want := range []string{"mail server replied 504", "to EHLO (as latchkey.example.com)", "set SMTP_HELO_NAME"} {
		if err == nil || !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("got error %v, want a problem that contains %q:\n%s", err, want, out)
		}
	}
}
