package redisconn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mna/redisc"

	"latchkey/internal/telemetry"
)

// ErrUnavailable is returned when a command failed: Redis is down, slow, out of memory or
// still loading, or it rejected the command. The command may have taken effect.
var ErrUnavailable = errors.New("redis is unavailable")

const (
	// DefaultTimeout is the default of Options.Timeout.
	DefaultTimeout = 400 * time.Millisecond

	// maxConns is the maximum number of connections per server.
	maxConns = 64

	// maxTries is the maximum number of times that a command is sent if connections are dead
	// or a cluster redirects it.
	maxTries = 5

	// maxConnAge is the maximum age at which a connection is reused.
	maxConnAge = 5 * time.Second
)

// Options configure a Client. Set exactly one of Addr, Sentinels and Cluster.
type Options struct {
	Addr string // host:port of a single server

	// Sentinels are the host:port of all Sentinels.
	Sentinels        []string
	Master           string // the master's name in the Sentinels' configuration
	SentinelUsername string // ACL user; if empty, the Sentinels' default user
	SentinelPassword string

	// Cluster contains the host:port of some servers of a Redis Cluster. The others are discovered.
	Cluster []string

	Username string // ACL user; if empty, the servers' default user
	Password string
	DB       int  // must be 0 for a cluster
	TLS      bool // use TLS 1.2 or later and verify the certificate

	// Timeout bounds a command, including the wait for a connection, dialing and retries. The
	// other time limits are fractions of it. The default is DefaultTimeout.
	Timeout time.Duration

	// Dial opens connections without TLS. The default is redigo's.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	Metrics *telemetry.Metrics
	Log     *slog.Logger
}

// refreshTimeout returns the time limit of one query about the topology to one server.
func (o *Options) refreshTimeout() time.Duration { return o.Timeout * 5 / 8 }

// replicaTimeout returns how long to wait for the replicas.
func (o *Options) replicaTimeout() time.Duration { return o.Timeout / 2 }

// minReplicaWait returns the shortest wait in which healthy replicas can acknowledge a write.
func (o *Options) minReplicaWait() time.Duration { return o.Timeout / 16 }

// maxPipelineWait returns how long to wait for the replies to a pipeline. If they are late, most of a
// command's time is left for each request to send its GET again.
func (o *Options) maxPipelineWait() time.Duration { return o.Timeout / 4 }

// Client sends commands to a single Redis server, to the master that Sentinels name, or to
// the servers of a cluster. It is safe for concurrent use.
type Client struct {
	options  Options
	topology atomic.Pointer[topology] // nil until the first refresh succeeds
	ready    chan struct{}            // closed when topology is set for the first time
	refresh  chan struct{}            // receives a value to request a refresh
	stop     context.CancelFunc       // stops watch

	sentinels []*sentinel

	mu    sync.Mutex
	nodes map[string]*node // by host:port
}

// New returns a Client. It connects on first use, except with Sentinels or a cluster: then it
// starts to look up the servers immediately. Call Close when it is no longer needed.
func New(o Options) *Client {
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)

	ctx, stop := context.WithCancel(context.Background())
	c := &Client{
		options: o,
		ready:   make(chan struct{}),
		refresh: make(chan struct{}, 1),
		stop:    stop,
		nodes:   map[string]*node{},
	}

	for _, addr := range o.Sentinels {
		c.sentinels = append(c.sentinels, newSentinel(addr, o))
	}

	switch {
	case len(o.Sentinels) > 0:
		go c.watch(ctx, c.findMaster)
	case len(o.Cluster) > 0:
		go c.watch(ctx, c.findSlots)
	default:
		c.apply(&topology{nodes: []*node{c.nodeAt(o.Addr)}})
	}

	return c
}

// Timeout returns the time limit of a command.
func (c *Client) Timeout() time.Duration { return c.options.Timeout }

// IsCluster reports whether the client uses a Redis Cluster. The keys of a script must then
// share a hash tag.
func (c *Client) IsCluster() bool { return len(c.options.Cluster) > 0 }

// Close closes all connections as soon as their current commands are done. New commands fail
// with ErrUnavailable.
func (c *Client) Close() {
	c.stop()
	c.apply(noMaster)

	for _, s := range c.sentinels {
		_ = s.pool.Load().Close()
	}
}

// Ping checks that all servers that serve keys reply. Errors: ErrUnavailable.
func (c *Client) Ping(ctx context.Context) error {
	return c.EachServer(ctx, func(_ string, do Sender) error {
		_, err := do("PING")
		return err
	})
}

// Scan calls f with batches of the keys that match a pattern. The same key may appear twice.
// Only operators' commands may use it, because it visits every key in Redis. Errors:
// ErrUnavailable, and those of f.
func (c *Client) Scan(ctx context.Context, pattern string, f func(keys []string) error) error {
	for range maxTries {
		initial, err := c.current(time.Now().Add(c.options.Timeout)) // waits for the first refresh
		if err == nil {
			err = c.EachServer(ctx, func(_ string, do Sender) error { return scan(do, pattern, f) })
		}

		// If keys were moved to another server meanwhile, some may have been missed.
		if err != nil || initial.sameAs(c.topology.Load()) {
			return err
		}
	}

	return fmt.Errorf("%w: slots kept moving during the scan", ErrUnavailable)
}

// scan scans the keys of one server.
func scan(do Sender, pattern string, f func(keys []string) error) error {
	cursor := "0"
	for {
		var keys []string
		reply, err := do("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
		if err := Scan(reply, err, &cursor, &keys); err != nil {
			return err
		}

		if err := f(keys); err != nil {
			return err
		}

		if cursor == "0" {
			return nil
		}
	}
}

// Sender sends a command without a key to one server. All its errors wrap ErrUnavailable.
type Sender func(command string, args ...any) (any, error)

// EachServer calls f once for every server that serves keys, with its host:port. It stops at
// the first error. Errors: ErrUnavailable, and those of f.
func (c *Client) EachServer(ctx context.Context, f func(addr string, do Sender) error) error {
	t, err := c.current(time.Now().Add(c.options.Timeout))
	if err != nil {
		return err
	}

	for _, n := range t.nodes {
		do := func(command string, args ...any) (any, error) {
			return c.run(ctx, command, "", n, func(conn timedConn) (any, error) { return conn.Do(command, args...) })
		}

		if err := f(n.addr, do); err != nil {
			return err
		}
	}

	return nil
}

// Do sends a command whose first argument is key, and returns redigo's reply. It does
// not return early when ctx is cancelled. All errors wrap ErrUnavailable; a nil reply is not
// an error.
func (c *Client) Do(ctx context.Context, command, key string, args ...any) (any, error) {
	return c.run(ctx, command, key, nil, func(conn timedConn) (any, error) {
		return conn.Do(command, append([]any{key}, args...)...)
	})
}

// run is exchange without the node.
func (c *Client) run(ctx context.Context, name, key string, pinned *node, send func(timedConn) (any, error)) (any, error) {
	reply, _, err := c.exchange(ctx, name, key, pinned, send)

	return reply, err
}

// exchange sends a command by calling send with a connection, and returns the node that replied. The
// connection is to pinned or, if pinned is nil, to the node that serves key. exchange calls send again if the
// connection was dead or the cluster redirects the command, and once more if the server was demoted. name is
// the command's name in the metrics.
func (c *Client) exchange(
	ctx context.Context, name, key string, pinned *node, send func(timedConn) (any, error),
) (reply any, n *node, err error) {
	observed := c.options.Metrics.RedisCommand(ctx, name)
	defer func() { observed.Done(err) }()

	deadline, release := c.commandDeadline(ctx)
	defer release()

	n = pinned
	asking := false
	demoted := false
	for try := 1; ; try++ {
		if n == nil {
			t, err := c.current(deadline)
			if err != nil {
				return nil, nil, err
			}
			n = t.nodeFor(key)
		}

		if name == "GET" && !asking {
			reply, err = n.get(deadline, key)
		} else {
			reply, err = n.withConn(deadline, asking, send)
		}
		if err == nil {
			return reply, n, nil
		}

		redirect := redisc.ParseRedir(err)
		if redirect == nil || redirect.Type != "ASK" {
			c.requestRefresh()
		}

		switch {
		case !time.Now().Before(deadline):
			return nil, n, fmt.Errorf("%w: %w: %w", ErrUnavailable, context.DeadlineExceeded, err)
		case redisc.IsTryAgain(err):
			time.Sleep(10 * time.Millisecond)
			try-- // while a slot is moving, possibly for long, the server has only some of its keys
		case redirect != nil && try < maxTries:
			n = c.nodeAt(resolveAddr(redirect.Addr, n.addr))
			asking = redirect.Type == "ASK"
		case isDeadConn(err) && try < maxTries:
			n = pinned
			asking = false
		case isDemoted(err) && !demoted:
			n.dropConns(n.pool.Load())
			n = pinned
			asking = false
			demoted = true
		default:
			return nil, n, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
}

// Connections returns the number of idle connections to all servers, and of those that are in
// use or being dialed.
func (c *Client) Connections() (idle, inUse int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		idle += n.pool.Load().IdleCount()
		inUse += len(n.slots)
	}

	return idle, inUse
}
