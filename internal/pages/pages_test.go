package pages

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"latchkey/internal/brand"
	"latchkey/internal/locale"
	"latchkey/internal/testkit"
)

// newSite returns a Site. It allows returns to https://app.example.com only.
func newSite(t *testing.T, o Options) *Site {
	t.Helper()

	o.MinPassword = 12
	o.ReturnTo = func(given string) (string, bool) {
		return given, strings.HasPrefix(given, "https://app.example.com/")
	}
	s, err := New(o)
	testkit.NoError(t, err)

	return s
}

// get requests a page with an Accept-Language header.
func get(t *testing.T, s *Site, target, accepted string) (*httptest.ResponseRecorder, string) {
	t.Helper()

	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header.Set("Accept-Language", accepted)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)

	return w, w.Body.String()
}

// Every page has a title, one heading, the language and a strict policy, and loads only assets that
// exist. It contains neither inline scripts nor inline styles.
func TestPages(t *testing.T) {
	t.Parallel()

	s := newSite(t, Options{
		Brand:      brand.Brand{Name: "Odd <Horse>", LogoURL: "https://cdn.example.com/logo.png?v=2"},
		SendsEmail: true,
		Providers:  []Provider{{"acme", "Acme"}},
	})
	titles := map[string]bool{}
	if len(Paths) != len(table) {
		t.Errorf("got %d paths for %d pages", len(Paths), len(table))
	}

	for _, path := range Paths {
		for _, lang := range locale.Shipped() {
			w, html := get(t, s, path+"?lang="+lang, "")
			if w.Code != 200 || w.Header().Get("Content-Language") != lang || !strings.Contains(html, `<html lang="`+lang+`"`) {
				t.Errorf("%s in %s: got status %d, language %s", path, lang, w.Code, w.Header().Get("Content-Language"))
			}

			if n := strings.Count(html, "<h1"); n != 1 {
				t.Errorf("%s: got %d headings, want one", path, n)
			}
			if regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|javascript:|<script[^>]*>[^<]|\{\{|<no value>|ZgotmplZ`).MatchString(html) {
				t.Errorf("%s: got an inline script or style, or a fault of the template:\n%s", path, html)
			}
			if strings.Contains(html, "Odd <Horse>") || !strings.Contains(html, "Odd &lt;Horse&gt;") {
				t.Errorf("%s: got %s, want the name of the product, escaped", path, html)
			}
			if unfilled := regexp.MustCompile(`\{\w+\}`).FindString(html); unfilled != "" {
				t.Errorf("%s: got the placeholder %s", path, unfilled)
			}

			for _, link := range regexp.MustCompile(`(?:href|src)="(pages/[^"]+)"`).FindAllStringSubmatch(html, -1) {
				if asset, _ := get(t, s, "/"+link[1], ""); asset.Code != 200 || asset.Header().Get("Content-Type") == "" || !strings.Contains(asset.Header().Get("Cache-Control"), "immutable") {
					t.Errorf("%s: got status %d and headers %v for %s", path, asset.Code, asset.Header(), link[1])
				}
			}
			if lang == "en" {
				titles[regexp.MustCompile(`<title>([^<]+)`).FindStringSubmatch(html)[1]] = true
			}
		}
	}
	if len(titles) != len(Paths) {
		t.Errorf("got titles %v, want a different one for each page", titles)
	}

	w, _ := get(t, s, "/signin", "")
	policy := w.Header().Get("Content-Security-Policy")
	for _, part := range []string{
		"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' https://cdn.example.com; connect-src 'self'; base-uri 'none'; " +
			"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
	} {
		if policy != part {
			t.Errorf("Content-Security-Policy: got %s, want %s", policy, part)
		}
	}
	if w.Header().Get("Cache-Control") != "no-store" || !strings.Contains(w.Header().Get("Vary"), "Accept-Language") {
		t.Errorf("got headers %v, want no-store and Vary: Accept-Language", w.Header())
	}

	for _, path := range []string{"/", "/pages/", "/pages/x", "/pages/x/../signin.js", "/signin/", "/templates/layout.html", "/pages/x/texts/en.json"} {
		if w, _ := get(t, s, path, ""); w.Code != 404 {
			t.Errorf("GET %s: got status %d, want 404", path, w.Code)
		}
	}
}

// Pages on another origin than the API may connect to the API only.
func TestPolicyOfAnotherOrigin(t *testing.T) {
	t.Parallel()

	s := newSite(t, Options{API: "https://api.example.com"})
	w, _ := get(t, s, "/signin", "")
	if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "script-src 'self' https://api.example.com; style-src 'self';") || !strings.Contains(policy, "connect-src https://api.example.com;") || !strings.Contains(policy, "img-src 'self';") {
		t.Errorf("got policy %s", policy)
	}
}

// The lang parameter wins over Accept-Language, which wins over the default. Links keep the parameter.
func TestLanguage(t *testing.T) {
	t.Parallel()

	s := newSite(t, Options{DefaultLocale: "pl-PL"})
	for _, test := range []struct{ query, accepted, want string }{
		{"", "", "pl"},
		{"", "xx, *;q=0.1", "pl"},
		{"", "de-CH, en;q=0.5", "de"},
		{"", "pt-BR", "pt"},
		{"", "zh-CN", "zh-Hans"},
		{"", "zh", "zh-Hans"},
		{"", "sv, en-GB;q=0.8", "en"},
		{"", "ja;q=0.9, nl", "nl"},
		{"", "not a language!", "pl"},
		{"?lang=ja", "de", "ja"},
		{"?lang=zh-Hans", "", "zh-Hans"},
		{"?lang=../en", "de", "de"},
		{"?lang=xx", "de", "de"},
	} {
		w, html := get(t, s, "/signin"+test.query, test.accepted)
		if got := w.Header().Get("Content-Language"); got != test.want {
			t.Errorf("%q with Accept-Language %q: got %s, want %s", test.query, test.accepted, got, test.want)
		}

		isKept := strings.Contains(html, `href="register?lang=`+test.want+`"`)
		if isGiven := strings.HasSuffix(test.query, "="+test.want); isKept != isGiven {
			t.Errorf("%q: the link to the registration keeps the language: got %t, want %t", test.query, isKept, isGiven)
		}
	}
}

// The server decides where the browser returns. Links keep it, and a URL that is not allowed is not
// on the page.
func TestReturnTo(t *testing.T) {
	t.Parallel()

	withWebsite := newSite(t, Options{SendsEmail: true, Brand: brand.Brand{URL: "https://www.example.com/"}})
	home := regexp.MustCompile(`data-home="([^"]*)"`)
	for query, want := range map[string]string{
		"":                                 "https://www.example.com/",
		"?return_to=https://evil.example/": "https://www.example.com/",
		"?return_to=javascript:alert(1)":   "https://www.example.com/",
		"?return_to=https://app.example.com/a%3Fb%3D1":                        "https://app.example.com/a?b=1",
		"?return_to=https://app.example.com/&return_to=https://evil.example/": "https://www.example.com/",
	} {
		_, html := get(t, withWebsite, "/signin"+query, "")
		if got := home.FindStringSubmatch(html)[1]; got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
		if strings.Contains(html, "evil") || strings.Contains(html, "alert") {
			t.Errorf("%s: the URL is on the page", query)
		}

		isKept := strings.Contains(html, "forgot-password?return_to=https%3A%2F%2Fapp.example.com%2F")
		if isKept != strings.HasPrefix(want, "https://app") {
			t.Errorf("%s: links keep the URL: got %t", query, isKept)
		}
	}

	_, html := get(t, newSite(t, Options{}), "/signin?lang=de", "")
	if got := home.FindStringSubmatch(html)[1]; got != "account?lang=de" {
		t.Errorf("without a website: got %s, want the account", got)
	}
}

// The pages do not offer what is not available.
func TestUnavailable(t *testing.T) {
	t.Parallel()

	all := Options{SendsEmail: true, OffersFactors: true, RequireFactor: true, Providers: []Provider{{"acme", "Acme <1>"}}}
	for _, test := range []struct {
		name, path, text string
		change           func(o *Options)
	}{
		{"registration", "/signin", `href="register"`, func(o *Options) { o.Registration = Invite }},
		{"registration", "/register", `<form`, func(o *Options) { o.Registration = Closed }},
		{"an invitation", "/register", `<form`, func(o *Options) { o.Registration = Invite }},
		{"forgotten passwords", "/signin", `forgot-password`, func(o *Options) { o.SendsEmail = false }},
		{"a form for forgotten passwords", "/forgot-password", `<form`, func(o *Options) { o.SendsEmail = false }},
		{"a change of the email", "/account", `id="change-email"`, func(o *Options) { o.SendsEmail = false }},
		{"a correction of the email", "/verify-email", `id="change-email"`, func(o *Options) { o.SendsEmail = false }},
		{"authenticator apps", "/account", `data-offered`, func(o *Options) { o.OffersFactors = false }},
		{"a required factor", "/signin", `data-factor-required`, func(o *Options) { o.RequireFactor = false }},
		{"the way to a required factor", "/verify-email", `<a class="button primary" href="signin">`, func(o *Options) { o.RequireFactor = false }},
		{"providers", "/signin", `Acme &lt;1&gt;`, func(o *Options) { o.Providers = nil }},
		{"a log", "/signin", "log.js", func(o *Options) {}},
	} {
		o := all
		if test.name == "a log" {
			o.Demo = &Demo{DocsURL: "https://api.example.com/docs"}
		}
		if _, html := get(t, newSite(t, o), test.path, ""); !strings.Contains(html, test.text) {
			t.Errorf("%s: %s does not contain %s, although it is available", test.name, test.path, test.text)
		}

		o.Demo = nil
		test.change(&o)
		if _, html := get(t, newSite(t, o), test.path, ""); strings.Contains(html, test.text) {
			t.Errorf("%s: %s contains %s, although it is not available", test.name, test.path, test.text)
		}
	}
}

// The icon of another product is the initial of its name.
func TestIcon(t *testing.T) {
	t.Parallel()

	for name, want := range map[string]string{"": "<circle", "acme": ">A</text>", "<x>": ">&lt;</text>", "日本": ">日</text>"} {
		s := newSite(t, Options{Brand: brand.Brand{Name: name, Color: "#ffdd00"}})
		w, svg := get(t, s, "/pages/x/icon.svg", "")
		if !strings.Contains(svg, want) || !strings.Contains(svg, "#ffdd00") || w.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("%q: got %s with %v, want %s", name, svg, w.Header(), want)
		}
	}
}

// All languages have the same texts with the same placeholders. Buttons stay short enough for narrow
// screens.
func TestTexts(t *testing.T) {
	t.Parallel()

	const maxButton = 30
	l, err := loadLanguages("")
	testkit.NoError(t, err)
	placeholders := func(text string) []string {
		found := regexp.MustCompile(`\{\w+\}`).FindAllString(text, -1)
		slices.Sort(found)

		return found
	}

	english := l.texts["en"]
	for _, tag := range locale.Shipped() {
		for key, text := range l.texts[tag] {
			if _, known := english[key]; !known {
				t.Errorf("%s: %q is not in English", tag, key)
			}
			if strings.HasPrefix(key, "button.") && utf8.RuneCountInString(text) > maxButton {
				t.Errorf("%s: %q has %d characters, want at most %d: %s", tag, key, utf8.RuneCountInString(text), maxButton, text)
			}
		}
		for key, text := range english {
			translated := l.texts[tag][key]
			if strings.TrimSpace(translated) == "" || !slices.Equal(placeholders(translated), placeholders(text)) {
				t.Errorf("%s: %q is %q, want a text with the placeholders %v", tag, key, translated, placeholders(text))
			}
		}
	}
}

// Every text is used, and every text that is used exists.
func TestTextsAreUsed(t *testing.T) {
	t.Parallel()

	l, err := loadLanguages("")
	testkit.NoError(t, err)
	var source strings.Builder
	for _, dir := range []string{"templates", "assets"} {
		entries, err := files.ReadDir(dir)
		testkit.NoError(t, err)
		for _, entry := range entries {
			text, err := files.ReadFile(dir + "/" + entry.Name())
			testkit.NoError(t, err)
			source.Write(text)
		}
	}
	for _, p := range table {
		source.WriteString(`"` + p.title + `"`)
	}
	source.WriteString(`"button.show" "hint.password"`) // in view.go

	byCode := regexp.MustCompile(`^(error|field|reason|event|method|level)\.`)
	for key := range l.texts["en"] {
		isUsed := strings.Contains(source.String(), `"`+key+`"`) || strings.Contains(source.String(), `'`+key+`'`)
		if !isUsed && !byCode.MatchString(key) {
			t.Errorf("%q is not used", key)
		}
	}
	for _, used := range regexp.MustCompile(`(?:\.T |\bt\(|phrase\()["']([\w.]+)["']`).FindAllStringSubmatch(source.String(), -1) {
		if _, ok := l.texts["en"][used[1]]; !ok {
			t.Errorf("%q is used, but has no text", used[1])
		}
	}
}

// The scripts get the texts of a language as a module.
func TestTextsAreJSON(t *testing.T) {
	t.Parallel()

	s := newSite(t, Options{})
	_, script := get(t, s, "/pages/x/texts.ja.js", "")
	object, ok := strings.CutPrefix(script, "export default ")
	var read map[string]string
	if err := json.Unmarshal([]byte(strings.TrimSuffix(object, ";\n")), &read); err != nil || !ok || read["signin.title"] == "" {
		t.Errorf("got %.80s, %v, want a module with texts", script, err)
	}
}
