package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// opsAddr returns the host:port of the ops listener in the log of a server.
func opsAddr(t *testing.T, out *testkit.Buffer) string {
	t.Helper()

	match := regexp.MustCompile(`"ops listener started","addr":"([^"]+)"`).FindStringSubmatch(out.String())
	if match == nil {
		t.Fatalf("the log has no ops listener:\n%s", out)
	}

	return match[1]
}

// Operators' endpoints are on the ops listener only.
func TestOpsListener(t *testing.T) {
	t.Parallel()
	addr, out, _ := start(t, environment(t, "OPS_ADDR=127.0.0.1:0"))
	ops := opsAddr(t, out)

	for path, want := range map[string]string{
		"/metrics":      "latchkey_build_info",
		"/debug/pprof/": "goroutine",
		"/readyz":       "ready",
		"/healthz":      "ok",
	} {
		wantGet(t, "http://"+ops+path, http.StatusOK, want)
	}

	for _, path := range []string{"/metrics", "/debug/pprof/"} {
		wantGet(t, "http://"+addr+path, http.StatusNotFound, "")
	}
	wantGet(t, "http://"+ops+"/auth/session", http.StatusNotFound, "")
}

// A real Prometheus scrapes the server with the example configuration, and every query of
// the dashboard returns data.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	suite.Program(t, "prometheus")

	redis := storetest.NewRedis(t)
	proxy := storetest.NewProxy(t, redis.Addr)
	addr, out, _ := start(t, environment(t,
		"OPS_ADDR=127.0.0.1:0",
		"RATE_LIMIT=off",
		"REDIS_TIMEOUT=400ms",
		"SESSION_CACHE=1MiB", // for the panels about sessions in memory
		fmt.Sprintf("REDIS_URI=redis://%s/%d", proxy.Addr, redis.DB)))
	sendTypicalRequests(t, addr)
	proxy.Blackhole() // for the panels about failures
	testkit.NoError(t, newLoadClient("http://"+addr).do("POST", "/auth/register", `{"name":"Bob","email":"bob@example.com","password":"a canary password"}`, 503))
	proxy.Set(storetest.Faults{})

	prometheus := startPrometheus(t, opsAddr(t, out))
	testkit.Eventually(t, "two samples, which a rate needs", func() bool {
		return len(query(t, prometheus, `count_over_time(latchkey_build_info[1m]) >= 2`)) > 0
	})

	raw, err := os.ReadFile("../../configs/grafana/dashboard.json")
	testkit.NoError(t, err)
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	testkit.NoError(t, json.Unmarshal(raw, &dashboard))
	queries := 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			queries++
			expr := strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*").Replace(target.Expr)
			if len(query(t, prometheus, expr)) == 0 {
				t.Errorf("%s: got no data from %s", panel.Title, expr)
			}
		}
	}
	if queries == 0 {
		t.Error("queries in the dashboard: got none")
	}

	if alerts := query(t, prometheus, `ALERTS{alertstate="firing"}`); len(alerts) != 0 {
		t.Errorf("firing alerts: got %s, want none", alerts)
	}
	if samples := query(t, prometheus, `latchkey_http_requests_total{route="/auth/session",status="200"} > 0`); len(samples) == 0 {
		t.Error("latchkey_http_requests_total: got no data for /auth/session")
	}
}

// sendTypicalRequests sends the requests of a typical user.
func sendTypicalRequests(t *testing.T, addr string) {
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
		testkit.NoError(t, c.do(step.method, step.path, step.body, step.want))
	}
}

// startPrometheus runs Prometheus with configs/prometheus.yml and returns its URL.
func startPrometheus(t *testing.T, ops string) (base string) {
	t.Helper()

	configs, err := filepath.Abs("../../configs")
	testkit.NoError(t, err)
	raw, err := os.ReadFile(filepath.Join(configs, "prometheus.yml"))
	testkit.NoError(t, err)
	settings := strings.NewReplacer(`"api:9090"`, `"`+ops+`"`, "interval: 15s", "interval: 1s", "- alerts.yml", "- "+filepath.Join(configs, "alerts.yml")).Replace(string(raw))
	if !strings.Contains(settings, ops) {
		t.Fatal("prometheus.yml does not contain the placeholder api:9090")
	}

	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	testkit.NoError(t, os.WriteFile(file, []byte(settings), 0o600))
	addr := testkit.FreeAddr(t)
	startProgram(t, "prometheus", "--config.file="+file, "--storage.tsdb.path="+dir, "--web.listen-address="+addr)
	base = "http://" + addr
	testkit.Eventually(t, "Prometheus to be ready", func() bool {
		res, err := fetch(http.DefaultClient, "GET", base+"/-/ready", "")

		return err == nil && res.StatusCode == http.StatusOK
	})

	return base
}

// query runs a PromQL query.
func query(t *testing.T, base, expr string) []json.RawMessage {
	t.Helper()

	res := mustSend(t, http.StatusOK, "GET", base+"/api/v1/query?query="+url.QueryEscape(expr), "")
	var reply struct {
		Data struct{ Result []json.RawMessage }
	}
	testkit.NoError(t, json.Unmarshal([]byte(res.text), &reply))

	return reply.Data.Result
}

// startCollector starts an OpenTelemetry collector that requires an Authorization header, and returns its
// URL and what it receives.
func startCollector(t *testing.T, authorization string) (base string, received *testkit.Buffer) {
	t.Helper()

	received = &testkit.Buffer{}
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/traces" || r.Header.Get("Authorization") != authorization {
			w.WriteHeader(http.StatusForbidden)
		}
		_, _ = io.Copy(received, r.Body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(collector.Close)

	return collector.URL, received
}

// A collector receives traces of requests and their store commands, without user data. Log
// lines have the trace ID.
func TestTraces(t *testing.T) {
	t.Parallel()
	collector, received := startCollector(t, "a collector's password")

	addr, out, stop := start(t, environment(t,
		"OTEL_EXPORTER_OTLP_ENDPOINT="+collector,
		"OTEL_EXPORTER_OTLP_HEADERS=authorization=a%20collector%27s%20password",
		"OTEL_SERVICE_NAME=a-name"))
	sendTypicalRequests(t, addr)
	send(t, "GET", "http://"+addr+"/auth/session?a-query=1", "", "User-Agent", "a-user-agent")
	testkit.NoError(t, stop()) // flushes the traces

	for _, want := range []string{"a-name", "POST /auth/login", "GET /auth/session", "GET", "EVALSHA", "insert users", "find users"} {
		if !strings.Contains(received.String(), want) {
			t.Errorf("traces: got no %q, want at least one", want)
		}
	}
	for _, private := range []string{"canary", "another password", "a-query", "a-user-agent", "sess:", "__Host-sid"} {
		if strings.Contains(received.String(), private) {
			t.Errorf("the traces contain %q", private)
		}
	}

	line := regexp.MustCompile(`"msg":"request".*"route":"/auth/login".*"trace_id":"[0-9a-f]{32}"`)
	if !line.MatchString(out.String()) {
		t.Errorf("the log has no line that matches %s:\n%s", line, out)
	}
	if strings.Contains(out.String(), "collector's") {
		t.Error("the log contains the collector's password")
	}
}
