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

// saying is a connection on which a server has said what it will ever say.
type saying struct {
	net.Conn
	text io.Reader
}

func (s saying) Read(b []byte) (int, error)      { return s.text.Read(b) }
func (saying) SetReadDeadline(_ time.Time) error { return nil }
func (saying) Close() error                      { return nil }

// Whatever answers in the place of Redis, its answer is understood or it is an error: it
// ends nothing, and of a cluster it makes addresses and slots that there are.
func FuzzReply(f *testing.F) {
	for _, reply := range []string{
		"+PONG\r\n", "$-1\r\n", "$3\r\nabc\r\n", ":7\r\n", "-LATE 1795350766850\r\n", "-LATE x\r\n", "-MOVED 42 127.0.0.1:1\r\n", "*0\r\n", "*-1\r\n",
		"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:7000\r\n", "*1\r\n*3\r\n:-1\r\n:99999\r\n*2\r\n$0\r\n\r\n:7000\r\n", "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$3\r\n::1\r\n:1\r\n",
		"$1000000\r\nx", "HTTP/1.1 400 Bad Request\r\n\r\n",
	} {
		f.Add([]byte(reply))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		conn := redis.NewConn(saying{text: strings.NewReader(string(said))}, time.Second, time.Second)
		reply, err := conn.Receive()
		if now, late := lateness(err); late && (!strings.HasPrefix(err.Error(), "LATE ") || strings.Trim(err.Error()[5:], "+-0123456789") != "") {
			t.Errorf("%q is late by %d", said, now)
		}
		var refused redis.Error
		if err != nil && errors.As(err, &refused) {
			return
		}
		shares, err := redis.Values(reply, err)
		if err != nil {
			return
		}
		c := New(Options{Addr: "127.0.0.1:1", Log: slog.New(slog.DiscardHandler)})
		defer c.Close()
		l, err := c.shared(shares, "127.0.0.1:7000")
		if err != nil {
			return
		}
		for slot, n := range l.slots {
			if n == nil {
				continue
			}
			if !slices.Contains(l.nodes, n) {
				t.Fatalf("the slot %d is at %s, which is no node", slot, n.addr)
			}
			if _, _, err := net.SplitHostPort(n.addr); err != nil {
				t.Fatalf("the slot %d is at %q: %v", slot, n.addr, err)
			}
		}
	})
}
