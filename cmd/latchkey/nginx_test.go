package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// nginx with configs/nginx.conf authorizes each request to an application with a subrequest
// to the server. A client cannot pass itself off as another user.
func TestNginx(t *testing.T) {
	t.Parallel()
	suite.Program(t, "nginx")

	addr, _, _ := start(t, environment(t))
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "user=%s email=%s verified=%s level=%s methods=%s time=%s session=%s cookie=%s",
			r.Header["X-Auth-User-Id"], r.Header["X-Auth-Email"], r.Header["X-Auth-Email-Verified"],
			r.Header["X-Auth-Level"], r.Header["X-Auth-Methods"], r.Header["X-Auth-Time"], r.Header["X-Auth-Session-Id"], r.Header["Cookie"])
	}))
	t.Cleanup(application.Close)
	base := startNginx(t, addr, application.Listener.Addr().String())

	request := func(method, host, path, cookie, body string, spoofed ...string) (int, string, string) {
		t.Helper()

		headers := []string{"Host", host, "Cookie", cookie}
		for _, name := range spoofed {
			headers = append(headers, name, "eve")
		}
		res := send(t, method, base+path, body, headers...)

		return res.StatusCode, res.cookie(), res.text
	}

	const api = "api.example.com"
	const app = "app.example.com"
	spoofed := []string{"X-Auth-User-Id", "X-Auth-Email", "X-Auth-Email-Verified", "X-Auth-Level", "X-Auth-Methods", "X-Auth-Time", "X-Auth-Session-Id", "X-Forwarded-For"}
	if status, _, text := request("GET", app, "/", "", "", spoofed...); status != 401 {
		t.Errorf("no session: got %d %s, want 401", status, text)
	}

	status, cookie, text := request("POST", api, "/auth/register", "", `{"name":"Ann","email":"ann@example.com","password":"a long password"}`, "X-Forwarded-For")
	if status != 201 || cookie == "" {
		t.Fatalf("register: got %d %s, want 201 and a cookie", status, text)
	}

	status, _, text = request("POST", app, "/orders", cookie, `{"a":1}`, spoofed...)
	want := regexp.MustCompile(`^user=\[[0-9a-f]{24}\] email=\[ann@example.com\] verified=\[false\] level=\[aal1\] methods=\[pwd\] time=\[\d{10}\] session=\[[\w-]{45}\] cookie=\[\]$`)
	if status != 200 || !want.MatchString(text) {
		t.Errorf("signed in: got %d %s, want 200 %s", status, text, want)
	}
	if _, _, text := request("GET", api, "/auth/sessions", cookie, ""); !strings.Contains(text, `"ip":"127.0.0.1"`) {
		t.Errorf("sessions: got %s, want the IP 127.0.0.1", text)
	}

	if status, _, _ := request("DELETE", api, "/auth/sessions?scope=all", cookie, ""); status != 200 {
		t.Fatalf("revoke: got %d, want 200", status)
	}
	if status, _, text := request("GET", app, "/", cookie, ""); status != 401 {
		t.Errorf("revoked session: got %d %s, want 401", status, text)
	}
}

// startNginx runs nginx with configs/nginx.conf on a free port, without TLS.
func startNginx(t *testing.T, api, application string) (base string) {
	t.Helper()

	config, err := os.ReadFile("../../configs/nginx.conf")
	testkit.NoError(t, err)
	addr := testkit.FreeAddr(t)
	servers := strings.NewReplacer("listen 443 ssl http2", "listen "+addr, "$scheme;", "https;", "127.0.0.1:3000", api, "127.0.0.1:8080", application).Replace(string(config))
	servers = regexp.MustCompile(`(?m)^ *ssl_certificate.*$`).ReplaceAllString(servers, "")

	dir := t.TempDir()
	testkit.NoError(t, os.Chmod(dir, 0o755)) //nolint:gosec // the workers of nginx run as another user
	main := "error_log stderr; pid " + dir + "/pid; daemon off; master_process off; events {} http { access_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		main += kind + "_temp_path " + dir + "/" + kind + ";\n"
	}
	file := filepath.Join(dir, "main.conf")
	testkit.NoError(t, os.WriteFile(file, []byte(main+servers+"}"), 0o600))

	startProgram(t, "nginx", "-p", dir, "-c", file, "-e", "stderr")
	waitForListener(t, addr)

	return "http://" + addr
}
