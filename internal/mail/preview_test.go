package mail

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// kinds are all kinds of letters.
var kinds = []Kind{VerifyEmail, ResetPassword, ConfirmEmail, EmailChangeAsked, EmailChanged, PasswordChanged, NewDevice, IdentityLinked, IdentityUnlinked, AccountClaimed, AccountDeleted}

// letter returns a letter of a kind as it would be.
func letter(kind Kind) Letter {
	l := Letter{
		Kind: kind, JobID: "JOB", To: "ada@example.com", Name: "Ada Lovelace",
		Device: "Firefox on Linux", IP: "2001:db8::17", At: time.Date(2026, 11, 22, 6, 26, 0, 0, time.FixedZone("CET", 3600)),
	}
	switch kind {
	case VerifyEmail, ResetPassword, ConfirmEmail:
		l.ExpiresIn = 30 * time.Minute
		l.Link = "https://app.example.com/account/" + string(kind) + "?a=1&b=2+3#token=bXkgc2VjcmV0IHRva2VuIGlzIHZlcnkgbG9uZyAxMjM0NTY3ODk"
	case NewDevice:
		l.Link = "https://app.example.com/account/security"
	}
	switch kind {
	case ConfirmEmail, EmailChangeAsked, EmailChanged:
		l.OldEmail, l.NewEmail = "ada@example.com", "countess.of.lovelace@analytical-engines.example.org"
	}
	switch kind {
	case IdentityLinked, IdentityUnlinked, AccountClaimed:
		l.Provider = "Google"
	}
	return l
}

// nodes are all elements of a document.
func nodes(t *testing.T, document string) []*html.Node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(root.Descendants())
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// Letters load nothing from anywhere. MAIL_PREVIEW=dir writes them, to be looked at.
func TestPreview(t *testing.T) {
	t.Parallel()
	allowed := map[string]bool{
		"html": true, "head": true, "meta": true, "title": true, "style": true, "body": true, "div": true, "table": true,
		"tbody": true, "tr": true, "td": true, "h1": true, "p": true, "a": true, "br": true,
	}
	for _, kind := range kinds {
		m, err := Compose(letter(kind))
		if err != nil {
			t.Fatal(err)
		}
		if dir := os.Getenv("MAIL_PREVIEW"); dir != "" {
			for name, content := range map[string]string{string(kind) + ".html": m.HTML, string(kind) + ".txt": m.Text} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			continue
		}
		for _, n := range nodes(t, m.HTML) {
			if n.Type != html.ElementNode {
				continue
			}
			if !allowed[n.Data] {
				t.Errorf("%s: an element %s", kind, n.Data)
			}
			for _, a := range n.Attr {
				isURL := strings.Contains(a.Val, "//") || strings.Contains(a.Val, "url(") || a.Key == "src" || a.Key == "background"
				if isURL && (n.Data != "a" || a.Key != "href" || a.Val != letter(kind).Link) {
					t.Errorf("%s: %s of %s is %s", kind, a.Key, n.Data, a.Val)
				}
			}
			if n.Data == "html" && attribute(n, "lang") != "en" {
				t.Errorf("%s: no language", kind)
			}
			if n.Data == "table" && attribute(n, "role") != "presentation" {
				t.Errorf("%s: a table that says to be one", kind)
			}
			if n.Data == "style" && (strings.Contains(n.FirstChild.Data, "url(") || strings.Contains(n.FirstChild.Data, "@import")) {
				t.Errorf("%s: a style that loads something", kind)
			}
		}
		for _, want := range []string{`<meta name="color-scheme" content="light dark">`, "prefers-color-scheme: dark", "<!--[if mso]>"} {
			if !strings.Contains(m.HTML, want) {
				t.Errorf("%s: no %s", kind, want)
			}
		}
	}
}
