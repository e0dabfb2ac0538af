package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// operator runs commands on the stores of a running server.
type operator struct {
	t       *testing.T
	environ []string
	base    string
}

func newOperator(t *testing.T) *operator {
	environ := environment(t)
	addr, _, _ := start(t, environ)

	return &operator{t, environ, "http://" + addr}
}

// mustRun runs a command and fails the test unless it succeeds with matching output.
func (o *operator) mustRun(pattern, input string, args ...string) string {
	o.t.Helper()

	out, err := command(o.environ, input, args...)
	if err != nil || !regexp.MustCompile(pattern).MatchString(out) {
		o.t.Fatalf("latchkey %s: got error %v and output %q, want %s", strings.Join(args, " "), err, out, pattern)
	}

	return out
}

// wantError runs a command and fails the test unless its error matches a pattern.
func (o *operator) wantError(pattern, input string, args ...string) {
	o.t.Helper()

	if out, err := command(o.environ, input, args...); err == nil || !regexp.MustCompile(pattern).MatchString(err.Error()) {
		o.t.Errorf("latchkey %s: got error %v and output %q, want error %s", strings.Join(args, " "), err, out, pattern)
	}
}

// request sends a request with a cookie and returns the status, the new cookie, and the
// reason for a failure.
func (o *operator) request(method, path, cookie, body string) (status int, newCookie, reason string) {
	o.t.Helper()

	const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
	res := send(o.t, method, o.base+path, body, "User-Agent", firefox, "Cookie", cookie)
	var problem struct{ Reason string }
	_ = json.Unmarshal([]byte(res.text), &problem)

	return res.StatusCode, res.cookie(), problem.Reason
}

// login logs Ann in and fails the test unless the response has the wanted status.
func (o *operator) login(want int, password string) (cookie string) {
	o.t.Helper()

	status, cookie, _ := o.request("POST", "/auth/login", "", `{"email":"ann@example.com","password":"`+password+`"}`)
	if status != want {
		o.t.Fatalf("login with %q: got %d, want %d", password, status, want)
	}

	return cookie
}

// wantEnded fails the test unless a cookie gets 401 with a reason.
func (o *operator) wantEnded(cookie, want string) {
	o.t.Helper()

	if status, _, reason := o.request("GET", "/auth/session", cookie, ""); status != http.StatusUnauthorized || reason != want {
		o.t.Errorf("ended session: got %d %q, want 401 %q", status, reason, want)
	}
}

// Operator commands take effect at the next request to a running server.
func TestOperator(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.mustRun("no users", "", "users", "list")
	o.mustRun(`email +ann@example.com`, "a long password\n", "users", "create", "Ann@Example.com", "Ann B.")
	o.mustRun(`(?m)^[0-9a-f]{24}  ann@example.com  Ann B.  active  never`, "", "users", "list")
	o.mustRun(`(?m)^sign-in methods +password$`, "", "users", "show", "ann@example.com")
	o.wantError("^ann@example.com, google: no such identity$", "", "users", "unlink", "ann@example.com", "google")

	first := o.login(200, "a long password")
	second := o.login(200, "a long password")
	list := o.mustRun(`ID +DEVICE +IP +LAST SEEN +EXPIRES IF IDLE`, "", "sessions", "list", "ann@example.com")
	ids := regexp.MustCompile(`(?m)^([\w-]{45})  Firefox 128 on Linux  127.0.0.1  \d{4}-`).FindAllStringSubmatch(list, -1)
	if len(ids) != 2 {
		t.Fatalf("sessions: got %d, want 2:\n%s", len(ids), list)
	}

	var shown struct{ ID, Email, Device string }
	testkit.NoError(t, json.Unmarshal([]byte(o.mustRun("^{", "", "sessions", "show", ids[1][1], "--json")), &shown))
	if shown.Email != "ann@example.com" {
		t.Errorf("sessions show: got %+v, want ann@example.com", shown)
	}
	o.mustRun(`(?m)^device +Firefox 128 on Linux$`, "", "sessions", "show", ids[1][1])
	o.mustRun(`^1 session ended`, "", "sessions", "revoke", ids[1][1])
	o.wantEnded(first, "revoked")
	o.mustRun(`sessions +1\nusers +1`, "", "sessions", "stats")
	o.mustRun(`^1 session ended`, "", "sessions", "revoke", "--user", "ann@example.com")
	o.wantEnded(second, "revoked")

	third := o.login(200, "a long password")
	for password, want := range map[string]string{"short": "must be at least 8", "password123": "is too common", "ann.latchkey": "is too similar to"} {
		o.wantError("password "+want, password+"\n", "users", "set-password", "ann@example.com")
	}
	o.mustRun("Password of ann@example.com changed; 1 session ended", "another password\n", "users", "set-password", "ann@example.com")
	o.wantEnded(third, "password_changed")
	o.login(401, "a long password")

	fourth := o.login(200, "another password")
	o.mustRun("Disabled ann@example.com; 1 session ended", "", "users", "disable", "ann@example.com")
	o.wantEnded(fourth, "account_disabled")
	o.login(401, "another password")
	o.mustRun(`state +active`, "", "users", "enable", "ann@example.com")

	fifth := o.login(200, "another password")
	if out, err := command(o.environ, "n\n", "users", "delete", "ann@example.com"); err == nil || out != "" {
		t.Errorf("unconfirmed users delete: got output %q and error %v, want only an error", out, err)
	}
	if status, _, _ := o.request("GET", "/auth/session", fifth, ""); status != http.StatusOK {
		t.Errorf("session after the unconfirmed deletion: got %d, want 200", status)
	}
	o.mustRun("Deleted ann@example.com; 1 session ended", "y\n", "users", "delete", "ann@example.com")
	o.wantEnded(fifth, "account_deleted")
	o.wantError("^ann@example.com: no such user$", "", "users", "show", "ann@example.com")
}

// One document that another application has stored hides no account. It can be disabled and
// deleted.
func TestOperatorWithOddDocuments(t *testing.T) {
	t.Parallel()
	uri := storetest.Mongo(t)
	o := &operator{t: t, environ: append(environment(t), "MONGODB_URI="+uri)}

	const idAsText = "507f1f77bcf86cd799439011"
	users := storetest.Database(t, uri).Collection("users")
	for _, d := range []bson.D{
		{{Key: "_id", Value: "x-1"}, {Key: "email", Value: "eve@example.com"}},
		{{Key: "_id", Value: idAsText}, {Key: "email", Value: "bob@example.com"}},
		{{Key: "_id", Value: int32(7)}, {Key: "email", Value: "seven@example.com"}},
		{{Key: "email", Value: "ann@example.com"}, {Key: "password", Value: "h"}, {Key: "emailVerified", Value: time.Now()}},
		{{Key: "email", Value: 5}},
	} {
		_, err := users.InsertOne(t.Context(), d)
		testkit.NoError(t, err)
	}

	const wrongID = "unreadable: _id is not an ObjectID"
	list := o.mustRun(`(?m)^"x-1" +eve@example.com +`+wrongID, "", "users", "list")
	for _, row := range []string{`"` + idAsText + `" +bob@example.com +` + wrongID, `{"\$numberInt":"7"} +seven@example.com +` + wrongID} {
		if !regexp.MustCompile("(?m)^" + row).MatchString(list) {
			t.Errorf("got list %q, want %s", list, row)
		}
	}
	id := regexp.MustCompile(`(?m)^([0-9a-f]{24}) +unreadable: email is not a string`).FindStringSubmatch(list)
	if id == nil || !strings.Contains(list, "ann@example.com") {
		t.Fatalf("got list %q, want Ann and an unreadable account", list)
	}
	o.mustRun(`(?s)"email": "eve@example.com",\s+"unreadable": "_id is not an ObjectID"`, "", "users", "list", "--json")

	o.mustRun("(?m)^email +ann@example.com .not verified.$", "", "users", "show", "ann@example.com")
	o.mustRun("Disabled ann@example.com; 0 sessions ended", "", "users", "disable", "ann@example.com")
	o.mustRun("Deleted ann@example.com; 0 sessions ended", "", "users", "delete", "--yes", "ann@example.com")

	o.mustRun("(?m)^state +unreadable: email is not a string", "", "users", "show", id[1])
	o.mustRun("Disabled "+id[1]+"; 0 sessions ended", "", "users", "disable", id[1])
	o.mustRun("no sessions", "", "sessions", "list", id[1])
	o.mustRun("Deleted "+id[1]+"; 0 sessions ended", "", "users", "delete", "--yes", id[1])

	// The ID as listed, an _id without its quotes, and the email all work.
	for _, ref := range []string{`"x-1"`, "x-1", "eve@example.com"} {
		o.mustRun(`(?s)^id +"x-1"\nemail +eve@example.com\n.*state +`+wrongID, "", "users", "show", ref)
		o.mustRun("Disabled eve@example.com; 0 sessions ended", "", "users", "disable", ref)
	}
	var disabled bson.M
	testkit.NoError(t, users.FindOne(t.Context(), bson.D{{Key: "_id", Value: "x-1"}}).Decode(&disabled))
	if disabled["isActive"] != false {
		t.Errorf("got %v, want a disabled account", disabled)
	}
	o.wantError(`^x-1: document "x-1" of users: `, "a long password\n", "users", "set-password", "x-1")
	o.wantError(`^x-1: document "x-1" of users: `, "", "sessions", "list", "x-1")
	o.mustRun(`state +`+wrongID, "", "users", "enable", "x-1")

	o.mustRun("Deleted eve@example.com; 0 sessions ended", "", "users", "delete", "--yes", `"x-1"`)
	o.mustRun("Deleted bob@example.com; 0 sessions ended", "", "users", "delete", "--yes", idAsText)
	o.mustRun("Deleted seven@example.com; 0 sessions ended", "", "users", "delete", "--yes", `{"$numberInt":"7"}`)
	o.mustRun("no users", "", "users", "list")
}

// An account whose email was imported in another spelling can log in after the server has started,
// and nobody else can register its email.
func TestImportedSpelling(t *testing.T) {
	t.Parallel()
	uri := storetest.Mongo(t)
	environ := append(environment(t), "MONGODB_URI="+uri)

	// Of "password123", by the npm package bcrypt.
	const hash = "$2b$04$X0OXgiw1ANMjf6Jfuh6RPezXOOaxhgx3U6ww8vRN9y.tzNbKqWZva"
	_, err := storetest.Database(t, uri).Collection("users").InsertOne(t.Context(), bson.D{
		{Key: "name", Value: "Ann"}, {Key: "email", Value: " Ann@Example.com "}, {Key: "password", Value: hash},
	})
	testkit.NoError(t, err)

	if out, err := command(environ, "", "doctor"); !strings.Contains(out, "another spelling, such as with upper") {
		t.Errorf("doctor: got %q, %v; want a warning about the spelling", out, err)
	}

	addr, log, _ := start(t, environ)
	testkit.Eventually(t, "the email to be made canonical", func() bool {
		return strings.Contains(log.String(), "stored emails made canonical")
	})

	o := &operator{t: t, environ: environ, base: "http://" + addr}
	o.login(http.StatusOK, "password123")
	o.mustRun("(?m)^email +ann@example.com", "", "users", "show", "Ann@Example.com")
	status, _, _ := o.request("POST", "/auth/register", "", `{"name":"B","email":"ANN@example.com","password":"a long password"}`)
	if status != http.StatusConflict {
		t.Errorf("register the same email: got %d, want 409", status)
	}
}

// An operator cannot create a second account for an imported email either, even if no server has
// started since the import.
func TestOperatorCreatesNoDuplicate(t *testing.T) {
	t.Parallel()
	uri := storetest.Mongo(t)
	o := &operator{t: t, environ: append(environment(t), "MONGODB_URI="+uri)}
	_, err := storetest.Database(t, uri).Collection("users").InsertOne(t.Context(), bson.D{
		{Key: "name", Value: "Ann"}, {Key: "email", Value: "Ann@Example.com"},
	})
	testkit.NoError(t, err)

	o.wantError("email already registered", "a long password\n", "users", "create", "ann@example.com", "Eve")
	o.mustRun("(?m)^email +ann@example.com", "", "users", "show", "ann@example.com")
}

// Two accounts with one email prevent the index. Neither the log nor the doctor quotes the email.
func TestDuplicateEmails(t *testing.T) {
	t.Parallel()
	uri := storetest.Mongo(t)
	environ := append(environment(t), "MONGODB_URI="+uri)
	for range 2 {
		_, err := storetest.Database(t, uri).Collection("users").InsertOne(t.Context(), bson.D{{Key: "email", Value: "ann@example.com"}})
		testkit.NoError(t, err)
	}

	out, err := command(environ, "", "doctor")
	if err == nil || !strings.Contains(out, "nobody can register") || strings.Contains(out, "ann@example.com") {
		t.Errorf("doctor: got %q, %v; want a problem without the email", out, err)
	}

	_, log, _ := start(t, environ)
	testkit.Eventually(t, "the missing index in the log", func() bool {
		return strings.Contains(log.String(), "registration is disabled")
	})
	if strings.Contains(log.String(), "ann@example.com") || strings.Contains(log.String(), "linking providers is disabled") {
		t.Errorf("got log %s, want only the missing index on emails, without the email", log)
	}
}

// All sessions of all users can be revoked after a confirmation, without KEYS. Later
// sessions are unaffected.
func TestRevokeEverything(t *testing.T) {
	t.Parallel()
	o := newOperator(t)

	cookies := make([]string, 40)
	for i := range cookies {
		var status int
		status, cookies[i], _ = o.request("POST", "/auth/register", "", fmt.Sprintf(`{"name":"U","email":"u%d@example.com","password":"a long password"}`, i))
		if status != http.StatusCreated {
			t.Fatalf("register: got %d, want 201", status)
		}
	}

	o.wantError("nothing was changed", "", "sessions", "revoke", "--all")
	o.mustRun(`sessions +40\nusers +40`, "", "sessions", "stats")
	o.mustRun(`(?s)^{.*"revoked": 40`, "", "sessions", "revoke", "--all", "--yes", "--json")
	for _, cookie := range cookies {
		o.wantEnded(cookie, "revoked")
	}
	o.mustRun(`sessions +0`, "", "sessions", "stats")
}

func TestOperatorMistakes(t *testing.T) {
	t.Parallel()
	o := &operator{t: t, environ: environment(t)}
	for _, tc := range []struct{ args, want string }{
		{"users show nobody@example.com", "nobody@example.com: no such user"},
		{"users show 0123", "0123: no such user"},
		{"users show a@b", `"a@b" is not a valid email`},
		{"users create a@example.com A", "no password on standard input"},
		{"sessions show x", "x: no such session"},
		{"sessions show -" + strings.Repeat("A", 44), "-AAA"},
		{"sessions show --json --" + strings.Repeat("A", 43), "--AAA"},
		{"sessions list nobody@example.com", "nobody@example.com: no such user"},
	} {
		o.wantError("^"+regexp.QuoteMeta(tc.want), "", strings.Fields(tc.args)...)
	}

	o.environ = append(o.environ, "REDIS_URI=redis://127.0.0.1:1")
	o.wantError("redis is unavailable", "", "sessions", "stats")
}
