package mail

import (
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

// checkHTML checks that a document has our layout and only harmless elements, loads no external
// resources and contains no URL but links to link.
func checkHTML(t *testing.T, document, link string) {
	t.Helper()

	for _, want := range []string{`lang="en"`, `role="presentation"`, "prefers-color-scheme: dark", "<!--[if mso]>"} {
		if !strings.Contains(document, want) {
			t.Errorf("got no %s in the HTML", want)
		}
	}

	const allowed = " html head meta title style body div table tbody tr td h1 p a br "

	for _, n := range nodes(t, document) {
		if n.Type != html.ElementNode {
			continue
		}
		if !strings.Contains(allowed, " "+n.Data+" ") {
			t.Errorf("got element %s, want only%s", n.Data, allowed)
		}

		for _, a := range n.Attr {
			isURL := strings.Contains(a.Val, "//") || strings.Contains(a.Val, "url(") || slices.Contains(urlAttributes, a.Key)
			if isURL && (n.Data != "a" || a.Key != "href" || a.Val != link) {
				t.Errorf("got URL %q in %s of %s, want only links to %q", a.Val, a.Key, n.Data, link)
			}
		}

		if n.Data == "style" && (strings.Contains(n.FirstChild.Data, "url(") || strings.Contains(n.FirstChild.Data, "@import")) {
			t.Error("got a style that loads a resource")
		}
	}
}

// urlAttributes are attributes whose value is a URL, even if it has no slashes.
var urlAttributes = []string{"href", "src", "background", "action"}
