package storetest

import (
	"bytes"
	"cmp"
	"context"
	"net"
	"slices"
	"sync"
)

// LossyDialer opens connections to a store that lose the replies to some commands. Unlike with a
// Proxy, a command can fail as if it had timed out, but without the wait.
type LossyDialer struct {
	// Ignored lists parts of commands. A command that contains one is not counted, and its reply is
	// not lost.
	Ignored [][]byte

	mu          sync.Mutex
	count       int // the number of commands since Lose
	first, last int // the numbers of the commands whose replies are lost
	err         error
}

// Lose counts commands from now on, beginning with 1, and loses the replies to the commands first
// to last. Reading a lost reply returns err: io.EOF for a broken connection, os.ErrDeadlineExceeded
// for a timeout.
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

// sent counts a command. It returns the error that reading the reply returns, or nil if the reply
// is not lost.
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
	lost error // returned by all reads from now on
}

// Write implements net.Conn. A client writes a command with a single call.
func (c *lossyConn) Write(command []byte) (int, error) {
	err := c.dialer.sent(command)

	c.mu.Lock()
	c.lost = cmp.Or(c.lost, err)
	c.mu.Unlock()

	return c.Conn.Write(command)
}

// Read implements net.Conn. It waits for the reply even if it loses it, so that the store has
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
