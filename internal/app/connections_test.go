package app

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"latchkey/internal/testkit"
)

// testServer is a server with limited connections. Requests to /wait last until release is closed.
type testServer struct {
	t           *testing.T
	addr        string
	connections *connections
	log         *testkit.Buffer
	begun       chan struct{} // receives a value when a request to /wait has arrived
	release     chan struct{}
}

func newTestServer(t *testing.T, total, perClient int, shared ...netip.Prefix) *testServer {
	t.Helper()

	s := &testServer{
		t:       t,
		log:     &testkit.Buffer{},
		begun:   make(chan struct{}, 100),
		release: make(chan struct{}),
	}
	s.connections = newConnections(nil, slog.New(slog.NewTextHandler(s.log, nil)))
	s.connections.total = total
	s.connections.perClient = perClient
	s.connections.shared = shared

	server := NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			s.begun <- struct{}{}
			<-s.release
		}
	}), slog.New(slog.DiscardHandler))
	server.ConnState = s.connections.track

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.NoError(t, err)
	s.addr = listener.Addr().String()
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })

	return s
}

// dial connects from the given loopback IP.
func (s *testServer) dial(from string) net.Conn {
	s.t.Helper()

	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(s.t.Context(), "tcp", s.addr)
	testkit.NoError(s.t, err)
	s.t.Cleanup(func() { _ = conn.Close() })
	testkit.NoError(s.t, conn.SetDeadline(time.Now().Add(2*time.Minute)))

	return conn
}

// request sends a request and reports whether the response is 200.
func (s *testServer) request(conn net.Conn) bool {
	s.t.Helper()

	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if err != nil {
		return false
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)

	return err == nil && res.StatusCode == http.StatusOK
}

// begin sends a request that lasts until release is closed.
func (s *testServer) begin(conn net.Conn) {
	s.t.Helper()

	_, err := io.WriteString(conn, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
	testkit.NoError(s.t, err)
	testkit.Receive(s.t, "a request in progress", s.begun)
}

// wantClosed fails the test unless the server closes the connection.
func (s *testServer) wantClosed(what string, conn net.Conn) {
	s.t.Helper()

	_, err := conn.Read(make([]byte, 1))
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		s.t.Errorf("%s: got error %v, want a closed connection", what, err)
	}
}

// wantCounts waits until the server has n open connections, of which the given number are idle.
func (s *testServer) wantCounts(n, idle int) {
	s.t.Helper()

	testkit.Eventually(s.t, "the number of open connections", func() bool {
		s.connections.mu.Lock()
		defer s.connections.mu.Unlock()

		isIdle := 0
		for _, entry := range s.connections.open {
			if !entry.Value.(*connection).isActive {
				isIdle++
			}
		}

		return len(s.connections.open) == n && isIdle == idle
	})
}

// A client with too many connections loses the one that has been idle the longest or, if none is
// idle, the one with the longest request. Other clients are not affected.
func TestConnectionsPerClient(t *testing.T) {
	t.Parallel()

	s := newTestServer(t, 100, 3)
	const client = "127.0.0.1"
	const other = "127.0.0.2"
	active := s.dial(client)
	idle := s.dial(client)
	silent := s.dial(client)
	s.begin(active)
	s.wantCounts(3, 2)
	if !s.request(idle) {
		t.Fatal("request on the idle connection failed")
	}

	bystander := s.dial(other)
	s.wantCounts(4, 3)

	// The silent connection has been idle the longest, because the other one has had a request.
	fourth := s.dial(client)
	s.wantClosed("a connection without a request", silent)
	if !s.request(fourth) {
		t.Error("request on a fourth connection failed")
	}
	s.wantCounts(4, 3)

	fifth := s.dial(client)
	s.wantClosed("an idle connection", idle)
	s.begin(fifth)
	s.begin(fourth)
	if log := s.log.String(); log != "" {
		t.Errorf("log after idle connections were closed: got %s, want nothing", log)
	}

	sixth := s.dial(client)
	s.wantClosed("the connection with the longest request", active)
	if !s.request(sixth) {
		t.Error("request on a new connection failed while all others had requests in progress")
	}
	if !strings.Contains(s.log.String(), "too many connections: closed one with a request in progress\" limit=client ip="+client) {
		t.Errorf("log: got %s, want a warning with the IP", s.log)
	}
	if !s.request(bystander) || !s.request(s.dial(other)) {
		t.Error("request of another client failed")
	}

	close(s.release)
	for _, conn := range []net.Conn{fourth, fifth} {
		if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("request in progress: got error %v, want a response", err)
		}
	}
	for _, conn := range []net.Conn{fourth, fifth, sixth} {
		_ = conn.Close()
	}
	s.wantCounts(2, 2) // the other client's connections
}

// Connections from a proxy count only towards the total.
func TestConnectionsInTotal(t *testing.T) {
	t.Parallel()

	s := newTestServer(t, 3, 1, netip.MustParsePrefix("127.0.0.1/32"))
	oldest := s.dial("127.0.0.1")
	active := []net.Conn{s.dial("127.0.0.1"), s.dial("127.0.0.1")}
	for _, conn := range active {
		s.begin(conn)
	}

	third := s.dial("127.0.0.2")
	s.wantClosed("the oldest connection", oldest)
	s.begin(third)

	fourth := s.dial("127.0.0.3")
	s.wantClosed("the connection with the longest request", active[0])
	s.begin(fourth)

	close(s.release)
	s.wantCounts(3, 3)
	for _, conn := range []net.Conn{active[1], third, fourth} {
		_ = conn.Close()
	}
	s.wantCounts(0, 0)

	s.connections.mu.Lock()
	defer s.connections.mu.Unlock()
	if len(s.connections.clients) != 0 {
		t.Errorf("clients without connections: got %v, want none", s.connections.clients)
	}
}

func TestClientOfConnection(t *testing.T) {
	t.Parallel()

	c := newConnections([]string{"10.0.0.0/8", "fd00::/8"}, slog.New(slog.DiscardHandler))
	for peer, want := range map[string]string{
		"203.0.113.7:1234":                "203.0.113.7/32",
		"[::ffff:203.0.113.7]:1234":       "203.0.113.7/32",
		"[2001:db8:77:1::1]:1234":         "2001:db8:77::/48",
		"[2001:db8:77:ffff::2%eth0]:1234": "2001:db8:77::/48",
		"127.0.0.1:1234":                  "invalid Prefix",
		"[::1]:1234":                      "invalid Prefix",
		"10.1.2.3:1234":                   "invalid Prefix",
		"[::ffff:10.1.2.3]:1234":          "invalid Prefix",
		"[fd00::1]:1234":                  "invalid Prefix",
		"@":                               "invalid Prefix",
	} {
		if got := c.clientOf(peerConn{peer: peer}).String(); got != want {
			t.Errorf("client of %s: got %s, want %s", peer, got, want)
		}
	}
}

// peerConn is a net.Conn that implements only RemoteAddr.
type peerConn struct {
	net.Conn
	peer string
}

func (c peerConn) RemoteAddr() net.Addr { return c }
func (c peerConn) Network() string      { return "tcp" }
func (c peerConn) String() string       { return c.peer }
