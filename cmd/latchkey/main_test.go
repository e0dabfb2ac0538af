package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// The program starts, sets the cookie of a production server, is healthy, and shuts down.
func TestServe(t *testing.T) {
	t.Parallel()
	addr, out, stop := start(t, environment(t))

	const password = "a canary password"
	res := send(t, "POST", "http://"+addr+"/auth/register", `{"name":"Ann","email":"ann@example.com","password":"`+password+`"}`)
	cookie := res.Header.Get("Set-Cookie")
	want := regexp.MustCompile(`^__Host-sid=[\w-]{43}; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Lax$`)
	if res.StatusCode != http.StatusCreated || !want.MatchString(cookie) {
		t.Errorf("register: got %d %s and cookie %q, want 201 and %s", res.StatusCode, res.text, cookie, want)
	}
	if err := runHealthcheck(addr); err != nil {
		t.Errorf("healthcheck: %v", err)
	}
	if err := stop(); err != nil {
		t.Errorf("shutdown: %v", err)
	}

	token := strings.TrimPrefix(res.cookie(), "__Host-sid=")
	for _, canary := range []string{secret, password, token} {
		if strings.Contains(out.String(), canary) {
			t.Errorf("the log contains %q:\n%s", canary, out)
		}
	}
	for line := range strings.Lines(out.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("log line: got %q, want JSON", line)
		}
	}
}

// Without stores, the server starts and is alive, but reports that it is not ready. GET /readyz on the
// ops listener gives the reasons.
func TestServeWithoutStores(t *testing.T) {
	t.Parallel()
	addr, out, _ := start(t, withoutStores("OPS_ADDR=127.0.0.1:0", "DRAIN_TIME=0"))

	wantGet(t, "http://"+addr+"/healthz", http.StatusOK, "")
	wantGet(t, "http://"+addr+"/readyz", http.StatusServiceUnavailable, "")
	for _, reason := range []string{"MongoDB is unavailable: ", "redis is unavailable: dial tcp"} {
		wantGet(t, "http://"+opsAddr(t, out)+"/readyz", http.StatusServiceUnavailable, reason)
	}
	if err := runHealthcheck(addr); err == nil || !strings.Contains(err.Error(), "not ready: 503") {
		t.Errorf("healthcheck: got error %v, want not ready: 503", err)
	}
	if strings.Contains(out.String(), "hunter2") {
		t.Errorf("the log contains a password:\n%s", out)
	}
}

// The server supports TLS 1.2 and later, and HTTP/2. It loads a new certificate without a
// restart and keeps the old one if the new one is broken.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := storetest.Certificate(t, dir)
	addr, out, _ := start(t, environment(t, "TRUSTED_PROXIES=", "TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile))

	dial := func(c *tls.Config) (serial, protocol string, err error) {
		conn, err := tls.Dial("tcp", addr, c)
		if err != nil {
			return "", "", err
		}
		defer func() { _ = conn.Close() }()
		state := conn.ConnectionState()

		return state.PeerCertificates[0].SerialNumber.String(), state.NegotiatedProtocol, nil
	}
	trusted := func() *tls.Config {
		text, err := os.ReadFile(certFile)
		testkit.NoError(t, err)
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			t.Fatalf("%s: got %s, want a certificate", certFile, text)
		}

		return &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}}
	}

	first, protocol, err := dial(trusted())
	if err != nil || protocol != "h2" {
		t.Fatalf("protocol: got %q and error %v, want h2", protocol, err)
	}
	outdated := trusted()
	outdated.MinVersion = tls.VersionTLS10
	outdated.MaxVersion = tls.VersionTLS11
	if _, _, err := dial(outdated); err == nil {
		t.Error("TLS 1.1: got a connection, want an error")
	}
	if err := runHealthcheck(addr, "TLS_CERT_FILE="+certFile); err != nil {
		t.Errorf("healthcheck: %v", err)
	}

	testkit.NoError(t, os.WriteFile(keyFile, []byte("half a key"), 0o600))
	before := trusted()
	testkit.Eventually(t, "the warning about the broken key", func() bool {
		if got, _, err := dial(before); got != first || err != nil {
			t.Fatalf("with a broken key: got certificate %s and error %v, want certificate %s", got, err, first)
		}

		return strings.Contains(out.String(), "cannot reload TLS certificate")
	})

	storetest.Certificate(t, dir)
	testkit.Eventually(t, "the new certificate", func() bool {
		got, _, err := dial(trusted())

		return err == nil && got != first
	})
	if err := runHealthcheck(addr, "TLS_CERT_FILE="+certFile); err != nil {
		t.Errorf("healthcheck with the new certificate: %v", err)
	}
}

// The health check reads the settings like the server does, however an orchestrator spells them.
func TestHealthcheckReadsSettingsLikeTheServer(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			requests.Add(1)
		}
	}))
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "http://")
	_, port, _ := net.SplitHostPort(addr)

	spellings := []string{"HOST=[::]", "HOST=::", "HOST=", "HOST= 127.0.0.1\r", "HOST=0.0.0.0", "PORT=" + port + "\r", "PORT=\ufeff" + port + " ", "TLS_CERT_FILE= "}
	for _, spelling := range spellings {
		if err := runHealthcheck(addr, spelling); err != nil {
			t.Errorf("%q: got error %v, want none", spelling, err)
		}
	}
	if got := int(requests.Load()); got != len(spellings) {
		t.Errorf("requests: got %d, want %d", got, len(spellings))
	}

	if err := runHealthcheck(addr, "PORT=http"); err == nil || !strings.Contains(err.Error(), "PORT: must be a whole number") {
		t.Errorf("PORT=http: got error %v, want one about the setting", err)
	}
}

// Every command supports --help. It exits with 2 if its arguments are wrong, and with 1 if it
// fails.
func TestHelpAndExitCodes(t *testing.T) {
	t.Parallel()

	for args, want := range map[string]string{
		"--help":                "Usage:\n  latchkey",
		"help":                  "healthcheck",
		"users":                 "set-password",
		"users --help":          "set-password",
		"help users":            "set-password",
		"users list --help":     "--limit number",
		"sessions revoke -h":    "--user USER",
		"doctor --help":         "--spa URL",
		"healthcheck --help":    "HOST, PORT and TLS_CERT_FILE",
		"serve --help":          "SIGTERM",
		"version":               "latchkey ",
		"--version":             "latchkey ",
		"completion bash":       "latchkey",
		"completion powershell": "latchkey",
	} {
		out, err := command(nil, "", strings.Fields(args)...)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("latchkey %s: got error %v and output %q, want %q", args, err, out, want)
		}
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.NoError(t, err)
	defer func() { _ = listener.Close() }()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	for args, tc := range map[string]struct {
		environ []string
		code    int
		want    string
	}{
		"sreve":                   {nil, 2, `unknown command "sreve"; did you mean "serve"?`},
		"serve now":               {nil, 2, `unexpected argument "now"`},
		"users kill":              {nil, 2, `unknown command "kill"`},
		"users show":              {nil, 2, "missing argument USER"},
		"users show --yaml x":     {nil, 2, "unknown flag: --yaml"},
		"doctor --spa x":          {nil, 2, "--api"},
		"sessions revoke":         {nil, 2, "give exactly one of"},
		"sessions revoke x --all": {nil, 2, "give exactly one of"},
		"":                        {nil, 1, "3 invalid settings:\n  TRUSTED_PROXIES: required unless TLS_CERT_FILE and TLS_KEY_FILE are set: the IP of the TLS proxy in front of this server, such as 127.0.0.1\n  MONGODB_URI: required, for example mongodb://localhost:27017/latchkey\n  SESSION_SECRET: required"},
		"users list":              {nil, 1, "SESSION_SECRET: required"},
		"doctor":                  {nil, 1, "TRUSTED_PROXIES: required"},
		"serve":                   {environment(t, "PORT="+port), 1, "already in use"},
		"healthcheck":             {[]string{"HOST=127.0.0.1", "PORT=1"}, 1, "connection refused"},
	} {
		_, err := command(tc.environ, "", strings.Fields(args)...)
		if err == nil || exitCode(err) != tc.code || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("latchkey %s: got error %v, want %s with exit code %d", args, err, tc.want, tc.code)
		}
	}
}
