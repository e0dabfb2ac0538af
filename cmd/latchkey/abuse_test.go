package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/testkit"
)

// attack is a malicious request and the accepted statuses. Status 0 means that the connection
// is closed without a response.
type attack struct {
	raw  string
	want []int
}

// attacks returns malicious requests by name.
func attacks() map[string]attack {
	const host = "Host: x\r\n"
	badRequest := []int{400}
	login := `{"email":"a@example.com","password":"a long password"}`
	post := func(headers, body string) string {
		return "POST /auth/login HTTP/1.1\r\n" + host + "Content-Type: application/json\r\n" + headers + "\r\n" + body
	}
	get := func(headers string) string { return "GET /auth/session HTTP/1.1\r\n" + host + headers + "\r\n" }

	return map[string]attack{
		// Message framing.
		"CL and TE":                        {post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nGET /x HTTP/1.1\r\n\r\n"), []int{411}},
		"TE and CL":                        {post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), []int{411}},
		"chunks":                           {post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), []int{411}},
		"chunks without an end":            {post("Transfer-Encoding: chunked\r\n", "FFFFFFFF\r\n"), []int{411}},
		"chunks with an extension":         {post("Transfer-Encoding: chunked\r\n", "5;x=y\r\nhello\r\n0\r\n\r\n"), []int{411}},
		"chunk size beyond 64 bits":        {post("Transfer-Encoding: chunked\r\n", "FFFFFFFFFFFFFFFFF\r\n"), []int{411}},
		"two lengths that differ":          {post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"), badRequest},
		"a list of lengths":                {post("Content-Length: 5, 6\r\n", "hello!"), badRequest},
		"a negative length":                {post("Content-Length: -1\r\n", ""), badRequest},
		"a length with a sign":             {post("Content-Length: +5\r\n", "hello"), badRequest},
		"a length in hex":                  {post("Content-Length: 0x5\r\n", "hello"), badRequest},
		"a length beyond 64 bits":          {post("Content-Length: 99999999999999999999\r\n", ""), badRequest},
		"an empty length":                  {post("Content-Length: \r\n", ""), badRequest},
		"a huge length":                    {post("Content-Length: 9223372036854775807\r\n", "{}"), []int{413}},
		"TE twice":                         {post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), []int{400, 501}},
		"TE chunked, identity":             {post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), []int{400, 501}},
		"TE identity":                      {post("Transfer-Encoding: identity\r\n", "{}"), []int{400, 501}},
		"TE gzip":                          {post("Transfer-Encoding: gzip\r\n", "{}"), []int{400, 501}},
		"TE xchunked":                      {post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), []int{400, 501}},
		"TE with a tab":                    {post("Transfer-Encoding:\tchunked\r\n", "0\r\n\r\n"), []int{411, 400, 501}},
		"TE with a vertical tab":           {post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"), []int{400, 501}},
		"TE with a space before the colon": {post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), badRequest},
		"TE in HTTP/1.0":                   {"POST /auth/login HTTP/1.0\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []int{400, 411}},
		"a length that is too small":       {post("Connection: close\r\nContent-Length: 2\r\n", login), badRequest},
		"a length that is too large":       {post("Content-Length: 500\r\n", login), []int{0, 400, 408}},
		"two requests, the second bad":     {get("") + "GET / HTTP/9.9\r\n\r\n", []int{401}},
		"an upgrade to HTTP/2":             {get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"), []int{401}},
		"HTTP/2 with prior knowledge":      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{0, 400, 404, 405, 505}},
		"an upgrade to a WebSocket":        {get("Connection: Upgrade\r\nUpgrade: websocket\r\n"), []int{401}},
		// The request line.
		"no method":                        {" / HTTP/1.1\r\n" + host + "\r\n", badRequest},
		"a malformed method":               {"G\x00T / HTTP/1.1\r\n" + host + "\r\n", badRequest},
		"TRACE":                            {"TRACE /auth/me HTTP/1.1\r\n" + host + "\r\n", []int{405}},
		"CONNECT":                          {"CONNECT evil.example:443 HTTP/1.1\r\n" + host + "\r\n", []int{400, 404, 405}},
		"no version":                       {"GET /healthz\r\n\r\n", badRequest},
		"HTTP/0.9":                         {"GET /healthz HTTP/0.9\r\n\r\n", []int{400, 505}},
		"HTTP/3.0":                         {"GET /healthz HTTP/3.0\r\n" + host + "\r\n", []int{400, 505}},
		"a malformed version":              {"GET /healthz HTTP/1.1x\r\n" + host + "\r\n", badRequest},
		"two spaces":                       {"GET  /healthz HTTP/1.1\r\n" + host + "\r\n", badRequest},
		"no path":                          {"GET HTTP/1.1\r\n" + host + "\r\n", badRequest},
		"a path without a slash":           {"GET healthz HTTP/1.1\r\n" + host + "\r\n", badRequest},
		"an absolute URL of another host":  {"GET http://evil.example/auth/me HTTP/1.1\r\n" + host + "\r\n", []int{401}},
		"a path with NUL":                  {"GET /healthz\x00 HTTP/1.1\r\n" + host + "\r\n", badRequest},
		"a path with %00":                  {"GET /healthz%00 HTTP/1.1\r\n" + host + "\r\n", []int{404}},
		"a path with an incomplete escape": {"GET /healthz%2 HTTP/1.1\r\n" + host + "\r\n", badRequest},
		"a path traversal":                 {"GET /docs/../../../etc/passwd HTTP/1.1\r\n" + host + "\r\n", []int{404}},
		"an escaped path traversal":        {"GET /docs/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + host + "\r\n", []int{404}},
		"a path with backslashes":          {"GET /docs/..\\..\\x HTTP/1.1\r\n" + host + "\r\n", []int{404}},
		"a path with double slashes":       {"GET //auth//me HTTP/1.1\r\n" + host + "\r\n", []int{404}},
		"a very long path":                 {"GET /" + strings.Repeat("a", 40<<10) + " HTTP/1.1\r\n" + host + "\r\n", []int{431, 414}},
		"a long query":                     {"GET /auth/session?" + strings.Repeat("a=b&", 5000) + " HTTP/1.1\r\n" + host + "\r\n", []int{401}},
		// Headers.
		"no host":                    {"GET /healthz HTTP/1.1\r\n\r\n", badRequest},
		"two hosts":                  {"GET /healthz HTTP/1.1\r\n" + host + "Host: y\r\n\r\n", badRequest},
		"a malformed host":           {"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n", badRequest},
		"a header without a colon":   {get("Nonsense\r\n"), badRequest},
		"a header without a name":    {get(": x\r\n"), badRequest},
		"a name with a space":        {get("Bad Name: x\r\n"), badRequest},
		"a name with NUL":            {get("Bad\x00Name: x\r\n"), badRequest},
		"a value with NUL":           {get("X: a\x00b\r\n"), badRequest},
		"a value with CR":            {get("X: a\rb\r\n"), badRequest},
		"a folded first header line": {"GET /auth/session HTTP/1.1\r\n Folded: x\r\n" + host + "\r\n", badRequest},
		"very large headers":         {get("X: " + strings.Repeat("x", 40<<10) + "\r\n"), []int{431}},
		"very many headers":          {get(strings.Repeat("X: y\r\n", 2000)), []int{431}},
		"very many cookies":          {get("Cookie: " + strings.Repeat("a=b; ", 3000) + "\r\n"), []int{431}},
		"a malformed cookie":         {get("Cookie: __Host-sid=\"\\\x80\xff;;;=;__Host-sid\r\n"), []int{401, 400}},
		"two session cookies":        {get("Cookie: __Host-sid=" + strings.Repeat("A", 43) + "\r\nCookie: __Host-sid=" + strings.Repeat("B", 43) + "\r\n"), []int{401}},
		"an unknown Expect":          {post("Expect: 200-ok\r\nContent-Length: 2\r\n", "{}"), []int{417}},
		"a range":                    {get("Range: bytes=0-18446744073709551615\r\n"), []int{401}},
		// Bodies.
		"a body on a GET":                 {"GET /auth/session HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}", []int{400, 401}},
		"a body that is too large":        {post(fmt.Sprintf("Content-Length: %d\r\n", 70<<10), strings.Repeat(" ", 70<<10)), []int{413}},
		"deeply nested JSON":              {post(fmt.Sprintf("Content-Length: %d\r\n", 60000), strings.Repeat("[", 60000)), badRequest},
		"two bodies":                      {post(fmt.Sprintf("Content-Length: %d\r\n", 2*len(login)), login+login), badRequest},
		"an unsupported Content-Encoding": {post("Content-Encoding: gzip\r\nContent-Length: 2\r\n", "\x1f\x8b"), []int{400, 415}},
		// Other protocols.
		"TLS":                {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", badRequest},
		"SSH":                {"SSH-2.0-OpenSSH_9.2\r\n", badRequest},
		"SMTP":               {"EHLO x\r\n", badRequest},
		"RESP":               {"*1\r\n$4\r\nPING\r\n", badRequest},
		"the PROXY protocol": {"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\n" + host + "\r\n", badRequest},
		"zeros":              {strings.Repeat("\x00", 1000) + "\r\n\r\n", badRequest},
	}
}

// The server rejects malicious requests in time, and survives them.
func TestAbuse(t *testing.T) {
	t.Parallel()
	addr, _, _ := start(t, environment(t))
	cases := attacks()
	if len(cases) < 60 {
		t.Errorf("attacks: got %d, want at least 60", len(cases))
	}

	for name, attack := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", addr)
			testkit.NoError(t, err)
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			go func() { _, _ = io.WriteString(conn, attack.raw) }()

			status := 0
			var body []byte
			if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
				status = res.StatusCode
				body, _ = io.ReadAll(io.LimitReader(res.Body, 10<<10))
			}
			if !slices.Contains(attack.want, status) {
				t.Errorf("status: got %d, want %v; body: %s", status, attack.want, body)
			}
		})
	}
	t.Cleanup(func() { wantGet(t, "http://"+addr+"/healthz", http.StatusOK, "") })
}

// Clients that send half a request do not block others, and are disconnected. The times are
// only logged, because the machine may be busy.
func TestSlowClients(t *testing.T) {
	const maxClients = 5000
	var files syscall.Rlimit
	testkit.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	slowClients := int(min(maxClients, files.Cur/3)) // this process has both ends of each connection

	addr, _, _ := start(t, environment(t))
	halves := []string{
		"GET /auth/session HTTP/1.1\r\nHost: x\r\n", "G", "",
		"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
	}
	startedAt := time.Now()
	var readers sync.WaitGroup
	var lastClosed atomic.Int64
	for i := range slowClients {
		conn, err := net.Dial("tcp", addr)
		testkit.NoError(t, err)
		_, err = io.WriteString(conn, halves[i%len(halves)])
		testkit.NoError(t, err)
		readers.Go(func() {
			defer func() { _ = conn.Close() }()
			_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("a connection with half a request is still open after a minute")
			}
			lastClosed.Store(int64(time.Since(startedAt)))
		})
	}
	connected := time.Since(startedAt)

	latencies := make([]time.Duration, 200)
	for i := range latencies {
		sentAt := time.Now()
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Get("http://" + addr + "/auth/session")
		testkit.NoError(t, err)
		_ = res.Body.Close()
		latencies[i] = time.Since(sentAt)
		if res.StatusCode != http.StatusUnauthorized {
			t.Fatalf("/auth/session: got %s, want 401", res.Status)
		}
	}
	slices.Sort(latencies)
	readers.Wait()

	t.Logf("%d slow clients connected in %v; latency of other requests: median %v, p99 %v; all slow clients disconnected after %v",
		slowClients, connected, latencies[100], latencies[198], time.Duration(lastClosed.Load()))
}
