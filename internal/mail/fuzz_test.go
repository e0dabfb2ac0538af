package mail

import (
	"bytes"
	netmail "net/mail"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/net/html"
)

// headersOfMail are those of every mail, and there are no others, whatever users wrote.
var headersOfMail = []string{
	"Auto-Submitted", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To", "X-Auto-Response-Suppress",
}

// Nothing that users choose, and nothing that is stored, adds a header or a recipient to a
// mail, or a link, an image or a script to what is read.
func FuzzLetter(f *testing.F) {
	f.Add("Ada", "ada@example.com", "Google", "Firefox on Linux", "192.0.2.7", "JOB", byte(0))
	f.Add("Ada\r\nBcc: eve@example.com", "ada@example.com\r\nBcc: eve@example.com", "<img src=x>", "x\n.\n", "::1%\r\n", "a\r\nX: y", byte(3))
	f.Add("you won, evil.example", "a@b.c>, <eve@example.com", "{to}", "\u202e", "fe80::1%eth0", "", byte(8))
	s, err := NewSMTP("smtp://localhost:1", sender)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, email, provider, device, ip, id string, n byte) {
		l := letter(kinds[int(n)%len(kinds)])
		l.Name, l.NewEmail, l.OldEmail, l.Provider, l.Device, l.IP, l.JobID = name, email, email, provider, device, ip, id
		m, err := compose(inEnglish, l, l.At.Add(time.Minute))
		if err != nil {
			return
		}
		if m.To != l.To || m.Subject != inEnglish.Letters[l.Kind].Subject {
			t.Errorf("to %q, about %q", m.To, m.Subject)
		}
		for _, n := range nodes(t, m.HTML) {
			href := attribute(n, "href")
			if n.Type == html.ElementNode && (href != "" && href != l.Link || slices.Contains([]string{"img", "script", "form", "iframe", "base"}, n.Data)) {
				t.Errorf("the HTML has <%s href=%q>", n.Data, href)
			}
		}
		if strings.ContainsFunc(m.Text, func(r rune) bool { return r != '\n' && unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) }) {
			t.Errorf("the text has what is not seen: %q", m.Text)
		}
		var whole bytes.Buffer
		if err := s.write(&whole, m, m.To); err != nil {
			t.Fatal(err)
		}
		checkWire(t, whole.Bytes(), m.To)
	})
}

// checkWire looks at a mail as a mail server gets it.
func checkWire(t *testing.T, wire []byte, to string) {
	t.Helper()
	bare := bytes.ReplaceAll(wire, []byte("\r\n"), nil)
	if bytes.ContainsAny(bare, "\r\n") {
		t.Errorf("a line ends otherwise than by CR LF:\n%q", wire)
	}
	got, err := netmail.ReadMessage(bytes.NewReader(wire))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name, values := range got.Header {
		if names = append(names, name); len(values) != 1 {
			t.Errorf("%s is there %d times", name, len(values))
		}
	}
	if slices.Sort(names); !slices.Equal(names, headersOfMail) {
		t.Errorf("the headers are %q", names)
	}
	if all, err := got.Header.AddressList("To"); err != nil || len(all) != 1 || all[0].Address != to || all[0].Name != "" {
		t.Errorf("it goes to %v, %v", all, err)
	}
}

// An address that is taken is one, and nothing else that a mail server could read in it.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"ada@example.com", "ada@MÜLLER.de", "a@b.c\r\nRCPT TO:<eve@example.com>", "a@b.c>,<eve@d.e", `"a b"@c.de`, "a@[192.0.2.7]", "a@b@c.de", "a@b.c (x)", "a@\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := asciiAddress(s)
		if err != nil {
			return
		}
		if again, err := asciiAddress(got); err != nil || again != got {
			t.Errorf("%q is %q, which is %q, %v", s, got, again, err)
		}
		if strings.Count(got, "@") != 1 || strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r > '~' }) || strings.ContainsAny(got, "<>,;:\"") {
			t.Errorf("%q is %q", s, got)
		}
	})
}

// The settings of mail are refused without a word of what they are, and what is taken
// speaks TLS, but on the loopback.
func FuzzNewSMTP(f *testing.F) {
	const canary = "s3cr3t-canary"
	for _, seed := range [][2]string{
		{"smtps://ada:" + canary + "@mail.example.com", "Latchkey <no-reply@example.com>"}, {"smtp://localhost:1025?tls=none", "a@b.c"},
		{"smtp://a:" + canary + "@127.0.0.1:99999", "a@b.c"}, {"smtp://mail.example.com?tls=none", "a@b.c"}, {"smtp://a:" + canary + "%zz@x", "A\r\nB <a@b.c>"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, rawURL, from string) {
		s, err := NewSMTP(rawURL, from)
		if err != nil {
			if strings.Contains(err.Error(), canary) {
				t.Errorf("%q: %v", rawURL, err)
			}
			return
		}
		if s.encryption == inClear || s.encryption == startTLSIfOffered {
			if u, err := url.Parse(rawURL); err != nil || !isLoopback(u.Hostname()) {
				t.Errorf("%q is spoken to in clear", rawURL)
			}
		}
		if _, err := asciiAddress(s.from.Address); err != nil || strings.ContainsAny(s.from.Name, "\r\n\x00") {
			t.Errorf("%q is from %q", from, s.from)
		}
		var whole bytes.Buffer
		if err := s.write(&whole, Message{ID: "x", To: "ada@example.com", Subject: "x", Text: "x", HTML: "x"}, "ada@example.com"); err != nil {
			t.Fatal(err)
		}
		checkWire(t, whole.Bytes(), "ada@example.com")
	})
}
