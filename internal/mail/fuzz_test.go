package mail

import (
	"bytes"
	"maps"
	netmail "net/mail"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"latchkey/internal/loopback"
	"latchkey/internal/testkit"
)

// expectedHeaders are the headers of every message. There must be no others, whatever users enter.
var expectedHeaders = []string{
	"Auto-Submitted", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To", "X-Auto-Response-Suppress",
}

// No user input can add a header or a recipient to a message, or a link, an image or a script to its
// content.
func FuzzCompose(f *testing.F) {
	f.Add("ada@example.com", "Google", "Authy", "Lost phone", "Firefox on Linux", "192.0.2.7", "JOB", byte(0))
	f.Add("ada@example.com\r\nBcc: eve@example.com", "<img src=x>", "<b>", "a\r\nX: y", "x\n.\n", "::1%\r\n", "a\r\nX: y", byte(3))
	f.Add("a@b.c>, <eve@example.com", "{to}", "Authy\n", "\u202e{to}<script>", "\u202e", "fe80::1%eth0", "", byte(8))
	f.Add("ada@example.com", "", "<b>Authy</b>", "", "", "", "JOB", byte(slices.Index(Kinds(), FactorAdded)))
	f.Add("ada@example.com", "", "", "<a href=//evil.example>a\r\nX: y\u202e</a>{to}", "", "", "JOB", byte(slices.Index(Kinds(), FactorsReset)))
	s, err := NewSMTP("smtp://localhost:1", sender)
	testkit.NoError(f, err)

	f.Fuzz(func(t *testing.T, email, provider, factor, reason, device, ip, id string, n byte) {
		e := sample(Kinds()[int(n)%len(Kinds())])
		e.NewEmail = email
		e.OldEmail = email
		e.Provider = provider
		e.Factor = factor
		e.Left = int(n)
		e.Reason = reason
		e.Device = device
		e.IP = ip
		e.ID = id
		m, err := testComposer.compose(english, e, e.At.Add(time.Minute))
		if err != nil {
			return
		}

		if m.To != e.To || m.Subject != strings.ReplaceAll(english.Emails[e.Kind].Subject, "{app}", "Latchkey") {
			t.Errorf("got recipient %q and subject %q, want %q and the fixed subject", m.To, m.Subject, e.To)
		}

		checkHTML(t, m.HTML, e.Link)
		if strings.ContainsFunc(m.Text, func(r rune) bool { return r != '\n' && unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) }) {
			t.Errorf("got text %q, want it not to contain invisible characters", m.Text)
		}

		var encoded bytes.Buffer
		testkit.NoError(t, s.encode(&encoded, m, m.To))

		checkWire(t, encoded.Bytes(), m.To)
	})
}

// checkWire checks an encoded message, as a mail server receives it, and returns it parsed.
func checkWire(t *testing.T, wire []byte, to string) *netmail.Message {
	t.Helper()

	withoutCRLF := bytes.ReplaceAll(wire, []byte("\r\n"), nil)
	if bytes.ContainsAny(withoutCRLF, "\r\n") {
		t.Errorf("got message %q, want every line to end with CR LF", wire)
	}

	got, err := netmail.ReadMessage(bytes.NewReader(wire))
	testkit.NoError(t, err)

	for name, values := range got.Header {
		if len(values) != 1 {
			t.Errorf("got %d headers %s, want 1", len(values), name)
		}
	}

	if names := slices.Sorted(maps.Keys(got.Header)); !slices.Equal(names, expectedHeaders) {
		t.Errorf("got headers %q, want %q", names, expectedHeaders)
	}
	if all, err := got.Header.AddressList("To"); err != nil || len(all) != 1 || all[0].Address != to || all[0].Name != "" {
		t.Errorf("got recipients %v, error %v, want only %q", all, err, to)
	}

	return got
}

// asciiAddress returns a single email address that all mail servers interpret the same way.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"ada@example.com", "ada@MÜLLER.de", "a@b.c\r\nRCPT TO:<eve@example.com>", `"a b"@c.de`, "a@[192.0.2.7]", "a@b.c (x)", "a@\xff"} {
		f.Add(s)
	}

	f.Fuzz(func(t *testing.T, s string) {
		got, err := asciiAddress(s)
		if err != nil {
			return
		}
		if again, err := asciiAddress(got); err != nil || again != got {
			t.Errorf("asciiAddress(%q), the result for %q: got %q, error %v, want it unchanged",
				got, s, again, err)
		}
		if strings.Count(got, "@") != 1 || strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r > '~' }) || strings.ContainsAny(got, "<>,;:\"") {
			t.Errorf("asciiAddress(%q): got %q, want plain ASCII with one @", s, got)
		}
	})
}

// NewSMTP does not quote the URL in errors. Settings that it accepts require TLS, except on loopback.
func FuzzNewSMTP(f *testing.F) {
	for url := range smtpURLs {
		f.Add(url, sender)
	}
	f.Add("smtp://localhost", "A\r\nB <a@b.c>")

	f.Fuzz(func(t *testing.T, rawURL, from string) {
		s, err := NewSMTP(rawURL, from)
		if err != nil {
			if strings.Contains(rawURL, "secret") && strings.Contains(err.Error(), "secret") {
				t.Errorf("NewSMTP(%q): got error %v, want it not to contain the password", rawURL, err)
			}

			return
		}

		if s.encryption == noTLS || s.encryption == startTLSIfOffered {
			if u, err := url.Parse(rawURL); err != nil || !loopback.Host(u.Hostname()) {
				t.Errorf("NewSMTP(%q): got encryption %d, want one that requires TLS", rawURL, s.encryption)
			}
		}
		if _, err := asciiAddress(s.from.Address); err != nil || strings.ContainsAny(s.from.Name, "\r\n\x00") {
			t.Errorf("NewSMTP with sender %q: got sender %v, want a valid email address", from, s.from)
		}

		var encoded bytes.Buffer
		testkit.NoError(t, s.encode(&encoded, Message{ID: "x", To: "ada@example.com", Subject: "x", Text: "x", HTML: "x"}, "ada@example.com"))

		checkWire(t, encoded.Bytes(), "ada@example.com")
	})
}
