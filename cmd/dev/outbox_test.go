package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"latchkey/internal/mail"
)

// Who registers gets a mail, and its link confirms the address, once.
func TestOutbox(t *testing.T) {
	t.Chdir(t.TempDir())
	base, said, _ := startDev(t, "PUBLIC_URL=")
	place := regexp.MustCompile(`Mail +((http://localhost:\d+)/mail) `).FindStringSubmatch(said)
	if place == nil {
		t.Fatalf("it says\n%s", said)
	}
	page, origin := place[1], place[2]
	if _, text := post(t, base+"/auth/register", `{"name":"Ann","email":"ann@example.com","password":"a long password"}`); !strings.Contains(text, `"emailVerified":false`) {
		t.Fatalf("register: %s", text)
	}
	m := waitForMail(t, page+".json", "ann@example.com")
	link := regexp.MustCompile(regexp.QuoteMeta(origin) + `/verify-email#token=(\S+)`).FindStringSubmatch(m.Text)
	if link == nil || !strings.Contains(m.HTML, link[0]) || m.Subject == "" || time.Since(m.At) > time.Minute {
		t.Fatalf("the mail is %+v", m)
	}
	for _, want := range []string{"Email verified", `"invalid_token"`} {
		if _, text := post(t, base+"/auth/email/verify", fmt.Sprintf(`{"token":%q}`, link[1])); !strings.Contains(text, want) {
			t.Errorf("verify: %s, want %s", text, want)
		}
	}
	for path, want := range map[string]string{
		"":                     m.Subject,
		"?id=" + m.ID:          m.Subject,
		"?id=nothing":          "not kept any more",
		"/" + m.ID + ".html":   `<base target="_top">`,
		"/../verify-email?x=y": "Confirm your email address",
		"/../reset-password":   "Set a new password",
		"/" + m.ID:             "404",
		"/nothing.html":        "404",
		"/../demo/mail.html":   "404",
		"/../mail.html":        "404",
	} {
		if _, text := get(t, page+path, ""); !strings.Contains(text, want) {
			t.Errorf("%s: %s", path, text)
		}
	}
}

// With a mail server in the settings there is no outbox.
func TestOutboxGivesWayToSMTP(t *testing.T) {
	t.Chdir(t.TempDir())
	_, said, _ := startDev(t, "SMTP_URL=smtp://127.0.0.1:1", "MAIL_FROM=no-reply@example.com")
	demo := regexp.MustCompile(`Demo +(http://localhost:\d+)`).FindStringSubmatch(said)
	if demo == nil || !strings.Contains(said, "goes to SMTP_URL") {
		t.Fatalf("it says\n%s", said)
	}
	if res, _ := get(t, demo[1]+"/mail.json", ""); res.StatusCode != http.StatusNotFound {
		t.Errorf("/mail.json answers %s", res.Status)
	}
	if _, text := get(t, demo[1]+"/", ""); strings.Contains(text, `href="/mail"`) {
		t.Error("the page leads to mails that are not there")
	}
}

func TestOutboxKeepsAndPrints(t *testing.T) {
	t.Parallel()
	var printed strings.Builder
	o := &outbox{stdout: &printed}
	send := func(id, text string) {
		t.Helper()
		if err := o.Send(context.Background(), mail.Message{ID: id, To: "ann@example.com", Subject: "About <b>", Text: text, HTML: "<head></head><p>Hi"}); err != nil {
			t.Fatal(err)
		}
	}
	send("A", "Hello\n\nhttp://x/#token=1\n")
	want := "\n  ┌─ Mail to ann@example.com\n  │  About <b>\n  │\n  │  Hello\n  │\n  │  http://x/#token=1\n  └─\n\n"
	if printed.String() != want {
		t.Errorf("printed\n%s", printed.String())
	}
	send("B", "2")
	send("A", "3")
	if kept := o.kept(); len(kept) != 2 || kept[0].Text != "3" || kept[1].ID != "B" {
		t.Errorf("a mail that came again: %+v", kept)
	}
	for i := range 2 * keptMails {
		send(fmt.Sprint(i), "x")
	}
	if kept := o.kept(); len(kept) != keptMails || kept[0].ID != fmt.Sprint(2*keptMails-1) {
		t.Errorf("%d are kept, the newest is %s", len(kept), kept[0].ID)
	}
}

// What is in the mails is for this machine's own pages.
func TestOutboxIsOurs(t *testing.T) {
	t.Parallel()
	o := &outbox{stdout: io.Discard}
	if err := o.Send(context.Background(), mail.Message{ID: "A", To: "ann@example.com", Subject: "About <b>", HTML: "<head></head><p>Hi"}); err != nil {
		t.Fatal(err)
	}
	server, err := demo("http://localhost:3000", "box.local", o)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(server.Handler)
	t.Cleanup(s.Close)
	for host, want := range map[string]int{
		"": 200, "localhost": 200, "localhost:3001": 200, "[::1]:3001": 200, "192.168.1.7:3001": 200, "box.local:3001": 200,
		"evil.example": 421, "evil.example:3001": 421, "localhost.evil.example": 421,
	} {
		for _, path := range []string{"/mail", "/mail.json", "/mail/A.html"} {
			res, _ := get(t, s.URL+path, host)
			if res.StatusCode != want {
				t.Errorf("%s at %q: %s", path, host, res.Status)
			}
			if want == 200 && (res.Header.Get("Access-Control-Allow-Origin") != "" || res.Header.Get("Cache-Control") != "no-store" ||
				!strings.HasPrefix(res.Header.Get("Content-Security-Policy"), "default-src 'none'")) {
				t.Errorf("%s: %v", path, res.Header)
			}
		}
	}
	if _, text := get(t, s.URL+"/mail", ""); !strings.Contains(text, "About &lt;b&gt;") || strings.Contains(text, "About <b>") {
		t.Errorf("the page: %s", text)
	}
	if res, _ := get(t, s.URL+"/mail/A.html", ""); !strings.Contains(res.Header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("the mail may run scripts: %v", res.Header)
	}
}

// waitForMail returns the newest mail to an address, once there is one.
func waitForMail(t *testing.T, url, to string) sentMail {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		_, text := get(t, url, "")
		var mails []sentMail
		if err := json.Unmarshal([]byte(text), &mails); err != nil || mails == nil {
			t.Fatalf("%s: %s, %v", url, text, err)
		}
		for _, m := range mails {
			if m.To == to {
				return m
			}
		}
	}
	t.Fatalf("no mail to %s", to)
	return sentMail{}
}

func get(t *testing.T, url, host string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	return do(t, req)
}

func post(t *testing.T, url, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return do(t, req)
}

func do(t *testing.T, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}
