package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

const secret = "Zm9ydHktdHdvIGNoYXJhY3RlcnMgb2YgcmFuZG9tbmVzcw"

// output is what the program prints, line by line.
type output struct {
	mu    sync.Mutex
	text  strings.Builder
	lines chan string
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(p)
	select {
	case o.lines <- string(p):
	default:
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// environment is a production setting on the stores of the test.
func environment(t *testing.T, more ...string) []string {
	r := storetest.NewRedis(t)
	return append([]string{
		"HOST=127.0.0.1", "PORT=0", "TRUSTED_PROXIES=127.0.0.1", "SESSION_SECRET=" + secret, "MONGODB_URI=" + storetest.Mongo(t),
		fmt.Sprintf("REDIS_URI=redis://%s/%d", r.Addr, r.DB),
		"RATE_LIMIT=1000/60s", // a test does in a second what people do in an hour
		"DRAIN_TIME=0",
	}, more...)
}

// start runs the program until the test ends and returns where it listens.
func start(t *testing.T, environ []string) (addr string, out *output, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out = &output{lines: make(chan string, 64)}
	done := make(chan error, 1)
	go func() { done <- run(ctx, nil, environ, stdio{out: out}) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	for {
		select {
		case line := <-out.lines:
			var entry struct{ Msg, Address string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "listening" {
				return entry.Address, out, stop
			}
		case err := <-done:
			done <- err
			t.Fatalf("the program ended: %v\n%s", err, out)
		case <-time.After(20 * time.Second):
			t.Fatalf("the program does not listen\n%s", out)
		}
	}
}

// The whole program: it starts, sets the cookie that production should, is
// healthy, and stops when it is told to.
func TestServe(t *testing.T) {
	t.Parallel()
	addr, out, stop := start(t, environment(t))
	const registration = `{"name":"Ann","email":"ann@example.com","password":"a canary password"}`
	res, err := http.Post("http://"+addr+"/auth/register", "application/json", strings.NewReader(registration))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	cookie := res.Header.Get("Set-Cookie")
	if res.StatusCode != http.StatusCreated || !regexp.MustCompile(`^__Host-sid=[\w-]{43}; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Lax$`).MatchString(cookie) {
		t.Errorf("register: %s %s\n%s", res.Status, body, cookie)
	}
	_, port, _ := net.SplitHostPort(addr)
	if err := run(context.Background(), []string{"healthcheck"}, []string{"HOST=127.0.0.1", "PORT=" + port}, stdio{}); err != nil {
		t.Errorf("healthcheck: %v", err)
	}
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	token, _, _ := strings.Cut(strings.TrimPrefix(cookie, "__Host-sid="), ";")
	for _, canary := range []string{secret, "a canary password", token} {
		if strings.Contains(out.String(), canary) {
			t.Errorf("the log holds %q:\n%s", canary, out)
		}
	}
	for line := range strings.Lines(out.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not a line of JSON: %s", line)
		}
	}
}

// A server without its stores starts, lives and says that it is not ready.
func TestServeWithoutStores(t *testing.T) {
	t.Parallel()
	addr, out, _ := start(t, []string{
		"HOST=127.0.0.1", "PORT=0", "TRUSTED_PROXIES=127.0.0.1", "SESSION_SECRET=" + secret,
		"MONGODB_URI=mongodb://u:hunter2@127.0.0.1:1/x", "REDIS_URI=redis://u:hunter2@127.0.0.1:1",
	})
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503} {
		res, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	_, port, _ := net.SplitHostPort(addr)
	err := run(context.Background(), []string{"healthcheck"}, []string{"HOST=127.0.0.1", "PORT=" + port}, stdio{})
	if err == nil || !strings.Contains(err.Error(), "not ready: 503") {
		t.Errorf("healthcheck: %v", err)
	}
	if strings.Contains(out.String(), "hunter2") {
		t.Errorf("the log holds a password:\n%s", out)
	}
}

// What one client can hold of the server is bounded.
func TestLimits(t *testing.T) {
	t.Parallel()
	addr, _, _ := start(t, environment(t))
	for name, tc := range map[string]struct{ request, want string }{
		"headers too large": {"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", "431"},
		"half a request":    {"GET /healthz HTTP/1.1\r\nHost: x\r\n", ""},
		"OPTIONS *":         {"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "404"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := io.WriteString(conn, tc.request); err != nil {
				t.Fatal(err)
			}
			// Generous: the limit is 5 seconds, the alternative is for ever.
			_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
			answer, err := io.ReadAll(conn)
			if err != nil && tc.want == "" {
				t.Fatalf("the connection stays open: %v", err)
			}
			if !strings.HasPrefix(strings.TrimPrefix(string(answer), "HTTP/1.1 "), tc.want) {
				t.Errorf("answer %.100q, want %s", answer, tc.want)
			}
		})
	}
}

func TestRefusesToStart(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for name, tc := range map[string]struct {
		args, environ []string
		want          string
	}{
		"no settings":        {nil, nil, "3 settings are wrong:\n  TRUSTED_PROXIES: name the proxy that speaks TLS in front of this server, as in 127.0.0.1; or set TLS_CERT_FILE and TLS_KEY_FILE\n  MONGODB_URI: is missing, for example mongodb://localhost:27017/latchkey\n  SESSION_SECRET: is missing"},
		"port in use":        {nil, environment(t, "PORT="+port), "address already in use"},
		"unknown command":    {[]string{"sreve"}, nil, `there is no command "sreve"`},
		"too many arguments": {[]string{"serve", "now"}, nil, "serve takes no arguments"},
		"nobody there":       {[]string{"healthcheck"}, []string{"HOST=127.0.0.1", "PORT=1"}, "connection refused"},
	} {
		err := run(context.Background(), tc.args, tc.environ, stdio{out: io.Discard})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var help strings.Builder
	if err := run(context.Background(), []string{"help"}, nil, stdio{out: &help}); err != nil || !strings.Contains(help.String(), "healthcheck") {
		t.Errorf("help: %v %q", err, help.String())
	}
}

// The server speaks TLS itself, not in the versions of old, and HTTP/2; a new
// certificate needs no restart, and one that cannot be used changes nothing.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := storetest.Certificate(t, dir)
	addr, out, _ := start(t, environment(t, "TRUSTED_PROXIES=", "TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile))
	serial := func(c *tls.Config) (string, string, error) {
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
		roots := x509.NewCertPool()
		if err != nil || !roots.AppendCertsFromPEM(text) {
			t.Fatal(err)
		}
		return &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}}
	}
	first, protocol, err := serial(trusted())
	if err != nil || protocol != "h2" {
		t.Fatalf("%s, %v", protocol, err)
	}
	old := trusted()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, _, err := serial(old); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	_, port, _ := net.SplitHostPort(addr)
	health := func() error {
		return run(context.Background(), []string{"healthcheck"}, []string{"HOST=127.0.0.1", "PORT=" + port, "TLS_CERT_FILE=" + certFile}, stdio{})
	}
	if err := health(); err != nil {
		t.Errorf("healthcheck: %v", err)
	}
	if err := os.WriteFile(keyFile, []byte("half a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := trusted()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(out.String(), "the certificate cannot be read again"); {
		if got, _, err := serial(before); got != first || err != nil || time.Now().After(deadline) {
			t.Fatalf("with a broken key: %s, %v", got, err)
		}
	}
	storetest.Certificate(t, dir)
	for deadline := time.Now().Add(10 * time.Second); ; {
		got, _, err := serial(trusted())
		if err == nil && got != first {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %s, %v", got, err)
		}
	}
	if err := health(); err != nil {
		t.Errorf("healthcheck: %v", err)
	}
}
