package mail

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"latchkey/internal/testkit"
)

// kinds lists all kinds of emails.
var kinds = []Kind{
	VerifyEmail, ResetPassword, ConfirmEmail, EmailChangeRequested, EmailChanged, PasswordChanged,
	NewDevice, IdentityLinked, IdentityUnlinked, AccountClaimed, AccountDeleted,
}

// sample returns a realistic email of a kind.
func sample(kind Kind) Email {
	l := Email{Job: Job{
		Kind: kind, ID: "JOB", To: "ada@example.com", Name: "Ada Lovelace",
		Device: "Firefox on Linux", IP: "2001:db8::17", At: time.Date(2026, 11, 22, 6, 26, 0, 0, time.FixedZone("CET", 3600)),
	}}

	switch kind {
	case VerifyEmail, ResetPassword, ConfirmEmail:
		l.ExpiresIn = 30 * time.Minute
		l.Link = "https://app.example.com/account/" + string(kind) + "?a=1&b=2+3#token=bXkgc2VjcmV0IHRva2VuIGlzIHZlcnkgbG9uZyAxMjM0NTY3ODk"
	case NewDevice:
		l.Link = "https://app.example.com/account/security"
	}

	switch kind {
	case ConfirmEmail, EmailChangeRequested, EmailChanged:
		l.OldEmail = "ada@example.com"
		l.NewEmail = "countess.of.lovelace@analytical-engines.example.org"
	}

	switch kind {
	case IdentityLinked, IdentityUnlinked, AccountClaimed:
		l.Provider = "Google"
	}

	return l
}

// nodes returns all nodes of an HTML document.
func nodes(t *testing.T, document string) []*html.Node {
	t.Helper()

	root, err := html.Parse(strings.NewReader(document))
	testkit.NoError(t, err)

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

// Emails load no external resources. MAIL_PREVIEW=dir writes samples of all emails to dir instead.
func TestPreview(t *testing.T) {
	t.Parallel()

	allowed := map[string]bool{
		"html": true, "head": true, "meta": true, "title": true, "style": true, "body": true, "div": true, "table": true,
		"tbody": true, "tr": true, "td": true, "h1": true, "p": true, "a": true, "br": true,
	}

	for _, kind := range kinds {
		m, err := Compose(sample(kind))
		testkit.NoError(t, err)

		if dir := os.Getenv("MAIL_PREVIEW"); dir != "" {
			for name, content := range map[string]string{string(kind) + ".html": m.HTML, string(kind) + ".txt": m.Text} {
				testkit.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
			}
			continue
		}

		for _, n := range nodes(t, m.HTML) {
			if n.Type != html.ElementNode {
				continue
			}
			if !allowed[n.Data] {
				t.Errorf("%s: got element %s, want only allowed ones", kind, n.Data)
			}

			for _, a := range n.Attr {
				isURL := strings.Contains(a.Val, "//") || strings.Contains(a.Val, "url(") || a.Key == "src" || a.Key == "background"
				if isURL && (n.Data != "a" || a.Key != "href" || a.Val != sample(kind).Link) {
					t.Errorf("%s: got URL in %s of %s: %s", kind, a.Key, n.Data, a.Val)
				}
			}

			if n.Data == "html" && attribute(n, "lang") != "en" {
				t.Errorf("%s: got lang %q, want en", kind, attribute(n, "lang"))
			}
			if n.Data == "table" && attribute(n, "role") != "presentation" {
				t.Errorf("%s: got a table with role %q, want presentation", kind, attribute(n, "role"))
			}
			if n.Data == "style" && (strings.Contains(n.FirstChild.Data, "url(") || strings.Contains(n.FirstChild.Data, "@import")) {
				t.Errorf("%s: got a style that loads a resource", kind)
			}
		}

		for _, want := range []string{`<meta name="color-scheme" content="light dark">`, "prefers-color-scheme: dark", "<!--[if mso]>"} {
			if !strings.Contains(m.HTML, want) {
				t.Errorf("%s: got no %s in the HTML", kind, want)
			}
		}
	}
}
