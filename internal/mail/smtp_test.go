package mail

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
)

const sender = "Latchkey Tëam <no-reply@mail.example.com>"

func newSMTP(t testing.TB, url string, roots *x509.CertPool) *SMTP {
	t.Helper()
	s, err := NewSMTP(url, sender)
	if err != nil {
		t.Fatal(err)
	}
	s.RootCAs = roots
	return s
}

func message(t testing.TB) Message {
	t.Helper()
	m, err := Compose(letter(ResetPassword))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// credentials are those that the servers here know, as they stand in a URL.
const credentials = "mailer:p%2Fss%3Aw%40rd@"

// The ways to a mail server, and what it takes from us on each.
func TestSend(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, scheme, user, query string
		options                   serverOptions
		tls                       bool
		login                     string
	}{
		{name: "STARTTLS", scheme: "smtp", user: credentials, options: serverOptions{tls: true}, tls: true, login: sasl.Plain},
		{name: "implicit TLS", scheme: "smtps", user: credentials, options: serverOptions{implicit: true}, tls: true, login: sasl.Plain},
		{name: "LOGIN", scheme: "smtps", user: credentials, options: serverOptions{implicit: true, mechanisms: []string{sasl.Login}}, tls: true, login: sasl.Login},
		{name: "SCRAM", scheme: "smtps", user: credentials, options: serverOptions{implicit: true, mechanisms: []string{sasl.Plain, scramSHA256}}, tls: true, login: scramSHA256},
		{name: "without a user", scheme: "smtps", options: serverOptions{implicit: true}, tls: true},
		{name: "loopback in clear", scheme: "smtp"},
		{name: "loopback in clear with a user", scheme: "smtp", user: credentials, login: sasl.Plain},
		{name: "loopback in clear with LOGIN", scheme: "smtp", user: credentials, options: serverOptions{mechanisms: []string{sasl.Login}}, login: sasl.Login},
		{name: "loopback without the TLS that is offered", scheme: "smtp", query: "?tls=none", options: serverOptions{tls: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := newMailServer(t, tt.options)
			s := newSMTP(t, tt.scheme+"://"+tt.user+server.addr+tt.query, server.roots)
			if err := s.Check(t.Context()); err != nil || len(server.got()) != 0 {
				t.Errorf("Check: %v, and %d messages", err, len(server.got()))
			}
			if err := s.Send(t.Context(), message(t)); err != nil {
				t.Fatal(err)
			}
			got := server.got()
			if len(got) != 1 {
				t.Fatalf("%d messages", len(got))
			}
			if got[0].tls != 0 != tt.tls || tt.tls && got[0].tls < tls.VersionTLS12 || got[0].login != (tt.user != "") || got[0].utf8 {
				t.Errorf("TLS %x, login %v, UTF8 %v", got[0].tls, got[0].login, got[0].utf8)
			}
			if tt.login != "" && server.logins[0] != tt.login {
				t.Errorf("logins by %v", server.logins)
			}
		})
	}
}

// A message is what was composed, with the headers that keep holiday answers and
// second copies away, and an address that every mail server understands.
func TestMessage(t *testing.T) {
	t.Parallel()
	server := newMailServer(t, serverOptions{})
	s := newSMTP(t, "smtp://"+server.addr, nil)
	want := message(t)
	want.To = "Ada+x@bücher.example"
	want.Subject = "Grüße\r\nBcc: victim@example.com\r\n\r\nbody"
	want.Text += strings.Repeat("ü", 2000) + "\n.\nafter a dot\n"
	for range 2 {
		if err := s.Send(t.Context(), want); err != nil {
			t.Fatal(err)
		}
	}
	all := server.got()
	got := all[0]
	if got.from != "no-reply@mail.example.com" || got.to != "Ada+x@xn--bcher-kva.example" {
		t.Errorf("from %q to %q", got.from, got.to)
	}
	m, err := netmail.ReadMessage(bytes.NewReader(got.data))
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]string{
		"To": "<Ada+x@xn--bcher-kva.example>", "Message-Id": "<JOB@mail.example.com>",
		"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All", "Mime-Version": "1.0",
		"Bcc": "", "User-Agent": "", "X-Mailer": "", "Reply-To": "",
	} {
		if got := m.Header[header]; strings.Join(got, "|") != want {
			t.Errorf("%s: %q, not %q", header, got, want)
		}
	}
	if from, err := m.Header.AddressList("From"); err != nil || len(from) != 1 || *from[0] != (netmail.Address{Name: "Latchkey Tëam", Address: "no-reply@mail.example.com"}) {
		t.Errorf("from %v, %v", from, err)
	}
	if date, err := m.Header.Date(); err != nil || time.Since(date).Abs() > time.Minute {
		t.Errorf("date %v, %v", date, err)
	}
	if subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil || subject != "Grüße Bcc: victim@example.com body" {
		t.Errorf("subject %q, %v", subject, err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("%s, %v", kind, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for _, want := range []struct{ kind, body string }{{"text/plain", want.Text}, {"text/html", want.HTML}} {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		if kind, params, err := mime.ParseMediaType(part.Header.Get("Content-Type")); err != nil || kind != want.kind || !strings.EqualFold(params["charset"], "utf-8") ||
			part.Header.Get("Content-Transfer-Encoding") != "quoted-printable" {
			t.Errorf("part %v: %v", part.Header, err)
		}
	}
	if _, err := parts.NextPart(); !errors.Is(err, io.EOF) {
		t.Errorf("a third part: %v", err)
	}
	checkBodies(t, got.data, params["boundary"], want)
	if second, err := netmail.ReadMessage(bytes.NewReader(all[1].data)); err != nil || second.Header.Get("Message-Id") != m.Header.Get("Message-Id") {
		t.Errorf("the second message has the id %s, %v", second.Header.Get("Message-Id"), err)
	}
	for _, line := range bytes.Split(got.data, []byte("\n")) {
		if len(line) > 80 || !isASCII(line) {
			t.Errorf("a line of %d bytes: %q", len(line), line)
		}
	}
}

// checkBodies holds the two parts of a message, decoded, to what they are to say.
func checkBodies(t *testing.T, data []byte, boundary string, want Message) {
	t.Helper()
	m, err := netmail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(m.Body, boundary)
	for _, want := range []string{want.Text, want.HTML} {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(part)
		if got := strings.ReplaceAll(string(body), "\r\n", "\n"); err != nil || strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%v:\n%s\nis not\n%s", err, got, want)
		}
	}
}

func isASCII(line []byte) bool {
	return bytes.IndexFunc(line, func(r rune) bool { return r > '~' }) < 0
}

// What a URL may be. What is refused is not quoted.
func TestNewSMTP(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]SMTP{
		"smtp://mail.example.com":                    {host: "mail.example.com", port: "587", encryption: startTLS},
		"smtp://u:s%40crt@mail.example.com:25/":      {host: "mail.example.com", port: "25", encryption: startTLS, username: "u", password: "s@crt"},
		"smtps://mail.example.com":                   {host: "mail.example.com", port: "465", encryption: implicitTLS},
		"SMTPS://[2001:db8::1]:1465":                 {host: "2001:db8::1", port: "1465", encryption: implicitTLS},
		"smtp://localhost:1025":                      {host: "localhost", port: "1025", encryption: startTLSIfOffered},
		"smtp://127.0.0.2":                           {host: "127.0.0.2", port: "587", encryption: startTLSIfOffered},
		"smtp://[::1]:1025?tls=none":                 {host: "::1", port: "1025", encryption: inClear},
		"smtp://127.0.0.1.example.com":               {host: "127.0.0.1.example.com", port: "587", encryption: startTLS},
		"smtp://localhost.example.com":               {host: "localhost.example.com", port: "587", encryption: startTLS},
		"smtp://mail.example.com/?":                  {host: "mail.example.com", port: "587", encryption: startTLS},
		"":                                           {},
		"mail.secret.example:587":                    {},
		"http://mail.secret.example":                 {},
		"smtp://":                                    {},
		"smtp://:587":                                {},
		"smtp://u:secret@mail.example.com:99999":     {},
		"smtp://u:secret@mail.example.com:0":         {},
		"smtp://u:secret@mail.example.com:x":         {},
		"smtp://u:sec/ret@mail.example.com":          {},
		"smtp://u:sec#ret@mail.example.com":          {},
		"smtp://u:sec%zzret@mail.example.com":        {},
		"smtp://secret@mail.example.com":             {},
		"smtp://:secret@mail.example.com":            {},
		"smtp://u:secret@mail.example.com?tls=none":  {},
		"smtps://u:secret@localhost?tls=none":        {},
		"smtp://u:secret@localhost?tls=off":          {},
		"smtp://u:secret@localhost?tls=none&tls=off": {},
		"smtp://u:secret@localhost?starttls=none":    {},
		"smtp://u:secret@mail.example.com/secret":    {},
	} {
		got, err := NewSMTP(url, sender)
		if want.host == "" {
			if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "ret@") {
				t.Errorf("%s: %v", url, err)
			}
			continue
		}
		if err != nil || got.host != want.host || got.port != want.port || got.encryption != want.encryption || got.username != want.username || got.password != want.password {
			t.Errorf("%s: %+v, %v", url, got, err)
		}
	}
	for from, ok := range map[string]bool{
		"no-reply@example.com": true, "Latchkey <no-reply@bücher.example>": true, "no-reply@localhost": true,
		"": false, "Latchkey": false, "a@example.com, b@example.com": false, "ä@example.com": false,
	} {
		if _, err := NewSMTP("smtp://localhost", from); (err == nil) != ok {
			t.Errorf("from %q: %v", from, err)
		}
	}
}

// The left part of a Message-ID is one, whatever the id of a job is.
func TestMessageID(t *testing.T) {
	t.Parallel()
	if messageID("ABC2") != "ABC2" || len(messageID("")) < 20 {
		t.Error("ids of ours are not kept, or there is none without")
	}
	if id := messageID("a>\r\nBcc: b"); id != messageID("a>\r\nBcc: b") || strings.ContainsAny(id, ">\r\n: ") {
		t.Errorf("a strange id is %q", id)
	}
}
