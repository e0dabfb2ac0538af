package devstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// maxMessage is the maximum size of a message in the MongoDB wire protocol, in bytes.
const maxMessage = 48_000_000

// minMessage is the size of a message header, in bytes.
const minMessage = 16

// serialize starts a proxy on a free loopback port that forwards requests to a MongoDB
// server, one at a time across all connections.
//
// MongoDB updates a document atomically, but FerretDB v1 reads it, changes it and writes it
// back. Of two concurrent updates it can lose one: recording the time of a login might undo
// the disabling of an account.
func serialize(server string) (addr string, stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())

	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		cancel()
		return "", nil, err
	}

	p := &proxy{server: server}
	go p.serve(ctx, listener)

	stop = func() {
		_ = listener.Close()
		cancel()
	}

	return listener.Addr().String(), stop, nil
}

// proxy forwards requests to a MongoDB server.
type proxy struct {
	server string
	mu     sync.Mutex // held during a request
}

// serve accepts connections until listener is closed. It closes them when ctx ends.
func (p *proxy) serve(ctx context.Context, listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}

		upstream, err := new(net.Dialer).DialContext(ctx, "tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}

		connCtx, cancel := context.WithCancel(ctx)
		context.AfterFunc(connCtx, func() {
			_ = client.Close()
			_ = upstream.Close()
		})

		go func() {
			defer cancel()
			_ = p.forward(client, upstream)
		}()
	}
}

// forward forwards requests and replies until either connection ends.
func (p *proxy) forward(client, upstream net.Conn) error {
	for {
		request, err := readMessage(client)
		if err != nil {
			return err
		}

		reply, err := p.roundTrip(upstream, request)
		if err != nil {
			return err
		}

		if _, err := client.Write(reply); err != nil {
			return err
		}
	}
}

// roundTrip sends a request and returns the reply. It waits until no other request is in
// progress.
func (p *proxy) roundTrip(upstream net.Conn, request []byte) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := upstream.Write(request); err != nil {
		return nil, err
	}
	return readMessage(upstream)
}

// readMessage reads one message: its length in four bytes, then the rest.
func readMessage(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}

	length := binary.LittleEndian.Uint32(head[:])
	if length < minMessage || length > maxMessage {
		return nil, fmt.Errorf("message of %d bytes: %w", length, errors.ErrUnsupported)
	}

	message := make([]byte, length)
	copy(message, head[:])
	_, err := io.ReadFull(r, message[len(head):])

	return message, err
}
