package redisconn

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
)

// fixedConn is a connection on which a fixed text can be read.
type fixedConn struct {
	net.Conn
	reader io.Reader
}

func (s fixedConn) Read(b []byte) (int, error)      { return s.reader.Read(b) }
func (fixedConn) SetReadDeadline(_ time.Time) error { return nil }
func (fixedConn) Close() error                      { return nil }

// Any reply is either parsed or rejected with an error, without a panic. A parsed topology contains
// only valid slots and host:port pairs.
func FuzzReply(f *testing.F) {
	for _, reply := range []string{
		"+PONG\r\n", "$-1\r\n", "$3\r\nabc\r\n", ":7\r\n", "-LATE 1795350766850\r\n", "-LATE x\r\n", "-MOVED 42 127.0.0.1:1\r\n", "*0\r\n", "*-1\r\n",
		"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:7000\r\n", "*1\r\n*3\r\n:-1\r\n:99999\r\n*2\r\n$0\r\n\r\n:7000\r\n", "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$3\r\n::1\r\n:1\r\n",
		"$1000000\r\nx", "HTTP/1.1 400 Bad Request\r\n\r\n",
	} {
		f.Add([]byte(reply))
	}

	f.Fuzz(func(t *testing.T, text []byte) {
		conn := redis.NewConn(fixedConn{reader: strings.NewReader(string(text))}, time.Second, time.Second)
		reply, err := conn.Receive()
		if now, late := parseLate(err); late && (!strings.HasPrefix(err.Error(), "LATE ") || strings.Trim(err.Error()[5:], "+-0123456789") != "") {
			t.Errorf("%q: parsed as LATE with time %v, want it not to be", text, now)
		}

		var replyErr redis.Error
		if err != nil && errors.As(err, &replyErr) {
			return
		}

		c := New(Options{Addr: "127.0.0.1:1", Log: slog.New(slog.DiscardHandler)})
		defer c.Close()
		parsed, err := c.parseSlots(reply, err, "127.0.0.1:7000")
		if err != nil {
			return
		}

		for slot, n := range parsed.slots {
			if n == nil {
				continue
			}

			if !slices.Contains(parsed.nodes, n) {
				t.Fatalf("slot %d: got server %s, want one of the nodes", slot, n.addr)
			}

			if _, _, err := net.SplitHostPort(n.addr); err != nil {
				t.Fatalf("slot %d: got server %q, want a host:port: %v", slot, n.addr, err)
			}
		}
	})
}
