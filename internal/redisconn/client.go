package redisconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/mna/redisc"

	"latchkey/internal/telemetry"
)

// ErrUnavailable says that Redis did not do what it was asked: it is away, too
// slow, full, loading, or it refused. Whether the command took effect is unknown.
var ErrUnavailable = errors.New("redis is unavailable")

const (
	// commandTimeout bounds all that a command does, the wait for a connection
	// and further tries included, so that a request answers within a second when
	// Redis hangs, even where it hangs between two commands.
	commandTimeout = 400 * time.Millisecond
	// maxConns bounds the connections of one process to one server. A command beyond
	// it waits its turn within commandTimeout.
	maxConns = 64
	// maxTries is how often a command is sent where connections turn out dead, or
	// where one server of a cluster names another.
	maxTries = 5
	// tryAgain is the pause before a server of a cluster is asked again for several keys
	// of a slot that is moving: not all of them are in one place.
	tryAgain = 10 * time.Millisecond
)

// Options say where Redis is and who we are to it. One of Addr, Sentinels and
// Cluster names it.
type Options struct {
	Addr string // host:port

	// Sentinels are the addresses of all Redis Sentinels, which know the server that is
	// Master at the time.
	Sentinels        []string
	Master           string
	SentinelUsername string // ACL user of the Sentinels; empty is their default user
	SentinelPassword string

	// Cluster are addresses of some servers of a Redis Cluster, which know the others.
	Cluster []string

	Username string // ACL user; empty is Redis's default user
	Password string
	DB       int  // 0 in a cluster
	TLS      bool // TLS 1.2 or later, with the certificate verified

	Metrics *telemetry.Metrics
	Log     *slog.Logger
}

// Client sends commands to Redis: to one server, to the one that Sentinel names, or
// to those of a cluster. It is safe for concurrent use.
type Client struct {
	options Options
	dial    []redis.DialOption

	layout atomic.Pointer[layout] // nil until one was found
	found  chan struct{}          // closed with the first layout
	lookup chan struct{}          // asks for another look
	stop   context.CancelFunc

	sentinels []*sentinel

	mu     sync.Mutex
	nodes  map[string]*node // by address
	closed bool
}

// New returns a Client that connects when it is first used. Where the server is not
// known from the start it looks for it until it is closed.
func New(o Options) *Client {
	ctx, stop := context.WithCancel(context.Background())
	c := &Client{
		options: o, dial: o.dialOptions(), stop: stop,
		found: make(chan struct{}), lookup: make(chan struct{}, 1), nodes: map[string]*node{},
	}
	for _, addr := range o.Sentinels {
		c.sentinels = append(c.sentinels, o.sentinel(addr))
	}
	switch {
	case len(o.Sentinels) > 0:
		go c.watch(ctx, c.askSentinels)
	case len(o.Cluster) > 0:
		go c.watch(ctx, c.askCluster)
	default:
		c.adopt(&layout{nodes: []*node{c.nodeAt(o.Addr)}})
	}
	return c
}

// Close closes all connections, once the commands under way are done. Commands fail
// with ErrUnavailable afterwards.
func (c *Client) Close() {
	c.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, n := range c.nodes {
		n.retire()
	}
	for _, s := range c.sentinels {
		_ = s.pool.Close()
	}
}

// Ping asks Redis whether it answers: all servers that have a part of the keys.
func (c *Client) Ping(ctx context.Context) error {
	return c.each(ctx, func(n *node) error {
		_, err := c.runAt(ctx, n, "PING")
		return err
	})
}

// Scan calls each with the keys that match a pattern, a piece at a time. One may come
// twice. It is for operators: it looks at every key there is. Errors: ErrUnavailable,
// or what each returned.
func (c *Client) Scan(ctx context.Context, pattern string, each func(keys []string) error) error {
	for range maxTries {
		before := c.layout.Load()
		if err := c.scan(ctx, pattern, each); err != nil {
			return err
		}
		// Keys that went from one server to another meanwhile may have been missed.
		if before != nil && before.same(c.layout.Load()) {
			return nil
		}
	}
	return fmt.Errorf("%w: the keys go from server to server all the time", ErrUnavailable)
}

func (c *Client) scan(ctx context.Context, pattern string, each func(keys []string) error) error {
	return c.each(ctx, func(n *node) error {
		for cursor := "0"; ; {
			reply, err := redis.Values(c.runAt(ctx, n, "SCAN", cursor, "MATCH", pattern, "COUNT", scanPiece))
			if err != nil {
				return err
			}
			var keys []string
			if _, err := redis.Scan(reply, &cursor, &keys); err != nil {
				return fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
			if err := each(keys); err != nil || cursor == "0" {
				return err
			}
		}
	})
}

// scanPiece is how many keys Redis looks at for one answer.
const scanPiece = 1000

// each calls f with every server that has a part of the keys.
func (c *Client) each(ctx context.Context, f func(*node) error) error {
	limit := limited(ctx)
	l, err := c.known(limit)
	limit.done()
	if err != nil {
		return err
	}
	for _, n := range l.nodes {
		if err := f(n); err != nil {
			return err
		}
	}
	return nil
}

// Do sends one command, of which the first argument is the key, and returns
// redigo's reply. A nil reply is no error. Every error wraps ErrUnavailable.
//
// The command is not given up when ctx is cancelled. It is done within the time
// limit anyway, giving up would cost a connection each time a client goes away,
// and a client that goes away must not leave half of something behind.
func (c *Client) Do(ctx context.Context, command, key string, args ...any) (any, error) {
	return c.run(ctx, command, key, func(_ *node, conn timedConn) (any, error) {
		return conn.Do(command, append([]any{key}, args...)...)
	})
}

// run gives command, whose name is what it is counted under, a connection to the server
// that has key, and another one where that turns out to be dead or the wrong one. A GET
// may go along with others at first, see reads.
func (c *Client) run(ctx context.Context, name, key string, command func(*node, timedConn) (any, error)) (reply any, err error) {
	observed := c.options.Metrics.RedisCommand(ctx, name)
	defer func() { observed.Done(err) }()
	// Who has to wait for the layout has less time left than those that come later.
	together := name == "GET" && c.layout.Load() != nil
	limit := limited(ctx)
	defer limit.done()
	l, err := c.known(limit)
	if err != nil {
		return nil, err
	}
	n, asking := l.at(key), false
	for try := 1; ; try++ {
		if together && try == 1 && limit.whole {
			reply, err = n.read(limit, key)
		} else {
			reply, err = n.once(limit, asking, command)
		}
		if err == nil {
			return reply, nil
		}
		moved := redisc.ParseRedir(err)
		if moved == nil || moved.Type != "ASK" {
			c.look()
		}
		switch {
		case limit.Err() != nil:
			return nil, fmt.Errorf("%w: %w: %w", ErrUnavailable, limit.Err(), err)
		case redisc.IsTryAgain(err):
			time.Sleep(tryAgain)
			try--
		case try == maxTries:
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		case moved != nil:
			n, asking = c.nodeAt(completed(moved.Addr, n.addr)), moved.Type == "ASK"
		case isDeadConn(err):
			if l, err = c.known(limit); err != nil {
				return nil, err
			}
			n, asking = l.at(key), false
		default:
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
}

// runAt sends a command that concerns one server and no key.
func (c *Client) runAt(ctx context.Context, n *node, command string, args ...any) (reply any, err error) {
	observed := c.options.Metrics.RedisCommand(ctx, command)
	defer func() { observed.Done(err) }()
	limit := limited(ctx)
	defer limit.done()
	for try := 1; ; try++ {
		reply, err = n.once(limit, false, func(_ *node, conn timedConn) (any, error) { return conn.Do(command, args...) })
		if err == nil {
			return reply, nil
		}
		c.look()
		if try == maxTries || limit.Err() != nil || !isDeadConn(err) {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
}

// Connections counts those of this process to all servers: the idle ones, and those that
// a command has or waits for.
func (c *Client) Connections() (idle, inUse int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		s := n.pool.Stats()
		idle, inUse = idle+s.IdleCount, inUse+s.ActiveCount-s.IdleCount
	}
	return idle, inUse
}

// isDeadConn tells a connection that was closed under us (end of file, reset,
// broken pipe) from a Redis that is slow, refuses, or answers with an error.
// Only the first is worth another try.
func isDeadConn(err error) bool {
	var replied redis.Error
	if errors.As(err, &replied) || errors.Is(err, errNotConfirmed) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return false
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return false
	}
	return !isTimeout(err)
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}
