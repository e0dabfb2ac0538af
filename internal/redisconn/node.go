package redisconn

import (
	"context"
	"crypto/tls"
	"errors"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"
)

// node is a Redis server with its connections.
type node struct {
	addr    string // host:port
	options Options

	// pool is replaced when its connections must not be used again: see dropConns.
	pool atomic.Pointer[redis.Pool]

	// slots has an element for every connection in use. The pool could limit connections itself,
	// but would then panic if it were closed while a command that waits for one times out.
	slots chan struct{}

	// clockStart is the local time at which Redis's clock was 0, or nil if that is unknown. It
	// has a monotonic reading, so setting the local clock does not affect it.
	clockStart atomic.Pointer[time.Time]

	pipeline pipeline

	// lastLag is when replicas last failed to acknowledge a write in time, in Unix
	// nanoseconds. healthyReplicas is the number of replicas that did acknowledge it.
	lastLag         atomic.Int64
	healthyReplicas atomic.Int64
}

func newNode(addr string, o Options) *node {
	n := &node{addr: addr, options: o, slots: make(chan struct{}, maxConns)}
	n.pool.Store(n.newPool())

	return n
}

func (n *node) newPool() *redis.Pool {
	return &redis.Pool{MaxIdle: maxConns, MaxConnLifetime: maxConnAge, DialContext: n.connect}
}

// dropConns makes later commands use new connections, unless pool has been replaced already.
// Connections in use are closed when they are returned.
func (n *node) dropConns(pool *redis.Pool) {
	if n.pool.CompareAndSwap(pool, n.newPool()) {
		_ = pool.Close()
		n.clockStart.Store(nil)
	}
}

// connect opens a connection and checks that the server is Redis. redigo considers any reply
// to SELECT a success, and in the wrong database all sessions would seem to have ended.
func (n *node) connect(ctx context.Context) (redis.Conn, error) {
	dial := n.options.Dial
	if n.options.TLS {
		// redigo's own TLS handshake ignores the context.
		dial = new(tls.Dialer).DialContext
	}

	conn, err := redis.DialContext(ctx, "tcp", n.addr,
		redis.DialContextFunc(dial),
		redis.DialReadTimeout(n.options.Timeout),
		redis.DialWriteTimeout(n.options.Timeout),
		redis.DialUsername(n.options.Username),
		redis.DialPassword(n.options.Password),
		redis.DialDatabase(n.options.DB))
	if err != nil {
		return nil, err
	}

	if err := n.checkServer(ctx, conn); err != nil {
		_ = conn.Close()
		return nil, err
	}

	return conn, nil
}

// checkServer returns an error unless a new connection leads to Redis and, if there is a single
// server, to a master. A proxy or an ACL may prevent the check of the role.
func (n *node) checkServer(ctx context.Context, conn redis.Conn) error {
	_ = conn.Send("PING")
	_ = conn.Send("ROLE")
	replies, err := redis.Values(redis.DoContext(conn, ctx, ""))
	if err != nil {
		return err
	}

	var role string
	isSingle := len(n.options.Sentinels)+len(n.options.Cluster) == 0
	pong, err := redis.String(replies[0], nil)
	// A server that cannot write to its disk refuses PING and writes, but still serves reads.
	canOnlyRead := Code(err) == "MISCONF"
	switch {
	case err != nil && !canOnlyRead:
		return err
	case pong != "PONG" && !canOnlyRead:
		return errors.New("not a Redis server: no PONG in reply to PING")
	case isSingle && Scan(replies[1], nil, &role) == nil && role == "slave":
		return redis.Error("READONLY the server is a replica")
	}

	return nil
}

// withConn calls f with a connection whose commands end at the deadline. If all connections
// are in use, it waits for one.
func (n *node) withConn(deadline time.Time, asking bool, f func(timedConn) (any, error)) (any, error) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	select {
	case n.slots <- struct{}{}:
		defer func() { <-n.slots }()
	case <-ctx.Done():
	}

	if ctx.Err() != nil {
		return nil, ctx.Err()
	}

	pool := n.pool.Load()
	conn, err := pool.GetContext(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()

	start := time.Now()
	reply, err := f(timedConn{Conn: conn, node: n, deadline: deadline, asking: asking})

	// If one connection is dead, the others probably are, too. A timeout means that only if the
	// command had enough time.
	connErr := conn.Err()
	hadTime := time.Since(start) > n.options.Timeout/2
	if isDeadConn(connErr) || connErr != nil && hadTime {
		n.dropConns(pool)
	}

	return reply, err
}

// do sends a command, and sends it again if the connection was dead.
func (n *node) do(deadline time.Time, command string, args ...any) (reply any, err error) {
	for range maxTries {
		reply, err = n.withConn(deadline, false, func(conn timedConn) (any, error) { return conn.Do(command, args...) })
		if !isDeadConn(err) {
			break
		}
	}
	return reply, err
}

// timedConn is a connection whose commands all end at a deadline. redigo's DoContext does the
// same, but starts a goroutine per command.
type timedConn struct {
	redis.Conn
	node     *node
	deadline time.Time
	asking   bool // send ASKING first, because the key's slot is moving to this server
}

// Do implements redis.Conn.
func (c timedConn) Do(command string, args ...any) (any, error) {
	if c.asking {
		if err := c.Send("ASKING"); err != nil {
			return nil, err
		}
	}

	timeout := max(time.Nanosecond, time.Until(c.deadline)) // 0 would mean no timeout

	return redis.DoWithTimeout(c.Conn, timeout, command, args...)
}

type budgetKey struct{}

// WithBudget returns a context whose commands may take d in total. The time between commands,
// for example to hash a password, does not count.
func WithBudget(ctx context.Context, d time.Duration) context.Context {
	b := &budget{Context: ctx}
	b.remaining.Store(int64(d))

	return b
}

// budget is a context with a budget. It takes one allocation, and context.WithValue would take two.
type budget struct {
	context.Context
	remaining atomic.Int64 // nanoseconds
}

// Value implements context.Context.
func (b *budget) Value(key any) any {
	if key == (budgetKey{}) {
		return b
	}

	return b.Context.Value(key)
}

// commandDeadline returns the deadline of a command that starts now. The caller must call
// release when the command is done, to charge its time to the budget of ctx.
func (c *Client) commandDeadline(ctx context.Context) (deadline time.Time, release func()) {
	start := time.Now()

	b, ok := ctx.Value(budgetKey{}).(*budget)
	if !ok {
		return start.Add(c.options.Timeout), func() {}
	}

	timeout := min(c.options.Timeout, time.Duration(b.remaining.Load()))
	release = func() { b.remaining.Add(-int64(time.Since(start))) }

	return start.Add(timeout), release
}
