package mail

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"latchkey/internal/testkit"
)

// visibleText returns the visible text in an HTML document and the targets of its links.
func visibleText(t *testing.T, document string) (text string, links []string) {
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

// Every email names the recipient and the event, and tells the recipient what to do if it wasn't them
// and when the link expires. The text and the HTML have the same content.
func TestCompose(t *testing.T) {
	t.Parallel()

	now := time.Date(2026, 11, 22, 13, 32, 0, 0, time.UTC)
	subjects := map[string]bool{}

	for _, kind := range Kinds() {
		e := sample(kind)
		m, err := testComposer.compose(english, e, now)
		testkit.NoError(t, err)

		if m.ID != "JOB" || m.To != e.To || subjects[m.Subject] || !strings.Contains(m.Subject, "Latchkey") {
			t.Errorf("%s: got %+v, want ID JOB, recipient %q and a unique subject with Latchkey",
				kind, m, e.To)
		}

		subjects[m.Subject] = true
		words := english.Emails[kind]
		want := []string{
			"Hello,", "22 Nov 2026, 05:26 UTC", "Firefox on Linux", "2001:db8::17",
			"sent to ada@example.com", strings.ReplaceAll(words.Why, "{app}", "Latchkey"), strings.ReplaceAll(words.Otherwise, "{provider}", "Google"),
		}

		if e.ExpiresIn > 0 {
			want = append(want, "This link can be used once and expires in 30 minutes, on 22 Nov 2026, 14:02 UTC.")
		}
		if e.NewEmail != "" {
			want = append(want, e.NewEmail)
		}
		for _, value := range []string{e.Provider, e.Factor, e.Reason} {
			if value != "" {
				want = append(want, value)
			}
		}
		if e.Left > 0 {
			want = append(want, "Recovery codes left: 7.")
		}

		htmlText, links := visibleText(t, m.HTML)
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
		if e.Link != "" {
			wantLinks = []string{e.Link, e.Link}
			if !strings.Contains(m.Text, "\n"+e.Link+"\n") || !strings.Contains(htmlText, " "+e.Link+" ") {
				t.Errorf("%s: got text %s\nwant the link on a line of its own", kind, m.Text)
			}
		}
		if diff := cmp.Diff(wantLinks, links); diff != "" {
			t.Errorf("%s: links (-want +got)\n%s", kind, diff)
		}
		checkHTML(t, m.HTML, e.Link)
		if placeholder := regexp.MustCompile(`\{\w*\}|ZgotmplZ`).FindString(m.Text + m.HTML + m.Subject); placeholder != "" {
			t.Errorf("%s: got an email with unfilled placeholder %s, want none", kind, placeholder)
		}
	}
}

// Emails contain no text that a client chooses freely: otherwise anyone could send a message to a
// stranger in our name. Only the names of well-known browsers are shown.
func TestHostileDevices(t *testing.T) {
	t.Parallel()

	for device, isShown := range map[string]bool{
		"Firefox on Linux":           true,
		"Firefox 143 on Windows":     true,
		"Safari 26 on iOS":           true,
		"Samsung Browser 28":         true,
		"Opera Mini 80 on Android":   true,
		"Headless Chrome 141":        true,
		"":                           false,
		"Unknown device":             false,
		"curl 8":                     false,
		"you won, evil.example":      false,
		"evil\u2024example":          false,
		"evil\ua4f8example":          false,
		"Your account is locked":     false,
		"Firefox 143 on evil":        false,
		"Firefox 143 on Linux\nX: y": false,
		"Firefox 5555501234":         false,
		"Firefox evil on Linux":      false,
		"Call now: Firefox":          false,
		"<b>Firefox</b>":             false,
		"{to}":                       false,
	} {
		e := sample(NewDevice)
		e.Device = device
		m, err := testComposer.Compose(e)
		testkit.NoError(t, err)

		htmlText, links := visibleText(t, m.HTML)
		inText := strings.Contains(m.Text, "\nDevice: ") && strings.Contains(m.Text, device)
		inHTML := strings.Contains(htmlText, " Device ") && strings.Contains(htmlText, device)
		if inText != isShown || inHTML != isShown {
			t.Errorf("device %q: got text %s\nand HTML %s\nwant it shown: %t", device, m.Text, htmlText, isShown)
		}
		if len(links) != 2 {
			t.Errorf("device %q: got links %q, want only %q twice", device, links, e.Link)
		}
		checkHTML(t, m.HTML, e.Link)
	}
}

// The names of authenticator apps are also chosen by users, so only those of well-known apps are shown.
func TestHostileFactors(t *testing.T) {
	t.Parallel()

	for name, isShown := range map[string]bool{
		"Google Authenticator":                true,
		"1Password":                           true,
		"FreeOTP+":                            true,
		"":                                    false,
		"My phone":                            false,
		"Security update, nothing to do":      false,
		"evil.example":                        false,
		"Authy evil.example":                  false,
		"Authy\nX: y":                         false,
		"Call now: Authy":                     false,
		"<b>Authy</b>":                        false,
		"{to}":                                false,
		strings.Repeat("Authy ", 100) + "now": false,
	} {
		for _, kind := range []Kind{FactorAdded, FactorRemoved, FactorDisabled} {
			e := sample(kind)
			e.Factor = name
			m, err := testComposer.Compose(e)
			testkit.NoError(t, err)

			htmlText, _ := visibleText(t, m.HTML)
			inText := strings.Contains(m.Text, "\nApp: "+name+"\n")
			inHTML := strings.Contains(htmlText, " App "+name+" When ")
			isMentioned := name != "" && strings.Contains(m.Text+htmlText, name)
			if inText != isShown || inHTML != isShown || isMentioned != isShown {
				t.Errorf("%s, factor %q: got text %s\nand HTML %s\nwant it shown: %t", kind, name, m.Text, htmlText, isShown)
			}
			checkHTML(t, m.HTML, e.Link)
		}
	}
}

// The email about a used recovery code has the number of codes left, and asks for new ones if there
// are only a few.
func TestRecoveryCodesLeft(t *testing.T) {
	t.Parallel()

	for left, isFew := range map[int]bool{9: false, 4: false, 3: true, 1: true, 0: true} {
		for _, lang := range testComposer.Languages().Names() {
			e := sample(RecoveryCodeUsed)
			e.Locale = lang
			e.Left = left
			m, err := testComposer.Compose(e)
			testkit.NoError(t, err)

			htmlText, _ := visibleText(t, m.HTML)
			if !strings.Contains(htmlText, strconv.Itoa(left)+".") && !strings.Contains(htmlText, "："+strconv.Itoa(left)) {
				t.Errorf("%s: got HTML %s\nwant it to contain the number %d", lang, htmlText, left)
			}
			if got := strings.Contains(htmlText, testComposer.texts[lang].Emails[RecoveryCodeUsed].FewLeft); got != isFew {
				t.Errorf("%s: got HTML %s\nfor %d codes, want it to ask for new ones: %t", lang, htmlText, left, isFew)
			}
		}
	}
}

// The reason for a reset is text by an operator. It is shown as one line of limited length, without
// markup, and its placeholders are not expanded.
func TestReason(t *testing.T) {
	t.Parallel()

	long := strings.Repeat("日本 ", 66) + "ab" // MaxReason characters
	for reason, want := range map[string]string{
		"Lost phone":                    "Lost phone",
		"  Lost\r\n\tphone\u2028codes ": "Lost phone codes",
		"\u202eLost\u200b phone\x00":    "Lost phone",
		"<b>Lost</b> & {to}":            "<b>Lost</b> & {to}",
		long:                            long,
		long + "c":                      long[:len(long)-1] + "…",
		strings.Repeat("x", 5000):       strings.Repeat("x", MaxReason-1) + "…",
	} {
		e := sample(FactorsReset)
		e.Reason = reason
		m, err := testComposer.Compose(e)
		testkit.NoError(t, err)

		htmlText, _ := visibleText(t, m.HTML)
		if !strings.Contains(htmlText, " Reason: "+want+" When ") {
			t.Errorf("reason %q: got HTML %s\nwant it to contain %q", reason, htmlText, want)
		}
		if text := strings.Join(strings.Fields(m.Text), ""); !strings.Contains(text, "Reason:"+strings.ReplaceAll(want, " ", "")+"When:") {
			t.Errorf("reason %q: got text %s\nwant it to contain %q", reason, m.Text, want)
		}
		checkHTML(t, m.HTML, e.Link)
	}

	for _, reason := range []string{"", " \n", "\u200b"} {
		e := sample(FactorsReset)
		e.Reason = reason
		if _, err := testComposer.Compose(e); err == nil {
			t.Errorf("reason %q: Compose: got no error, want one", reason)
		}
	}
}

// Compose rejects an email with a missing value or an invalid link. Errors do not quote the value.
func TestComposeRejects(t *testing.T) {
	t.Parallel()

	for name, change := range map[string]func(*Email){
		"kind":         func(e *Email) { e.Kind = "secret" },
		"recipient":    func(e *Email) { e.To = "" },
		"new email":    func(e *Email) { e.NewEmail = "" },
		"link":         func(e *Email) { e.Link = "" },
		"no lifetime":  func(e *Email) { e.ExpiresIn = 0 },
		"script":       func(e *Email) { e.Link = "javascript://example.com/secret" },
		"relative":     func(e *Email) { e.Link = "/secret" },
		"quote":        func(e *Email) { e.Link = "https://example.com/secret'" },
		"space":        func(e *Email) { e.Link = "https://example.com/sec ret" },
		"line":         func(e *Email) { e.Link = "https://example.com/secret\nx" },
		"not ASCII":    func(e *Email) { e.Link = "https://exämple.com/secret" },
		"user in link": func(e *Email) { e.Link = "https://example.com@evil.example/secret" },
	} {
		e := sample(ConfirmEmail)
		change(&e)
		if m, err := testComposer.Compose(e); err == nil || m != (Message{}) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: Compose: got %+v, error %v, want an error without the value", name, m, err)
		}
	}

	e := sample(EmailChanged)
	e.OldEmail = ""
	if _, err := testComposer.Compose(e); err == nil {
		t.Error("email change without the old email: Compose: got no error, want one")
	}

	e = sample(PasswordChanged)
	e.At = time.Time{}
	e.IP = "127.0.0.1 <b>"
	e.Device = ""
	if m, err := testComposer.Compose(e); err != nil || strings.Contains(m.HTML, "<b>") || strings.Contains(m.Text, "When") || strings.Contains(m.Text, "IP") {
		t.Errorf("no valid details: Compose: got error %v and text %s\nwant no error and no details",
			err, m.Text)
	}
}
