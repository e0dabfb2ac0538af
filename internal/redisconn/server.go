package redisconn

import (
	"context"

	"github.com/gomodule/redigo/redis"
)

// Servers returns the host:port of all servers that serve keys. It returns none while they are
// unknown.
func (c *Client) Servers() []string {
	t := c.topology.Load()
	if t == nil {
		return nil
	}

	return t.addrs()
}

// ServerFor returns the host:port of the server that serves a key, or "" while it is unknown.
func (c *Client) ServerFor(key string) string {
	t := c.topology.Load()
	if t == nil || t == noMaster {
		return ""
	}

	return t.nodeFor(key).addr
}

// Dial opens a connection to a server that the caller has for itself and must close. The time limits
// of the Client apply to its commands, and the check for a replica to the server.
func (c *Client) Dial(ctx context.Context, server string) (redis.Conn, error) {
	return c.nodeAt(server).connect(ctx)
}

// DoAt sends a command without a key to one server. All errors wrap ErrUnavailable.
func (c *Client) DoAt(ctx context.Context, server, command string, args ...any) (any, error) {
	return c.run(ctx, command, "", c.nodeAt(server), func(conn timedConn) (any, error) { return conn.Do(command, args...) })
}

// Get returns the value of a key and the host:port of the server that replied. Errors: ErrNil if
// there is no value; all others wrap ErrUnavailable.
func (c *Client) Get(ctx context.Context, key string) (value, server string, err error) {
	reply, n, err := c.exchange(ctx, "GET", key, nil, func(conn timedConn) (any, error) { return conn.Do("GET", key) })
	value, err = String(reply, err)
	if n != nil {
		server = n.addr
	}

	return value, server, err
}
