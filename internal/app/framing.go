package app

import (
	"bytes"
	"net"
	"strconv"
	"strings"
)

// framingListener makes net/http refuse requests that have both a Content-Length and a
// Transfer-Encoding, with status 400 and a closed connection. A proxy and this server may disagree
// about which of the two counts (request smuggling, RFC 9112 section 6.3). net/http removes the
// Content-Length of such a request, so that handlers cannot see it.
//
// It must not wrap TLS connections, because net/http recognizes them by their type. On these,
// package httpapi only closes the connection after the response.
type framingListener struct{ net.Listener }

// Accept implements net.Listener.
func (l framingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		return &framedConn{TCPConn: tcp}, err
	}

	return conn, err
}

// framedConn is a connection of a framingListener.
type framedConn struct {
	*net.TCPConn
	requests framing
}

// Read implements net.Conn. net/http does not call it concurrently.
func (c *framedConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	c.requests.scan(p[:n])

	return n, err
}

// framing follows the requests on an HTTP/1 connection, as net/http reads them. The zero value is at
// the beginning of a connection.
type framing struct {
	inHead      bool // after the request line
	hasLength   bool // in the current head
	hasEncoding bool // in the current head
	inLength    bool // in the value of a Content-Length

	name   []byte // the beginning of the current line, at most maxFramingName bytes
	length []byte // the value of Content-Length
	body   uint64 // remaining bytes of the current body

	// ended is set if no other request follows: the current one is refused, or the connection
	// closes after it because it is chunked.
	ended bool
}

const (
	lengthName   = "Content-Length"
	encodingName = "Transfer-Encoding"

	// maxFramingName is the length of the longer name and its colon.
	maxFramingName = len(encodingName) + 1
)

// scan follows data that was read from the connection. If a request has both headers, scan removes
// the colon of the second one, which makes the header malformed.
func (f *framing) scan(data []byte) {
	for len(data) > 0 && !f.ended {
		if f.body > 0 {
			skipped := min(f.body, uint64(len(data)))
			f.body -= skipped
			data = data[skipped:]

			continue
		}

		line, rest, isComplete := bytes.Cut(data, []byte("\n"))
		if isComplete && f.inHead && f.canSkip(line) {
			data = rest
			continue
		}

		f.extendLine(line)
		if isComplete {
			f.endLine()
		}
		data = rest
	}
}

// canSkip reports whether the first byte of a complete line of a head shows that the line is neither a
// header that matters nor the end of the head. This is the fastest check, and skips most lines.
func (f *framing) canSkip(line []byte) bool {
	isStart := len(f.name) == 0 && !f.inLength

	return isStart && len(line) > 0 && !strings.ContainsRune("CcTt\r", rune(line[0]))
}

// extendLine adds a part to the current line, without its end.
func (f *framing) extendLine(part []byte) {
	if f.inLength {
		f.length = append(f.length, part...)
		return
	}

	known := len(f.name)
	f.name = append(f.name, part[:min(len(part), maxFramingName-known)]...)

	colon := bytes.IndexByte(f.name, ':')
	if !f.inHead || colon < known {
		return
	}

	name := f.name[:colon]
	switch {
	case bytes.EqualFold(name, []byte(lengthName)):
		f.hasLength = true
		f.inLength = true
		f.length = append(f.length[:0], part[colon-known+1:]...)
	case bytes.EqualFold(name, []byte(encodingName)):
		f.hasEncoding = true
	}

	if f.hasLength && f.hasEncoding {
		part[colon-known] = 0
		f.ended = true
	}
}

// endLine follows the end of a line.
func (f *framing) endLine() {
	isEmpty := len(bytes.TrimSuffix(f.name, []byte("\r"))) == 0
	switch {
	case !f.inHead:
		f.inHead = !isEmpty // net/http skips empty lines before a request
	case isEmpty:
		f.endHead()
	}

	f.inLength = false
	f.name = f.name[:0]
}

// endHead follows the end of a head.
func (f *framing) endHead() {
	f.ended = f.hasEncoding

	if f.hasLength {
		length, err := strconv.ParseUint(string(bytes.TrimSpace(f.length)), 10, 63)
		f.ended = f.ended || err != nil // net/http refuses the request
		f.body = length
	}

	f.inHead = false
	f.hasLength = false
	f.hasEncoding = false
	f.length = nil // it may be long
}
