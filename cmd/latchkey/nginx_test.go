package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// nginx, as configs/nginx.conf has it, asks the server about each request to an
// application, which learns who it is from nobody else.
func TestNginx(t *testing.T) {
	t.Parallel()
	needsNginx(t)
	addr, _, _ := start(t, environment(t))
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "user=%s email=%s session=%s cookie=%s", r.Header["X-Auth-User-Id"], r.Header["X-Auth-Email"], r.Header["X-Auth-Session-Id"], r.Header["Cookie"])
	}))
	t.Cleanup(application.Close)
	base := startNginx(t, addr, application.Listener.Addr().String())

	request := func(method, host, path, cookie, body string, headers ...string) (int, string, string) {
		t.Helper()
		req, err := http.NewRequest(method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		if cookie != "" {
			req.Header.Set("Cookie", cookie)
		}
		for _, name := range headers {
			req.Header.Set(name, "eve")
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		text, _ := io.ReadAll(res.Body)
		set, _, _ := strings.Cut(res.Header.Get("Set-Cookie"), ";")
		return res.StatusCode, set, string(text)
	}
	const api, app = "api.example.com", "app.example.com"
	spoofed := []string{"X-Auth-User-Id", "X-Auth-Email", "X-Auth-Session-Id", "X-Forwarded-For"}
	if status, _, text := request("GET", app, "/", "", "", spoofed...); status != 401 {
		t.Errorf("a stranger gets %d %s", status, text)
	}
	status, cookie, text := request("POST", api, "/auth/register", "", `{"name":"Ann","email":"ann@example.com","password":"a long password"}`, "X-Forwarded-For")
	if status != 201 || cookie == "" {
		t.Fatalf("register: %d %s", status, text)
	}
	status, _, text = request("POST", app, "/orders", cookie, `{"a":1}`, spoofed...)
	if match := regexp.MustCompile(`^user=\[[0-9a-f]{24}\] email=\[ann@example.com\] session=\[[\w-]{43}\] cookie=\[\]$`); status != 200 || !match.MatchString(text) {
		t.Errorf("signed in: %d %s", status, text)
	}
	if _, _, text := request("GET", api, "/auth/sessions", cookie, ""); !strings.Contains(text, `"ip":"127.0.0.1"`) {
		t.Errorf("the client's address: %s", text)
	}
	if status, _, _ := request("DELETE", api, "/auth/sessions?scope=all", cookie, ""); status != 200 {
		t.Fatal("revoke:", status)
	}
	if status, _, text := request("GET", app, "/", cookie, ""); status != 401 {
		t.Errorf("revoked: %d %s", status, text)
	}
}

// needsNginx skips a test where there is no nginx, but not in make check.
func needsNginx(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("nginx"); err == nil {
		return
	}
	if os.Getenv("TEST_REDIS") != "" {
		t.Fatal("needs nginx")
	}
	t.Skip("needs nginx on the PATH; make check runs this test")
}

// startNginx runs nginx on configs/nginx.conf, with addresses of the test's own and
// without TLS.
func startNginx(t *testing.T, api, application string) (base string) {
	t.Helper()
	config, err := os.ReadFile("../../configs/nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	own := l.Addr().String()
	_ = l.Close()
	text := strings.NewReplacer("listen 443 ssl http2", "listen "+own, "127.0.0.1:3000", api, "127.0.0.1:8080", application).Replace(string(config))
	text = regexp.MustCompile(`(?m)^ *ssl_certificate.*$`).ReplaceAllString(text, "")
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // nginx drops its rights
		t.Fatal(err)
	}
	main := "error_log stderr; pid " + dir + "/pid; daemon off; master_process off; events {} http { access_log off;\n" +
		"client_body_temp_path " + dir + "/b; proxy_temp_path " + dir + "/p; fastcgi_temp_path " + dir + "/f; uwsgi_temp_path " + dir + "/u; scgi_temp_path " + dir + "/s;\n" + text + "}"
	file := filepath.Join(dir, "main.conf")
	if err := os.WriteFile(file, []byte(main), 0o600); err != nil {
		t.Fatal(err)
	}
	said := &output{}
	nginx := exec.Command("nginx", "-p", dir, "-c", file, "-e", "stderr")
	nginx.Stderr = said
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = nginx.Process.Kill()
		_ = nginx.Wait()
		if t.Failed() {
			t.Logf("nginx says:\n%s", said)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp", own)
		if err == nil {
			_ = conn.Close()
			return "http://" + own
		}
		if time.Now().After(deadline) {
			_ = nginx.Process.Kill()
			_ = nginx.Wait()
			t.Fatalf("nginx: %v\n%s", err, said.String())
		}
	}
}
