package redisconn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"
)

// node is one Redis server and our connections to it.
type node struct {
	addr string
	pool *redis.Pool
	// lastFailure is when a connection was last found dead, in Unix nanoseconds.
	lastFailure atomic.Int64
	clock       clock
	// replaceable says that another server may take its place.
	replaceable bool
	// lagging is when a replica was last found not to keep up, in Unix nanoseconds, and
	// keepingUp how many did.
	lagging   atomic.Int64
	keepingUp atomic.Int64
	// turns has an element for each connection in use. The pool could have commands
	// wait for one, too, but asks their contexts for a timer first.
	turns chan struct{}
	reads reads
}

// retire closes the connections: those in use once their commands are done. For others
// there are none from now on.
func (n *node) retire() { _ = n.pool.Close() }

func newNode(addr string, dial []redis.DialOption) *node {
	n := &node{addr: addr, clock: clock{start: time.Now()}, turns: make(chan struct{}, maxConns)}
	n.pool = &redis.Pool{
		MaxIdle: maxConns,
		DialContext: func(limit context.Context) (redis.Conn, error) {
			// Of a context that is not the standard library's own each that net derives
			// would cost a goroutine.
			deadline, _ := limit.Deadline()
			ctx, cancel := context.WithDeadline(context.WithoutCancel(limit), deadline)
			defer cancel()
			conn, err := redis.DialContext(ctx, "tcp", addr, dial...)
			if err != nil {
				return nil, err
			}
			return conn, greet(ctx, conn)
		},
		// When one connection dies, those that were idle then are dead with it.
		// Dropping them here costs nothing; a PING before use would cost a round
		// trip on every command.
		TestOnBorrow: func(_ redis.Conn, idleSince time.Time) error {
			if idleSince.UnixNano() <= n.lastFailure.Load() {
				return errors.New("idle since before a failure")
			}
			return nil
		},
	}
	return n
}

// greet makes sure that who answers on a new connection is a Redis. redigo takes any
// answer to SELECT for a yes, and what is not there in the wrong database would be
// taken for a session that has ended.
func greet(ctx context.Context, conn redis.Conn) error {
	deadline, _ := ctx.Deadline()
	answer, err := redis.String(redis.DoWithTimeout(conn, time.Until(deadline), "PING"))
	if err == nil && answer != "PONG" {
		err = fmt.Errorf("this is no Redis: it answers %q to PING", answer)
	}
	if err != nil {
		_ = conn.Close()
	}
	return err
}

// dialOptions are those of every connection to a Redis server.
func (o Options) dialOptions() []redis.DialOption {
	dial := []redis.DialOption{
		redis.DialReadTimeout(commandTimeout),
		redis.DialWriteTimeout(commandTimeout),
		redis.DialUsername(o.Username),
		redis.DialPassword(o.Password),
		redis.DialDatabase(o.DB),
	}
	return append(dial, o.transport())
}

// transport is how a connection is made, before anything is said on it.
func (o Options) transport() redis.DialOption {
	plain := &net.Dialer{Timeout: commandTimeout}
	if !o.TLS {
		return redis.DialContextFunc(plain.DialContext)
	}
	// redigo's own TLS takes no notice of the context while it shakes hands.
	secure := tls.Dialer{NetDialer: plain, Config: &tls.Config{MinVersion: tls.VersionTLS12}}
	return redis.DialContextFunc(secure.DialContext)
}

// turn waits until a connection is free. Who gets nil gives it back with done.
func (n *node) turn(l *limit) error {
	select {
	case n.turns <- struct{}{}:
		return nil
	default:
	}
	select {
	case n.turns <- struct{}{}:
	case <-l.Done():
		return l.Err()
	}
	// Where both were ready the choice was random.
	if err := l.Err(); err != nil {
		n.done()
		return err
	}
	return nil
}

func (n *node) done() { <-n.turns }

// once gives command one connection until the end of the limit.
func (n *node) once(l *limit, asking bool, command func(*node, timedConn) (any, error)) (any, error) {
	if err := n.turn(l); err != nil {
		return nil, err
	}
	defer n.done()
	conn, err := n.pool.GetContext(l)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	start := time.Now()
	reply, err := command(n, timedConn{conn, l.deadline, asking})
	// A command that had little time left says nothing about the other connections.
	if broken := conn.Err(); broken != nil && (isDeadConn(broken) || time.Since(start) > commandTimeout/2) {
		n.lastFailure.Store(time.Now().UnixNano())
		n.clock.forget()
	}
	return reply, err
}

// timedConn gives its commands together until deadline. redigo's DoContext would
// do so, too, at the price of a goroutine for each command.
type timedConn struct {
	redis.Conn
	deadline time.Time
	asking   bool // the server is asked for a slot that is moving to it
}

func (c timedConn) Do(command string, args ...any) (any, error) {
	left := time.Until(c.deadline)
	if left <= 0 {
		return nil, context.DeadlineExceeded
	}
	if c.asking {
		if err := c.Send("ASKING"); err != nil {
			return nil, err
		}
	}
	return redis.DoWithTimeout(c.Conn, left, command, args...)
}
