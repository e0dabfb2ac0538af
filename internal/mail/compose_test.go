package mail

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"latchkey/internal/testkit"
)

// shown returns the visible text of an HTML document and the targets of its links.
func shown(t *testing.T, document string) (text string, links []string) {
	t.Helper()

	var b strings.Builder
	for _, n := range nodes(t, document) {
		if n.Type == html.ElementNode && n.Data == "a" {
			links = append(links, attribute(n, "href"))
		}
		if n.Type == html.TextNode && n.Parent.Data != "style" {
			b.WriteString(n.Data + " ")
		}
	}

	return strings.Join(strings.Fields(b.String()), " "), links
}

// Every email contains the recipient, the event, what to do if it wasn't the recipient, and when
// its link expires. Text and HTML have the same content.
func TestCompose(t *testing.T) {
	t.Parallel()

	now := time.Date(2026, 11, 22, 13, 32, 0, 0, time.UTC)
	subjects := map[string]bool{}

	for _, kind := range kinds {
		l := sample(kind)
		m, err := compose(inEnglish, l, now)
		testkit.NoError(t, err)

		if m.ID != "JOB" || m.To != l.To || subjects[m.Subject] || !strings.Contains(m.Subject, "Latchkey") {
			t.Errorf("%s: got %+v, want ID JOB, recipient %q and a unique subject with Latchkey", kind, m, l.To)
		}

		subjects[m.Subject] = true
		words := inEnglish.Emails[kind]
		want := []string{
			"Hello Ada Lovelace,", "22 Nov 2026, 05:26 UTC", "Firefox on Linux", "2001:db8::17",
			"sent to ada@example.com", words.Why, strings.ReplaceAll(words.Otherwise, "{provider}", "Google"),
		}

		if l.ExpiresIn > 0 {
			want = append(want, "This link can be used once and expires in 30 minutes, on 22 Nov 2026, 14:02 UTC.")
		}
		if l.NewEmail != "" {
			want = append(want, l.NewEmail)
		}
		if l.Provider != "" {
			want = append(want, l.Provider)
		}

		htmlText, links := shown(t, m.HTML)
		text := strings.Join(strings.Fields(m.Text), " ")

		for _, s := range want {
			if !strings.Contains(text, s) {
				t.Errorf("%s: got text %s\nwant it to contain %q", kind, m.Text, s)
			}
			if !strings.Contains(htmlText, s) {
				t.Errorf("%s: got HTML %s\nwant it to contain %q", kind, htmlText, s)
			}
		}

		var wantLinks []string
		if l.Link != "" {
			wantLinks = []string{l.Link, l.Link}
			if !strings.Contains(m.Text, "\n"+l.Link+"\n") || !strings.Contains(htmlText, " "+l.Link+" ") {
				t.Errorf("%s: got text %s\nwant the link on a line of its own", kind, m.Text)
			}
		}
		if diff := cmp.Diff(wantLinks, links); diff != "" {
			t.Errorf("%s: links (-want +got)\n%s", kind, diff)
		}
		checkHTML(t, m.HTML, l.Link)
		if left := regexp.MustCompile(`\{\w*\}|ZgotmplZ`).FindString(m.Text + m.HTML + m.Subject); left != "" {
			t.Errorf("%s: got unfilled placeholder %s", kind, left)
		}
	}
}

// Names are shown only if they cannot be mistaken for our text or for a link: anyone can sign up
// with the email of someone else and any name.
func TestHostileNames(t *testing.T) {
	t.Parallel()

	for _, tt := range []struct{ name, want string }{
		{"J.R. R. Tolkien", "Hello J.R. R. Tolkien,"},
		{"Zoë O’Connor-Şahin 王", "Hello Zoë O’Connor-Şahin 王,"},
		{"{to} {{.}}", "Hello {to} {{.}},"},
		{"<script>alert(1)</script>", "Hello <script>alert(1)</script>,"},
		{`"><a href='x'>b`, `Hello "><a href='x'>b,`},
		{"Ada\r\nBcc: x", "Hello Ada Bcc: x,"},
		{"Ada\u2028\u0085Bcc", "Hello Ada Bcc,"},
		{"\u202eecila\u2066", "Hello ecila,"},
		{strings.Repeat("ä", 61), "Hello " + strings.Repeat("ä", 59) + "…,"},
		{"", "Hello,"},
		{"\xff\xfe", "Hello,"},
		{"HTTPS://1", "Hello,"},
		{"WWW evil", "Hello,"},
		{"you won, evil.example", "Hello,"},
		{"evil.\u200bexample", "Hello,"},
		{"evil。com", "Hello,"},
		{"пример.рф", "Hello,"},
		{"192.0.2.7", "Hello,"},
		{"me@evil", "Hello,"},
		{"call +1 (555) 0100", "Hello,"},
		{strings.Repeat("x", 70) + " evil.example", "Hello,"},
	} {
		l := sample(NewDevice)
		l.Name = tt.name
		l.Device = tt.name
		m, err := Compose(l)
		testkit.NoError(t, err)

		htmlText, links := shown(t, m.HTML)
		if first, _, _ := strings.Cut(m.Text, "\n\n"); strings.ReplaceAll(first, "\n", " ") != tt.want || !strings.Contains(htmlText, " "+tt.want+" ") {
			t.Errorf("name %q: got greeting %q in the text and HTML %q, want %q", tt.name, first, htmlText, tt.want)
		}
		if len(links) != 2 {
			t.Errorf("name %q: got links %q, want only %q twice", tt.name, links, l.Link)
		}
		checkHTML(t, m.HTML, l.Link)

		shownName, greeted := strings.CutPrefix(strings.TrimSuffix(tt.want, ","), "Hello ")
		if has := strings.Contains(m.Text, "\nDevice: "); has != greeted || greeted && !strings.Contains(m.Text, "\nDevice: "+shownName+"\n") {
			t.Errorf("device %q: got text %s\nwant the device in it: %t", tt.name, m.Text, greeted)
		}

		for _, hidden := range []string{"\u202e", "\u200b", "\u2028", "\r", "evil.", "evil。"} {
			if strings.Contains(m.Text, hidden) || strings.Contains(m.HTML, hidden) {
				t.Errorf("name %q: got %q in the email", tt.name, hidden)
			}
		}
	}
}

// Compose rejects an email with a missing value or an invalid link, without quoting it.
func TestComposeRejects(t *testing.T) {
	t.Parallel()

	for name, change := range map[string]func(*Email){
		"kind":         func(l *Email) { l.Kind = "secret" },
		"recipient":    func(l *Email) { l.To = "" },
		"new email":    func(l *Email) { l.NewEmail = "" },
		"link":         func(l *Email) { l.Link = "" },
		"no lifetime":  func(l *Email) { l.ExpiresIn = 0 },
		"script":       func(l *Email) { l.Link = "javascript://example.com/secret" },
		"relative":     func(l *Email) { l.Link = "/secret" },
		"quote":        func(l *Email) { l.Link = "https://example.com/secret'" },
		"space":        func(l *Email) { l.Link = "https://example.com/sec ret" },
		"line":         func(l *Email) { l.Link = "https://example.com/secret\nx" },
		"not ASCII":    func(l *Email) { l.Link = "https://exämple.com/secret" },
		"user of link": func(l *Email) { l.Link = "https://example.com@evil.example/secret" },
	} {
		l := sample(ConfirmEmail)
		change(&l)
		if m, err := Compose(l); err == nil || m != (Message{}) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %+v, error %v, want an error without the value", name, m, err)
		}
	}

	l := sample(EmailChanged)
	l.OldEmail = ""
	if _, err := Compose(l); err == nil {
		t.Error("email change without the old email: got no error")
	}

	l = sample(PasswordChanged)
	l.At = time.Time{}
	l.IP = "127.0.0.1 <b>"
	l.Device = ""
	if m, err := Compose(l); err != nil || strings.Contains(m.HTML, "<b>") || strings.Contains(m.Text, "When") || strings.Contains(m.Text, "IP") {
		t.Errorf("no valid details: got error %v and text %s\nwant no details", err, m.Text)
	}
}

// The file of texts contains exactly the texts that the program uses.
func TestTexts(t *testing.T) {
	t.Parallel()

	var got, want any
	testkit.NoError(t, json.Unmarshal(english, &got))

	encoded, err := json.Marshal(inEnglish)
	testkit.NoError(t, err)
	testkit.NoError(t, json.Unmarshal(encoded, &want))

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("program (-) and file (+) differ:\n%s", diff)
	}
	if strings.Contains(string(english), `""`) || len(inEnglish.Emails) != len(kinds) {
		t.Errorf("got %d kinds of emails, or an empty text, want %d", len(inEnglish.Emails), len(kinds))
	}

	for d, want := range map[time.Duration]string{
		time.Second: "1 minute", 15 * time.Minute: "15 minutes", time.Hour: "1 hour", 90 * time.Minute: "90 minutes",
		24 * time.Hour: "24 hours", 48 * time.Hour: "2 days", 49 * time.Hour: "49 hours",
	} {
		if got := inEnglish.duration(d); got != want {
			t.Errorf("duration(%v): got %q, want %q", d, got, want)
		}
	}

	long := strings.Repeat("b", 80)
	if got, want := wrap("a "+long+" c"), "a\n"+long+"\nc"; got != want {
		t.Errorf("wrap: got %q, want %q", got, want)
	}
}
