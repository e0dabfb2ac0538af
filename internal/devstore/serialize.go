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

// maxMessage is the largest message of the MongoDB wire protocol, in bytes.
const maxMessage = 48_000_000

// serialize listens on a free port of the loopback and passes the requests of all
// connections on to a MongoDB server, one at a time.
//
// MongoDB changes a document in one step. FerretDB v1 reads it, changes it and
// writes the whole of it back, so that of two changes at once one is lost: a login
// that notes its time could undo that the account was disabled. One at a time,
// both are there.
func serialize(server string) (addr string, stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		cancel()
		return "", nil, err
	}
	var turn sync.Mutex
	var open sync.Map // connections to close when it stops
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			upstream, err := new(net.Dialer).DialContext(ctx, "tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			open.Store(client, nil)
			open.Store(upstream, nil)
			go func() {
				_ = inTurn(&turn, client, upstream)
				for _, conn := range []net.Conn{client, upstream} {
					_ = conn.Close()
					open.Delete(conn)
				}
			}()
		}
	}()
	return l.Addr().String(), func() {
		cancel()
		_ = l.Close()
		open.Range(func(conn, _ any) bool { _ = conn.(net.Conn).Close(); return true })
	}, nil
}

// inTurn passes requests on and answers back until a connection ends.
func inTurn(turn sync.Locker, client, server net.Conn) error {
	for {
		request, err := readMessage(client)
		if err != nil {
			return err
		}
		answer, err := func() ([]byte, error) {
			turn.Lock()
			defer turn.Unlock()
			if _, err := server.Write(request); err != nil {
				return nil, err
			}
			return readMessage(server)
		}()
		if err != nil {
			return err
		}
		if _, err := client.Write(answer); err != nil {
			return err
		}
	}
}

// readMessage reads a message: its length in four bytes, then the rest.
func readMessage(from io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint32(head[:])
	if length < 16 || length > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes: %w", length, errors.ErrUnsupported)
	}
	message := make([]byte, length)
	copy(message, head[:])
	_, err := io.ReadFull(from, message[4:])
	return message, err
}
