package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gomodule/redigo/redis"
	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/mail/mailtest"
	"latchkey/internal/testkit"
)

// leakTest uses every kind of secret on one server and searches the log, the responses and
// the stores for them.
type leakTest struct {
	*mailSetup
	base      string
	log       *testkit.Buffer
	cookies   map[string]string
	responses strings.Builder
	secrets   map[string]string // descriptions by secret
}

// do sends a request, GET if it has no body, and collects the secrets in the response.
func (l *leakTest) do(want int, path, body string) {
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
	fmt.Fprintln(&l.responses, path, res.text)

	for _, c := range res.Cookies() {
		if c.Value != "" {
			l.cookies[c.Name] = c.Value
			l.secrets[c.Value] = "the cookie " + c.Name
		}
	}
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

// checkLeaks fails the test if the log, a response or a store contains a secret, or if the log contains
// an email.
func (l *leakTest) checkLeaks(when string) {
	l.t.Helper()

	if strings.Contains(l.log.String(), "@example.com") {
		l.t.Errorf("%s: the log contains an email: %s", when, l.log)
	}

	for place, text := range map[string]string{
		"the log":    l.log.String(),
		"a response": l.responses.String(),
		"Redis":      dumpRedis(l.t, l.redis.Conn(l.t)),
		"MongoDB":    dumpMongo(l.t, l.mongo),
	} {
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

// No secret appears where others can read it: in the log, a response, Redis or MongoDB.
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
	addr, log, stop := start(t, s.environ)
	l := &leakTest{
		mailSetup: s,
		base:      "http://" + addr,
		log:       log,
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
	testkit.Eventually(t, "the last emails", func() bool { return s.queued() == 0 })
	l.checkLeaks("after all requests")

	testkit.NoError(t, stop())
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
