package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/testkit"
)

// The preview needs the settings of the brand only. It shows the brand and the operator's own texts.
func TestMailPreview(t *testing.T) {
	t.Parallel()

	texts := t.TempDir()
	override := filepath.Join(texts, "texts.pl.json")
	testkit.NoError(t, os.WriteFile(override, []byte(`{"greeting": "Cześć,"}`), 0o600))
	environ := []string{
		"APP_NAME=Acme", "APP_URL=https://www.example.com", "APP_COLOR=c8102e", "APP_LOGO_URL=https://www.example.com/l.png", "MAIL_TEXTS=" + texts,
		"MONGODB_URI=not used", "REDIS_PORT=not used",
	}

	dir := filepath.Join(t.TempDir(), "emails")
	out, err := command(environ, "", "mail", "preview", dir)
	testkit.NoError(t, err)
	if !strings.Contains(out, filepath.Join(dir, "index.html")) {
		t.Errorf("got output %q, want the page", out)
	}

	html, err := os.ReadFile(filepath.Join(dir, "pl", "verify_email.html"))
	testkit.NoError(t, err)
	for _, want := range []string{"Cześć,", "w serwisie Acme", `href="https://www.example.com"`, `src="https://www.example.com/l.png"`, `bgcolor="#c8102e"`} {
		if !strings.Contains(string(html), want) {
			t.Errorf("got email %s\nwant it to contain %s", html, want)
		}
	}

	testkit.NoError(t, os.WriteFile(override, []byte(`{"greting": "Cześć,"}`), 0o600))
	for name, tc := range map[string]struct {
		args, environ []string
		want          string
	}{
		"fault":           {[]string{dir}, environ, "texts.pl.json: greting: unknown key"},
		"invalid setting": {[]string{dir}, []string{"APP_COLOR=red"}, "APP_COLOR: must be a color"},
		"other directory": {[]string{texts}, nil, "is not empty, and was not written by this command"},
		"no directory":    {nil, nil, "missing argument DIR"},
	} {
		if _, err := command(tc.environ, "", append([]string{"mail", "preview"}, tc.args...)...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got error %v, want %q", name, err, tc.want)
		}
	}
}
