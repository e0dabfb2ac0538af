package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/testkit"
)

// runWithMessages runs a command, fails the test unless it succeeds, and returns its output and its
// messages.
func (o *operator) runWithMessages(args ...string) (out, messages string) {
	o.t.Helper()

	stdout := &testkit.Buffer{}
	stderr := &testkit.Buffer{}
	if err := run(context.Background(), args, o.environ, stdio{strings.NewReader(""), stdout, stderr}); err != nil {
		o.t.Fatalf("latchkey %s: %v", strings.Join(args, " "), err)
	}

	return stdout.String(), stderr.String()
}

// nextPage matches the command for the next page.
var nextPage = regexp.MustCompile(`(?m)^Next page: latchkey (.*)$`)

// allPages runs a command, and then those that each page names for the next one. It returns what a pattern
// matches in the pages, and the number of pages.
func (o *operator) allPages(pattern string, args ...string) (found []string, pages int) {
	o.t.Helper()

	for {
		out, messages := o.runWithMessages(args...)
		found = append(found, regexp.MustCompile(pattern).FindAllString(out, -1)...)
		pages++

		next := nextPage.FindStringSubmatch(messages)
		if next == nil {
			return found, pages
		}

		args = strings.Fields(next[1])
	}
}

// register registers u0@example.com to u9@example.com and returns their cookies.
func (o *operator) register() (cookies []string) {
	o.t.Helper()

	for i := range 10 {
		body := fmt.Sprintf(`{"name":"User %d","email":"u%d@example.com","password":"a long password"}`, i, i)
		status, cookie, _ := o.request("POST", "/auth/register", "", body)
		if status != http.StatusCreated {
			o.t.Fatalf("register: got %d, want 201", status)
		}
		cookies = append(cookies, cookie)
	}

	return cookies
}

// Operators can list and search all accounts page by page. Each page names the command for the next one.
func TestOperatorPages(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.register()

	for command, want := range map[string]string{
		"users list --limit 4":                            "u9 u8 u7 u6 u5 u4 u3 u2 u1 u0",
		"users search u --limit 4":                        "u0 u1 u2 u3 u4 u5 u6 u7 u8 u9",
		"users search U3@":                                "u3",
		"users search 3@":                                 "",
		"users search --anywhere 3@":                      "u3",
		"users search --anywhere --limit 4 user":          "u9 u8 u7 u6 u5 u4 u3 u2 u1 u0",
		"users search --anywhere --json --limit 4 .co":    "u9 u8 u7 u6 u5 u4 u3 u2 u1 u0",
		"users list --json --limit 5":                     "u9 u8 u7 u6 u5 u4 u3 u2 u1 u0",
		"users list --limit 10":                           "u9 u8 u7 u6 u5 u4 u3 u2 u1 u0",
		"users search u --after u7@example.com":           "u8 u9",
		"users search --json u9@example.com --limit 1000": "u9",
	} {
		emails, pages := o.allPages(`u\d@example.com`, strings.Fields(command)...)
		if got := strings.ReplaceAll(strings.Join(emails, " "), "@example.com", ""); got != want {
			t.Errorf("latchkey %s: got %s, want %s", command, got, want)
		}
		if strings.Contains(command, "--limit 4") && pages != 3 {
			t.Errorf("latchkey %s: got %d pages, want 3", command, pages)
		}
		if strings.Contains(command, "--limit 10") && pages != 1 {
			t.Errorf("latchkey %s: got %d pages, want 1", command, pages)
		}
	}

	for command, wantsHint := range map[string]bool{
		"users search 3@":                       true,
		"users search --json 3@":                true,
		"users search u3":                       false,
		"users search --anywhere z":             false,
		"users search u --after u9@example.com": false,
	} {
		if _, messages := o.runWithMessages(strings.Fields(command)...); strings.Contains(messages, "--anywhere") != wantsHint {
			t.Errorf("latchkey %s: got message %q, want a hint at --anywhere: %t", command, messages, wantsHint)
		}
	}

	o.wantError("^--after u1@example.com: not the ID of an account$", "", "users", "list", "--after", "u1@example.com")
	for _, args := range []string{"users list --limit 0", "users search x --limit 10001", "sessions list --limit -1", "sessions list u1@example.com --limit 5"} {
		if _, err := command(o.environ, "", strings.Fields(args)...); exitCode(err) != 2 {
			t.Errorf("latchkey %s: got error %v, want a usage error", args, err)
		}
	}
}

// Without an account, "sessions list" has the sessions of all of them.
func TestOperatorListsAllSessions(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.mustRun("^no sessions\n$", "", "sessions", "list")
	cookies := o.register()
	if status, _, _ := o.request("POST", "/auth/logout", cookies[3], ""); status != http.StatusOK {
		t.Fatalf("logout: got %d, want 200", status)
	}

	const want = "u0@example.com u1@example.com u2@example.com u4@example.com u5@example.com u6@example.com u7@example.com u8@example.com u9@example.com"
	for _, args := range []string{"sessions list", "sessions list --limit 3", "sessions list --json --limit 3"} {
		emails, _ := o.allPages(`u\d@example.com`, strings.Fields(args)...)
		slices.Sort(emails)
		if got := strings.Join(slices.Compact(emails), " "); got != want {
			t.Errorf("latchkey %s: got %s, want %s", args, got, want)
		}
	}

	var listed struct {
		Sessions []struct{ ID string }
		Next     string
	}
	testkit.NoError(t, json.Unmarshal([]byte(o.mustRun("^{", "", "sessions", "list", "--json")), &listed))
	if len(listed.Sessions) != 9 || listed.Next != "" {
		t.Errorf("got %+v, want 9 sessions and no next page", listed)
	}
	o.mustRun("1 session ended", "", "sessions", "revoke", listed.Sessions[0].ID)

	o.wantError("^--after: not a position from the previous page, .*start again", "", "sessions", "list", "--after", "made-up")
}

// An operator can mark an email as verified. The user sees who did it.
func TestOperatorVerifies(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	cookie := o.register()[1]
	get := func(path string) string {
		return send(t, "GET", o.base+path, "", "Cookie", cookie).text
	}
	if got := get("/auth/me"); !strings.Contains(got, `"emailVerified":false`) {
		t.Fatalf("before: got %s, want an email that is not verified", got)
	}

	for range 2 { // the second time changes nothing
		o.mustRun(`(?m)^email +u1@example.com \(verified\)$`, "", "users", "verify", "U1@example.com")
	}

	if got := get("/auth/me"); !strings.Contains(got, `"emailVerified":true`) {
		t.Errorf("after: got %s, want a verified email", got)
	}
	events := regexp.MustCompile(`"event":"email_verified"[^}]*`).FindAllString(get("/auth/activity"), -1)
	if len(events) != 1 || !strings.Contains(events[0], `"by":"operator"`) {
		t.Errorf("activity: got %q in %s, want one event by an operator", events, get("/auth/activity"))
	}
	o.wantError("^nobody@example.com: no such user$", "", "users", "verify", "nobody@example.com")
}
