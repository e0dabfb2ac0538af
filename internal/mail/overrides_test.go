package mail

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/internal/testkit"
)

// directory writes files and returns their directory.
func directory(t *testing.T, files map[string]string) string {
	t.Helper()

	dir := t.TempDir()
	for name, text := range files {
		testkit.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}

	return dir
}

// shippedFile returns a shipped file.
func shippedFile(t *testing.T, name string) string {
	t.Helper()

	file, err := shippedFiles.ReadFile(name)
	testkit.NoError(t, err)

	return string(file)
}

// An operator can replace single texts of a language, add a language, and replace a template.
func TestOverrides(t *testing.T) {
	t.Parallel()

	arabic := strings.Replace(shippedFile(t, "texts.en.json"), `"Hello,"`, `"مرحبا،"`, 1)
	for _, unit := range []string{"minute", "hour", "day"} {
		arabic = strings.Replace(arabic, `"one": "{n} `+unit+`"`, `"one": "{n} `+unit+`", "two": "{n} 2", "few": "{n} few", "many": "{n} many"`, 1)
	}
	c, err := NewComposer(ComposerOptions{TextsDir: directory(t, map[string]string{
		"texts.de.json":     `{"greeting": "Moin,", "emails": {"verify_email": {"subject": "{app} sagt Moin", "body": ["Moin {to}!", "Zwei."]}}}`,
		"texts.ar.json":     arabic,
		"email.txt.tmpl":    "{{.Subject}} | {{.Greeting}} | {{range .Body}}{{.}}{{end}} | {{.Link}} | {{.Expires}}",
		"README.md":         "ignored",
		".texts.fr.json~":   "ignored",
		"..data.json.swp":   "ignored",
		"texts.de.json.bak": "ignored",
	})})
	testkit.NoError(t, err)

	german, err := c.Preview(VerifyEmail, "de")
	testkit.NoError(t, err)
	for _, want := range []string{"Latchkey sagt Moin | Moin, | Moin ada@example.com!Zwei. | https://", "läuft in 24 Stunden ab"} {
		if !strings.Contains(german.Text, want) {
			t.Errorf("German: got text %s\nwant it to contain %q", german.Text, want)
		}
	}
	if german.Subject != "Latchkey sagt Moin" || !strings.Contains(german.HTML, "E-Mail-Adresse bestätigen") {
		t.Errorf("German: got subject %q and HTML %s\nwant the new subject and the shipped button", german.Subject, german.HTML)
	}

	other, err := c.Preview(VerifyEmail, "ar")
	testkit.NoError(t, err)
	for _, want := range []string{`<html lang="ar" dir="rtl">`, "text-align:right", "مرحبا،"} {
		if !strings.Contains(other.HTML, want) {
			t.Errorf("Arabic: got HTML %s\nwant it to contain %s", other.HTML, want)
		}
	}
	if !strings.Contains(other.Text, "24 many") || c.Languages().Match("ar-EG") != "ar" {
		t.Errorf("Arabic: got text %s and languages %q", other.Text, c.Languages().Names())
	}

	english, err := c.Preview(VerifyEmail, "en")
	testkit.NoError(t, err)
	if shipped, err := testComposer.Preview(VerifyEmail, "en"); err != nil || english.HTML != shipped.HTML {
		t.Errorf("English: got HTML %s\nwant the shipped one", english.HTML)
	}
}

// All faults are listed at once, with their file and key.
func TestOverrideFaults(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"texts": {
			map[string]string{
				"texts.de.json": `{"greting": "Moin,", "greeting": "", "time": "{day}.{month}.{year}", "months": ["Jan"], "minutes": {"one": "eine", "many": "{n}", "paucal": "{n}"},
					"expires": 7, "footer": "{why} {link}",
					"emails": {
						"verify_email": {"subject": "Für {to}", "body": "Text", "title": "{provider}", "foo": "x"},
						"email_changed": {"body": ["{old} {app}"], "otherwise": "{new}: kein Problem"},
						"identity_linked": {"title": "Neu"},
						"welcome": {"subject": "x"}}}`,
			},
			[]string{
				"emails.email_changed.body: must contain {new}",
				"emails.identity_linked.title: must contain {provider}",
				"emails.verify_email.body: must be a list of texts",
				"emails.verify_email.foo: unknown key",
				"emails.verify_email.subject: unknown placeholder {to}; possible: {app}",
				"emails.verify_email.title: unknown placeholder {provider}; possible: {app} {to}",
				"emails.welcome.subject: unknown key",
				"expires: must be a text",
				"footer: must contain {to}",
				"footer: unknown placeholder {link}; possible: {app} {to} {why}",
				"greeting: is empty",
				"greting: unknown key",
				"minutes.one: must contain {n}",
				"minutes.paucal: unknown key",
				"months: must have 12 texts",
				"time: must contain {hour}",
				"time: must contain {minute}",
			},
		},
		"JSON":         {map[string]string{"texts.fr.json": `{"greeting": "Salut",}`}, []string{"is not a JSON object"}},
		"list":         {map[string]string{"texts.fr.json": `["Salut"]`}, []string{"is not a JSON object"}},
		"encoding":     {map[string]string{"texts.fr.json": "{\"greeting\": \"\xff\"}"}, []string{"is not UTF-8"}},
		"language":     {map[string]string{"texts.german.json": `{}`}, []string{`"german" is not a language tag`}},
		"spelling":     {map[string]string{"texts.zh-hans.json": `{}`}, []string{"must be named texts.zh-Hans.json"}},
		"unknown file": {map[string]string{"text.de.json": `{}`, "mail.html.tmpl": ""}, []string{"unknown file", "unknown file"}},
		"syntax":       {map[string]string{"email.html.tmpl": "{{.Link", "email.txt.tmpl": "{{end}}"}, []string{"unclosed action", "unexpected {{end}}"}},
		"field":        {map[string]string{"email.txt.tmpl": "{{.Link}}{{.Recipient}}"}, []string{"can't evaluate field Recipient"}},
		"no link":      {map[string]string{"email.txt.tmpl": "{{.Subject}}", "email.html.tmpl": "<p>{{.Subject}}</p>"}, []string{"verify_email in en: does not contain the link", "verify_email in en: does not contain the link"}},
		"unsafe":       {map[string]string{"email.html.tmpl": `<p style="{{.Subject}}">{{.Link}}</p>`}, []string{"inserts a value where it is not safe"}},
	} {
		_, err := NewComposer(ComposerOptions{TextsDir: directory(t, tc.files)})
		if err == nil {
			t.Errorf("%s: got no error, want %q", name, tc.want)
			continue
		}

		lines := strings.Split(err.Error(), "\n  ")[1:]
		if len(lines) != len(tc.want) {
			t.Errorf("%s: got %d faults, want %d:\n%v", name, len(lines), len(tc.want), err)
			continue
		}
		for i, line := range lines {
			if file, _, _ := strings.Cut(line, ":"); tc.files[file] == "" && file != "mail.html.tmpl" || !strings.Contains(line, tc.want[i]) {
				t.Errorf("%s: got %s, want a file and %s", name, line, tc.want[i])
			}
		}
	}

	if _, err := NewComposer(ComposerOptions{TextsDir: "/does/not/exist"}); err == nil || !strings.Contains(err.Error(), "/does/not/exist") {
		t.Errorf("missing directory: got error %v, want one with its name", err)
	}
}

// A new language needs every text, with all of its plural forms.
func TestNewLanguageIsComplete(t *testing.T) {
	t.Parallel()

	_, err := NewComposer(ComposerOptions{TextsDir: directory(t, map[string]string{"texts.ru.json": `{"greeting": "Здравствуйте!"}`})})
	if err == nil {
		t.Fatal("got no error, want one for each missing text")
	}

	for _, want := range []string{"minutes.few: is missing", "minutes.many: is missing", "emails.invitation.why: is missing", "months: is missing"} {
		if !strings.Contains(err.Error(), "texts.ru.json: "+want) {
			t.Errorf("got error %v\nwant it to contain %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "greeting") || strings.Contains(err.Error(), "minutes.two") {
		t.Errorf("got error %v\nwant no fault for a text that is there or not needed", err)
	}
}

// Shipped texts pass the checks for overrides: a copy of a file changes nothing.
func TestShippedTextsAsOverride(t *testing.T) {
	t.Parallel()

	files := map[string]string{}
	for _, lang := range testComposer.Languages().Names() {
		files[textsName(lang)] = shippedFile(t, textsName(lang))
	}
	files[htmlFile] = shippedFile(t, htmlFile)
	files[textFile] = shippedFile(t, textFile)
	c, err := NewComposer(ComposerOptions{TextsDir: directory(t, files)})
	testkit.NoError(t, err)

	for _, kind := range Kinds() {
		got, err := c.Preview(kind, "pl")
		testkit.NoError(t, err)
		want, err := testComposer.Preview(kind, "pl")
		testkit.NoError(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-shipped +copy)\n%s", kind, diff)
		}
	}
}
