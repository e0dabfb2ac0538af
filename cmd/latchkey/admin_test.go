package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"latchkey/internal/devstore/storetest"
)

// shop is a running server and the commands of its operator, on the same stores.
type shop struct {
	t       *testing.T
	environ []string
	base    string
}

func newShop(t *testing.T) *shop {
	environ := environment(t)
	addr, _, _ := start(t, environ)
	return &shop{t, environ, "http://" + addr}
}

// do runs a command with an input and returns what it prints.
func (s *shop) do(input string, args ...string) (string, error) {
	var out bytes.Buffer
	err := run(context.Background(), args, s.environ, stdio{strings.NewReader(input), &out, io.Discard})
	return out.String(), err
}

// must is do for what must work, and print a pattern.
func (s *shop) must(pattern, input string, args ...string) string {
	s.t.Helper()
	out, err := s.do(input, args...)
	if err != nil || !regexp.MustCompile(pattern).MatchString(out) {
		s.t.Fatalf("latchkey %s: %v\n%s\nwant %s", strings.Join(args, " "), err, out, pattern)
	}
	return out
}

// request sends a request with a cookie and returns the status, the cookie that
// came back and the reason of a failure.
func (s *shop) request(method, path, cookie, body string) (status int, set, reason string) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.base+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
	if cookie != "" {
		req.Header.Set("Cookie", cookie)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var answer struct{ Reason string }
	_ = json.NewDecoder(res.Body).Decode(&answer)
	set, _, _ = strings.Cut(res.Header.Get("Set-Cookie"), ";")
	return res.StatusCode, set, answer.Reason
}

func (s *shop) login(password string) (cookie string) {
	s.t.Helper()
	status, cookie, _ := s.request("POST", "/auth/login", "", `{"email":"ann@example.com","password":"`+password+`"}`)
	if status != http.StatusOK {
		s.t.Fatalf("login: %d", status)
	}
	return cookie
}

// wantOut fails unless a cookie gets 401 with the reason.
func (s *shop) wantOut(cookie, want string) {
	s.t.Helper()
	if status, _, reason := s.request("GET", "/auth/session", cookie, ""); status != http.StatusUnauthorized || reason != want {
		s.t.Errorf("got %d %q, want 401 %q", status, reason, want)
	}
}

// What an operator does takes effect at the next request of a running server.
func TestOperator(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.must("no users", "", "users", "list")
	s.must(`email +ann@example.com`, "a long password\n", "users", "create", "Ann@Example.com", "Ann B.")
	s.must(`(?m)^[0-9a-f]{24}  ann@example.com  Ann B.  active  never`, "", "users", "list")
	s.must(`(?m)^logs in by +password$`, "", "users", "show", "ann@example.com")
	if _, err := s.do("", "users", "unlink", "ann@example.com", "google"); err == nil || err.Error() != "ann@example.com, google: no such identity" {
		t.Error(err)
	}

	first, second := s.login("a long password"), s.login("a long password")
	list := s.must(`ID +DEVICE +ADDRESS +LAST SEEN +EXPIRES`, "", "sessions", "list", "ann@example.com")
	handles := regexp.MustCompile(`(?m)^([\w-]{43})  Firefox on Linux  127.0.0.1  \d{4}-`).FindAllStringSubmatch(list, -1)
	if len(handles) != 2 {
		t.Fatalf("sessions:\n%s", list)
	}
	var shown struct{ ID, Email, Device string }
	if err := json.Unmarshal([]byte(s.must("^{", "", "sessions", "show", handles[1][1], "--json")), &shown); err != nil || shown.Email != "ann@example.com" {
		t.Errorf("show: %+v, %v", shown, err)
	}
	s.must(`(?m)^device +Firefox on Linux$`, "", "sessions", "show", handles[1][1])
	s.must(`^1 session ended`, "", "sessions", "revoke", handles[1][1])
	s.wantOut(first, "revoked")
	s.must(`sessions +1\nusers +1`, "", "sessions", "stats")
	s.must(`^1 session ended`, "", "sessions", "revoke", "--user", "ann@example.com")
	s.wantOut(second, "revoked")

	third := s.login("a long password")
	for weak, why := range map[string]string{"short": "must be at least 8", "password123": "is one of the passwords that are tried first", "ann.latchkey": "is little more than"} {
		if _, err := s.do(weak+"\n", "users", "set-password", "ann@example.com"); err == nil || !strings.Contains(err.Error(), "the password "+why) {
			t.Errorf("%s: %v", weak, err)
		}
	}
	s.must("has another password; 1 session ended", "another password\n", "users", "set-password", "ann@example.com")
	s.wantOut(third, "password_changed")
	if status, _, _ := s.request("POST", "/auth/login", "", `{"email":"ann@example.com","password":"a long password"}`); status != http.StatusUnauthorized {
		t.Errorf("the old password: %d", status)
	}

	fourth := s.login("another password")
	s.must("is disabled; 1 session ended", "", "users", "disable", "ann@example.com")
	s.wantOut(fourth, "account_disabled")
	if status, _, _ := s.request("POST", "/auth/login", "", `{"email":"ann@example.com","password":"another password"}`); status != http.StatusUnauthorized {
		t.Errorf("login of a disabled account: %d", status)
	}
	s.must(`state +active`, "", "users", "enable", "ann@example.com")

	fifth := s.login("another password")
	if out, err := s.do("n\n", "users", "delete", "ann@example.com"); err == nil || out != "" {
		t.Errorf("delete without a yes: %q, %v", out, err)
	}
	if status, _, _ := s.request("GET", "/auth/session", fifth, ""); status != http.StatusOK {
		t.Errorf("after a deletion that was not confirmed: %d", status)
	}
	s.must("is deleted; 1 session ended", "y\n", "users", "delete", "ann@example.com")
	s.wantOut(fifth, "account_deleted")
	if _, err := s.do("", "users", "show", "ann@example.com"); err == nil || err.Error() != "ann@example.com: no such user" {
		t.Errorf("show of a deleted account: %v", err)
	}
}

// All sessions of all users end, after a question, without KEYS, and those that
// begin afterwards live.
func TestRevokeEverything(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	cookies := make([]string, 40)
	for i := range cookies {
		var status int
		status, cookies[i], _ = s.request("POST", "/auth/register", "", fmt.Sprintf(`{"name":"U","email":"u%d@example.com","password":"a long password"}`, i))
		if status != http.StatusCreated {
			t.Fatal(status)
		}
	}
	if _, err := s.do("", "sessions", "revoke", "--all"); err == nil || !strings.Contains(err.Error(), "nothing was done") {
		t.Errorf("without a yes: %v", err)
	}
	s.must(`sessions +40\nusers +40`, "", "sessions", "stats")
	if out := s.must("^{", "", "sessions", "revoke", "--all", "--yes", "--json"); !strings.Contains(out, `"revoked": 40`) {
		t.Errorf("revoke --all: %s", out)
	}
	for _, cookie := range cookies {
		s.wantOut(cookie, "revoked")
	}
	s.must(`sessions +0`, "", "sessions", "stats")
}

func TestOperatorMistakes(t *testing.T) {
	t.Parallel()
	environ := environment(t)
	for _, tc := range []struct{ args, want string }{
		{"sessions", `there is no command "sessions"`},
		{"sessions kill", `there is no command "sessions kill"`},
		{"users list now", "users list: takes 0 arguments, not 1"},
		{"users show", "users show: takes 1 arguments, not 0"},
		{"users show --yaml x", "users show: flag provided but not defined: -yaml"},
		{"users show nobody@example.com", "nobody@example.com: no such user"},
		{"users show 0123", "0123: no such user"},
		{"users show a@b", `"a@b" is not an email address`},
		{"users create a@example.com A", "give the password on the input"},
		{"sessions show x", "x: no such session"},
		{"sessions show -" + strings.Repeat("A", 42), "-AAA"},
		{"sessions show --json --" + strings.Repeat("A", 41), "--AAA"},
		{"sessions list nobody@example.com", "nobody@example.com: no such user"},
		{"sessions revoke", "sessions revoke: takes one of"},
		{"sessions revoke x --all", "sessions revoke: takes one of"},
	} {
		err := run(context.Background(), strings.Fields(tc.args), environ, stdio{strings.NewReader(""), io.Discard, io.Discard})
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("latchkey %s: %v, want %s", tc.args, err, tc.want)
		}
	}
	away := []string{"TRUSTED_PROXIES=127.0.0.1", "SESSION_SECRET=" + secret, "MONGODB_URI=" + storetest.Mongo(t), "REDIS_URI=redis://127.0.0.1:1"}
	if err := run(context.Background(), []string{"sessions", "stats"}, away, stdio{nil, io.Discard, io.Discard}); err == nil || !strings.Contains(err.Error(), "session store is unavailable") {
		t.Errorf("Redis away: %v", err)
	}
}
