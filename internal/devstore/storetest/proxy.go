package storetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Proxy stands between the code under test and a store, and makes trouble. Its Faults
// may be changed at any time, for connections that are open as well.
type Proxy struct {
	Addr string

	server   string
	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
	gone     map[net.Conn]bool // connections to the server that no client has any more
	faults   Faults
	held     []heldChunk
}

// Faults are what a Proxy does in the place of forwarding. What is sent is seen in
// chunks, which are commands and answers as long as these are short.
type Faults struct {
	// Accept sees a new connection. It returns whether it dealt with it.
	Accept func(client net.Conn) bool
	// Command sees what a client sends. It returns whether it dealt with it.
	Command func(client net.Conn, chunk []byte) bool
	// Reply sees what the server answers. It returns whether it dealt with it.
	Reply func(client net.Conn, chunk []byte) bool
	// Hold says what is kept back until Release, even when the client closes its
	// connection: as a server does that hangs.
	Hold func(chunk []byte) bool
}

// heldChunk is what a client sent and the server has not got yet.
type heldChunk struct {
	server  net.Conn
	chunk   []byte
	replied <-chan struct{}
}

// NewProxy forwards connections to a server, until it is told otherwise.
func NewProxy(t testing.TB, server string) *Proxy {
	t.Helper()
	addr, err := reserve(t)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: addr, server: server, conns: map[net.Conn]bool{}, gone: map[net.Conn]bool{}}
	if err := p.listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Refuse)
	return p
}

// reserve binds a port until the end of a test, so that nobody else gets it while it
// refuses connections.
func reserve(t testing.TB) (addr string, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return "", err
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	unix.CloseOnExec(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return "", err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return "", err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return "", err
	}
	bound, ok := name.(*unix.SockaddrInet4)
	if !ok {
		return "", fmt.Errorf("bound to %T", name)
	}
	return "127.0.0.1:" + itoa(int64(bound.Port)), nil
}

// listen opens the reserved port.
func (p *Proxy) listen() error {
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var failed error
		err := conn.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(err, failed)
	}}
	l, err := config.Listen(context.Background(), "tcp", p.Addr)
	if err != nil {
		return err
	}
	p.listener = l
	go p.serve(l)
	return nil
}

// Set puts faults in the place of those of before.
func (p *Proxy) Set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = f
}

func (p *Proxy) now() Faults {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults
}

// Silence keeps connections open and lets nothing through any more.
func (p *Proxy) Silence() {
	swallow := func(net.Conn, []byte) bool { return true }
	p.Set(Faults{Command: swallow, Reply: swallow})
}

// Refuse closes the port and every connection.
func (p *Proxy) Refuse() {
	_ = p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
	clear(p.conns)
	clear(p.gone)
}

// Restore opens the port again after Refuse, and ends all faults.
func (p *Proxy) Restore(t testing.TB) {
	t.Helper()
	p.Set(Faults{})
	if err := p.listen(); err != nil {
		t.Fatal(err)
	}
}

// Release delivers what was held back, returns once the server has answered it,
// and says how much that was.
func (p *Proxy) Release() int {
	p.mu.Lock()
	held := p.held
	p.faults.Hold, p.held = nil, nil
	p.mu.Unlock()
	for _, h := range held {
		if _, err := h.server.Write(h.chunk); err == nil {
			<-h.replied
		}
	}
	for _, h := range held {
		p.leave(h.server, false)
	}
	return len(held)
}

// leave closes a connection to the server once its client has closed the other one and
// nothing of it is held back.
func (p *Proxy) leave(server net.Conn, closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if closed {
		p.gone[server] = true
	}
	if p.gone[server] && !slices.ContainsFunc(p.held, func(h heldChunk) bool { return h.server == server }) {
		_ = server.Close()
		delete(p.gone, server)
		delete(p.conns, server)
	}
}

func (p *Proxy) serve(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.conns[client] = true
		accept := p.faults.Accept
		p.mu.Unlock()
		if accept != nil && accept(client) {
			continue
		}
		upstream, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[upstream] = true
		p.mu.Unlock()
		replied := make(chan struct{}, 1)
		go p.toServer(upstream, client, replied)
		go p.toClient(client, upstream, replied)
	}
}

func (p *Proxy) toServer(server, client net.Conn, replied <-chan struct{}) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			p.mu.Lock()
			delete(p.conns, client)
			p.mu.Unlock()
			p.leave(server, true)
			return
		}
		chunk := append([]byte(nil), buffer[:n]...)
		f := p.now()
		if f.Command != nil && f.Command(client, chunk) {
			continue
		}
		if f.Hold != nil && f.Hold(chunk) {
			p.mu.Lock()
			p.held = append(p.held, heldChunk{server, chunk, replied})
			p.mu.Unlock()
			continue
		}
		select { // what is answered from here on is answered to this
		case <-replied:
		default:
		}
		if _, err := server.Write(chunk); err != nil {
			return
		}
	}
}

func (p *Proxy) toClient(client, server net.Conn, replied chan<- struct{}) {
	buffer := make([]byte, 32<<10)
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
		if f := p.now(); f.Reply == nil || !f.Reply(client, buffer[:n]) {
			_, _ = client.Write(buffer[:n])
		}
	}
}
