package mail

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

// shown is what a reader of a document sees, and where its links lead.
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

// Every letter says for whom it is, what happened, what to do if it was not you, and
// when a link ends; the text and the HTML say the same.
func TestCompose(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 13, 32, 0, 0, time.UTC)
	subjects := map[string]bool{}
	for _, kind := range kinds {
		l := letter(kind)
		m, err := compose(inEnglish, l, now)
		if err != nil {
			t.Fatal(err)
		}
		if m.ID != "JOB" || m.To != l.To || subjects[m.Subject] || !strings.Contains(m.Subject, "Latchkey") {
			t.Errorf("%s: to %q, id %q, subject %q", kind, m.To, m.ID, m.Subject)
		}
		subjects[m.Subject] = true
		words := inEnglish.Letters[kind]
		want := []string{"Hello Ada Lovelace,", "22 Nov 2026, 05:26 UTC", "Firefox on Linux", "2001:db8::17", "sent to ada@example.com", words.Why, strings.ReplaceAll(words.Otherwise, "{provider}", "Google")}
		if l.ExpiresIn > 0 {
			want = append(want, "The link works once, for 30 minutes: until 22 Nov 2026, 14:02 UTC.")
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
				t.Errorf("%s: the text lacks %q:\n%s", kind, s, m.Text)
			}
			if !strings.Contains(htmlText, s) {
				t.Errorf("%s: the HTML lacks %q:\n%s", kind, s, htmlText)
			}
		}
		var wantLinks []string
		if l.Link != "" {
			wantLinks = []string{l.Link, l.Link}
			if !strings.Contains(m.Text, "\n"+l.Link+"\n") || !strings.Contains(htmlText, " "+l.Link+" ") {
				t.Errorf("%s: the link is not written out:\n%s", kind, m.Text)
			}
		}
		if diff := cmp.Diff(wantLinks, links); diff != "" {
			t.Errorf("%s: links: %s", kind, diff)
		}
		if left := regexp.MustCompile(`\{\w*\}|ZgotmplZ`).FindString(m.Text + m.HTML + m.Subject); left != "" {
			t.Errorf("%s: %s was not filled in", kind, left)
		}
	}
}

// A name is chosen by whoever signs up, with the address of someone else if they
// like. What could be read as ours, or as a link, is not in our mail.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, want string }{
		{"Ada", "Hello Ada,"},
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
		{" \t\u200b", "Hello,"},
		{"\xff\xfe", "Hello,"},
		{"see http://evil.example/x", "Hello,"},
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
		l := letter(NewDevice)
		l.Name, l.Device = tt.name, tt.name
		m, err := Compose(l)
		if err != nil {
			t.Fatal(err)
		}
		htmlText, links := shown(t, m.HTML)
		if first, _, _ := strings.Cut(m.Text, "\n\n"); strings.ReplaceAll(first, "\n", " ") != tt.want || !strings.Contains(htmlText, " "+tt.want+" ") {
			t.Errorf("%q: the text greets %q, the HTML says %q", tt.name, first, htmlText)
		}
		if len(links) != 2 || links[0] != l.Link || strings.Contains(m.HTML, "<script") || strings.Contains(m.Subject, "\n") {
			t.Errorf("%q: links %q\n%s", tt.name, links, m.HTML)
		}
		shownName, greeted := strings.CutPrefix(strings.TrimSuffix(tt.want, ","), "Hello ")
		if has := strings.Contains(m.Text, "\nDevice: "); has != greeted || greeted && !strings.Contains(m.Text, "\nDevice: "+shownName+"\n") {
			t.Errorf("%q as a device:\n%s", tt.name, m.Text)
		}
		for _, hidden := range []string{"\u202e", "\u200b", "\u2028", "\r", "evil.", "evil。"} {
			if strings.Contains(m.Text, hidden) || strings.Contains(m.HTML, hidden) {
				t.Errorf("%q: %q is in the letter", tt.name, hidden)
			}
		}
	}
}

// What is missing or no link of ours is found before it is sent, and not quoted.
func TestComposeRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Letter){
		"kind":         func(l *Letter) { l.Kind = "secret" },
		"recipient":    func(l *Letter) { l.To = "" },
		"new address":  func(l *Letter) { l.NewEmail = "" },
		"link":         func(l *Letter) { l.Link = "" },
		"no lifetime":  func(l *Letter) { l.ExpiresIn = 0 },
		"script":       func(l *Letter) { l.Link = "javascript:secret" },
		"relative":     func(l *Letter) { l.Link = "/secret" },
		"quote":        func(l *Letter) { l.Link = "https://example.com/secret'" },
		"space":        func(l *Letter) { l.Link = "https://example.com/sec ret" },
		"line":         func(l *Letter) { l.Link = "https://example.com/secret\nx" },
		"not ASCII":    func(l *Letter) { l.Link = "https://exämple.com/secret" },
		"user of link": func(l *Letter) { l.Link = "https://example.com@evil.example/secret" },
	} {
		l := letter(ConfirmEmail)
		change(&l)
		if m, err := Compose(l); err == nil || m != (Message{}) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	l := letter(EmailChanged)
	if l.OldEmail = ""; second(Compose(l)) == nil {
		t.Error("a change without the old address")
	}
	l = letter(PasswordChanged)
	l.At, l.IP, l.Device = time.Time{}, "127.0.0.1 <b>", ""
	if m, err := Compose(l); err != nil || strings.Contains(m.HTML, "<b>") || strings.Contains(m.Text, "When") || strings.Contains(m.Text, "IP") {
		t.Errorf("nothing known of how: %v\n%s", err, m.Text)
	}
}

func second(_ Message, err error) error { return err }

// The file of the texts has all words of all letters, and no others.
func TestTexts(t *testing.T) {
	t.Parallel()
	var got, want any
	if err := json.Unmarshal(english, &got); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(inEnglish)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(bytes.NewReader(again)).Decode(&want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what the program has (-) and what the file says (+): %s", diff)
	}
	if strings.Contains(string(english), `""`) || len(inEnglish.Letters) != len(kinds) {
		t.Error("a word or a letter is missing")
	}
	for d, want := range map[time.Duration]string{
		time.Second: "1 minute", 15 * time.Minute: "15 minutes", time.Hour: "1 hour", 90 * time.Minute: "90 minutes",
		24 * time.Hour: "24 hours", 48 * time.Hour: "2 days", 49 * time.Hour: "49 hours",
	} {
		if got := inEnglish.length(d); got != want {
			t.Errorf("%v is %q, not %q", d, got, want)
		}
	}
	if got := wrap("a " + strings.Repeat("b", 80) + " c"); got != fmt.Sprintf("a\n%s\nc", strings.Repeat("b", 80)) {
		t.Errorf("a long word: %q", got)
	}
}
