package main

import (
	"bufio"
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

var updateHeaders = flag.Bool("update", false, "rewrite testdata/headers.txt")

// headersFile contains the status line and all headers of every kind of response, as reviewed.
const headersFile = "testdata/headers.txt"

// exchange is a request whose response headers are compared with headersFile.
type exchange struct {
	name    string
	request string // "METHOD /path", or a whole request that ends with an empty line
	headers []string
	body    string
}

// varying matches the parts of headers that differ from run to run.
var varying = regexp.MustCompile(`(?m)^((?:Date|X-Request-Id|X-Auth-User-Id|X-Auth-Session-Id|X-Auth-Time|Etag|Content-Length): |Set-Cookie: [^=]+=)[^;\n]+|([;"](?:r|t)=|Retry-After: )\d{2,}|(;t=)\d+`)

// headerRecorder collects responses in the format of headersFile.
type headerRecorder struct {
	t   *testing.T
	all strings.Builder
}

// add records a response. It sorts the headers, whose order has no meaning.
func (h *headerRecorder) add(name string, lines []string) {
	slices.Sort(lines[1:])
	text := varying.ReplaceAllString(strings.Join(lines, "\n"), "$1$2$3*")
	fmt.Fprintf(&h.all, "# %s\n%s\n\n", name, text)
}

// raw sends a request on a new connection and returns the status line and the headers of the
// response, exactly as the server wrote them.
func (h *headerRecorder) raw(addr string, e exchange) []string {
	h.t.Helper()

	request := e.request
	if !strings.HasSuffix(request, "\r\n\r\n") {
		if e.body != "" {
			e.headers = append(e.headers, fmt.Sprintf("Content-Length: %d", len(e.body)), "Content-Type: application/json")
		}
		lines := append([]string{request + " HTTP/1.1", "Host: api.example.com"}, e.headers...)
		request = strings.Join(lines, "\r\n") + "\r\n\r\n" + e.body
	}

	conn, err := net.Dial("tcp", addr)
	testkit.NoError(h.t, err)
	defer func() { _ = conn.Close() }()
	testkit.NoError(h.t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = conn.Write([]byte(request))
	testkit.NoError(h.t, err)

	var lines []string
	for response := bufio.NewScanner(conn); response.Scan() && response.Text() != ""; {
		lines = append(lines, response.Text())
	}
	if len(lines) == 0 {
		h.t.Fatalf("%s: got no response", e.name)
	}

	return lines
}

// record sends requests in order and records the responses.
func (h *headerRecorder) record(addr string, exchanges ...exchange) {
	h.t.Helper()

	for _, e := range exchanges {
		h.add(e.name+": "+strings.TrimSpace(firstLine(e.request)), h.raw(addr, e))
	}
}

// firstLine returns the first line of a request, with "*" for a session ID.
func firstLine(request string) string {
	line, _, _ := strings.Cut(request, "\r\n")

	return regexp.MustCompile(`[\w-]{45}`).ReplaceAllString(line, "*")
}

// Every kind of response has the reviewed headers. To accept a change, run this test with -update
// and review the difference.
func TestHeaders(t *testing.T) {
	t.Parallel()

	h := &headerRecorder{t: t}
	h.recordAPI()
	h.recordOutage()
	h.recordDevelopment()
	h.recordPages()
	h.recordHTTP2()
	h.recordOps()

	if *updateHeaders {
		testkit.NoError(t, os.WriteFile(headersFile, []byte(h.all.String()), 0o644))
	}
	reviewed, err := os.ReadFile(headersFile)
	testkit.NoError(t, err)
	got := responsesByName(h.all.String())
	want := responsesByName(string(reviewed))
	for name := range want {
		if got[name] == nil {
			t.Errorf("%s: missing", name)
		}
	}
	for name, lines := range got {
		if diff := cmp.Diff(want[name], lines); diff != "" {
			t.Errorf("%s (-%s +got):\n%s", name, headersFile, diff)
		}
	}
}

// responsesByName splits a text in the format of headersFile.
func responsesByName(text string) map[string][]string {
	responses := map[string][]string{}
	for response := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		name, lines, _ := strings.Cut(response, "\n")
		responses[name] = strings.Split(lines, "\n")
	}

	return responses
}

// recordAPI records the responses of a production server.
func (h *headerRecorder) recordAPI() {
	h.t.Helper()

	addr, _, _ := start(h.t, environment(h.t,
		"FRONTEND_URL=https://app.example.com",
		"RATE_LIMIT_TOKEN=1/60s",
		"OIDC_ACME_ISSUER=http://127.0.0.1:1",
		"OIDC_ACME_CLIENT_ID=us",
		"OIDC_ACME_CLIENT_SECRET=secret",
		"OIDC_ACME_CALLBACK_URL=https://api.example.com/auth/acme/callback"))

	const account = `{"name":"Ann","email":"ann@example.com","password":"a long password"}`
	const login = `{"email":"ann@example.com","password":"a long password"}`
	signIn := func(path, body string) (cookie, id string) {
		res := send(h.t, "POST", "http://"+addr+path, body)
		info := send(h.t, "GET", "http://"+addr+"/auth/session", "", "Cookie", res.cookie())

		return "Cookie: " + res.cookie(), regexp.MustCompile(`"sessionId":"([^"]+)"`).FindStringSubmatch(info.text)[1]
	}
	cookie, _ := signIn("/auth/register", account)
	_, other := signIn("/auth/login", login)
	const listed = "Origin: https://app.example.com"
	const foreign = "Origin: https://evil.example"
	const preflight = "Access-Control-Request-Method: POST"
	const dead = "Cookie: __Host-sid=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	token := `{"token":"x"}`

	h.record(addr,
		exchange{"created", "POST /auth/register", nil, strings.Replace(account, "ann@", "bob@", 1)},
		exchange{"logged in", "POST /auth/login", nil, login},
		exchange{"with a session", "GET /auth/session", []string{cookie}, ""},
		exchange{"for a proxy", "GET /auth/verify", []string{cookie}, ""},
		exchange{"from a listed origin", "GET /auth/me", []string{cookie, listed}, ""},
		exchange{"HEAD", "HEAD /auth/me", []string{cookie}, ""},
		exchange{"no content", "DELETE /auth/sessions/" + other, []string{cookie}, ""},
		exchange{"body in chunks", "DELETE /auth/sessions HTTP/1.1\r\nHost: x\r\n" + cookie + "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", nil, ""},
		exchange{"preflight of a listed origin", "OPTIONS /auth/login", []string{listed, preflight, "Access-Control-Request-Headers: content-type"}, ""},
		exchange{"preflight of another origin", "OPTIONS /auth/login", []string{foreign, preflight}, ""},
		exchange{"invalid JSON", "POST /auth/login", nil, "{"},
		exchange{"no session", "GET /auth/session", nil, ""},
		exchange{"unknown session", "GET /auth/me", []string{dead}, ""},
		exchange{"wrong password", "POST /auth/login", nil, strings.Replace(login, "long", "wrong", 1)},
		exchange{"cross-origin", "POST /auth/login", []string{foreign}, login},
		exchange{"not found", "GET /nothing", nil, ""},
		exchange{"method not allowed", "DELETE /auth/login", nil, ""},
		exchange{"too large", "POST /auth/login", []string{"Content-Length: 99999"}, ""},
		exchange{"not JSON", "POST /auth/login", []string{"Content-Type: text/plain"}, login},
		exchange{"within the rate limit", "POST /auth/email/verify", nil, token},
		exchange{"too many requests", "POST /auth/email/verify", nil, token},
		exchange{"too many headers", "GET /healthz", slices.Repeat([]string{"X: y"}, 101), ""},
		exchange{"failed sign-in with a provider", "GET /auth/acme", []string{"Sec-Fetch-Mode: navigate"}, ""},
		exchange{"health", "GET /healthz", nil, ""},
		exchange{"ready", "GET /readyz", nil, ""},
		exchange{"logged out", "POST /auth/logout", []string{cookie}, ""},
	)
	h.recordDocs(addr)
	h.record(addr,
		exchange{"without Host, by net/http", "GET / HTTP/1.1\r\n\r\n", nil, ""},
		exchange{"malformed, by net/http", "GET\r\n\r\n", nil, ""},
		exchange{"headers too large, by net/http", "GET /healthz", []string{"X: " + strings.Repeat("x", 40<<10)}, ""},
		exchange{"unknown transfer encoding, by net/http", "POST /auth/login", []string{"Transfer-Encoding: gzip"}, ""},
		exchange{"unknown expectation, by net/http", "POST /auth/login", []string{"Expect: x"}, token},
	)
}

// recordDocs records the documentation with its files.
func (h *headerRecorder) recordDocs(addr string) {
	h.t.Helper()

	const gzip = "Accept-Encoding: gzip"
	page := send(h.t, "GET", "http://"+addr+"/docs", "")
	version := regexp.MustCompile(`docs/([\w-]+)/init\.js`).FindStringSubmatch(page.text)[1]

	h.record(addr,
		exchange{"browser", "GET /", []string{"Accept: text/html"}, ""},
		exchange{"other client", "GET /", nil, ""},
		exchange{"browser", "GET /docs/", nil, ""},
		exchange{"page", "GET /docs", nil, ""},
		exchange{"compressed", "GET /docs", []string{gzip}, ""},
		exchange{"not modified", "GET /docs", []string{gzip, "If-None-Match: " + page.Header.Get("Etag")}, ""},
		exchange{"document", "GET /openapi.json", []string{gzip}, ""},
		exchange{"document", "GET /postman.json", []string{gzip}, ""},
		exchange{"client for pages", "GET /client.js", nil, ""},
		exchange{"client for pages", "GET /client.d.ts", nil, ""},
		exchange{"of another version", "GET /docs/x/init.js", nil, ""},
		exchange{"unknown", "GET /docs/x/y", nil, ""},
	)
	for _, name := range []string{"init.js", "page.css", "icon.svg", "swagger-ui.css", "swagger-ui-bundle.js"} {
		lines := h.raw(addr, exchange{name: name, request: "GET /docs/" + version + "/" + name})
		h.add("file: GET /docs/*/"+name, lines)
	}
}

// recordOutage records the responses of a server without stores.
func (h *headerRecorder) recordOutage() {
	h.t.Helper()

	addr, _, _ := start(h.t, withoutStores("DRAIN_TIME=0"))
	h.record(addr,
		exchange{"stores down", "GET /readyz", nil, ""},
		exchange{"stores down", "GET /auth/me", []string{"Cookie: __Host-sid=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}, ""},
	)
}

// recordDevelopment records a response that differs without https.
func (h *headerRecorder) recordDevelopment() {
	h.t.Helper()

	addr, _, _ := start(h.t, withoutStores("DRAIN_TIME=0", "APP_ENV=development", "LOG_FORMAT=json"))
	h.record(addr, exchange{"development", "GET /healthz", nil, ""})
}

// recordPages records the built-in pages.
func (h *headerRecorder) recordPages() {
	h.t.Helper()

	addr, _, _ := start(h.t, withoutStores("DRAIN_TIME=0", "PAGES=on", "PUBLIC_URL=https://api.example.com", "APP_LOGO_URL=https://cdn.example.com/logo.png"))
	page := send(h.t, "GET", "http://"+addr+"/signin", "")
	script := regexp.MustCompile(`pages/[\w-]+/signin\.js`).FindString(page.text)

	h.record(addr,
		exchange{"page", "GET /signin?lang=de", nil, ""},
		exchange{"browser with pages", "GET /", []string{"Accept: text/html"}, ""},
		exchange{"of another version", "GET /pages/x/signin.js", nil, ""},
		exchange{"unknown", "GET /pages/x/y", nil, ""},
	)
	h.add("file: GET /pages/*/signin.js", h.raw(addr, exchange{name: "script", request: "GET /" + script}))
}

// recordHTTP2 records responses over TLS and HTTP/2.
func (h *headerRecorder) recordHTTP2() {
	h.t.Helper()

	certFile, keyFile := storetest.Certificate(h.t, h.t.TempDir())
	addr, _, _ := start(h.t, withoutStores("DRAIN_TIME=0", "TRUSTED_PROXIES=", "TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile))
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2:  true,
		DisableCompression: true,
	}}
	defer client.CloseIdleConnections()

	for _, request := range []string{"GET /healthz", "GET /auth/me", "GET /docs", "POST /nothing"} {
		method, path, _ := strings.Cut(request, " ")
		res, err := fetch(client, method, "https://"+addr+path, "")
		testkit.NoError(h.t, err)

		lines := []string{res.Proto + " " + res.Status}
		for name, values := range res.Header {
			for _, value := range values {
				lines = append(lines, name+": "+value)
			}
		}
		h.add("over TLS: "+request, lines)
	}
	h.record(addr, exchange{"plain HTTP on a TLS port, by net/http", "GET /healthz", nil, ""})
}

// recordOps records the responses of the ops listener.
func (h *headerRecorder) recordOps() {
	h.t.Helper()

	_, out, _ := start(h.t, withoutStores("DRAIN_TIME=0", "OPS_ADDR=127.0.0.1:0", "OPS_HOSTS=api.example.com"))
	h.record(opsAddr(h.t, out),
		exchange{"ops", "GET /metrics", nil, ""},
		exchange{"ops", "GET /healthz", nil, ""},
		exchange{"ops, stores down", "GET /readyz", nil, ""},
		exchange{"ops", "GET /debug/pprof/", nil, ""},
		exchange{"ops", "GET /debug/pprof/cmdline", nil, ""},
		exchange{"ops", "GET /debug/pprof/heap", nil, ""},
		exchange{"ops", "GET /nothing", nil, ""},
		exchange{"ops", "POST /metrics", nil, ""},
		exchange{"ops, foreign name", "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", nil, ""},
		exchange{"ops, foreign page", "GET /metrics", []string{"Sec-Fetch-Site: cross-site"}, ""},
	)
}
