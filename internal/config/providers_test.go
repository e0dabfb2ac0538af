package config

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/internal/loopback"
	"latchkey/internal/testkit"
)

const clientSecret = "hunter2-of-the-client"

// provided returns good settings with one provider of each kind.
func provided(changes map[string]string) map[string]string {
	vars := good(map[string]string{
		"FRONTEND_URL":     "https://app.example.com",
		"GOOGLE_CLIENT_ID": "google-id", "GOOGLE_CLIENT_SECRET": clientSecret, "GOOGLE_CALLBACK_URL": "https://api.example.com/auth/google/callback",
		"GITHUB_CLIENT_ID": "github-id", "GITHUB_CLIENT_SECRET": clientSecret, "GITHUB_CALLBACK_URL": "https://api.example.com/auth/github/callback",
		"OIDC_MY_IDP_ISSUER": "https://id.example.com/Realms/main/", "OIDC_MY_IDP_CLIENT_ID": "idp-id", "OIDC_MY_IDP_CLIENT_SECRET": clientSecret,
		"OIDC_MY_IDP_CALLBACK_URL": "https://api.example.com/auth/my-idp/callback",
	})
	maps.Copy(vars, changes)
	return vars
}

func names(c Config) string {
	var names []string
	for _, p := range c.Providers {
		names = append(names, p.Name)
	}
	return strings.Join(names, " ")
}

func TestProviders(t *testing.T) {
	t.Parallel()
	c := load(t, provided(nil))
	want := []Provider{{
		Kind: "google", Name: "google", Title: "Google", Prefix: "GOOGLE_", Issuer: "https://accounts.google.com",
		Scopes: []string{"openid", "email", "profile"},
		Client: Client{"google-id", clientSecret, "https://api.example.com/auth/google/callback"},
	}, {
		Kind: "github", Name: "github", Title: "GitHub", Prefix: "GITHUB_", Issuer: "https://github.com", APIURL: "https://api.github.com",
		Scopes: []string{"user:email"},
		Client: Client{"github-id", clientSecret, "https://api.example.com/auth/github/callback"},
	}, {
		Kind: "oidc", Name: "my-idp", Title: "My Idp", Prefix: "OIDC_MY_IDP_", Issuer: "https://id.example.com/Realms/main/",
		Scopes: []string{"openid", "email", "profile"},
		Client: Client{"idp-id", clientSecret, "https://api.example.com/auth/my-idp/callback"},
	}}
	if diff := cmp.Diff(want, c.Providers); diff != "" {
		t.Error(diff)
	}
	if len(c.Warnings) != 1 { // SMTP_URL
		t.Errorf("got warnings %v, want one about SMTP_URL", c.Warnings)
	}
	if text := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(text, "hunter2") {
		t.Errorf("secret printed: %s", text)
	}

	c = load(t, good(nil))
	if len(c.Providers) != 0 || c.Limits.OAuth != (Rate{60, time.Minute}) {
		t.Errorf("got providers %+v and limit %v, want none and 60/1m", c.Providers, c.Limits.OAuth)
	}
	if c = load(t, good(map[string]string{"RATE_LIMIT": "5/1m"})); c.Limits.OAuth != (Rate{30, time.Minute}) {
		t.Errorf("got %+v, want a limit for sign-ins of 30/1m", c.Limits)
	}
	if c = load(t, good(map[string]string{"RATE_LIMIT": "5/1m", "RATE_LIMIT_OAUTH": "20/30s"})); c.Limits.OAuth != (Rate{20, 30 * time.Second}) {
		t.Errorf("got limit %v, want 20/30s", c.Limits.OAuth)
	}
}

// TestProviderSettings checks what the settings of a provider become.
func TestProviderSettings(t *testing.T) {
	t.Parallel()
	oidc := func(name string) map[string]string {
		return map[string]string{
			"OIDC_" + name + "_ISSUER": "https://" + strings.ToLower(strings.ReplaceAll(name, "_", "-")) + ".example.com", "OIDC_" + name + "_CLIENT_ID": "x", "OIDC_" + name + "_CLIENT_SECRET": "x",
			"OIDC_" + name + "_CALLBACK_URL": "https://api.example.com/auth/" + strings.ToLower(strings.ReplaceAll(name, "_", "-")) + "/callback",
		}
	}
	for name, tc := range map[string]struct {
		vars map[string]string
		at   int
		got  func(Provider) any
		want any
	}{
		"GitHub Enterprise":               {map[string]string{"GITHUB_URL": "HTTPS://GitHub.Example.com:443/"}, 1, func(p Provider) any { return p.Issuer + " " + p.APIURL }, "https://github.example.com https://github.example.com/api/v3"},
		"GitHub's own, with a slash":      {map[string]string{"GITHUB_URL": "https://GitHub.com/"}, 1, func(p Provider) any { return p.Issuer + " " + p.APIURL }, "https://github.com https://api.github.com"},
		"a separate API host":             {map[string]string{"GITHUB_URL": "https://a.ghe.com", "GITHUB_API_URL": "https://api.a.ghe.com/"}, 1, func(p Provider) any { return p.Issuer + " " + p.APIURL }, "https://a.ghe.com https://api.a.ghe.com"},
		"GitHub on this machine":          {map[string]string{"GITHUB_URL": "http://[::1]:80/base/"}, 1, func(p Provider) any { return p.Issuer + " " + p.APIURL }, "http://[::1]/base http://[::1]/base/api/v3"},
		"an issuer on this machine":       {map[string]string{"OIDC_MY_IDP_ISSUER": "http://LOCALHOST:8080/Realm"}, 2, func(p Provider) any { return p.Issuer }, "http://LOCALHOST:8080/Realm"},
		"a title":                         {map[string]string{"OIDC_MY_IDP_TITLE": "Bücher & Söhne"}, 2, func(p Provider) any { return p.Title }, "Bücher & Söhne"},
		"scopes":                          {map[string]string{"OIDC_MY_IDP_SCOPES": "groups, openid,,email openid"}, 2, func(p Provider) any { return strings.Join(p.Scopes, " ") }, "groups openid email"},
		"Google by another name":          {map[string]string{"OIDC_MY_IDP_ISSUER": "https://accounts.google.com", "GOOGLE_CLIENT_ID": "", "GOOGLE_CLIENT_SECRET": "", "GOOGLE_CALLBACK_URL": ""}, 1, func(p Provider) any { return p.Kind }, "google"},
		"a Service of Kubernetes":         {map[string]string{"OIDC_PROXY_SERVICE_HOST": "10.0.0.1", "OIDC_PROXY_SERVICE_PORT_HTTP": "80", "OIDC_PROXY_PORT": "tcp://10.0.0.1:80", "OIDC_PROXY_PORT_80_TCP_ADDR": "10.0.0.1"}, 2, func(p Provider) any { return p.Name }, "my-idp"},
		"a callback below a path":         {map[string]string{"GOOGLE_CALLBACK_URL": "https://example.com/api/auth/google/callback"}, 0, func(p Provider) any { return p.CallbackURL }, "https://example.com/api/auth/google/callback"},
		"a callback on this machine":      {map[string]string{"GOOGLE_CALLBACK_URL": "http://127.0.0.1:3000/auth/google/callback"}, 0, func(p Provider) any { return p.CallbackURL }, "http://127.0.0.1:3000/auth/google/callback"},
		"a name that looks like settings": {oidc("CLIENT_ID_ISSUER"), 2, func(p Provider) any { return p.Name + ", " + p.Title }, "client-id-issuer, Client Id Issuer"},
		"digits":                          {oidc("2"), 2, func(p Provider) any { return p.Name + ", " + p.Title }, "2, 2"},
	} {
		c := load(t, provided(tc.vars))
		if got := tc.got(c.Providers[tc.at]); got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}

	order := provided(oidc("ZITADEL"))
	maps.Copy(order, oidc("AUTH0"))
	if got := names(load(t, order)); got != "google github auth0 my-idp zitadel" {
		t.Errorf("got order %s, want google github auth0 my-idp zitadel", got)
	}
	// OIDC providers can be named google and github if those are not configured.
	vars := good(map[string]string{"FRONTEND_URL": "https://app.example.com", "GITHUB_API_URL": "https://api.github.com"})
	maps.Copy(vars, oidc("GOOGLE"))
	maps.Copy(vars, oidc("GITHUB"))
	if c := load(t, vars); names(c) != "github google" || c.Providers[0].Kind != OIDC || c.Providers[1].Kind != OIDC {
		t.Errorf("got %+v, want two OIDC providers named github and google", c.Providers)
	}
}

func TestCallbackInDevelopment(t *testing.T) {
	t.Parallel()
	vars := provided(map[string]string{"APP_ENV": "development", "GOOGLE_CALLBACK_URL": "", "OIDC_MY_IDP_CALLBACK_URL": "", "PORT": "4000"})
	c := load(t, vars)
	if got := c.Providers[0].CallbackURL; got != "http://localhost:4000/auth/google/callback" {
		t.Errorf("got callback %s for Google, want http://localhost:4000/auth/google/callback", got)
	}
	if got := c.Providers[2].CallbackURL; got != "http://localhost:4000/auth/my-idp/callback" {
		t.Errorf("got callback %s for my-idp, want http://localhost:4000/auth/my-idp/callback", got)
	}
	vars["TLS_CERT_FILE"], vars["TLS_KEY_FILE"] = "/x", "/y"
	if got := load(t, vars).Providers[0].CallbackURL; got != "https://localhost:4000/auth/google/callback" {
		t.Errorf("got callback %s with TLS, want https://localhost:4000/auth/google/callback", got)
	}
	// With PORT=0 the port is not known yet.
	vars["PORT"] = "0"
	if _, err := Load(vars); err == nil || !strings.Contains(err.Error(), "\n  GOOGLE_CALLBACK_URL: required") {
		t.Errorf("got error %v with PORT=0, want a missing callback URL", err)
	}
}

// TestProviderLeftovers: settings without a client ID do not configure a provider.
func TestProviderLeftovers(t *testing.T) {
	t.Parallel()
	c := load(t, good(map[string]string{
		"GOOGLE_CALLBACK_URL": "http://localhost:3000/auth/google/callback", // the guide's
		"GITHUB_URL":          "https://github.example.com",
		"GITHUB_API_URL":      "https://api.github.com", // a runner's of GitHub
		"OIDC_A_ISSUER":       "", "GITHUB_CLIENT_ID": "",
	}))
	if len(c.Providers) != 0 || len(c.Warnings) != 3 ||
		c.Warnings[1] != "GOOGLE_CALLBACK_URL is set, but GOOGLE_CLIENT_ID is not: signing in with Google is disabled" ||
		c.Warnings[2] != "GITHUB_URL is set, but GITHUB_CLIENT_ID is not: signing in with GitHub is disabled" {
		t.Errorf("got providers %+v and warnings %q, want no providers and three warnings", c.Providers, c.Warnings)
	}
}

// TestProvidersRefused checks how the line about each invalid setting starts.
func TestProvidersRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		vars map[string]string
		want string
	}{
		{map[string]string{"GOOGLE_CLIENT_ID": ""}, "GOOGLE_CLIENT_ID: required if another GOOGLE_* setting is set"},
		{map[string]string{"GOOGLE_CLIENT_SECRET": ""}, "GOOGLE_CLIENT_SECRET: required if another GOOGLE_* setting is set"},
		{map[string]string{"GOOGLE_CALLBACK_URL": ""}, "GOOGLE_CALLBACK_URL: required, for example https://api.example.com/auth/google/callback"},
		{map[string]string{"GITHUB_CLIENT_ID": ""}, "GITHUB_CLIENT_ID: required"},
		{map[string]string{"GITHUB_CLIENT_SECRET": ""}, "GITHUB_CLIENT_SECRET: required"},
		{map[string]string{"GITHUB_CALLBACK_URL": "", "APP_ENV": "test"}, "GITHUB_CALLBACK_URL: required"},
		{map[string]string{"OIDC_MY_IDP_ISSUER": ""}, "OIDC_MY_IDP_ISSUER: required if another OIDC_MY_IDP_* setting is set"},
		{map[string]string{"OIDC_MY_IDP_CLIENT_ID": ""}, "OIDC_MY_IDP_CLIENT_ID: required"},
		{map[string]string{"OIDC_MY_IDP_CLIENT_SECRET": ""}, "OIDC_MY_IDP_CLIENT_SECRET: required"},
		{map[string]string{"OIDC_MY_IDP_CALLBACK_URL": ""}, "OIDC_MY_IDP_CALLBACK_URL: required"},
		{map[string]string{"OIDC_B_TITLE": "B"}, "OIDC_B_ISSUER: required"},
		{map[string]string{"FRONTEND_URL": ""}, "FRONTEND_URL: required if users can sign in"},

		{map[string]string{"OIDC_MY_IDP_ISSUER": "id.example.com"}, "OIDC_MY_IDP_ISSUER: must look like https://id.example.com"},
		{map[string]string{"OIDC_MY_IDP_ISSUER": "ftp://id.example.com"}, "OIDC_MY_IDP_ISSUER: must look like"},
		{map[string]string{"OIDC_MY_IDP_ISSUER": "https://u:hunter2@id.example.com"}, "OIDC_MY_IDP_ISSUER: must look like"},
		{map[string]string{"OIDC_MY_IDP_ISSUER": "https://@id.example.com"}, "OIDC_MY_IDP_ISSUER: must look like"},
		{map[string]string{"OIDC_MY_IDP_ISSUER": "https://id.example.com?realm=1"}, "OIDC_MY_IDP_ISSUER: must look like"},
		{map[string]string{"OIDC_MY_IDP_ISSUER": "https://id.example.com?"}, "OIDC_MY_IDP_ISSUER: must look like"},
		{map[string]string{"OIDC_MY_IDP_ISSUER": "https://id.example.com#"}, "OIDC_MY_IDP_ISSUER: must look like"},
		{map[string]string{"OIDC_MY_IDP_ISSUER": "https://id.example.com:"}, "OIDC_MY_IDP_ISSUER: must look like"},
		{map[string]string{"OIDC_MY_IDP_ISSUER": "https://id.example.com:65536"}, "OIDC_MY_IDP_ISSUER: must look like"},
		{map[string]string{"OIDC_MY_IDP_ISSUER": "https://id.example.com:9999999999999999999"}, "OIDC_MY_IDP_ISSUER: must look like"},
		{map[string]string{"OIDC_MY_IDP_ISSUER": "https://u:hunter%zz2@id.example.com"}, "OIDC_MY_IDP_ISSUER: must look like"},
		{map[string]string{"OIDC_MY_IDP_ISSUER": "https://id.example.com/a b"}, "OIDC_MY_IDP_ISSUER: must be ASCII"},
		{map[string]string{"OIDC_MY_IDP_ISSUER": "https://bücher.example"}, "OIDC_MY_IDP_ISSUER: must be ASCII"},
		{map[string]string{"OIDC_MY_IDP_ISSUER": "http://id.example.com"}, "OIDC_MY_IDP_ISSUER: must be https"},
		{map[string]string{"OIDC_MY_IDP_ISSUER": "http://id.example.com", "APP_ENV": "development"}, "OIDC_MY_IDP_ISSUER: must be https"},
		{map[string]string{"OIDC_MY_IDP_ISSUER": "http://localhost.example.com"}, "OIDC_MY_IDP_ISSUER: must be https"},
		{map[string]string{"GITHUB_URL": "http://github.example.com"}, "GITHUB_URL: must be https"},
		{map[string]string{"GITHUB_URL": "github.example.com"}, "GITHUB_URL: must look like https://github.com"},
		{map[string]string{"GITHUB_API_URL": "http://api.github.com"}, "GITHUB_API_URL: must be https"},
		{map[string]string{"GITHUB_API_URL": "https://hunter2@api.github.com"}, "GITHUB_API_URL: must look like https://api.github.com"},
		{map[string]string{"GOOGLE_CALLBACK_URL": "http://api.example.com/auth/google/callback"}, "GOOGLE_CALLBACK_URL: must be https"},
		{map[string]string{"GOOGLE_CALLBACK_URL": "/auth/google/callback"}, "GOOGLE_CALLBACK_URL: must look like"},
		{map[string]string{"GOOGLE_CALLBACK_URL": "https://api.example.com/auth/google/callback?x=1"}, "GOOGLE_CALLBACK_URL: must look like"},
		{map[string]string{"GOOGLE_CALLBACK_URL": "https://api.example.com/auth/google/callback/"}, "GOOGLE_CALLBACK_URL: must end in /auth/google/callback"},
		{map[string]string{"GOOGLE_CALLBACK_URL": "https://api.example.com/auth/g%6Fogle/callback"}, "GOOGLE_CALLBACK_URL: must end in"},
		{map[string]string{"GOOGLE_CALLBACK_URL": "https://api.example.com/auth/github/callback"}, "GOOGLE_CALLBACK_URL: must end in"},
		{map[string]string{"OIDC_MY_IDP_CALLBACK_URL": "https://api.example.com/auth/my_idp/callback"}, "OIDC_MY_IDP_CALLBACK_URL: must end in /auth/my-idp/callback"},

		{map[string]string{"OIDC_MY_IDP_SCOPES": "email profile"}, "OIDC_MY_IDP_SCOPES: must include openid"},
		{map[string]string{"OIDC_MY_IDP_SCOPES": "OPENID"}, "OIDC_MY_IDP_SCOPES: must include openid"},
		{map[string]string{"OIDC_MY_IDP_SCOPES": ","}, "OIDC_MY_IDP_SCOPES: must include openid"},
		{map[string]string{"OIDC_MY_IDP_SCOPES": "openid offline_access"}, "OIDC_MY_IDP_SCOPES: must not include offline_access"},
		{map[string]string{"OIDC_MY_IDP_SCOPES": "openid\temail"}, "OIDC_MY_IDP_SCOPES: must be scopes"},
		{map[string]string{"OIDC_MY_IDP_TITLE": "a\nb"}, "OIDC_MY_IDP_TITLE: must be at most 64 printable"},
		{map[string]string{"OIDC_MY_IDP_TITLE": "a\u202eb"}, "OIDC_MY_IDP_TITLE: must be at most 64 printable"},
		{map[string]string{"OIDC_MY_IDP_TITLE": "a\xff"}, "OIDC_MY_IDP_TITLE: must be at most 64 printable"},
		{map[string]string{"OIDC_MY_IDP_TITLE": strings.Repeat("ü", 65)}, "OIDC_MY_IDP_TITLE: must be at most 64 printable"},

		{map[string]string{"OIDC_MY_IDP_SCOPE": "openid"}, "OIDC_MY_IDP_SCOPE: unknown setting"},
		{map[string]string{"OIDC_MY_IDP_ISSUER_FILE": "/x"}, "OIDC_MY_IDP_ISSUER_FILE: unknown setting"},
		{map[string]string{"OIDC_ISSUER": "https://id.example.com"}, "OIDC_ISSUER: unknown setting"},
		{map[string]string{"OIDC_": "x"}, "OIDC_: unknown setting"},
		{map[string]string{"OIDC_a%s\nb": "x"}, `OIDC_a%s\nb: unknown setting`},
		{map[string]string{"OIDC__ISSUER": "https://id.example.com"}, "OIDC__ISSUER: invalid provider name"},
		{map[string]string{"OIDC_MY__IDP_ISSUER": "https://id.example.com"}, "OIDC_MY__IDP_ISSUER: invalid provider name"},
		{map[string]string{"OIDC_my_ISSUER": "https://id.example.com"}, "OIDC_my_ISSUER: invalid provider name"},
		{map[string]string{"OIDC_MY-IDP_ISSUER": "https://id.example.com"}, "OIDC_MY-IDP_ISSUER: invalid provider name"},
		{map[string]string{"OIDC_\x1b[31m_ISSUER": "https://id.example.com"}, `OIDC_\x1b[31m_ISSUER: invalid provider name`},
		{map[string]string{"OIDC_GOOGLE_ISSUER": "https://id.example.com"}, "OIDC_GOOGLE_*: duplicate provider name: GOOGLE_CLIENT_ID configures a provider with the same name"},
		{map[string]string{"OIDC_GITHUB_TITLE": "x"}, "OIDC_GITHUB_*: duplicate provider name: GITHUB_CLIENT_ID configures a provider with the same name"},
		{map[string]string{"OIDC_STEP_UP_ISSUER": "https://id.example.com"}, "OIDC_STEP_UP_*: reserved provider name: /auth/step-up is another route of this server"},
		{map[string]string{"OIDC_MY_IDP_ISSUER": "https://accounts.google.com"}, "OIDC_MY_IDP_ISSUER: duplicate issuer: GOOGLE_CLIENT_ID"},
		{map[string]string{"RATE_LIMIT_OAUTH": "often"}, "RATE_LIMIT_OAUTH: must be a rate like"},

		{map[string]string{"GOOGLE_CLIENT_SECRET_FILE": "/x"}, "GOOGLE_CLIENT_SECRET: set either this or GOOGLE_CLIENT_SECRET_FILE, not both"},
		{map[string]string{"OIDC_MY_IDP_CLIENT_SECRET_FILE": "/x"}, "OIDC_MY_IDP_CLIENT_SECRET: set either this or OIDC_MY_IDP_CLIENT_SECRET_FILE, not both"},
		{map[string]string{"OIDC_MY_IDP_CLIENT_SECRET": "", "OIDC_MY_IDP_CLIENT_SECRET_FILE": "/does/not/exist"}, "OIDC_MY_IDP_CLIENT_SECRET_FILE: no such file"},
		{map[string]string{"OIDC_login_CLIENT_SECRET_FILE": "/does/not/exist"}, "OIDC_login_CLIENT_SECRET_FILE: no such file"},
	} {
		_, err := Load(provided(tc.vars))
		if err == nil || !strings.Contains(err.Error(), "\n  "+tc.want) {
			t.Errorf("%q: got error %v, want %s", tc.vars, err, tc.want)
			continue
		}
		if strings.Contains(err.Error(), "hunter") {
			t.Errorf("%q: got an error with a secret: %v", tc.vars, err)
		}
	}
}

func TestReservedNames(t *testing.T) {
	t.Parallel()
	for _, name := range reserved {
		variable := "OIDC_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "_"
		_, err := Load(good(map[string]string{variable + "ISSUER": "https://id.example.com"}))
		if err == nil || !strings.Contains(err.Error(), "\n  "+variable+"*: reserved provider name") {
			t.Errorf("%s: got error %v, want a reserved name", name, err)
		}
	}
	if !slices.IsSorted(reserved) {
		t.Error("reserved is not sorted")
	}
}

func TestAllProblemsOfProvidersAtOnce(t *testing.T) {
	t.Parallel()
	_, err := Load(good(map[string]string{
		"GOOGLE_CLIENT_ID": "x", "GITHUB_CLIENT_SECRET_FILE": "/does/not/exist", "GITHUB_URL": "http://a.example",
		"OIDC_ME_TITLE": "a\tb", "OIDC_ME_SCOPES": "email", "OIDC_ME_ISSUR": "x", "OIDC__CLIENT_ID": "x",
	}))
	if err == nil {
		t.Fatal("got no error, want problems")
	}
	want := []string{
		"GITHUB_CLIENT_SECRET_FILE", "GOOGLE_CLIENT_SECRET", "GOOGLE_CALLBACK_URL", "GITHUB_URL", "GITHUB_CLIENT_ID", "GITHUB_CALLBACK_URL",
		"OIDC_ME_ISSUR", "OIDC__CLIENT_ID", "OIDC_ME_*", "OIDC_ME_ISSUER", "OIDC_ME_TITLE", "OIDC_ME_SCOPES",
		"OIDC_ME_CLIENT_ID", "OIDC_ME_CLIENT_SECRET", "OIDC_ME_CALLBACK_URL", "FRONTEND_URL",
	}
	var got []string
	for _, line := range strings.Split(err.Error(), "\n")[1:] {
		name, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		got = append(got, name)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s\n%v", diff, err)
	}
}

func TestProviderSecretFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret")
	testkit.NoError(t, os.WriteFile(path, []byte("from the file\n"), 0o600))
	changes := map[string]string{}
	for _, prefix := range []string{"GOOGLE_", "GITHUB_", "OIDC_MY_IDP_"} {
		changes[prefix+"CLIENT_SECRET"], changes[prefix+"CLIENT_SECRET_FILE"] = "", path
	}
	for _, p := range load(t, provided(changes)).Providers {
		if p.ClientSecret != "from the file" {
			t.Errorf("%s: the secret file was not read", p.Name)
		}
	}
}

// FuzzProviders checks that every accepted provider is usable: its URLs are encrypted, and its name
// is not that of another route.
func FuzzProviders(f *testing.F) {
	f.Add("MY_IDP", "https://id.example.com/", "https://api.example.com/auth/my-idp/callback", "openid", "Me")
	f.Add("A", "http://127.0.0.1:1/x", "http://localhost/auth/a/callback", "openid,email", "")
	f.Add("LOGIN", "https://a", "https://b/auth/login/callback", "openid", "x")
	f.Add("GOOGLE", "https://accounts.google.com", "https://b/auth/google/callback", "openid", "x")
	f.Fuzz(func(t *testing.T, name, issuer, callback, scopes, title string) {
		c, err := Load(good(map[string]string{
			"FRONTEND_URL": "https://app.example.com", "OIDC_" + name + "_CLIENT_ID": "x", "OIDC_" + name + "_CLIENT_SECRET": clientSecret,
			"OIDC_" + name + "_ISSUER": issuer, "OIDC_" + name + "_CALLBACK_URL": callback, "OIDC_" + name + "_SCOPES": scopes, "OIDC_" + name + "_TITLE": title,
		}))
		if err != nil {
			if strings.Contains(err.Error(), clientSecret) {
				t.Errorf("got an error with the secret: %v", err)
			}
			return
		}
		if len(c.Providers) != 1 {
			t.Fatalf("got %+v, want one provider", c.Providers)
		}
		p := c.Providers[0]
		if p.Issuer != issuer || p.CallbackURL != callback || p.Title == "" || slices.Contains(reserved, p.Name) ||
			strings.Trim(p.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || !strings.HasSuffix(callback, "/auth/"+p.Name+"/callback") ||
			!slices.Contains(p.Scopes, "openid") || slices.Contains(p.Scopes, "offline_access") {
			t.Errorf("got %+v, want a usable provider", p)
		}
		for _, given := range []string{issuer, callback} {
			u, err := url.Parse(given)
			if err != nil || u.User != nil || strings.ContainsAny(given, "?# \n") || u.Scheme != "https" && !loopback.Host(u.Hostname()) {
				t.Errorf("%q was accepted", given)
			}
		}
	})
}
