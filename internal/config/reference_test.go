package config

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/internal/testkit"
)

// TestReferenceIsComplete compares the reference with the structs.
func TestReferenceIsComplete(t *testing.T) {
	t.Parallel()

	want := slices.Clone(notSettings)
	oidc := settingsOf(reflect.TypeFor[oidcSettings](), "OIDC_<NAME>_")
	for _, s := range append(settingsOf(reflect.TypeFor[settings](), ""), oidc...) {
		want = append(want, s.name)
	}
	slices.Sort(want)

	if diff := cmp.Diff(want, documentedNames()); diff != "" {
		t.Errorf("settings in the structs (-) and in the reference (+) differ:\n%s", diff)
	}

	for _, g := range reference {
		for _, r := range rows(g) {
			if r.kind == "" || !strings.HasSuffix(r.about, ".") {
				t.Errorf("%s: got type %q and description %q, want a type and full sentences", r.name, r.kind, r.about)
			}
		}
	}
}

// TestReferenceIsCurrent fails if "go generate ./internal/config" would change a file.
func TestReferenceIsCurrent(t *testing.T) {
	t.Parallel()

	for path, render := range map[string]func(io.Writer) error{
		"../../deployments/SETTINGS.md": WriteReference,
		"../../.env.example":            WriteExample,
	} {
		var want bytes.Buffer
		testkit.NoError(t, render(&want))

		got, err := os.ReadFile(path)
		testkit.NoError(t, err)
		if diff := cmp.Diff(want.String(), string(got)); diff != "" {
			t.Errorf("%s is outdated; run: go generate ./internal/config\n%s", path, diff)
		}
	}
}

// TestExampleLoads starts from .env.example, as people do, and sets the two missing secrets.
func TestExampleLoads(t *testing.T) {
	t.Parallel()

	example, err := os.ReadFile("../../.env.example")
	testkit.NoError(t, err)
	path := filepath.Join(t.TempDir(), ".env")
	testkit.NoError(t, os.WriteFile(path, example, 0o600))

	vars, err := Environ([]string{"SESSION_SECRET=" + goodSecret, "DATA_KEY=" + goodKey}, path)
	testkit.NoError(t, err)

	c := load(t, vars)
	if len(c.Warnings) != 1 || len(c.Weaknesses) > 0 || c.AppEnv != Production {
		t.Errorf("got APP_ENV=%s, warnings %q and %v, want production and only the warning about SMTP_URL", c.AppEnv, c.Warnings, c.Weaknesses)
	}
}

func TestTypos(t *testing.T) {
	t.Parallel()

	for name, want := range map[string]string{
		"REDIS_URL":           "REDIS_URI",
		"REDIS_HOSTT":         "REDIS_HOST",
		"REDIS_PASWORD":       "REDIS_PASSWORD",
		"FRONTEND_URLS":       "FRONTEND_URL",
		"SESSION_SECRET_FIEL": "SESSION_SECRET_FILE",
		"DATA_KEYS":           "DATA_KEY",
		"DATAKEY":             "DATA_KEY",
		"DATA_KEY_FIEL":       "DATA_KEY_FILE",
		"REQUIRED_MFA":        "REQUIRE_MFA",
		"REQUIRE_2FA":         "REQUIRE_MFA",
		"REDIS_PASS":          "REDIS_PASSWORD",
		"REDIS_USER":          "REDIS_USERNAME",
		"redis_password":      "REDIS_PASSWORD",
		"FRONTEND-URL":        "FRONTEND_URL",
		"COOKIE_SAMESITE":     "COOKIE_SAME_SITE",
		"RATE_LIMIT_LOGINS":   "RATE_LIMIT_LOGIN",

		"SESSION_ABSOLUTE_MAXAGE": "SESSION_ABSOLUTE_MAX_AGE",

		"PROT":                "PORT",
		"HOTS":                "HOST",
		"HOME":                "",
		"PATH":                "",
		"DATA_DIR":            "",
		"DATABASE_KEY":        "",
		"SESSION":             "",
		"REDIS_PORT_6379_TCP": "",
		"MONGO_PASSWORD":      "",
		"POSTGRES_PASSWORD":   "",
		"HOSTNAME":            "",
		"GITHUB_ENV":          "",
		"SESSION_MANAGER":     "",

		"REDIS_CONTAINER_PASSWORD": "",
	} {
		c := load(t, good(map[string]string{name: "x", "SMTP_URL": "", "DATA_KEY": ""}))

		got := ""
		for _, warning := range c.Warnings {
			if _, suggestion, ok := strings.Cut(warning, "unknown setting "+name+" is ignored: did you mean "); ok {
				got = strings.TrimSuffix(suggestion, "?")
			}
		}
		if got != want {
			t.Errorf("%s: got suggestion %q, want %q (warnings %q)", name, got, want, c.Warnings)
		}
	}

	// Other programs may read variables that begin with OIDC_.
	for name, printed := range map[string]string{
		"OIDC_MY_IDP_SCOPE":       "OIDC_MY_IDP_SCOPE",
		"OIDC_MY_IDP_ISSUER_FILE": "OIDC_MY_IDP_ISSUER_FILE",
		"OIDC_ISSUER":             "OIDC_ISSUER",
		"OIDC_":                   "OIDC_",
		"OIDC_a%s\nb":             `OIDC_a%s\nb`,
	} {
		want := "unknown setting " + printed +
			" is ignored: OIDC_<NAME>_ must be followed by one of CLIENT_ID, CLIENT_SECRET, CALLBACK_URL, ISSUER, SCOPES, TITLE"
		c := load(t, good(map[string]string{name: "hunter2"}))
		checkEqual(t, name, c.Warnings, []string{noMailWarning, want})
	}

	// A setting that is set needs no suggestion.
	c := load(t, good(map[string]string{"MONGODB_URL": "x"}))
	if len(c.Warnings) != 1 {
		t.Errorf("got warnings %q, want only the one about SMTP_URL", c.Warnings)
	}
}

// documentedNames lists the settings in the reference.
func documentedNames() []string {
	var names []string
	for _, g := range reference {
		for _, e := range g.entries {
			names = append(names, e.name)
		}
	}
	slices.Sort(names)

	return names
}
