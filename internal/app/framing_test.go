package app

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"latchkey/internal/testkit"
)

// serveFramed starts a server that reads bodies and, like the API, closes the connection after a chunked
// request. It returns its host:port.
func serveFramed(t *testing.T) string {
	t.Helper()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.NoError(t, err)
	server := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TransferEncoding) > 0 {
			w.Header().Set("Connection", "close")
		}
		_, _ = io.Copy(w, r.Body)
	}), slog.New(slog.DiscardHandler))
	go func() { _ = server.Serve(framingListener{listener}) }()
	t.Cleanup(func() { _ = server.Close() })

	return listener.Addr().String()
}

// A request with both a Content-Length and a Transfer-Encoding is refused, however it is written and
// whatever came before it on the connection. All other requests are served.
func TestFraming(t *testing.T) {
	t.Parallel()
	addr := serveFramed(t)

	const (
		post    = "POST / HTTP/1.1\r\nHost: x\r\n"
		length  = "Content-Length: 5\r\n"
		chunked = "Transfer-Encoding: chunked\r\n"
		chunks  = "\r\n5\r\nhello\r\n0\r\n\r\n"
		last    = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	)
	both := post + length + chunked + chunks

	for name, tc := range map[string]struct {
		raw  string
		want string // the statuses
	}{
		"length":                       {post + length + "\r\nhello" + last, "200 200"},
		"chunks":                       {post + chunked + chunks, "200"},
		"chunks after a length":        {post + length + "\r\nhello" + post + chunked + chunks, "200 200"},
		"two equal lengths":            {post + length + length + "\r\nhello" + last, "200 200"},
		"no body":                      {post + "\r\n" + last, "200 200"},
		"empty line between requests":  {post + length + "\r\nhello\r\n" + last, "200 200"},
		"names in values":              {post + "X: Content-Length:\r\nY: Transfer-Encoding:\r\n" + length + "\r\nhello" + last, "200 200"},
		"names in a body":              {post + "Content-Length: 20\r\n\r\nTransfer-Encoding: \n" + last, "200 200"},
		"longer names":                 {post + length + "X-Transfer-Encoding: a\r\nTransfer-Encodings: a\r\n\r\nhello" + last, "200 200"},
		"a head in a body":             {post + "Content-Length: 45\r\n\r\nPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + last, "200 200"},
		"a length in a trailer":        {post + chunked + "\r\n5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n", "200"},
		"both":                         {both + last, "400"},
		"both in another order":        {post + chunked + length + chunks + last, "400"},
		"both without a body":          {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n" + chunked + "\r\n0\r\n\r\n" + last, "400"},
		"both in lower case":           {post + strings.ToLower(length+chunked) + chunks + last, "400"},
		"both with other headers":      {post + chunked + "X: " + strings.Repeat("y", 9000) + "\r\nCONTENT-length:5\r\n" + chunks + last, "400"},
		"both with line feeds only":    {strings.ReplaceAll(both, "\r\n", "\n"), "400"},
		"both with a colon in a value": {post + length + "Transfer-Encoding: a:b\r\n" + chunks, "400"},
		"both in HTTP/1.0":             {strings.Replace(both, "HTTP/1.1", "HTTP/1.0", 1), "400"},
		"both after a length":          {post + length + "\r\nhello" + both + last, "200 400"},
		"both after a padded length":   {post + "Content-Length:" + strings.Repeat(" ", 5000) + "5\r\n\r\nhello" + both + last, "200 400"},
		"both after an empty line":     {post + length + "\r\nhello\r\n" + both + last, "200 400"},
		"both after a head in a body":  {post + "Content-Length: 47\r\n\r\nPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + both + last, "200 400"},
	} {
		for _, oneByOne := range []bool{false, true} {
			conn, err := net.Dial("tcp", addr)
			testkit.NoError(t, err)
			testkit.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))

			var raw io.Reader = strings.NewReader(tc.raw)
			if oneByOne {
				raw = iotest.OneByteReader(raw)
			}
			go func() { _, _ = io.Copy(struct{ io.Writer }{conn}, raw) }()

			if got := statuses(conn); got != tc.want {
				t.Errorf("%s (byte by byte: %v): got statuses %s, want %s", name, oneByOne, got, tc.want)
			}
			_ = conn.Close()
		}
	}
}

// statuses returns the statuses of all responses until the server closes the connection.
func statuses(conn net.Conn) string {
	var all []string
	from := bufio.NewReader(conn)
	for {
		res, err := http.ReadResponse(from, nil)
		if err != nil {
			return strings.Join(all, " ")
		}

		_, _ = io.Copy(io.Discard, res.Body)
		all = append(all, fmt.Sprint(res.StatusCode))
	}
}
