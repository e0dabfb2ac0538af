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

// attacks returns malicious requests by name. net/http rejects many more by itself.
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
		"CL and TE":                        {post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(login), login)), badRequest},
		"chunks":                           {post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), badRequest},
		"two lengths that differ":          {post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"), badRequest},
		"a huge length":                    {post("Content-Length: 9223372036854775807\r\n", "{}"), []int{413}},
		"TE with a space before the colon": {post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), badRequest},
		"TE in HTTP/1.0":                   {"POST /auth/login HTTP/1.0\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", badRequest},
		"a length that is too small":       {post("Connection: close\r\nContent-Length: 2\r\n", login), badRequest},
		"a length that is too large":       {post("Content-Length: 500\r\n", login), []int{0, 400, 408}},
		"an upgrade to HTTP/2":             {get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"), []int{401}},
		"HTTP/2 with prior knowledge":      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{0, 400, 404, 405, 505}},
		"an upgrade to a WebSocket":        {get("Connection: Upgrade\r\nUpgrade: websocket\r\n"), []int{401}},
		// The request line.
		"OPTIONS *":                       {"OPTIONS * HTTP/1.1\r\n" + host + "\r\n", []int{404}},
		"TRACE":                           {"TRACE /auth/me HTTP/1.1\r\n" + host + "\r\n", []int{405}},
		"CONNECT":                         {"CONNECT evil.example:443 HTTP/1.1\r\n" + host + "\r\n", []int{400, 404, 405}},
		"an absolute URL of another host": {"GET http://evil.example/auth/me HTTP/1.1\r\n" + host + "\r\n", []int{401}},
		"a path with %00":                 {"GET /healthz%00 HTTP/1.1\r\n" + host + "\r\n", []int{404}},
		"a path traversal":                {"GET /docs/../../../etc/passwd HTTP/1.1\r\n" + host + "\r\n", []int{404}},
		"an escaped path traversal":       {"GET /docs/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + host + "\r\n", []int{404}},
		"a path with backslashes":         {"GET /docs/..\\..\\x HTTP/1.1\r\n" + host + "\r\n", []int{404}},
		"a path with double slashes":      {"GET //auth//me HTTP/1.1\r\n" + host + "\r\n", []int{404}},
		"a very long path":                {"GET /" + strings.Repeat("a", 40<<10) + " HTTP/1.1\r\n" + host + "\r\n", []int{431, 414}},
		"a long query":                    {"GET /auth/session?" + strings.Repeat("a=b&", 5000) + " HTTP/1.1\r\n" + host + "\r\n", []int{401}},
		// Headers.
		"two hosts":          {"GET /healthz HTTP/1.1\r\n" + host + "Host: y\r\n\r\n", badRequest},
		"very large headers": {get("X: " + strings.Repeat("x", 40<<10) + "\r\n"), []int{431}},
		"very many headers":  {get(strings.Repeat("X: y\r\n", 2000)), []int{431}},
		"very many cookies":  {get("Cookie: " + strings.Repeat("a=b; ", 3000) + "\r\n"), []int{431}},
		"a malformed cookie": {get("Cookie: __Host-sid=\"\\\x80\xff;;;=;__Host-sid\r\n"), []int{401, 400}},
		"an unknown Expect":  {post("Expect: 200-ok\r\nContent-Length: 2\r\n", "{}"), []int{417}},
		// Bodies.
		"a body on a GET":                 {"GET /auth/session HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}", []int{400, 401}},
		"a body that is too large":        {post(fmt.Sprintf("Content-Length: %d\r\n", 70<<10), strings.Repeat(" ", 70<<10)), []int{413}},
		"deeply nested JSON":              {post(fmt.Sprintf("Content-Length: %d\r\n", 30000), strings.Repeat("[", 30000)), badRequest},
		"two bodies":                      {post(fmt.Sprintf("Content-Length: %d\r\n", 2*len(login)), login+login), badRequest},
		"an unsupported Content-Encoding": {post("Content-Encoding: gzip\r\nContent-Length: 2\r\n", "\x1f\x8b"), []int{400, 415}},
		// Other protocols.
		"TLS":   {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", badRequest},
		"zeros": {strings.Repeat("\x00", 1000) + "\r\n\r\n", badRequest},
	}
}

// The server rejects malicious requests in time, and still works afterwards.
func TestAbuse(t *testing.T) {
	t.Parallel()
	addr, _, _ := start(t, environment(t))

	for name, attack := range attacks() {
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

// A client that disconnects in the middle of a large response causes no errors in the log.
func TestInterruptedDownload(t *testing.T) {
	t.Parallel()
	addr, out, _ := start(t, withoutStores("DRAIN_TIME=0"))

	const downloads = 5
	for range downloads {
		conn, err := net.Dial("tcp", addr)
		testkit.NoError(t, err)
		tcp, ok := conn.(*net.TCPConn)
		if !ok {
			t.Fatalf("connection: got %T, want TCP", conn)
		}
		testkit.NoError(t, tcp.SetReadBuffer(4<<10))
		testkit.NoError(t, tcp.SetLinger(0)) // reset the connection

		_, err = io.WriteString(conn, "GET /docs/x/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n")
		testkit.NoError(t, err)
		_, err = io.ReadFull(conn, make([]byte, 1000))
		testkit.NoError(t, err)
		testkit.NoError(t, conn.Close())
	}

	testkit.Eventually(t, "the end of the downloads", func() bool {
		return strings.Count(out.String(), `"route":"/docs/*","status":200`) == downloads
	})
	for line := range strings.Lines(out.String()) {
		isError := strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, "http:") || strings.Contains(line, "superfluous")
		if isError && !strings.Contains(line, "store") {
			t.Errorf("log: got %s, want no error", line)
		}
	}
}

// Clients that send half a request do not block others, and are disconnected.
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
	var readers sync.WaitGroup
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
		})
	}

	for range 200 {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
		if err := (&loadClient{http: client, base: "http://" + addr}).do("GET", "/auth/session", "", http.StatusUnauthorized); err != nil {
			t.Fatal(err)
		}
	}
	readers.Wait()
}
