package storetest

import (
	"net"
	"sync"
	"testing"
)

// Proxy stands between the code under test and a store, and makes trouble.
type Proxy struct {
	Addr string

	mu     sync.Mutex
	silent bool
	hold   func(chunk []byte) bool
	held   []heldChunk
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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p := &Proxy{Addr: l.Addr().String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			t.Cleanup(func() { _ = client.Close(); _ = upstream.Close() })
			replied := make(chan struct{}, 1)
			go p.toServer(upstream, client, replied)
			go p.toClient(client, upstream, replied)
		}
	}()
	return p
}

// Silence keeps connections open and lets nothing through any more.
func (p *Proxy) Silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = true
}

// Hold keeps back what a client sends where match says so, even when the client
// closes its connection: as a server does that hangs.
func (p *Proxy) Hold(match func(chunk []byte) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = match
}

// Release delivers what was held back, returns once the server has answered it,
// and says how much that was.
func (p *Proxy) Release() int {
	p.mu.Lock()
	held := p.held
	p.hold, p.held = nil, nil
	p.mu.Unlock()
	for _, h := range held {
		if _, err := h.server.Write(h.chunk); err == nil {
			<-h.replied
		}
	}
	return len(held)
}

func (p *Proxy) toServer(server, client net.Conn, replied <-chan struct{}) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return // the server's side stays open: something may be held back
		}
		chunk := append([]byte(nil), buffer[:n]...)
		p.mu.Lock()
		drop := p.silent
		if !drop && p.hold != nil && p.hold(chunk) {
			p.held = append(p.held, heldChunk{server, chunk, replied})
			drop = true
		}
		p.mu.Unlock()
		if drop {
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
		p.mu.Lock()
		silent := p.silent
		p.mu.Unlock()
		if !silent {
			_, _ = client.Write(buffer[:n])
		}
	}
}
