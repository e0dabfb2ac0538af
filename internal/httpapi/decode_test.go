package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/httpapi"
)

var jsonType = http.Header{"Content-Type": {"application/json"}}

// Each of these bodies is rejected with a field error, and none creates an account.
func TestRegisterBadInput(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	const ok = `"name":"Ann","email":"ann@example.com","password":"password123"`
	for _, tc := range []struct {
		body, field, code string
	}{
		// The whole body.
		{"", "", "invalid_json"},
		{"null", "", "invalid_json"},
		{"{", "", "invalid_json"},
		{"{" + ok + "} {}", "", "invalid_json"},
		{"\xef\xbb\xbf{" + ok + "}", "", "invalid_json"},
		{strings.Repeat("[", 20000), "", "invalid_json"},
		// Different passwords must not become the same.
		{`{"name":"Ann","email":"ann@example.com","password":"password` + "\xff" + `"}`, "", "invalid_json"},
		{`{"name":"Ann","email":"ann@example.com","password":"password\ud800"}`, "", "invalid_json"},
		// Members.
		{"{" + ok + `,"password":"other password"}`, "password", "duplicate"},
		{"{" + ok + `,"Password":"other password"}`, "Password", "unknown"},
		{"{" + ok + `,"pa` + "\u017f\u017f" + `word":"other password"}`, "pa\u017f\u017fword", "unknown"},
		{"{" + ok + `,"role":"admin"}`, "role", "unknown"},
		{"{" + ok + `,"` + strings.Repeat("r", 500) + `":1}`, strings.Repeat("r", 64), "unknown"},
		{`{"name":"Ann","email":{"$ne":null},"password":"password123"}`, "email", "wrong_type"},
		{`{"name":"Ann","email":"ann@example.com","password":null}`, "password", "required"},
		{`{"name":"Ann","email":"ann@example.com"}`, "password", "required"},
		{`{}`, "name", "required"},
		// Values.
		{`{"name":"Ann","email":"ann@example.com","password":"1234567"}`, "password", "too_short"},
		{`{"name":"Ann","email":"ann@example.com","password":"` + strings.Repeat("é", 1025) + `"}`, "password", "too_long"},
		{`{"name":"  ","email":"ann@example.com","password":"password123"}`, "name", "invalid_name"},
		{`{"name":"Ann\r\nBcc: x","email":"ann@example.com","password":"password123"}`, "name", "invalid_name"},
		{`{"name":"Ann","email":"ann","password":"password123"}`, "email", "invalid_email"},
		{`{"name":"Ann","email":"ann@evil.com＠example.org","password":"password123"}`, "email", "invalid_email"},
	} {
		c := s.NewClient()
		a := c.Send("POST", "/auth/register", jsonType, []byte(tc.body)).Want(400)
		first, _ := a.JSON["errors"].([]any)[0].(map[string]any)
		if first["field"] != tc.field || first["code"] != tc.code {
			t.Errorf("%.80q: got %v, want %s %s", tc.body, first, tc.field, tc.code)
		}

		if strings.Contains(string(a.Raw), "password123") {
			t.Errorf("%.80q: the response contains the password: %s", tc.body, a.Raw)
		}
	}

	n, err := s.Database().Collection("users").CountDocuments(t.Context(), bson.D{})
	if err != nil || n != 0 {
		t.Errorf("accounts: got %d, want 0 (error %v)", n, err)
	}
}

func TestContentType(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	s.Register("ann@example.com")
	body := apitest.Encode(apitest.AnnsLogin)
	for _, tc := range []struct {
		header http.Header
		status int
	}{
		{http.Header{"Content-Type": {"application/json"}}, 200},
		{http.Header{"Content-Type": {"application/json; charset=utf-8"}}, 200},
		{http.Header{"Content-Type": {`Application/JSON;charset="UTF-8"`}}, 200},
		{http.Header{}, 415},
		{http.Header{"Content-Type": {"text/plain"}}, 415},
		{http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, 415},
		{http.Header{"Content-Type": {"text/plain; application/json"}}, 415},
		{http.Header{"Content-Type": {"application/json; charset=utf-16"}}, 415},
		{http.Header{"Content-Type": {"application/json", "text/plain"}}, 415},
		{http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, 415},
	} {
		c := s.NewClient()
		c.Send("POST", "/auth/login", tc.header, body).Want(tc.status)
		if (tc.status == 200) != (c.Token != "") {
			t.Errorf("%v: cookie: got %q", tc.header, c.Token)
		}
	}
}

// Routes without a body accept an empty body or an empty object, and do nothing otherwise.
func TestNoBody(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
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
			{jsonType, strings.Repeat(" ", httpapi.MaxBody+1), 413},
			{http.Header{"Content-Type": {"text/plain"}}, ``, 200},
			{jsonType, ` {} `, 200},
		} {
			c := s.SignIn()
			before := c.Clone()
			c.Send("POST", path, tc.header, []byte(tc.body)).Want(tc.status)
			wantBefore := 401
			if tc.status != 200 {
				wantBefore = 200
			}

			before.Do("GET", "/auth/session", nil).Want(wantBefore)
		}
	}
}
