package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/httpapi"
	"latchkey/internal/testkit"
)

// rawConn is a connection on which a test writes and reads HTTP itself.
type rawConn struct {
	net.Conn

	from *bufio.Reader // what the server sends
}

// sendRaw sends bytes on a new connection.
func sendRaw(t *testing.T, s *apitest.Server, raw string) rawConn {
	t.Helper()

	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	testkit.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	testkit.NoError(t, conn.SetDeadline(time.Now().Add(2*time.Minute)))
	_, err = io.WriteString(conn, raw)
	testkit.NoError(t, err)

	return rawConn{Conn: conn, from: bufio.NewReader(conn)}
}

// readResponse reads one response.
func (c rawConn) readResponse(t *testing.T) *http.Response {
	t.Helper()

	res, err := http.ReadResponse(c.from, nil)
	testkit.NoError(t, err)

	return res
}

// Clients that do not know the length of a body in advance send it in chunks: fetch with a
// stream, PostAsJsonAsync of .NET, Go with any other reader. The limit applies while reading.
func TestChunkedBodies(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	s.Register("ann@example.com")
	send := func(token, path, body string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, struct{ io.Reader }{strings.NewReader(body)})
		testkit.NoError(t, err)
		r.TransferEncoding = []string{"chunked"} // even if there is nothing in it
		r.Header.Set("Content-Type", "application/json")
		r.AddCookie(&http.Cookie{Name: s.Cookie.Name, Value: token})

		res, err := s.HTTP.Do(r)
		testkit.NoError(t, err)
		t.Cleanup(func() { _ = res.Body.Close() })

		return res
	}

	login := string(apitest.Encode(apitest.AnnsLogin))
	res := send("", "/auth/login", login)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("login: got %d, want 200", res.StatusCode)
	}
	var c *apitest.Client
	for _, cookie := range res.Cookies() {
		if cookie.Name == s.Cookie.Name {
			c = s.WithToken(cookie.Value)
		}
	}

	for _, tc := range []struct {
		name   string
		body   string
		status int
	}{
		{"nothing", "", 400},
		{"not JSON", "{", 400},
		{"largest", login + strings.Repeat(" ", httpapi.MaxPasswordBody-len(login)), 200},
		{"too large", login + strings.Repeat(" ", httpapi.MaxPasswordBody-len(login)+1), 413},
	} {
		if res := send("", "/auth/login", tc.body); res.StatusCode != tc.status {
			t.Errorf("%s: got %d, want %d", tc.name, res.StatusCode, tc.status)
		}
	}

	if res := send(c.Token, "/auth/logout", ""); res.StatusCode != http.StatusOK {
		t.Errorf("logout: got %d, want 200", res.StatusCode)
	}
	c.WantReason("logged_out")
}

// The connection closes after every chunked request, on every path. A proxy that uses the
// Content-Length instead may take a part of the body for the next request of another client.
func TestChunksCannotSmuggle(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Origins: []string{listedOrigin}})
	const both = "Content-Type: application/json\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, head := range []string{
		"POST /auth/login HTTP/1.1\r\nHost: x\r\n",
		"POST /auth/logout HTTP/1.1\r\nHost: x\r\n",
		"GET /healthz HTTP/1.1\r\nHost: x\r\n",
		"POST /nothing HTTP/1.1\r\nHost: x\r\n",
		"OPTIONS /auth/login HTTP/1.1\r\nHost: x\r\nAccess-Control-Request-Method: POST\r\nOrigin: " + listedOrigin + "\r\n",
	} {
		conn := sendRaw(t, s, head+both+"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		res := conn.readResponse(t)
		_, err := io.Copy(io.Discard, res.Body)
		testkit.NoError(t, err)

		rest, err := io.ReadAll(conn.from)
		if !res.Close || len(rest) != 0 || err != nil {
			t.Errorf("%q: got Connection %q and %q (error %v), want one response and the end", head, res.Header.Get("Connection"), rest, err)
		}
	}

	// In HTTP/1.0 the Content-Length counts, and nothing after the body may be read as another
	// request.
	for length, rest := range map[string]string{
		"5": "0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
		"0": "GET /healthz HTTP/1.0\r\n\r\n",
	} {
		head := "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: " + length + "\r\n\r\n"
		answer, err := io.ReadAll(sendRaw(t, s, head+rest).from)
		if got := strings.Count(string(answer), "HTTP/1."); got != 1 || err != nil {
			t.Errorf("HTTP/1.0, Content-Length %s: got %d responses (error %v), want one and a closed connection:\n%s", length, got, err, answer)
		}
	}

	// Framing that net/http does not understand is refused.
	for _, framing := range []string{"Transfer-Encoding: gzip, chunked", "Transfer-Encoding: identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"} {
		raw := fmt.Sprintf("POST /auth/logout HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n0\r\n\r\n", framing)
		res := sendRaw(t, s, raw).readResponse(t)
		if res.StatusCode < 400 || !res.Close {
			t.Errorf("%s: got %d, want a refusal and the end", framing, res.StatusCode)
		}
	}
}
