package storetest

import (
	"bytes"
	"cmp"
	"context"
	"net"
	"slices"
	"sync"
)

// LossyDialer opens connections to a store, on which the replies to some commands are lost. Unlike
// a Proxy it needs no time: a command can fail as after a timeout without waiting for it.
type LossyDialer struct {
	// Ignored are parts of the commands that are neither counted nor lost.
	Ignored [][]byte

	mu          sync.Mutex
	count       int // the number of commands since Lose
	first, last int // the numbers of the commands whose replies are lost
	err         error
}

// Lose counts commands from now on, and loses the replies to those with the numbers first to last.
// Reading them returns err: io.EOF if the connection breaks, os.ErrDeadlineExceeded after a
// timeout. Numbers begin with 1.
func (d *LossyDialer) Lose(first, last int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()

	d.count = 0
	d.first = first
	d.last = last
	d.err = err
}

// Stop stops losing replies and returns the number of commands since Lose.
func (d *LossyDialer) Stop() int {
	d.mu.Lock()
	defer d.mu.Unlock()

	d.first = 0
	d.last = 0

	return d.count
}

// Dial opens a connection.
func (d *LossyDialer) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}

	return &lossyConn{Conn: c, dialer: d}, nil
}

// sent counts a command. It returns what reading the reply returns, or nil if that is not lost.
func (d *LossyDialer) sent(command []byte) error {
	if slices.ContainsFunc(d.Ignored, func(part []byte) bool { return bytes.Contains(command, part) }) {
		return nil
	}

	d.mu.Lock()
	defer d.mu.Unlock()

	d.count++
	if d.first <= d.count && d.count <= d.last {
		return d.err
	}

	return nil
}

// lossyConn is a connection of a LossyDialer.
type lossyConn struct {
	net.Conn

	dialer *LossyDialer

	mu   sync.Mutex
	lost error // what reading returns from now on
}

// Write implements net.Conn. A client writes a command with a single call.
func (c *lossyConn) Write(command []byte) (int, error) {
	err := c.dialer.sent(command)

	c.mu.Lock()
	c.lost = cmp.Or(c.lost, err)
	c.mu.Unlock()

	return c.Conn.Write(command)
}

// Read implements net.Conn. It waits for a reply even if it loses it, because the store has then
// executed the command.
func (c *lossyConn) Read(reply []byte) (int, error) {
	n, err := c.Conn.Read(reply)

	c.mu.Lock()
	defer c.mu.Unlock()

	if c.lost != nil {
		_ = c.Close()

		return 0, c.lost
	}

	return n, err
}
