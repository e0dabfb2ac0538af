package mail

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"latchkey/internal/testkit"
)

// testComposer writes emails for Latchkey itself.
var testComposer = mustCompose(ComposerOptions{})

// english are the texts of testComposer for recipients without a locale.
var english = testComposer.texts["en"]

func mustCompose(o ComposerOptions) *Composer {
	c, err := NewComposer(o)
	if err != nil {
		panic(err)
	}

	return c
}

// sample returns a realistic email of the given kind.
func sample(kind Kind) Email {
	e := Email{Job: Job{
		Kind: kind, ID: "JOB", To: "ada@example.com",
		Device: "Firefox on Linux", IP: "2001:db8::17", At: time.Date(2026, 11, 22, 6, 26, 0, 0, time.FixedZone("CET", 3600)),
	}}

	switch kind {
	case VerifyEmail, ResetPassword, ConfirmEmail, Invitation:
		e.ExpiresIn = 30 * time.Minute
		e.Link = "https://app.example.com/account/" + string(kind) + "?a=1&b=2+3#token=bXkgc2VjcmV0IHRva2VuIGlzIHZlcnkgbG9uZyAxMjM0NTY3ODk"
	case NewDevice:
		e.Link = "https://app.example.com/account/security"
	}

	switch kind {
	case ConfirmEmail, EmailChangeRequested, EmailChanged:
		e.OldEmail = "ada@example.com"
		e.NewEmail = "countess.of.lovelace@analytical-engines.example.org"
	}

	switch kind {
	case IdentityLinked, IdentityUnlinked, AccountClaimed:
		e.Provider = "Google"
	case FactorAdded, FactorRemoved, FactorDisabled:
		e.Factor = "Google Authenticator"
	case RecoveryCodeUsed:
		e.Left = 7
	case FactorsReset:
		e.Reason = "Lost phone & codes, identity checked"
	}

	return e
}

// nodes returns all nodes in an HTML document.
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
// resources, and contains no URLs except links to link.
func checkHTML(t *testing.T, document, link string) {
	t.Helper()

	for _, want := range []string{`lang="en"`, `role="presentation"`, "prefers-color-scheme: dark", "<!--[if mso]>"} {
		if !strings.Contains(document, want) {
			t.Errorf("got HTML %s\nwant it to contain %s", document, want)
		}
	}

	const allowed = " html head meta title style body div table tbody tr td h1 p a br "

	for _, n := range nodes(t, document) {
		if n.Type != html.ElementNode {
			continue
		}
		if !strings.Contains(allowed, " "+n.Data+" ") {
			t.Errorf("got HTML with element %s, want only%s", n.Data, allowed)
		}

		for _, a := range n.Attr {
			isURL := strings.Contains(a.Val, "//") || strings.Contains(a.Val, "url(") || slices.Contains(urlAttributes, a.Key)
			if isURL && (n.Data != "a" || a.Key != "href" || a.Val != link) {
				t.Errorf("got HTML with URL %q in attribute %s of element %s, want only links to %q",
					a.Val, a.Key, n.Data, link)
			}
		}

		if n.Data == "style" && (strings.Contains(n.FirstChild.Data, "url(") || strings.Contains(n.FirstChild.Data, "@import")) {
			t.Errorf("got HTML with style %s, want it to load no resource", n.FirstChild.Data)
		}
	}
}

// urlAttributes are attributes whose value is always a URL, even without slashes.
var urlAttributes = []string{"href", "src", "background", "action"}
