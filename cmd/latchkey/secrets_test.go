package main

import (
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/factor"
	"latchkey/internal/mail/mailtest"
	"latchkey/internal/testkit"
)

// leakTest uses every kind of secret on one server and searches the log, the responses and
// the stores for them.
type leakTest struct {
	*mailSetup
	base      string
	ops       string // the URL of the metrics, or "" after the shutdown
	log       *testkit.Buffer
	traces    *testkit.Buffer
	cookies   map[string]string
	responses strings.Builder
	secrets   map[string]string // descriptions by secret
	codes     []string          // of an authenticator app
}

// do sends a request, GET if it has no body, and collects the cookies and the text of the response.
func (l *leakTest) do(want int, path, body string) {
	l.t.Helper()

	fmt.Fprintln(&l.responses, path, l.send(want, path, body))
}

// reveal sends a request whose response contains secrets, and returns the response.
func (l *leakTest) reveal(path, body string) (response map[string]any) {
	l.t.Helper()

	testkit.NoError(l.t, json.Unmarshal([]byte(l.send(http.StatusOK, path, body)), &response))

	return response
}

// send sends a request, GET if it has no body, and collects the cookies in the response.
func (l *leakTest) send(want int, path, body string) (text string) {
	l.t.Helper()

	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	var cookies []string
	for name, value := range l.cookies {
		cookies = append(cookies, name+"="+value)
	}

	res := send(l.t, method, l.base+path, body, "Cookie", strings.Join(cookies, "; "))
	if res.StatusCode != want {
		l.t.Errorf("%s: got %d, want %d: %s", path, res.StatusCode, want, res.text)
	}

	for _, c := range res.Cookies() {
		if c.Value != "" {
			l.cookies[c.Name] = c.Value
			l.secrets[c.Value] = "the cookie " + c.Name
		}
	}

	return res.text
}

// useFactors adds an authenticator app to the account, and logs in with its code and with a recovery code.
// login is the body of a login.
func (l *leakTest) useFactors(login string) {
	l.t.Helper()

	begun := l.reveal("/auth/totp", "{}")
	text, _ := begun["secret"].(string)
	seed, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(text)
	testkit.NoError(l.t, err)
	l.secrets[text] = "the seed of an authenticator app"
	l.secrets[string(seed)] = "the raw seed of an authenticator app"
	step := factor.Step(time.Now())
	code := func() string {
		code := factor.Code(seed, step)
		step++
		l.codes = append(l.codes, code)

		return code
	}

	added := l.reveal(fmt.Sprintf("/auth/totp/%s/confirm", begun["id"]), `{"code":"`+code()+`"}`)
	recovery := l.revealCodes(added)
	l.do(http.StatusOK, "/auth/login", login)
	l.do(http.StatusOK, "/auth/login/factor", "")
	l.do(http.StatusUnauthorized, "/auth/login/factor", `{"code":"12345"}`)
	l.do(http.StatusOK, "/auth/login/factor", `{"code":"`+code()+`","trustDevice":true}`)
	for _, path := range []string{"/auth/factors", "/auth/devices", "/auth/session", "/auth/activity"} {
		l.do(http.StatusOK, path, "")
	}

	trusted := 0
	maps.DeleteFunc(l.cookies, func(name, value string) bool {
		_, secret, isTrust := strings.Cut(value, ".")
		if isTrust && strings.Contains(name, "trust-") {
			l.secrets[secret] = "the secret of a trusted device"
			trusted++
			return true
		}

		return false
	})
	if trusted != 1 {
		l.t.Errorf("cookies of trusted devices: got %d, want 1", trusted)
	}

	l.do(http.StatusOK, "/auth/login", login)
	l.do(http.StatusOK, "/auth/login/factor", `{"recoveryCode":"`+recovery[0]+`"}`)
	l.do(http.StatusUnauthorized, "/auth/step-up", `{"recoveryCode":"`+recovery[0]+`"}`)
	l.do(http.StatusOK, "/auth/step-up", `{"recoveryCode":"`+recovery[1]+`"}`)
	l.revealCodes(l.reveal("/auth/recovery-codes", "{}"))
}

// revealCodes adds the recovery codes in a response to the secrets and returns them.
func (l *leakTest) revealCodes(response map[string]any) (codes []string) {
	l.t.Helper()

	all, _ := response["recoveryCodes"].([]any)
	for _, v := range all {
		code, _ := v.(string)
		codes = append(codes, code)
		l.secrets[code] = "a recovery code"
		l.secrets[strings.ReplaceAll(code, "-", "")] = "a recovery code without hyphens"
	}
	if len(codes) != factor.RecoveryCodes {
		l.t.Fatalf("recovery codes: got %d, want %d", len(codes), factor.RecoveryCodes)
	}

	return codes
}

// useLink uses the newest emailed link to a page of the frontend.
func (l *leakTest) useLink(want int, page, path, members string) {
	l.t.Helper()

	token := ""
	for _, m := range l.mails.Messages() {
		if strings.Contains(m.Text(), page+"#token=") {
			token = m.Token()
			l.secrets[token] = "the token for " + page
		}
	}
	if token == "" {
		l.t.Fatalf("no email has a link to %s", page)
	}

	l.do(want, path, `{"token":"`+token+`"`+members+`}`)
}

// checkLeaks fails the test if the log, a response, a store, the metrics or the traces contain a secret, or
// if the log contains an email.
func (l *leakTest) checkLeaks(when string) {
	l.t.Helper()

	if strings.Contains(l.log.String(), "@example.com") {
		l.t.Errorf("%s: the log contains an email: %s", when, l.log)
	}

	// A longer number may contain the digits of a code.
	for _, code := range l.codes {
		isIn := regexp.MustCompile(`(^|[^\w.-])` + code + `($|[^\w.-])`).MatchString
		if isIn(l.log.String()) || isIn(l.responses.String()) {
			l.t.Errorf("%s: the log or a response contains a code of an authenticator app", when)
		}
	}

	places := map[string]string{
		"the log":    l.log.String(),
		"a response": l.responses.String(),
		"Redis":      dumpRedis(l.t, l.redis.Conn(l.t)),
		"MongoDB":    dumpMongo(l.t, l.mongo),
	}
	if l.ops != "" {
		places["the metrics"] = mustSend(l.t, http.StatusOK, http.MethodGet, l.ops, "").text
	} else {
		places["the traces"] = l.traces.String() // all have been sent by now
	}

	for place, text := range places {
		if len(text) < 200 {
			l.t.Errorf("%s: %s has %d bytes, want at least 200: %s", when, place, len(text), text)
		}
		for secret, description := range l.secrets {
			for _, form := range formsOf(secret) {
				if strings.Contains(text, form) {
					l.t.Errorf("%s: %s contains %s as %s", when, place, description, form)
				}
			}
		}
	}
}

// No secret appears where others can read it: in the log, the metrics, the traces, a response, Redis or
// MongoDB.
func TestSecretsDoNotLeak(t *testing.T) {
	t.Parallel()
	const (
		firstPassword  = "f1rst-password"
		secondPassword = "s3cond-password"
		thirdPassword  = "th1rd-password"
		wrongPassword  = "wr0ng-password"
		ann            = `"email":"ann@example.com"`
	)

	s := newMailSetup(t, "APP_ENV=production", "BCRYPT_COST=10", "TRUSTED_PROXIES=127.0.0.1", "RATE_LIMIT=1000/60s", "MAIL_INTERVAL=1s", "DATA_KEY="+dataKey)
	collector, traces := startCollector(t, "")
	addr, log, stop := start(t, append(s.environ, "OPS_ADDR=127.0.0.1:0", "OTEL_EXPORTER_OTLP_ENDPOINT="+collector))
	l := &leakTest{
		mailSetup: s,
		base:      "http://" + addr,
		ops:       "http://" + opsAddr(t, log) + "/metrics",
		log:       log,
		traces:    traces,
		cookies:   map[string]string{},
		secrets: map[string]string{
			secret:            "SESSION_SECRET",
			dataKey:           "DATA_KEY",
			mailtest.Password: "the password of the mail server",
			firstPassword:     "a password",
			secondPassword:    "the password after a reset",
			thirdPassword:     "the password after a change",
			wrongPassword:     "a wrong password",
		},
	}

	s.proxy.Refuse() // emails stay in the queue

	l.do(201, "/auth/register", `{"name":"Ann",`+ann+`,"password":"`+firstPassword+`"}`)
	l.do(409, "/auth/register", `{"name":"Ann",`+ann+`,"password":"`+firstPassword+`"}`)
	l.do(401, "/auth/login", `{`+ann+`,"password":"`+wrongPassword+`"}`)
	l.do(200, "/auth/login", `{`+ann+`,"password":"`+firstPassword+`"}`)
	l.do(400, "/auth/login", `{`+ann+`,"password":"`+firstPassword+`","x":"`+firstPassword+`"}`)
	l.do(400, "/auth/login", `{`+ann+`,"password":"`+firstPassword)
	l.do(400, "/auth/login", `{"email":"`+firstPassword+`","password":["`+firstPassword+`"]}`)

	for _, path := range []string{"/auth/me", "/auth/session", "/auth/sessions", "/auth/activity", "/auth/verify", "/profile"} {
		l.do(200, path, "")
	}

	l.do(401, "/auth/step-up", `{"password":"`+wrongPassword+`"}`)
	l.do(200, "/auth/step-up", `{"password":"`+firstPassword+`"}`)
	l.do(202, "/auth/password/forgot", `{`+ann+`}`)
	l.do(202, "/auth/email/change", `{"email":"ann2@example.com"}`)
	s.waitForRetries(log, 1)
	l.checkLeaks("while emails are queued")

	s.restart()
	testkit.Eventually(t, "the queue to be empty", func() bool { return s.queued() == 0 })
	l.useLink(200, "/reset-password", "/auth/password/reset", `,"password":"`+secondPassword+`"`)
	l.useLink(400, "/reset-password", "/auth/password/reset", `,"password":"`+secondPassword+`"`)
	l.useLink(400, "/verify-email", "/auth/email/verify", "") // voided by the reset
	l.do(200, "/auth/login", `{`+ann+`,"password":"`+secondPassword+`"}`)

	sent := len(s.mails.Messages())
	l.do(202, "/auth/email/change", `{"email":"ann3@example.com"}`)
	testkit.Eventually(t, "the emails about the change", func() bool { return s.queued() == 0 && len(s.mails.Messages()) > sent })
	l.checkLeaks("before the last link is used")

	l.useLink(200, "/verify-email", "/auth/email/verify", "")
	l.do(200, "/auth/password/change", `{"currentPassword":"`+secondPassword+`","newPassword":"`+thirdPassword+`"}`)
	l.do(200, "/auth/rotate-session", "{}")
	l.useFactors(`{"email":"ann3@example.com","password":"` + thirdPassword + `"}`)
	testkit.Eventually(t, "the last emails", func() bool { return s.queued() == 0 })
	l.checkLeaks("after all requests")

	testkit.NoError(t, stop())
	l.ops = ""
	l.checkLeaks("after the shutdown")

	tokens := 0
	for _, description := range l.secrets {
		if strings.HasPrefix(description, "the token for") {
			tokens++
		}
	}
	if tokens < 3 {
		t.Errorf("tokens in emails: got %d, want at least 3", tokens)
	}
}

// formsOf returns a secret as it is and in the encodings in which it would still leak.
func formsOf(secret string) []string {
	b := []byte(secret)
	quoted, _ := json.Marshal(secret)

	return []string{
		secret,
		base64.RawStdEncoding.EncodeToString(b),
		base64.RawURLEncoding.EncodeToString(b),
		hex.EncodeToString(b),
		url.QueryEscape(secret),
		strings.Trim(string(quoted), `"`),
	}
}

// dumpRedis returns all keys and values.
func dumpRedis(t *testing.T, conn redis.Conn) string {
	t.Helper()

	keys, err := redis.Strings(conn.Do("KEYS", "*"))
	testkit.NoError(t, err)

	readCommands := map[string][]any{
		"GET":     nil,
		"HGETALL": nil,
		"ZRANGE":  {0, -1, "WITHSCORES"},
	}
	var dump strings.Builder
	for _, key := range keys {
		wrongTypes := 0
		for command, args := range readCommands {
			value, err := conn.Do(command, append([]any{key}, args...)...)
			if err != nil {
				wrongTypes++
			}
			fmt.Fprintf(&dump, "%s %s\n", key, value)
		}
		if wrongTypes == len(readCommands) {
			t.Errorf("%s has an unknown type", key)
		}
	}

	return dump.String()
}

// dumpMongo returns all documents.
func dumpMongo(t *testing.T, uri string) string {
	t.Helper()

	ctx := context.Background()
	db := storetest.Database(t, uri)
	names, err := db.ListCollectionNames(ctx, bson.D{})
	testkit.NoError(t, err)

	var dump strings.Builder
	for _, name := range names {
		cursor, err := db.Collection(name).Find(ctx, bson.D{})
		testkit.NoError(t, err)

		var documents []bson.Raw
		testkit.NoError(t, cursor.All(ctx, &documents))
		for _, document := range documents {
			fmt.Fprintln(&dump, name, document)
		}
	}

	return dump.String()
}
