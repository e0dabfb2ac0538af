package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/bson"
)

var jsonType = http.Header{"Content-Type": {"application/json"}}

// Each of these is refused as the form says, and none makes an account.
func TestRegisterBadInput(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const ok = `"name":"Ann","email":"ann@example.com","password":"password123"`
	long := strings.Repeat("x", 101)
	for _, tc := range []struct {
		body, field, code string
	}{
		// The body as a whole.
		{"", "", "invalid_json"},
		{"null", "", "invalid_json"},
		{"[]", "", "invalid_json"},
		{`"x"`, "", "invalid_json"},
		{"{", "", "invalid_json"},
		{"{" + ok + "} {}", "", "invalid_json"},
		{"{" + ok + "}x", "", "invalid_json"},
		{"{" + ok + ",}", "", "invalid_json"},
		{"{'name':'Ann'}", "", "invalid_json"},
		{"\xef\xbb\xbf{" + ok + "}", "", "invalid_json"},
		{strings.Repeat("[", 20000), "", "invalid_json"},
		// Different passwords must not become one.
		{`{"name":"Ann","email":"ann@example.com","password":"password` + "\xff" + `"}`, "", "invalid_json"},
		{`{"name":"Ann","email":"ann@example.com","password":"password\ud800"}`, "", "invalid_json"},
		// Members.
		{"{" + ok + `,"password":"other password"}`, "password", "duplicate"},
		{"{" + ok + `,"Password":"other password"}`, "Password", "unknown"},
		{"{" + ok + `,"pa` + "\u017f\u017f" + `word":"other password"}`, "pa\u017f\u017fword", "unknown"},
		{"{" + ok + `,"role":"admin"}`, "role", "unknown"},
		{"{" + ok + `,"` + strings.Repeat("r", 500) + `":1}`, strings.Repeat("r", 64), "unknown"},
		{`{"name":"Ann","email":"ann@example.com","password":12345678}`, "password", "wrong_type"},
		{`{"name":"Ann","email":{"$ne":null},"password":"password123"}`, "email", "wrong_type"},
		{`{"name":"Ann","email":"ann@example.com","password":null}`, "password", "required"},
		{`{"name":"Ann","email":"ann@example.com"}`, "password", "required"},
		{`{}`, "name", "required"},
		// Values.
		{`{"name":"Ann","email":"ann@example.com","password":"1234567"}`, "password", "too_short"},
		{`{"name":"Ann","email":"ann@example.com","password":"` + strings.Repeat("é", 1025) + `"}`, "password", "too_long"},
		{`{"name":"  ","email":"ann@example.com","password":"password123"}`, "name", "invalid_name"},
		{`{"name":"` + long + `","email":"ann@example.com","password":"password123"}`, "name", "invalid_name"},
		{`{"name":"Ann\r\nBcc: x","email":"ann@example.com","password":"password123"}`, "name", "invalid_name"},
		{`{"name":"Ann","email":"ann","password":"password123"}`, "email", "invalid_email"},
		{`{"name":"Ann","email":"ann@evil.com＠example.org","password":"password123"}`, "email", "invalid_email"},
	} {
		c := s.client()
		a := c.send("POST", "/auth/register", jsonType, []byte(tc.body)).want(400)
		first, _ := a.body["errors"].([]any)[0].(map[string]any)
		if first["field"] != tc.field || first["code"] != tc.code {
			t.Errorf("%.80q: got %v, want %s %s", tc.body, first, tc.field, tc.code)
		}
		if strings.Contains(string(a.raw), "password123") {
			t.Errorf("%.80q: the answer quotes the password: %s", tc.body, a.raw)
		}
	}
	n, err := s.database().Collection("users").CountDocuments(context.Background(), bson.D{})
	if err != nil || n != 0 {
		t.Errorf("%d accounts were made, %v", n, err)
	}
}

func TestContentType(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.register("ann@example.com")
	body := []byte(fmt.Sprintf(`{"email":"ann@example.com","password":%q}`, testPassword))
	for _, tc := range []struct {
		header http.Header
		status int
	}{
		{http.Header{"Content-Type": {"application/json"}}, 200},
		{http.Header{"Content-Type": {"application/json; charset=utf-8"}}, 200},
		{http.Header{"Content-Type": {`Application/JSON;charset="UTF-8"`}}, 200},
		{http.Header{}, 415},
		{http.Header{"Content-Type": {""}}, 415},
		{http.Header{"Content-Type": {"text/plain"}}, 415},
		{http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, 415},
		{http.Header{"Content-Type": {"multipart/form-data; boundary=x"}}, 415},
		{http.Header{"Content-Type": {"text/plain; application/json"}}, 415},
		{http.Header{"Content-Type": {"application/json; charset=utf-16"}}, 415},
		{http.Header{"Content-Type": {"application/json;;"}}, 415},
		{http.Header{"Content-Type": {"application/json", "text/plain"}}, 415},
		{http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, 415},
	} {
		c := s.client()
		c.send("POST", "/auth/login", tc.header, body).want(tc.status)
		if (tc.status == 200) != (c.token != "") {
			t.Errorf("%v: cookie %q", tc.header, c.token)
		}
	}
}

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	fill := func(n int) []byte {
		const head, tail = `{"email":"ann@example.com","password":"x"`, `}`
		return []byte(head + strings.Repeat(" ", n-len(head)-len(tail)) + tail)
	}
	s.client().send("POST", "/auth/login", jsonType, fill(maxBody)).wantCode(401, "invalid_credentials")
	s.client().send("POST", "/auth/login", jsonType, fill(maxBody+1)).wantCode(413, "body_too_large")
}

// Routes without a body take none or an empty object, and do nothing for a
// request that has another.
func TestNoBody(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, path := range []string{"/auth/logout", "/auth/rotate-session"} {
		for _, tc := range []struct {
			header http.Header
			body   string
			status int
		}{
			{jsonType, `{"all":true}`, 400},
			{jsonType, `[]`, 400},
			{jsonType, `null`, 400},
			{http.Header{"Content-Type": {"text/plain"}}, `{}`, 415},
			{http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, `a=b`, 415},
			{jsonType, strings.Repeat(" ", maxBody+1), 413},
			{http.Header{"Content-Type": {"text/plain"}}, ``, 200},
			{jsonType, ` {} `, 200},
		} {
			c := s.signIn()
			before := c.clone()
			c.send("POST", path, tc.header, []byte(tc.body)).want(tc.status)
			wantBefore := 401
			if tc.status != 200 {
				wantBefore = 200
			}
			before.do("GET", "/auth/session", nil).want(wantBefore)
		}
	}
}
