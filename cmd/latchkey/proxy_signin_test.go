package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// A proxy with one of the example configurations sends signed-out browsers to the sign-in page, from
// which they return to the page that they have opened.
func TestProxySignIn(t *testing.T) {
	t.Parallel()

	for program, startProxy := range map[string]func(t *testing.T, api, application string) string{
		"nginx": startNginx,
		"caddy": startCaddy,
	} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			suite.Program(t, program)

			addr, _, _ := start(t, environment(t, "PUBLIC_URL=https://auth.example.com", "FRONTEND_URL=https://app.example.com", "COOKIE_DOMAIN=example.com"))
			application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = fmt.Fprintf(w, "%s %s", r.RequestURI, r.Header["X-Auth-User-Id"])
			}))
			t.Cleanup(application.Close)

			checkProxySignIn(t, startProxy(t, addr, application.Listener.Addr().String()))

			// Users who must verify their email are signed in already.
			unverified := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusForbidden)
			}))
			t.Cleanup(unverified.Close)
			base := startProxy(t, unverified.Listener.Addr().String(), application.Listener.Addr().String())
			if res := send(t, "GET", base, "", "Host", "app.example.com", "Sec-Fetch-Dest", "document"); res.StatusCode != http.StatusForbidden {
				t.Errorf("403 of /auth/verify: got %d %s, want 403", res.StatusCode, res.text)
			}
		})
	}
}

func checkProxySignIn(t *testing.T, base string) {
	t.Helper()

	const api = "api.example.com"
	const app = "app.example.com"
	const page = "/a%20b/%2Fc?x=1&y=%26z&return_to=//evil.example"
	open := func(headers ...string) response {
		t.Helper()

		res, err := fetch(withoutRedirects, "GET", base+page, "", append(headers, "Host", app)...)
		testkit.NoError(t, err)

		return res
	}
	browser := []string{"Sec-Fetch-Dest", "document", "X-Forwarded-Host", "evil.example", "X-Forwarded-Uri", "/evil", "X-Auth-Sign-In-Url", "https://evil.example"}

	res := open(browser...)
	target, err := url.Parse(res.Header.Get("Location"))
	testkit.NoError(t, err)
	if got := target.Scheme + "://" + target.Host + target.Path; res.StatusCode != http.StatusFound || got != "https://auth.example.com/signin" {
		t.Fatalf("signed out: got %d to %q, want the sign-in page", res.StatusCode, target)
	}
	if got, want := target.Query().Get("return_to"), "https://"+app+page; got != want {
		t.Errorf("return_to: got %q, want %q", got, want)
	}

	// Programs and scripts get a status that they can handle.
	for _, headers := range [][]string{{"Sec-Fetch-Dest", "empty"}, {"Accept", "application/json"}} {
		if res := open(headers...); res.StatusCode != http.StatusUnauthorized || res.Header.Get("Location") != "" {
			t.Errorf("with %q: got %d to %q, want 401", headers, res.StatusCode, res.Header.Get("Location"))
		}
	}

	// After the login the page opens.
	registered := send(t, "POST", base+"/auth/register", `{"name":"Ann","email":"ann@example.com","password":"a long password"}`, "Host", api)
	cookie := ""
	for _, set := range registered.Cookies() {
		if set.Name == "__Secure-sid" && set.MaxAge > 0 {
			cookie = set.Name + "=" + set.Value
		}
	}
	if res := open(append(browser, "Cookie", cookie)...); res.StatusCode != http.StatusOK || !strings.HasPrefix(res.text, page+" [") || strings.HasSuffix(res.text, "[]") {
		t.Errorf("signed in: got %d %s, want 200 %s and a user", res.StatusCode, res.text, page)
	}

	if res := send(t, "POST", base+"/auth/logout", "", "Host", api, "Cookie", cookie); res.StatusCode != http.StatusOK {
		t.Fatalf("logout: got %d %s, want 200", res.StatusCode, res.text)
	}
	if res := open(append(browser, "Cookie", cookie)...); res.StatusCode != http.StatusFound {
		t.Errorf("session has ended: got %d %s, want 302", res.StatusCode, res.text)
	}
}

// startCaddy runs Caddy with configs/Caddyfile on a free port, without TLS.
func startCaddy(t *testing.T, api, application string) (base string) {
	t.Helper()

	config, err := os.ReadFile("../../configs/Caddyfile")
	testkit.NoError(t, err)
	addr := testkit.FreeAddr(t)
	_, port, _ := strings.Cut(addr, ":")

	sites := strings.NewReplacer(
		"api.example.com {", "http://api.example.com:"+port+" {",
		"app.example.com {", "http://app.example.com:"+port+" {",
		"127.0.0.1:3000", api,
		"127.0.0.1:8080", application,
		"?signin=redirect", "?signin=redirect\nheader_up X-Forwarded-Proto https",
	).Replace(string(config))

	dir := t.TempDir()
	file := filepath.Join(dir, "Caddyfile")
	testkit.NoError(t, os.WriteFile(file, []byte("{\nadmin off\ndefault_bind 127.0.0.1\n}\n"+sites), 0o600))

	command := exec.Command("caddy", "run", "--config", file, "--adapter", "caddyfile")
	command.Env = append(os.Environ(), "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
	startCommand(t, command)
	waitForListener(t, addr)

	return "http://" + addr
}
