package storetest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Proxy forwards connections from the code under test to a store, with faults if a test
// wants them.
type Proxy struct {
	Addr string // host:port of the proxy

	mu       sync.Mutex
	server   string // host:port of the store
	listener net.Listener
	conns    []net.Conn        // closed by Refuse
	tracking map[net.Conn]bool // clients that have sent CLIENT TRACKING
	faults   Faults
	held     []heldChunk
}

// Faults are functions that a Proxy calls before it forwards data. Without any, it forwards
// everything. They see data in chunks; a short command or reply is one chunk.
type Faults struct {
	// Accept handles a new connection. If it returns true, the proxy does not forward it.
	Accept func(client net.Conn) bool

	// Command handles data from a client. If it returns true, the proxy does not forward it.
	Command func(client net.Conn, chunk []byte) bool

	// Reply handles data from the server. If it returns true, the proxy does not forward it.
	Reply func(client net.Conn, chunk []byte) bool

	// Hold returns true for data from a client that the proxy delivers only when Release is
	// called, even if the client has disconnected. This simulates a server that hangs and
	// then continues.
	Hold func(chunk []byte) bool
}

// heldChunk is data that Faults.Hold has held back.
type heldChunk struct {
	server  net.Conn
	chunk   []byte
	replied <-chan struct{} // receives a value after a reply on this connection
}

// NewProxy starts a proxy that forwards everything to server until its faults are set.
func NewProxy(t testing.TB, server string) *Proxy {
	t.Helper()
	p := &Proxy{Addr: reservePort(t), server: server, tracking: map[net.Conn]bool{}}
	check(t, p.listen())
	t.Cleanup(p.Refuse)
	return p
}

// reservePort binds a port until the end of the test, so that no other process gets it while
// the proxy refuses connections. It returns its host:port.
func reservePort(t testing.TB) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	check(t, err)
	unix.CloseOnExec(fd)
	t.Cleanup(func() { _ = unix.Close(fd) })

	check(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	check(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))

	bound, err := unix.Getsockname(fd)
	check(t, err)

	ipv4, ok := bound.(*unix.SockaddrInet4)
	if !ok {
		t.Fatalf("socket is bound to a %T, want an IPv4 port", bound)
	}

	return "127.0.0.1:" + strconv.Itoa(ipv4.Port)
}

// listen opens the reserved port.
func (p *Proxy) listen() error {
	reusePort := func(_, _ string, conn syscall.RawConn) error {
		var optErr error
		err := conn.Control(func(fd uintptr) {
			optErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})

		return errors.Join(err, optErr)
	}

	config := net.ListenConfig{Control: reusePort}
	listener, err := config.Listen(context.Background(), "tcp", p.Addr)
	if err != nil {
		return err
	}

	p.listener = listener
	go p.serve(listener)

	return nil
}

// Set replaces the faults. They also apply to connections that are already open.
func (p *Proxy) Set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = f
}

func (p *Proxy) currentFaults() Faults {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults
}

// OnTracking returns a fault that affects only connections that have sent CLIENT TRACKING, including
// the data with that command. On the others, it forwards everything.
func (p *Proxy) OnTracking(fault func(client net.Conn, chunk []byte) bool) func(net.Conn, []byte) bool {
	return func(client net.Conn, chunk []byte) bool {
		return p.isTracking(client) && fault(client, chunk)
	}
}

// OnOthers returns a fault that affects only the other connections.
func (p *Proxy) OnOthers(fault func(client net.Conn, chunk []byte) bool) func(net.Conn, []byte) bool {
	return func(client net.Conn, chunk []byte) bool {
		return !p.isTracking(client) && fault(client, chunk)
	}
}

func (p *Proxy) isTracking(client net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tracking[client]
}

// noteTracking records that a client sends CLIENT TRACKING, if it does.
func (p *Proxy) noteTracking(client net.Conn, chunk []byte) {
	if !bytes.Contains(chunk, []byte("\r\nTRACKING\r\n")) {
		return
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	p.tracking[client] = true
}

// Blackhole drops all data, but keeps connections open and accepts new ones.
func (p *Proxy) Blackhole() {
	p.Set(Faults{Command: Swallow, Reply: Swallow})
}

// Refuse closes all connections and refuses new ones.
func (p *Proxy) Refuse() {
	_ = p.listener.Close()

	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	p.conns = nil
}

// Restore accepts connections again after Refuse, and removes all faults.
func (p *Proxy) Restore(t testing.TB) {
	t.Helper()
	p.Set(Faults{})
	check(t, p.listen())
}

// Retarget makes the proxy forward new connections to another server. Open connections stay with the
// old server, as behind a DNS name or a Kubernetes Service.
func (p *Proxy) Retarget(server string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = server
}

func (p *Proxy) target() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.server
}

// Release delivers the data that Faults.Hold has held back, waits for the replies, and
// returns the number of chunks delivered. It also removes Faults.Hold.
func (p *Proxy) Release() int {
	p.mu.Lock()
	held := p.held
	p.held = nil
	p.faults.Hold = nil
	p.mu.Unlock()

	delivered := 0
	for _, h := range held {
		if _, err := h.server.Write(h.chunk); err == nil {
			<-h.replied
			delivered++
		}
	}

	return delivered
}

// serve accepts connections until listener is closed.
func (p *Proxy) serve(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}

		p.addConn(client)

		accept := p.currentFaults().Accept
		if accept != nil && accept(client) {
			continue
		}

		server, err := net.Dial("tcp", p.target())
		if err != nil {
			_ = client.Close()
			continue
		}

		p.addConn(server)

		replied := make(chan struct{}, 1)
		go p.forwardCommands(client, server, replied)
		go p.forwardReplies(client, server, replied)
	}
}

func (p *Proxy) addConn(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, conn)
}

// chunkSize is the size of the buffer for one chunk.
const chunkSize = 32 << 10

// forwardCommands forwards data from the client to the server until either disconnects.
func (p *Proxy) forwardCommands(client, server net.Conn, replied <-chan struct{}) {
	buffer := make([]byte, chunkSize)
	holding := false

	for {
		n, err := client.Read(buffer)
		if err != nil {
			if !holding { // otherwise Release still needs the connection
				_ = server.Close()
			}

			return
		}

		chunk := bytes.Clone(buffer[:n])
		p.noteTracking(client, chunk)
		faults := p.currentFaults()

		if faults.Command != nil && faults.Command(client, chunk) {
			continue
		}

		if faults.Hold != nil && faults.Hold(chunk) {
			holding = true
			p.hold(heldChunk{server: server, chunk: chunk, replied: replied})
			continue
		}

		// Forget earlier replies, so that the next one belongs to this chunk.
		select {
		case <-replied:
		default:
		}

		if _, err := server.Write(chunk); err != nil {
			return
		}
	}
}

func (p *Proxy) hold(h heldChunk) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = append(p.held, h)
}

// forwardReplies forwards data from the server to the client until the server disconnects.
func (p *Proxy) forwardReplies(client, server net.Conn, replied chan<- struct{}) {
	buffer := make([]byte, chunkSize)

	for {
		n, err := server.Read(buffer)
		if err != nil {
			_ = client.Close()
			return
		}

		select {
		case replied <- struct{}{}:
		default:
		}

		reply := p.currentFaults().Reply
		if reply == nil || !reply(client, buffer[:n]) {
			_, _ = client.Write(buffer[:n])
		}
	}
}
