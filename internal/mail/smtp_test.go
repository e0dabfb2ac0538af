package mail

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"

	"latchkey/internal/mail/mailtest"
	"latchkey/internal/testkit"
)

const sender = "Latchkey Tëam <no-reply@mail.example.com>"

func newSMTP(t testing.TB, url string, roots *x509.CertPool) *SMTP {
	t.Helper()

	s, err := NewSMTP(url, sender)
	testkit.NoError(t, err)

	s.RootCAs = roots

	return s
}

func message(t testing.TB) Message {
	t.Helper()

	m, err := testComposer.Compose(sample(ResetPassword))
	testkit.NoError(t, err)

	return m
}

// credentials are the URL-encoded credentials that the test servers accept.
const credentials = "mailer:p%2Fss%3Aw%40rd@"

// Send and Check work with every kind of encryption and authentication.
func TestSend(t *testing.T) {
	t.Parallel()

	for _, tt := range []struct {
		name, scheme, user, query string
		options                   mailtest.Options
		tls                       bool
		login                     string
	}{
		{name: "STARTTLS", scheme: "smtp", user: credentials, options: mailtest.Options{StartTLS: true}, tls: true, login: sasl.Plain},
		{name: "implicit TLS", scheme: "smtps", user: credentials, options: mailtest.Options{ImplicitTLS: true}, tls: true, login: sasl.Plain},
		{name: "LOGIN", scheme: "smtps", user: credentials, options: mailtest.Options{ImplicitTLS: true, Mechanisms: []string{sasl.Login}}, tls: true, login: sasl.Login},
		{name: "SCRAM", scheme: "smtps", user: credentials, options: mailtest.Options{ImplicitTLS: true, Mechanisms: []string{sasl.Plain, mailtest.ScramSHA256}}, tls: true, login: mailtest.ScramSHA256},
		{name: "without a user", scheme: "smtps", options: mailtest.Options{ImplicitTLS: true}, tls: true},
		{name: "loopback without TLS", scheme: "smtp"},
		{name: "loopback without TLS, with a user", scheme: "smtp", user: credentials, login: sasl.Plain},
		{name: "loopback without TLS, with LOGIN", scheme: "smtp", user: credentials, options: mailtest.Options{Mechanisms: []string{sasl.Login}}, login: sasl.Login},
		{name: "loopback, tls=none, TLS offered", scheme: "smtp", query: "?tls=none", options: mailtest.Options{StartTLS: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()

			server := mailtest.New(t, tt.options)
			s := newSMTP(t, tt.scheme+"://"+tt.user+server.Addr+tt.query, server.Roots)
			if err := s.Check(t.Context()); err != nil || len(server.Messages()) != 0 {
				t.Errorf("Check: got error %v and %d messages, want no error and no message",
					err, len(server.Messages()))
			}
			testkit.NoError(t, s.Send(t.Context(), message(t)))

			got := server.Messages()
			if len(got) != 1 {
				t.Fatalf("got %d messages, want 1", len(got))
			}
			if got[0].TLSVersion != 0 != tt.tls || tt.tls && got[0].TLSVersion < tls.VersionTLS12 || got[0].LoggedIn != (tt.user != "") || got[0].UTF8 {
				t.Errorf("got TLS version %x, login %t, SMTPUTF8 %t, want TLS %t, login %t, no SMTPUTF8", got[0].TLSVersion, got[0].LoggedIn, got[0].UTF8, tt.tls, tt.user != "")
			}
			if tt.login != "" && server.Logins()[0] != tt.login {
				t.Errorf("got logins with %v, want %s first", server.Logins(), tt.login)
			}
		})
	}
}

// A message has the composed content, headers that suppress out-of-office replies and duplicates,
// and an email address that every mail server understands.
func TestMessage(t *testing.T) {
	t.Parallel()

	server := mailtest.New(t, mailtest.Options{})
	s := newSMTP(t, "smtp://"+server.Addr, nil)
	want := message(t)
	want.To = "Ada+x@bücher.example"
	want.Subject = "Grüße\r\nBcc: victim@example.com\r\n\r\nbody"
	want.Text += strings.Repeat("ü", 2000) + "\n.\nafter a dot\n"

	for range 2 {
		testkit.NoError(t, s.Send(t.Context(), want))
	}

	all := server.Messages()
	got := all[0]
	if got.From != "no-reply@mail.example.com" || got.To != "Ada+x@xn--bcher-kva.example" {
		t.Errorf("got sender %q and recipient %q, want both in ASCII", got.From, got.To)
	}

	m := checkWire(t, got.Data, "Ada+x@xn--bcher-kva.example")
	for header, want := range map[string]string{
		"Message-Id": "<JOB@mail.example.com>", "Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All", "Mime-Version": "1.0",
	} {
		if got := m.Header.Get(header); got != want {
			t.Errorf("header %s: got %q, want %q", header, got, want)
		}
	}

	if from, err := m.Header.AddressList("From"); err != nil || len(from) != 1 || *from[0] != (netmail.Address{Name: "Latchkey Tëam", Address: "no-reply@mail.example.com"}) {
		t.Errorf("got sender %v, error %v, want the configured one", from, err)
	}
	if date, err := m.Header.Date(); err != nil || time.Since(date).Abs() > time.Minute {
		t.Errorf("got date %v, error %v, want the current time", date, err)
	}
	if subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil || subject != "Grüße Bcc: victim@example.com body" {
		t.Errorf("got subject %q, error %v, want it on one line", subject, err)
	}

	checkParts(t, m, want)
	if second := all[1].Header("Message-Id"); second != m.Header.Get("Message-Id") {
		t.Errorf("sent again: got Message-Id %s, want %s, as before", second, m.Header.Get("Message-Id"))
	}

	for _, line := range bytes.Split(got.Data, []byte("\n")) {
		if len(line) > 80 || !isASCII(line) {
			t.Errorf("got a line of %d bytes, want at most 80 in ASCII: %q", len(line), line)
		}
	}
}

// checkParts checks that a message has exactly two parts, text and HTML, with the content of want.
func checkParts(t *testing.T, m *netmail.Message, want Message) {
	t.Helper()

	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("got media type %s, error %v, want multipart/alternative", kind, err)
	}

	parts := multipart.NewReader(m.Body, params["boundary"])
	for _, want := range []struct{ kind, body string }{{"text/plain", want.Text}, {"text/html", want.HTML}} {
		part, err := parts.NextRawPart()
		testkit.NoError(t, err)

		kind := part.Header.Get("Content-Type")
		encoding := part.Header.Get("Content-Transfer-Encoding")
		if kind != want.kind+"; charset=UTF-8" || encoding != "quoted-printable" {
			t.Errorf("got part %s, %s, want %s in UTF-8, quoted-printable", kind, encoding, want.kind)
		}

		body, err := io.ReadAll(quotedprintable.NewReader(part))
		if got := strings.ReplaceAll(string(body), "\r\n", "\n"); err != nil || strings.TrimSpace(got) != strings.TrimSpace(want.body) {
			t.Errorf("part %s: got error %v and body\n%s\nwant\n%s", want.kind, err, got, want.body)
		}
	}

	if _, err := parts.NextRawPart(); !errors.Is(err, io.EOF) {
		t.Errorf("third part: got error %v, want EOF", err)
	}
}

func isASCII(line []byte) bool {
	return bytes.IndexFunc(line, func(r rune) bool { return r > '~' }) < 0
}

// smtpURLs maps URLs to the settings that NewSMTP returns, and invalid URLs to the zero SMTP.
var smtpURLs = map[string]SMTP{
	"smtp://mail.example.com":                    {host: "mail.example.com", port: "587", encryption: startTLS},
	"smtp://u:s%40crt@mail.example.com:25/":      {host: "mail.example.com", port: "25", encryption: startTLS, username: "u", password: "s@crt"},
	"smtps://mail.example.com":                   {host: "mail.example.com", port: "465", encryption: implicitTLS},
	"SMTPS://[2001:db8::1]:1465":                 {host: "2001:db8::1", port: "1465", encryption: implicitTLS},
	"smtp://localhost:1025":                      {host: "localhost", port: "1025", encryption: startTLSIfOffered},
	"smtp://[::1]:1025?tls=none":                 {host: "::1", port: "1025", encryption: noTLS},
	"smtp://mail.example.com/?":                  {host: "mail.example.com", port: "587", encryption: startTLS},
	"http://mail.secret.example":                 {},
	"smtp://:587":                                {},
	"smtp://u:secret@mail.example.com:99999":     {},
	"smtp://u:secret@mail.example.com:0":         {},
	"smtp://u:sec/ret@mail.example.com":          {},
	"smtp://u:sec#ret@mail.example.com":          {},
	"smtp://u:sec%zzret@mail.example.com":        {},
	"smtp://secret@mail.example.com":             {},
	"smtp://:secret@mail.example.com":            {},
	"smtp://u:secret@mail.example.com?tls=none":  {},
	"smtps://u:secret@localhost?tls=none":        {},
	"smtp://u:secret@localhost?tls=off":          {},
	"smtp://u:secret@localhost?tls=none&tls=off": {},
	"smtp://u:secret@mail.example.com/secret":    {},
}

// NewSMTP accepts valid URLs and senders. Errors do not quote the URL.
func TestNewSMTP(t *testing.T) {
	t.Parallel()

	for url, want := range smtpURLs {
		got, err := NewSMTP(url, sender)
		if want.host == "" {
			if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "ret@") {
				t.Errorf("NewSMTP(%q): got error %v, want one without the password", url, err)
			}
			continue
		}
		if err != nil || got.host != want.host || got.port != want.port || got.encryption != want.encryption || got.username != want.username || got.password != want.password {
			t.Errorf("NewSMTP(%q): got %+v, error %v, want %+v", url, got, err, want)
		}
	}

	for from, isValid := range map[string]bool{
		"no-reply@example.com": true, "Latchkey <no-reply@bücher.example>": true, "no-reply@localhost": true,
		"": false, "Latchkey": false, "a@example.com, b@example.com": false, "ä@example.com": false,
	} {
		if _, err := NewSMTP("smtp://localhost", from); (err == nil) != isValid {
			t.Errorf("NewSMTP with sender %q: got error %v, want success: %t", from, err, isValid)
		}
	}
}

// messageID returns a valid local part, whatever the job ID is.
func TestMessageID(t *testing.T) {
	t.Parallel()

	if messageID("ABC2") != "ABC2" || len(messageID("")) < 20 {
		t.Errorf("messageID of ABC2 and of the empty ID: got %q and %q, want ABC2 and a random ID",
			messageID("ABC2"), messageID(""))
	}
	if id := messageID("a>\r\nBcc: b"); id != messageID("a>\r\nBcc: b") || strings.ContainsAny(id, ">\r\n: ") {
		t.Errorf("messageID of an invalid ID: got %q, want the same valid ID each time", id)
	}
}
