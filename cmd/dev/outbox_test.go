package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/mail"
	"latchkey/internal/testkit"
)

// TestOutbox registers an account, reads the email and uses its link, which works once.
func TestOutbox(t *testing.T) {
	t.Chdir(t.TempDir())

	server := startDev(t, "PUBLIC_URL=")
	registered := post(t, server.api+"/auth/register", `{"name":"Ann","email":"ann@example.com","password":"a long password"}`)
	if !strings.Contains(registered, `"emailVerified":false`) {
		t.Fatalf("register: got %s, want an unverified user", registered)
	}

	e := waitForEmail(t, server.outbox+".json", "ann@example.com")
	link := regexp.MustCompile(regexp.QuoteMeta(server.demo) + `/verify-email#token=(\S+)`).FindStringSubmatch(e.Text)
	if link == nil || !strings.Contains(e.HTML, link[0]) || e.Subject == "" || time.Since(e.At) > time.Minute {
		t.Fatalf("got email %+v, want a recent one with a subject and the same link in text and HTML", e)
	}

	for i, want := range []string{"Email verified", `"invalid_token"`} {
		got := post(t, server.api+"/auth/email/verify", fmt.Sprintf(`{"token":%q}`, link[1]))
		if !strings.Contains(got, want) {
			t.Errorf("verify, attempt %d: got %s, want it to contain %q", i+1, got, want)
		}
	}

	for path, want := range map[string]string{
		"":                     e.Subject,
		"?id=" + e.ID:          e.Subject,
		"?id=unknown":          "no longer available",
		"/" + e.ID + ".html":   `<base target="_top">`,
		"/../verify-email?x=y": "Confirm your email address",
		"/../reset-password":   "Set a new password",
		"/" + e.ID:             "404",
		"/unknown.html":        "404",
		"/../demo/outbox.html": "404",
		"/../outbox.html":      "404",
	} {
		if _, got := get(t, server.outbox+path, ""); !strings.Contains(got, want) {
			t.Errorf("GET /mail%s: got %s, want it to contain %q", path, got, want)
		}
	}
}

func TestNoOutboxWithSMTP(t *testing.T) {
	t.Chdir(t.TempDir())

	server := startDev(t, "SMTP_URL=smtp://127.0.0.1:1", "MAIL_FROM=no-reply@example.com")
	if server.outbox != "" || !strings.Contains(server.output, "emails go to SMTP_URL") {
		t.Errorf("greeting: got\n%s\nwant no outbox, because emails go to SMTP_URL", server.output)
	}
	if res, _ := get(t, server.demo+"/mail.json", ""); res.StatusCode != http.StatusNotFound {
		t.Errorf("GET /mail.json: got status %d, want 404", res.StatusCode)
	}
	if _, page := get(t, server.demo+"/signin", ""); strings.Contains(page, `href="mail"`) {
		t.Error("the demo links to the outbox, want no link")
	}
}

func TestOutboxKeepsAndPrintsEmails(t *testing.T) {
	t.Parallel()

	var printed strings.Builder
	o := &outbox{stdout: &printed}
	send := func(id, text string) {
		t.Helper()

		m := mail.Message{
			ID:      id,
			To:      "ann@example.com",
			Subject: "About <b>",
			Text:    text,
			HTML:    "<head></head><p>Hi",
		}
		testkit.NoError(t, o.Send(t.Context(), m))
	}

	send("A", "Hello\n\nhttp://x/#token=1\n")
	want := "\n  ┌─ Email to ann@example.com\n  │  About <b>\n  │\n  │  Hello\n  │\n  │  http://x/#token=1\n  └─\n\n"
	if printed.String() != want {
		t.Errorf("printed email: got\n%s\nwant\n%s", printed.String(), want)
	}

	send("B", "2")
	send("A", "3")
	if got := o.all(); len(got) != 2 || got[0].Text != "3" || got[1].ID != "B" {
		t.Errorf("emails after a retry of A: got %+v, want the new A and B", got)
	}

	for i := range 2 * maxEmails {
		send(fmt.Sprint(i), "x")
	}
	if got := o.all(); len(got) != maxEmails || got[0].ID != fmt.Sprint(2*maxEmails-1) {
		t.Errorf("got %d emails with %s as the newest, want %d with %d", len(got), got[0].ID, maxEmails, 2*maxEmails-1)
	}
}

// TestOutboxIsPrivate requests the outbox under the server's own names and under foreign ones.
func TestOutboxIsPrivate(t *testing.T) {
	t.Parallel()

	o := &outbox{stdout: io.Discard}
	m := mail.Message{
		ID:      "A",
		To:      "ann@example.com",
		Subject: "About <b>",
		HTML:    "<head></head><p>Hi",
	}
	testkit.NoError(t, o.Send(t.Context(), m))

	server, err := newDemo(config.Config{}, "http://localhost:3000", "http://box.local:3001", "box.local", o)
	testkit.NoError(t, err)
	s := httptest.NewServer(server.Handler)
	t.Cleanup(s.Close)

	for host, want := range map[string]int{
		"":                       200,
		"localhost":              200,
		"localhost:3001":         200,
		"[::1]:3001":             200,
		"192.168.1.7:3001":       200,
		"box.local:3001":         200,
		"evil.example":           421,
		"evil.example:3001":      421,
		"localhost.evil.example": 421,
	} {
		for _, path := range []string{"/mail", "/mail.json", "/mail/A.html"} {
			res, _ := get(t, s.URL+path, host)
			if res.StatusCode != want {
				t.Errorf("GET %s, Host %q: got status %d, want %d", path, host, res.StatusCode, want)
			}
			if want != 200 {
				continue
			}

			h := res.Header
			if h.Get("Access-Control-Allow-Origin") != "" || h.Get("Cache-Control") != "no-store" || !strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'") {
				t.Errorf("GET %s: got headers %v, want no CORS, no-store and a strict policy", path, h)
			}
		}
	}

	if _, page := get(t, s.URL+"/mail", ""); !strings.Contains(page, "About &lt;b&gt;") || strings.Contains(page, "About <b>") {
		t.Errorf("GET /mail: got %s, want an escaped subject", page)
	}

	res, _ := get(t, s.URL+"/mail/A.html", "")
	policy := res.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "sandbox") || strings.Contains(policy, "allow-scripts") || strings.Contains(policy, "script-src") {
		t.Errorf("Content-Security-Policy of an email: got %q, want a sandbox without scripts", policy)
	}
}

// waitForEmail waits for an email to a recipient and returns the newest.
func waitForEmail(t *testing.T, url, to string) email {
	t.Helper()

	var newest email
	testkit.Eventually(t, "an email to "+to, func() bool {
		_, text := get(t, url, "")

		var emails []email
		if err := json.Unmarshal([]byte(text), &emails); err != nil || emails == nil {
			t.Fatalf("%s: got %s and error %v, want a list of emails", url, text, err)
		}

		i := slices.IndexFunc(emails, func(e email) bool { return e.To == to })
		if i >= 0 {
			newest = emails[i]
		}

		return i >= 0
	})

	return newest
}

// get sends a GET request and returns the response and its body. host replaces the host in the URL
// in the Host header, unless it is empty.
func get(t *testing.T, url, host string) (*http.Response, string) {
	t.Helper()

	req, err := http.NewRequest(http.MethodGet, url, nil)
	testkit.NoError(t, err)
	req.Host = host
	res, err := http.DefaultClient.Do(req)
	testkit.NoError(t, err)

	return res, readBody(t, res)
}

// post sends JSON and returns the body of the response.
func post(t *testing.T, url, body string) string {
	t.Helper()

	res, err := http.Post(url, "application/json", strings.NewReader(body))
	testkit.NoError(t, err)

	return readBody(t, res)
}

func readBody(t *testing.T, res *http.Response) string {
	t.Helper()

	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	testkit.NoError(t, err)

	return string(text)
}
