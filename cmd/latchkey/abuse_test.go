package main

import (
	"bufio"
	"bytes"
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
)

// abuse are requests that no well-meaning client sends, by what they try, and the
// statuses that answer them; 0 is a connection that is closed without an answer.
func abuse() map[string]struct {
	raw  string
	want []int
} {
	type attack = struct {
		raw  string
		want []int
	}
	const host = "Host: x\r\n"
	refused := []int{400}
	login := `{"email":"a@example.com","password":"a long password"}`
	post := func(headers, body string) string {
		return "POST /auth/login HTTP/1.1\r\n" + host + "Content-Type: application/json\r\n" + headers + "\r\n" + body
	}
	get := func(headers string) string { return "GET /auth/session HTTP/1.1\r\n" + host + headers + "\r\n" }
	all := map[string]attack{
		// Where one request ends and the next begins.
		"CL and TE":                    {post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nGET /x HTTP/1.1\r\n\r\n"), []int{411}},
		"TE and CL":                    {post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), []int{411}},
		"chunks":                       {post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), []int{411}},
		"chunks without an end":        {post("Transfer-Encoding: chunked\r\n", "FFFFFFFF\r\n"), []int{411}},
		"chunks with an extension":     {post("Transfer-Encoding: chunked\r\n", "5;x=y\r\nhello\r\n0\r\n\r\n"), []int{411}},
		"chunk size beyond 64 bits":    {post("Transfer-Encoding: chunked\r\n", "FFFFFFFFFFFFFFFFF\r\n"), []int{411}},
		"two lengths that differ":      {post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"), refused},
		"a list of lengths":            {post("Content-Length: 5, 6\r\n", "hello!"), refused},
		"a negative length":            {post("Content-Length: -1\r\n", ""), refused},
		"a length with a sign":         {post("Content-Length: +5\r\n", "hello"), refused},
		"a length in hex":              {post("Content-Length: 0x5\r\n", "hello"), refused},
		"a length beyond 64 bits":      {post("Content-Length: 99999999999999999999\r\n", ""), refused},
		"an empty length":              {post("Content-Length: \r\n", ""), refused},
		"a length that is a lot":       {post("Content-Length: 9223372036854775807\r\n", "{}"), []int{413}},
		"TE twice":                     {post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), []int{400, 501}},
		"TE chunked, identity":         {post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), []int{400, 501}},
		"TE identity":                  {post("Transfer-Encoding: identity\r\n", "{}"), []int{400, 501}},
		"TE gzip":                      {post("Transfer-Encoding: gzip\r\n", "{}"), []int{400, 501}},
		"TE xchunked":                  {post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), []int{400, 501}},
		"TE with a tab":                {post("Transfer-Encoding:\tchunked\r\n", "0\r\n\r\n"), []int{411, 400, 501}},
		"TE with a vertical tab":       {post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"), []int{400, 501}},
		"TE with a space before":       {post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), refused},
		"TE in HTTP/1.0":               {"POST /auth/login HTTP/1.0\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []int{400, 411}},
		"a smaller length than it has": {post("Connection: close\r\nContent-Length: 2\r\n", login), refused},
		"a larger length than it has":  {post("Content-Length: 500\r\n", login), []int{0, 400, 408}},
		"two requests, the second bad": {get("") + "GET / HTTP/9.9\r\n\r\n", []int{401}},
		"an upgrade to HTTP/2":         {get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"), []int{401}},
		"HTTP/2 with prior knowledge":  {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{0, 400, 404, 405, 505}},
		"an upgrade to a socket":       {get("Connection: Upgrade\r\nUpgrade: websocket\r\n"), []int{401}},
		// The first line.
		"no method":                     {" / HTTP/1.1\r\n" + host + "\r\n", refused},
		"a method of garbage":           {"G\x00T / HTTP/1.1\r\n" + host + "\r\n", refused},
		"TRACE":                         {"TRACE /auth/me HTTP/1.1\r\n" + host + "\r\n", []int{405}},
		"CONNECT":                       {"CONNECT evil.example:443 HTTP/1.1\r\n" + host + "\r\n", []int{400, 404, 405}},
		"no version":                    {"GET /healthz\r\n\r\n", refused},
		"HTTP/0.9":                      {"GET /healthz HTTP/0.9\r\n\r\n", []int{400, 505}},
		"HTTP/3.0":                      {"GET /healthz HTTP/3.0\r\n" + host + "\r\n", []int{400, 505}},
		"a version of garbage":          {"GET /healthz HTTP/1.1x\r\n" + host + "\r\n", refused},
		"two spaces":                    {"GET  /healthz HTTP/1.1\r\n" + host + "\r\n", refused},
		"no path":                       {"GET HTTP/1.1\r\n" + host + "\r\n", refused},
		"a path without a slash":        {"GET healthz HTTP/1.1\r\n" + host + "\r\n", refused},
		"an absolute address elsewhere": {"GET http://evil.example/auth/me HTTP/1.1\r\n" + host + "\r\n", []int{401}},
		"a path with NUL":               {"GET /healthz\x00 HTTP/1.1\r\n" + host + "\r\n", refused},
		"a path with %00":               {"GET /healthz%00 HTTP/1.1\r\n" + host + "\r\n", []int{404}},
		"a path with half an escape":    {"GET /healthz%2 HTTP/1.1\r\n" + host + "\r\n", refused},
		"a path upwards":                {"GET /docs/../../../etc/passwd HTTP/1.1\r\n" + host + "\r\n", []int{404}},
		"a path upwards, escaped":       {"GET /docs/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + host + "\r\n", []int{404}},
		"a path with backslashes":       {"GET /docs/..\\..\\x HTTP/1.1\r\n" + host + "\r\n", []int{404}},
		"a path of slashes":             {"GET //auth//me HTTP/1.1\r\n" + host + "\r\n", []int{404}},
		"a path that is very long":      {"GET /" + strings.Repeat("a", 40<<10) + " HTTP/1.1\r\n" + host + "\r\n", []int{431, 414}},
		"a query that is long":          {"GET /auth/session?" + strings.Repeat("a=b&", 5000) + " HTTP/1.1\r\n" + host + "\r\n", []int{401}},
		// The headers.
		"no host":                  {"GET /healthz HTTP/1.1\r\n\r\n", refused},
		"two hosts":                {"GET /healthz HTTP/1.1\r\n" + host + "Host: y\r\n\r\n", refused},
		"a host of garbage":        {"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n", refused},
		"a header without a colon": {get("Nonsense\r\n"), refused},
		"a header without a name":  {get(": x\r\n"), refused},
		"a name with a space":      {get("Bad Name: x\r\n"), refused},
		"a name with NUL":          {get("Bad\x00Name: x\r\n"), refused},
		"a value with NUL":         {get("X: a\x00b\r\n"), refused},
		"a value with CR":          {get("X: a\rb\r\n"), refused},
		"a first line of the headers that is folded": {"GET /auth/session HTTP/1.1\r\n Folded: x\r\n" + host + "\r\n", refused},
		"headers that are very large":                {get("X: " + strings.Repeat("x", 40<<10) + "\r\n"), []int{431}},
		"very many headers":                          {get(strings.Repeat("X: y\r\n", 2000)), []int{431}},
		"very many cookies":                          {get("Cookie: " + strings.Repeat("a=b; ", 3000) + "\r\n"), []int{431}},
		"a cookie of garbage":                        {get("Cookie: __Host-sid=\"\\\x80\xff;;;=;__Host-sid\r\n"), []int{401, 400}},
		"the cookie twice":                           {get("Cookie: __Host-sid=" + strings.Repeat("A", 43) + "\r\nCookie: __Host-sid=" + strings.Repeat("B", 43) + "\r\n"), []int{401}},
		"Expect of garbage":                          {post("Expect: 200-ok\r\nContent-Length: 2\r\n", "{}"), []int{417}},
		"a range":                                    {get("Range: bytes=0-18446744073709551615\r\n"), []int{401}},
		// The body.
		"a body on a GET":             {"GET /auth/session HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}", []int{400, 401}},
		"a body that is too large":    {post(fmt.Sprintf("Content-Length: %d\r\n", 70<<10), strings.Repeat(" ", 70<<10)), []int{413}},
		"JSON that is very deep":      {post(fmt.Sprintf("Content-Length: %d\r\n", 60000), strings.Repeat("[", 60000)), refused},
		"two bodies":                  {post(fmt.Sprintf("Content-Length: %d\r\n", 2*len(login)), login+login), refused},
		"gzip that was not asked for": {post("Content-Encoding: gzip\r\nContent-Length: 2\r\n", "\x1f\x8b"), []int{400, 415}},
		// Something else altogether.
		"TLS":                {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", refused},
		"SSH":                {"SSH-2.0-OpenSSH_9.2\r\n", refused},
		"SMTP":               {"EHLO x\r\n", refused},
		"RESP":               {"*1\r\n$4\r\nPING\r\n", refused},
		"the PROXY protocol": {"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\n" + host + "\r\n", refused},
		"zeros":              {strings.Repeat("\x00", 1000) + "\r\n\r\n", refused},
	}
	return all
}

// Whatever is sent is answered with a refusal, in time, and the server lives.
func TestAbuse(t *testing.T) {
	t.Parallel()
	addr, _, _ := start(t, environment(t))
	cases := abuse()
	if t.Logf("%d cases", len(cases)); len(cases) < 60 {
		t.Error("too few")
	}
	for name, attack := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			go func() { _, _ = io.WriteString(conn, attack.raw) }()
			status := 0
			var body []byte
			if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
				status = res.StatusCode
				body, _ = io.ReadAll(io.LimitReader(res.Body, 10<<10))
			}
			for _, want := range attack.want {
				if status == want {
					return
				}
			}
			t.Errorf("got %d, want %v\n%s", status, attack.want, bytes.TrimSpace(body))
		})
	}
	t.Cleanup(func() {
		res, err := http.Get("http://" + addr + "/healthz")
		if err != nil {
			t.Error(err)
			return
		}
		_ = res.Body.Close()
	})
}

// maxSlowClients is how many hold a request half sent, where as many files may be open.
const maxSlowClients = 5000

// Clients that send half a request hold nothing that others need, and not for long.
// The figures are for the log: the machine may have other things to do.
func TestSlowClients(t *testing.T) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	slowClients := int(min(maxSlowClients, files.Cur/3)) // both ends are here, and there are others
	addr, _, _ := start(t, environment(t))
	halves := []string{
		"GET /auth/session HTTP/1.1\r\nHost: x\r\n", "G", "",
		"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
	}
	begun := time.Now()
	var gone sync.WaitGroup
	var last atomic.Int64
	for i := range slowClients {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, halves[i%len(halves)]); err != nil {
			t.Fatal(err)
		}
		gone.Go(func() {
			defer func() { _ = conn.Close() }()
			_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("a connection stays")
			}
			last.Store(int64(time.Since(begun)))
		})
	}
	made := time.Since(begun)
	took := make([]time.Duration, 200)
	for i := range took {
		asked := time.Now()
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Get("http://" + addr + "/auth/session")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if took[i] = time.Since(asked); res.StatusCode != http.StatusUnauthorized {
			t.Fatal(res.Status)
		}
	}
	slices.Sort(took)
	gone.Wait()
	t.Logf("%d slow clients connected in %v; beside them a new one is answered in %v (median), %v (p99); all were gone %v after the first had come",
		slowClients, made, took[100], took[198], time.Duration(last.Load()))
}
