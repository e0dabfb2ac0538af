package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
)

// opsAddr is where the private listener of a program is, by what it has logged.
func opsAddr(t *testing.T, out *output) string {
	t.Helper()
	found := regexp.MustCompile(`"metrics and profiles","address":"([^"]+)"`).FindStringSubmatch(out.String())
	if found == nil {
		t.Fatalf("no private listener:\n%s", out)
	}
	return found[1]
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// What operators see is on the private listener and not on the other one.
func TestPrivateListener(t *testing.T) {
	t.Parallel()
	addr, out, _ := start(t, environment(t, "OPS_ADDR=127.0.0.1:0"))
	ops := opsAddr(t, out)
	for path, want := range map[string]string{
		"/metrics": "latchkey_build_info", "/debug/pprof/": "goroutine", "/readyz": "ready", "/healthz": "ok",
	} {
		if status, body := get(t, "http://"+ops+path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.200s", path, status, body)
		}
	}
	for _, path := range []string{"/metrics", "/debug/pprof/"} {
		if status, _ := get(t, "http://"+addr+path); status != http.StatusNotFound {
			t.Errorf("%s is public: %d", path, status)
		}
	}
	if status, _ := get(t, "http://"+ops+"/auth/session"); status != http.StatusNotFound {
		t.Errorf("the API is on the private listener: %d", status)
	}
}

// Which store it is that does not answer is said where operators look.
func TestPrivateListenerWithoutStores(t *testing.T) {
	t.Parallel()
	_, out, _ := start(t, []string{
		"HOST=127.0.0.1", "PORT=0", "TRUSTED_PROXIES=127.0.0.1", "SESSION_SECRET=" + secret, "OPS_ADDR=127.0.0.1:0", "DRAIN_TIME=0",
		"MONGODB_URI=mongodb://127.0.0.1:1/x", "REDIS_URI=redis://127.0.0.1:1",
	})
	status, body := get(t, "http://"+opsAddr(t, out)+"/readyz")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "mongodb: unavailable; redis: unavailable") {
		t.Errorf("%d %s", status, body)
	}
}

// A real Prometheus reads what the server has, by the settings that come with it, and
// every query of the dashboard has an answer.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("prometheus"); err != nil {
		if os.Getenv("TEST_REDIS") != "" {
			t.Fatal("needs prometheus")
		}
		t.Skip("needs prometheus on the PATH; make check runs this test")
	}
	redis := storetest.NewRedis(t)
	relay, broken := startRelay(t, redis.Addr)
	addr, out, _ := start(t, environment(t, "OPS_ADDR=127.0.0.1:0", "RATE_LIMIT=off", fmt.Sprintf("REDIS_URI=redis://%s/%d", relay, redis.DB)))
	use(t, addr)
	broken.Store(true) // so that there are failures to look at
	if err := newLoadClient("http://"+addr).do("POST", "/auth/register", `{"name":"Bob","email":"bob@example.com","password":"a canary password"}`, 503); err != nil {
		t.Fatal(err)
	}
	broken.Store(false)
	prometheus := startPrometheus(t, opsAddr(t, out))
	// Twice: a rate is of two readings.
	waitFor(t, "two readings", func() bool {
		return len(query(t, prometheus, `count_over_time(latchkey_build_info[1m]) >= 2`)) > 0
	})
	raw, err := os.ReadFile("../../configs/grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(raw, &dashboard); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			asked++
			expr := strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*").Replace(target.Expr)
			if len(query(t, prometheus, expr)) == 0 {
				t.Errorf("%s: nothing comes of %s", panel.Title, expr)
			}
		}
	}
	if asked == 0 {
		t.Error("the dashboard asks nothing")
	}
	rules := query(t, prometheus, `ALERTS{alertstate="firing"}`)
	if len(rules) != 0 {
		t.Errorf("alerts of a server that is well: %s", rules)
	}
	if used := query(t, prometheus, `latchkey_http_requests_total{route="/auth/session",status="200"} > 0`); len(used) == 0 {
		t.Error("the requests of this test were not counted")
	}
}

// use does what a user does.
func use(t *testing.T, addr string) {
	t.Helper()
	c := newLoadClient("http://" + addr)
	defer c.http.CloseIdleConnections()
	for _, step := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/auth/register", `{"name":"Ann","email":"canary@example.com","password":"a canary password"}`, 201},
		{"GET", "/auth/session", "", 200},
		{"GET", "/auth/me", "", 200},
		{"POST", "/auth/rotate-session", "", 200},
		{"POST", "/auth/login", `{"email":"canary@example.com","password":"another password"}`, 401},
		{"POST", "/auth/logout", "", 200},
	} {
		if err := c.do(step.method, step.path, step.body, step.want); err != nil {
			t.Fatal(err)
		}
	}
}

// startRelay passes on what is sent to a server, unless it is broken.
func startRelay(t *testing.T, to string) (addr string, broken *atomic.Bool) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	broken = new(atomic.Bool)
	pass := func(to, from net.Conn) {
		defer func() { _, _ = to.Close(), from.Close() }()
		for buf := make([]byte, 4096); ; {
			n, err := from.Read(buf)
			if err != nil || broken.Load() {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			go pass(server, client)
			go pass(client, server)
		}
	}()
	return l.Addr().String(), broken
}

// startPrometheus runs Prometheus with configs/prometheus.yml on one server, and returns
// where it answers.
func startPrometheus(t *testing.T, ops string) (base string) {
	t.Helper()
	configs, err := filepath.Abs("../../configs")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(configs, "prometheus.yml"))
	if err != nil {
		t.Fatal(err)
	}
	settings := strings.NewReplacer(`"api:9090"`, `"`+ops+`"`, "interval: 15s", "interval: 1s", "- alerts.yml", "- "+filepath.Join(configs, "alerts.yml")).Replace(string(raw))
	if !strings.Contains(settings, ops) {
		t.Fatal("prometheus.yml names no server")
	}
	dir, at := t.TempDir(), "127.0.0.1:"+freePort(t)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	said := &output{}
	program := exec.Command("prometheus", "--config.file="+file, "--storage.tsdb.path="+dir, "--web.listen-address="+at)
	program.Stdout, program.Stderr = said, said
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = program.Process.Kill()
		_ = program.Wait()
		if t.Failed() {
			t.Logf("prometheus says:\n%s", said)
		}
	})
	base = "http://" + at
	waitFor(t, "prometheus", func() bool {
		res, err := http.Get(base + "/-/ready")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return base
}

// query asks a Prometheus.
func query(t *testing.T, base, expr string) []json.RawMessage {
	t.Helper()
	status, body := get(t, base+"/api/v1/query?query="+url.QueryEscape(expr))
	var answer struct {
		Data struct{ Result []json.RawMessage }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d %s", expr, status, body)
	}
	return answer.Data.Result
}

// waitFor waits until something is so.
func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !so(); {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// A collector gets the requests with what they asked of the stores, and nothing of what
// they said. The lines of the log name the trace.
func TestTraces(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var sent strings.Builder
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path != "/v1/traces" || r.Header.Get("Authorization") != "a collector's password" {
			w.WriteHeader(http.StatusForbidden)
		}
		_, _ = io.Copy(&sent, r.Body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(collector.Close)
	addr, out, stop := start(t, environment(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "OTEL_EXPORTER_OTLP_HEADERS=authorization=a%20collector%27s%20password", "OTEL_SERVICE_NAME=a-name"))
	use(t, addr)
	// Of a client, whom nobody trusts: it must not decide whether there is a trace.
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+addr+"/auth/session?a-query=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", "a-user-agent")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if err := stop(); err != nil { // which delivers what waits
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{"a-name", "POST /auth/login", "GET /auth/session", "GET", "EVALSHA", "insert users", "find users"} {
		if !strings.Contains(sent.String(), want) {
			t.Errorf("there is no span %s", want)
		}
	}
	for _, said := range []string{"canary", "another password", "a-query", "a-user-agent", "sess:", "__Host-sid"} {
		if strings.Contains(sent.String(), said) {
			t.Errorf("%q went to the collector", said)
		}
	}
	line := regexp.MustCompile(`"msg":"request".*"route":"/auth/login".*"trace_id":"[0-9a-f]{32}"`)
	if !line.MatchString(out.String()) {
		t.Errorf("no line with a trace:\n%s", out)
	}
	if strings.Contains(out.String(), "collector's") {
		t.Error("the collector's password is in the log")
	}
}
