package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

const (
	// maxBodyFloodRSS is the maximum memory in MiB of a server with many incomplete bodies. It
	// leaves half of the 256 MiB of the Kubernetes manifests for other purposes.
	maxBodyFloodRSS = 128
	// The size of the flood. It would use several times the memory that is allowed.
	floodHTTP1Connections = 2000
	floodHTTP2Connections = 10
	floodHTTP2Requests    = 240
	// bodyFloodDuration is how long the server must withstand the flood. Memory grows while the
	// bodies arrive, which takes a second.
	bodyFloodDuration = 3 * time.Second
)

// bodyFlood is a client that never completes the bodies of its requests.
type bodyFlood struct {
	t       *testing.T
	addr    string
	ctx     context.Context
	stop    context.CancelFunc
	begun   atomic.Int64 // requests sent, except for the ends of their bodies
	senders sync.WaitGroup
}

// One client that sends thousands of bodies, but never their ends, neither uses up a server's
// memory nor keeps other clients out. The server runs in its own process, whose memory is in /proc.
func TestBodyFlood(t *testing.T) {
	file := build(t)
	certFile, keyFile := storetest.Certificate(t, t.TempDir())
	for name, tc := range map[string]struct {
		settings []string
		begin    func(*bodyFlood)
	}{
		"HTTP1": {[]string{"TRUSTED_PROXIES=127.0.0.1"}, (*bodyFlood).http1},
		"HTTP2 small enough": {
			[]string{"TLS_CERT_FILE=" + certFile, "TLS_KEY_FILE=" + keyFile},
			func(f *bodyFlood) { f.http2("POST", "/auth/login", 32<<10) },
		},
		"HTTP2 without a session": {
			[]string{"TLS_CERT_FILE=" + certFile, "TLS_KEY_FILE=" + keyFile},
			func(f *bodyFlood) { f.http2("GET", "/auth/me", 64<<10) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			settings := append(baseSettings(storetest.NewRedis(t), storetest.Mongo(t)), "RATE_LIMIT=off", "REDIS_TIMEOUT=10s", "MONGODB_TIMEOUT=10s")
			p := startProcess(t, file, append(settings, tc.settings...))
			pid := strconv.Itoa(p.cmd.Process.Pid)
			before := peakMemory(t, pid)

			f := &bodyFlood{t: t, addr: p.addr}
			f.ctx, f.stop = context.WithCancel(t.Context())
			defer f.senders.Wait()
			defer f.stop()
			other := f.newOther(strings.HasPrefix(name, "HTTP2"))
			other.request()
			tc.begin(f)
			for deadline := time.Now().Add(bodyFloodDuration); time.Now().Before(deadline); {
				other.request()
			}

			after := peakMemory(t, pid)
			t.Logf("%d requests; memory: %.0f MiB, before the flood %.0f", f.begun.Load(), after, before)
			if after > maxBodyFloodRSS {
				t.Errorf("memory: got %.0f MiB, want at most %d", after, maxBodyFloodRSS)
			}
		})
	}
}

// otherClient is another client during the flood.
type otherClient struct {
	t    *testing.T
	base string
	http *http.Client
}

func (f *bodyFlood) newOther(encrypted bool) *otherClient {
	o := &otherClient{
		t:    f.t,
		base: "http://" + f.addr,
		http: &http.Client{
			Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
			Timeout:   time.Minute,
		},
	}
	if encrypted {
		o.base = "https://" + f.addr
	}
	f.t.Cleanup(o.http.CloseIdleConnections)

	return o
}

// request sends requests with and without a body, and fails the test if the server does not handle
// them.
func (o *otherClient) request() {
	o.t.Helper()

	for _, r := range []struct{ method, path, body string }{
		{"GET", "/auth/session", ""},
		{"POST", "/auth/login", `{"email":"nobody@example.com","password":"a long password"}`},
	} {
		res, err := fetch(o.http, r.method, o.base+r.path, r.body)
		if err != nil || res.StatusCode != http.StatusUnauthorized {
			o.t.Fatalf("%s during the flood: got %d and error %v, want 401", r.path, res.status(), err)
		}
	}
}

// http1 holds many connections with incomplete bodies.
func (f *bodyFlood) http1() {
	f.t.Helper()

	// The Go runtime has raised the limit to the hard limit.
	var files syscall.Rlimit
	testkit.NoError(f.t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	const needed = floodHTTP1Connections + 1000
	if files.Cur < needed {
		f.t.Fatalf("open files: at most %d, but this test needs %d: raise the hard limit (ulimit -Hn)", files.Cur, needed)
	}

	const size = 32 << 10
	request := fmt.Sprintf("POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		size, strings.Repeat(" ", size-100))
	for range floodHTTP1Connections {
		conn, err := net.Dial("tcp", f.addr)
		testkit.NoError(f.t, err)
		f.senders.Go(func() {
			stop := context.AfterFunc(f.ctx, func() { _ = conn.Close() })
			defer stop()
			_, _ = io.WriteString(conn, request)
			f.begun.Add(1)
			<-f.ctx.Done()
		})
	}
}

// http2 opens connections that each send many requests with incomplete bodies, regardless of
// how many the server allows.
func (f *bodyFlood) http2(method, path string, size int) {
	f.t.Helper()

	for range floodHTTP2Connections {
		conn, err := tls.Dial("tcp", f.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		testkit.NoError(f.t, err)
		context.AfterFunc(f.ctx, func() { _ = conn.NetConn().Close() })

		c := &floodConn{framer: http2.NewFramer(conn, conn), window: 65535}
		c.changed.L = &c.mu
		_, err = io.WriteString(conn, http2.ClientPreface)
		testkit.NoError(f.t, err)
		testkit.NoError(f.t, c.framer.WriteSettings())

		f.senders.Go(c.read)
		f.senders.Go(func() {
			for i := range floodHTTP2Requests {
				if c.send(uint32(2*i+1), method, path, size) != nil {
					return
				}
				f.begun.Add(1)
			}
		})
	}
}

// floodConn is an HTTP/2 connection. The HTTP client of Go cannot be used, because it respects the
// server's limit on concurrent requests.
type floodConn struct {
	mu      sync.Mutex // for writing and for the fields below
	framer  *http2.Framer
	window  int // bytes that the server accepts on this connection
	changed sync.Cond
	closed  bool
}

// read reads the server's frames until the connection is closed.
func (c *floodConn) read() {
	for {
		frame, err := c.framer.ReadFrame()

		c.mu.Lock()
		switch frame := frame.(type) {
		case nil:
			c.closed = err != nil
		case *http2.WindowUpdateFrame:
			if frame.StreamID == 0 {
				c.window += int(frame.Increment)
			}
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = c.framer.WriteSettingsAck()
			}
		}
		c.changed.Broadcast()
		c.mu.Unlock()

		if err != nil {
			return
		}
	}
}

// send sends a request without the end of its body.
func (c *floodConn) send(stream uint32, method, path string, size int) error {
	c.mu.Lock()
	defer c.mu.Unlock()

	var head bytes.Buffer
	encoder := hpack.NewEncoder(&head)
	for _, field := range []hpack.HeaderField{
		{Name: ":method", Value: method},
		{Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: "x"},
		{Name: ":path", Value: path},
		{Name: "content-type", Value: "application/json"},
		{Name: "content-length", Value: strconv.Itoa(size)},
	} {
		if err := encoder.WriteField(field); err != nil {
			return err
		}
	}
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: head.Bytes(), EndHeaders: true})
	if err != nil {
		return err
	}

	const frameSize = 16 << 10
	for left := size - 1; left > 0 && !c.closed; {
		n := min(left, frameSize)
		for c.window < n && !c.closed {
			c.changed.Wait()
		}
		if err := c.framer.WriteData(stream, false, bytes.Repeat([]byte(" "), n)); err != nil {
			return err
		}
		c.window -= n
		left -= n
	}

	return nil
}
