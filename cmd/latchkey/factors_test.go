package main

import (
	"encoding/base32"
	"net/http"
	"net/http/cookiejar"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/factor"
	"latchkey/internal/testkit"
)

// factorSettings are settings with which users can set up authenticator apps, and cookies work without https.
var factorSettings = []string{"APP_ENV=test", "BCRYPT_COST=4", "DATA_KEY=" + dataKey}

// browser is a client that keeps cookies.
type browser struct {
	t    *testing.T
	base string
	http *http.Client
}

func newBrowser(t *testing.T, base string) *browser {
	t.Helper()

	jar, err := cookiejar.New(nil)
	testkit.NoError(t, err)

	return &browser{t, base, &http.Client{Jar: jar}}
}

// send sends a request.
func (b *browser) send(method, path, body string) response {
	b.t.Helper()

	res, err := fetch(b.http, method, b.base+path, body)
	testkit.NoError(b.t, err)

	return res
}

// want sends a request and fails the test unless the response has the given status.
func (b *browser) want(status int, method, path, body string) response {
	b.t.Helper()

	res := b.send(method, path, body)
	if res.StatusCode != status {
		b.t.Fatalf("%s %s: got %d %.300s, want %d", method, path, res.StatusCode, res.text, status)
	}

	return res
}

// authenticator is an authenticator app.
type authenticator struct {
	id            string
	secret        []byte
	recoveryCodes []string
}

// code returns the code of a time step from now on.
func (a authenticator) code(offset int64) string {
	return factor.Code(a.secret, factor.Step(time.Now())+offset)
}

// enrol adds an authenticator app to the account of the browser's session.
func (b *browser) enrol(name string) authenticator {
	b.t.Helper()

	begun := decode[struct{ ID, Secret string }](b.t, b.want(200, "POST", "/auth/totp", "{}"))
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(begun.Secret)
	testkit.NoError(b.t, err)
	app := authenticator{id: begun.ID, secret: secret}

	body := `{"code":"` + app.code(0) + `","name":"` + name + `"}`
	confirmed := b.want(200, "POST", "/auth/totp/"+app.id+"/confirm", body)
	app.recoveryCodes = decode[struct{ RecoveryCodes []string }](b.t, confirmed).RecoveryCodes

	return app
}

// An operator sees the second factors of an account, without their secrets, and removes them. The owner gets
// an email with the reason, and logs in with the password alone.
func TestResetFactors(t *testing.T) {
	t.Parallel()

	s := newMailSetup(t, factorSettings...)
	addr, _, _ := start(t, s.environ)
	o := &operator{t, s.environ, "http://" + addr}

	b := newBrowser(t, o.base)
	b.want(201, "POST", "/auth/register", annsAccount)
	o.mustRun(`(?m)^second factors +none$`, "", "users", "show", "ann@example.com")
	o.wantError("^ann@example.com has no second factor; nothing was changed$", "", "users", "reset-factors", "ann@example.com", "--reason", "lost", "--yes")

	app := b.enrol("Ann's phone")
	second := newBrowser(t, o.base)
	if res := second.want(200, "POST", "/auth/login", annsLogin); !strings.Contains(res.text, `"factorRequired":true`) {
		t.Fatalf("login: got %s, want a request for the second factor", res.text)
	}
	second.want(200, "POST", "/auth/login/factor", `{"recoveryCode":"`+app.recoveryCodes[0]+`","trustDevice":true}`)

	shown := o.mustRun(`(?m)^second factor +totp "Ann's phone", added 20\S+ \S+Z, last used never$`, "", "users", "show", "ann@example.com")
	for _, line := range []string{`(?m)^recovery codes left +9$`, `(?m)^trusted devices +1$`} {
		if !regexp.MustCompile(line).MatchString(shown) {
			t.Errorf("users show: got %s, want %s", shown, line)
		}
	}
	asJSON := o.mustRun(`(?s)"factors": \[\s+{\s+"id": "`+app.id+`",\s+"type": "totp",\s+"name": "Ann's phone",.*"recoveryCodes": 9,\s+"trustedDevices": 1`, "",
		"users", "show", "ann@example.com", "--json")
	for _, secret := range []string{"seed", "hash", factor.EncodeSecret(app.secret)} {
		if strings.Contains(asJSON+shown, secret) {
			t.Errorf("users show: got %s\n%s, want it without %q", shown, asJSON, secret)
		}
	}

	reset := []string{"users", "reset-factors", "ann@example.com", "--reason", "Lost phone & <codes>"}
	o.wantError("^not confirmed; nothing was changed", "n\n", reset...)
	b.want(200, "GET", "/auth/session", "")
	o.mustRun("^Removed all second factors of ann@example.com; 2 sessions ended\n$", "y\n", reset...)
	o.mustRun(`(?m)^second factors +none$`, "", "users", "show", "ann@example.com")
	for _, ended := range []*browser{b, second} {
		if res := ended.want(401, "GET", "/auth/session", ""); !strings.Contains(res.text, `"reason":"factors_changed"`) {
			t.Errorf("session: got %s, want the reason that it ended", res.text)
		}
	}

	if res := b.want(200, "POST", "/auth/login", annsLogin); !strings.Contains(res.text, `"user":`) {
		t.Errorf("login: got %s, want no request for a second factor", res.text)
	}
	if res := b.want(200, "GET", "/auth/activity", ""); !strings.Contains(res.text, `"factors_reset"`) || !strings.Contains(res.text, `"by":"operator"`) {
		t.Errorf("activity: got %s, want factors_reset by an operator", res.text)
	}
	testkit.Eventually(t, "the email with the reason", func() bool {
		for _, m := range s.mails.Messages() {
			if strings.Contains(m.Text(), "Lost phone & <codes>") {
				return true
			}
		}

		return false
	})
}

// The reason for a reset is required, and it is one line.
func TestResetFactorsNeedsReason(t *testing.T) {
	t.Parallel()
	o := &operator{t: t, environ: withoutStores()}

	for reason, want := range map[string]string{
		"":                       "must not be empty",
		"\t":                     "must not be empty",
		"two\nlines":             "must be one line",
		"a\u202eb":               "must be one line",
		"\xff":                   "must be one line",
		strings.Repeat("é", 201): "at most 200 characters",
	} {
		args := []string{"users", "reset-factors", "ann@example.com", "--yes", "--reason", reason}
		_, err := command(o.environ, "", args...)
		if err == nil || exitCode(err) != 2 || !strings.Contains(err.Error(), want) {
			t.Errorf("reason %q: got error %v, want a usage error with %q", reason, err, want)
		}
	}
	o.wantError("--reason: must not be empty", "", "users", "reset-factors", "ann@example.com", "--yes")
	o.wantError("is unavailable", "", "users", "reset-factors", "ann@example.com", "--yes", "--reason", strings.Repeat("é", 200))
}

// seedOf returns the stored seed of an authenticator app.
func (a authenticator) seedOf(t *testing.T, uri string) string {
	t.Helper()

	var account struct {
		Factors map[string]struct{ Seed string }
	}
	filter := bson.D{{Key: "factors." + a.id, Value: bson.D{{Key: "$exists", Value: true}}}}
	testkit.NoError(t, storetest.Database(t, uri).Collection("users").FindOne(t.Context(), filter).Decode(&account))

	return account.Factors[a.id].Seed
}

// wantMissingKey fails the test unless the doctor and the log of a server report that DATA_KEY lacks a key.
func wantMissingKey(t *testing.T, environ []string, id string) {
	t.Helper()

	want := regexp.MustCompile(`secrets of authenticator apps that cannot be decrypted, .*: 1 of a sample of 1; DATA_KEY has (no keys|the keys [0-9a-f]{8}); missing: ` + id)
	if out, err := command(environ, "", "doctor", "--json"); err == nil || !want.MatchString(out) {
		t.Errorf("doctor: got error %v and %s, want %s", err, out, want)
	}

	_, log, _ := start(t, environ)
	testkit.Eventually(t, "the log to report the missing key", func() bool { return want.MatchString(log.String()) })
}

// After a rotation of DATA_KEY, rekey encrypts every seed with the new key, so that the old one can be
// removed. Without the old key it changes nothing and names the accounts and the missing key.
func TestRekey(t *testing.T) {
	t.Parallel()

	const newKey = "another-data-key-with-random-characters-8Rz"
	uri := storetest.Mongo(t)
	environ := append(environment(t), factorSettings...)
	environ = append(environ, "MONGODB_URI="+uri)
	addr, _, _ := start(t, environ)
	withKeys := func(keys string) *operator {
		return &operator{t: t, environ: append(environ[:len(environ):len(environ)], "DATA_KEY="+keys), base: "http://" + addr}
	}

	o := withKeys(dataKey)
	o.mustRun(`re-encrypted +0\nalready current +0\nundecryptable +0\n`, "", "rekey")
	b := newBrowser(t, o.base)
	b.want(201, "POST", "/auth/register", annsAccount)
	app := b.enrol("Phone")
	before := app.seedOf(t, uri)
	id := decode[struct{ User struct{ ID string } }](t, b.want(200, "GET", "/auth/me", "")).User.ID

	o.mustRun(`re-encrypted +0\nalready current +1\nundecryptable +0\n`, "", "rekey")
	if got := app.seedOf(t, uri); got != before {
		t.Errorf("seed with the current key: got %s, want %s", got, before)
	}

	withKeys("").wantError("^DATA_KEY is not set$", "", "rekey")
	out, err := command(withKeys(newKey).environ, "", "rekey")
	oldID := strings.Split(before, ".")[1]
	if !strings.Contains(out, "1 (accounts: "+id+")") || err == nil || !strings.HasSuffix(err.Error(), "; missing: "+oldID) || exitCode(err) != 1 {
		t.Errorf("without the old key: got error %v and %s, want the key and the account", err, out)
	}
	for _, keys := range []string{newKey, ""} {
		wantMissingKey(t, withKeys(keys).environ, oldID)
	}
	if got := app.seedOf(t, uri); got != before {
		t.Errorf("undecryptable seed: got %s, want %s", got, before)
	}

	rotated := withKeys(newKey + "," + dataKey)
	rotated.mustRun(`(?s)"reencrypted": 1,\s+"current": 0,\s+"undecryptable": 0,\s+"users": \[\]`, "", "rekey", "--json")
	rotated.mustRun(`re-encrypted +0\nalready current +1\n`, "", "rekey")
	if strings.Split(app.seedOf(t, uri), ".")[1] == oldID {
		t.Error("the seed is still encrypted with the old key")
	}

	// The server with only the new key accepts the app.
	addr, _, _ = start(t, withKeys(newKey).environ)
	b = newBrowser(t, "http://"+addr)
	b.want(200, "POST", "/auth/login", annsLogin)
	b.want(200, "POST", "/auth/login/factor", `{"code":"`+app.code(1)+`"}`)
}

// If the seeds are damaged, no key helps: the doctor and the log advise to reset the factors of the accounts.
func TestDamagedSeeds(t *testing.T) {
	t.Parallel()

	uri := storetest.Mongo(t)
	environ := append(append(environment(t), factorSettings...), "MONGODB_URI="+uri)
	damaged := bson.D{{Key: "kind", Value: "totp"}, {Key: "name", Value: "Phone"}, {Key: "seed", Value: "damaged"}}
	account := bson.D{{Key: "email", Value: "ann@example.com"}, {Key: "factors", Value: bson.D{{Key: "a", Value: damaged}}}}
	_, err := storetest.Database(t, uri).Collection("users").InsertOne(t.Context(), account)
	testkit.NoError(t, err)

	const why = `DATA_KEY has the keys [0-9a-f]{8}; no key is missing, so the secrets are damaged`
	want := regexp.MustCompile(why + `",\s*"fix": ?"run latchkey users reset-factors for the accounts that latchkey rekey lists"`)
	if out, err := command(environ, "", "doctor", "--json"); err == nil || !want.MatchString(out) {
		t.Errorf("doctor: got error %v and %s, want %s", err, out, want)
	}

	_, log, _ := start(t, environ)
	testkit.Eventually(t, "the log to report the damaged secrets", func() bool { return want.MatchString(log.String()) })

	o := &operator{t: t, environ: environ}
	o.wantError("^1 secret cannot be decrypted: "+why+"$", "", "rekey")
}

// rekey goes through all pages of accounts, and counts an account whose factors are damaged.
func TestRekeyReadsAllPages(t *testing.T) {
	t.Parallel()

	uri := storetest.Mongo(t)
	o := &operator{t: t, environ: append(append(environment(t), factorSettings...), "MONGODB_URI="+uri)}

	const accounts = 250
	documents := make([]any, accounts)
	for i := range documents {
		seed := bson.D{{Key: "kind", Value: "totp"}, {Key: "name", Value: "Phone"}, {Key: "seed", Value: "v1.00000000.AAAA"}}
		documents[i] = bson.D{
			{Key: "email", Value: strings.Repeat("a", i+1) + "@example.com"},
			{Key: "factors", Value: bson.D{{Key: "a", Value: seed}, {Key: "b", Value: seed}}},
		}
	}
	documents = append(documents, bson.D{{Key: "email", Value: "bad@example.com"}, {Key: "factors", Value: 5}})
	_, err := storetest.Database(t, uri).Collection("users").InsertMany(t.Context(), documents)
	testkit.NoError(t, err)

	out, err := command(o.environ, "", "rekey")
	if err == nil || !strings.HasPrefix(err.Error(), "501 secrets cannot be decrypted: ") || !strings.HasSuffix(err.Error(), "; missing: 00000000") {
		t.Errorf("got error %v, want 501 seeds", err)
	}
	if got := len(regexp.MustCompile(`[0-9a-f]{24}`).FindAllString(out, -1)); got != accounts+1 {
		t.Errorf("got %d user IDs, want %d: %s", got, accounts+1, out)
	}
}
