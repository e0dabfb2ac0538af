package config

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/loopback"
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

// ownCallbacks returns settings for development without callback URLs, with changes.
func ownCallbacks(changes map[string]string) map[string]string {
	vars := map[string]string{"APP_ENV": "development", "GOOGLE_CALLBACK_URL": "", "OIDC_MY_IDP_CALLBACK_URL": "", "PORT": "4000"}
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
	checkEqual(t, "providers", c.Providers, want)
	checkEqual(t, "warnings", c.Warnings, []string{noMailWarning})
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
		"a default callback":              {ownCallbacks(nil), 0, func(p Provider) any { return p.CallbackURL }, "http://localhost:4000/auth/google/callback"},
		"a default callback with OIDC":    {ownCallbacks(nil), 2, func(p Provider) any { return p.CallbackURL }, "http://localhost:4000/auth/my-idp/callback"},
		"a default callback with TLS":     {ownCallbacks(map[string]string{"TLS_CERT_FILE": "/x", "TLS_KEY_FILE": "/y"}), 0, func(p Provider) any { return p.CallbackURL }, "https://localhost:4000/auth/google/callback"},
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
		issuer = trim("", issuer)
		callback = trim("", callback)
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
