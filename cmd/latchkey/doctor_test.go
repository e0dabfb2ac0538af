package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/doctor"
	"latchkey/internal/oauth/oauthtest"
)

// The doctor is content with what can work, and fails, with the fix, where something
// cannot.
func TestDoctor(t *testing.T) {
	t.Parallel()
	redis := storetest.StartRedis(t)
	environ := []string{
		"SESSION_SECRET=" + secret, "TRUSTED_PROXIES=127.0.0.1", "FRONTEND_URL=https://app.example.com",
		"MONGODB_URI=" + storetest.Mongo(t), "REDIS_URI=redis://" + redis.Addr,
	}
	doctor := func(args ...string) (string, error) {
		var out bytes.Buffer
		err := run(context.Background(), append([]string{"doctor"}, args...), environ, stdio{nil, &out, io.Discard})
		return out.String(), err
	}
	out, err := doctor("--spa", "https://app.example.com", "--api", "https://api.example.com")
	if err != nil || strings.Contains(out, "FAULT") || strings.Count(out, "risk") != 1 || !strings.Contains(out, "risk  Mail ") || !strings.Contains(out, "keeps every session across a restart") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := doctor(); err != nil || strings.Contains(out, "cookie") {
		t.Errorf("%v\n%s", err, out)
	}
	environ = append(environ, "SMTP_URL=smtp://u:hunter2@127.0.0.1:1", "MAIL_FROM=no-reply@example.com")
	if out, err := doctor(); err == nil || !strings.Contains(out, "FAULT  Mail") || strings.Contains(out, "hunter2") {
		t.Errorf("a mail server that is away: %v\n%s", err, out)
	}
	environ = environ[:len(environ)-2]
	if _, err := redis.Conn(t).Do("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru"); err != nil {
		t.Fatal(err)
	}
	out, err = doctor("--spa", "https://shop.example", "--api", "https://api.example.com")
	if err == nil || err.Error() != "3 things cannot work as they are" || !strings.Contains(out, "to mend it: FRONTEND_URL=https://app.example.com,https://shop.example") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = doctor("--json", "--api", "https://api.example.com")
	var answer struct{ Findings []map[string]string }
	if err == nil || json.Unmarshal([]byte(out), &answer) != nil || len(answer.Findings) < 5 {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := doctor("--spa", "https://shop.example"); err == nil || !strings.Contains(err.Error(), "--api") {
		t.Errorf("without the API: %v", err)
	}
	environ = environ[:1]
	if _, err := doctor(); err == nil || !strings.Contains(err.Error(), "TRUSTED_PROXIES: name the proxy") {
		t.Errorf("without settings: %v", err)
	}
}

// issuer is a provider whose clock is ahead of ours.
func issuer(t *testing.T, ahead time.Duration) string {
	t.Helper()
	i := oauthtest.NewIssuer(t, "x", "hunter2")
	i.Break(oauthtest.Discovery, oauthtest.Fault{Header: http.Header{"Date": {time.Now().Add(ahead).UTC().Format(http.TimeFormat)}}})
	return i.URL
}

// A provider that people can sign in with is told what to register; one that they cannot
// is a fault, with the fix.
func TestDoctorOfProviders(t *testing.T) {
	t.Parallel()
	redis, mongo := storetest.NewRedis(t), storetest.Mongo(t)
	const gone = "http://127.0.0.1:1" // nothing listens at that port, and no other test will
	github := oauthtest.NewGitHub(t, "x", "hunter2")
	const right, wrong = "https://api.example.com/auth/my-idp/callback", "https://www.example.com/auth/my-idp/callback"
	for name, tc := range map[string]struct {
		issuer, callback string
		level            doctor.Level
		says, fix        string
	}{
		"fine":                    {issuer(t, 0), right, doctor.Fine, right + ", which must be registered", ""},
		"gone":                    {gone, right, doctor.Fault, "connection refused", `OIDC_MY_IDP_ISSUER is the "issuer" in ` + gone + "/.well-known/openid-configuration"},
		"another issuer":          {issuer(t, 0) + "/", right, doctor.Fault, "another issuer", "to the letter"},
		"a callback elsewhere":    {issuer(t, 0), wrong, doctor.Fault, "the API is at https://api.example.com", "OIDC_MY_IDP_CALLBACK_URL=" + right},
		"a clock that is wrong":   {issuer(t, -10*time.Minute), right, doctor.Fault, "behind ours: its ID tokens are refused", "synchronisation of time"},
		"a clock that goes wrong": {issuer(t, 2*time.Minute), right, doctor.Risk, "ahead of ours: beyond five minutes nobody can sign in", "synchronisation of time"},
	} {
		environ := []string{
			"SESSION_SECRET=" + secret, "TRUSTED_PROXIES=127.0.0.1", "FRONTEND_URL=https://app.example.com",
			"MONGODB_URI=" + mongo, fmt.Sprintf("REDIS_URI=redis://%s/%d", redis.Addr, redis.DB),
			"OIDC_MY_IDP_ISSUER=" + tc.issuer, "OIDC_MY_IDP_CLIENT_ID=x", "OIDC_MY_IDP_CLIENT_SECRET=hunter2", "OIDC_MY_IDP_CALLBACK_URL=" + tc.callback,
			"GITHUB_URL=" + github.URL, "GITHUB_CLIENT_ID=x", "GITHUB_CLIENT_SECRET=hunter2", "GITHUB_CALLBACK_URL=https://api.example.com/auth/github/callback",
		}
		var out bytes.Buffer
		failed := run(context.Background(), []string{"doctor", "--json", "--api", "https://api.example.com"}, environ, stdio{nil, &out, io.Discard})
		if strings.Contains(out.String(), "hunter2") {
			t.Errorf("%s: the secret is printed\n%s", name, out.String())
		}
		var answer struct{ Findings []doctor.Finding }
		if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
			t.Fatalf("%s: %v, %v", name, failed, err)
		}
		beside := slices.DeleteFunc(slices.Clone(answer.Findings), func(f doctor.Finding) bool { return f.About != "Provider github" })
		if len(beside) != 2 || beside[0].Level != doctor.Fine || beside[1].Level != doctor.Fine {
			t.Errorf("%s: GitHub %+v", name, beside)
		}
		// The Redis of a test keeps nothing, which is a fault of its own.
		fault := func(f doctor.Finding) bool { return f.Level == doctor.Fault }
		if (failed != nil) != slices.ContainsFunc(answer.Findings, fault) {
			t.Errorf("%s: %v, %+v", name, failed, answer.Findings)
		}
		found := slices.DeleteFunc(answer.Findings, func(f doctor.Finding) bool { return f.About != "Provider my-idp" })
		if len(found) != 2 || slices.ContainsFunc(found, fault) != (tc.level == doctor.Fault) {
			t.Errorf("%s: %+v", name, found)
		}
		if !slices.ContainsFunc(found, func(f doctor.Finding) bool {
			return f.Level == tc.level && strings.Contains(f.Says, tc.says) && strings.Contains(f.Fix, tc.fix)
		}) {
			t.Errorf("%s: %+v", name, found)
		}
	}
}
