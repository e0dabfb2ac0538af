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

// ErrUnavailable says that Redis did not do what it was asked: it is away, too
// slow, full, loading, or it refused. Whether the command took effect is unknown.
var ErrUnavailable = errors.New("redis is unavailable")

const (
	// commandTimeout bounds all that a command does, the wait for a connection
	// and a second try included, so that a request answers within a second when
	// Redis hangs, even where it hangs between two commands.
	commandTimeout = 400 * time.Millisecond
	// maxConns bounds the connections of one process. A command beyond it waits
	// its turn within commandTimeout.
	maxConns = 64
	// maxTries is how often a command is sent when connections turn out dead.
	maxTries = 3
)

// Options say where Redis is and who we are to it.
type Options struct {
	Addr     string // host:port
	Username string // ACL user; empty is Redis's default user
	Password string
	DB       int
	TLS      bool // TLS 1.2 or later, with the certificate verified
}

// Client sends commands to one Redis. It is safe for concurrent use.
type Client struct {
	pool *redis.Pool
	// lastFailure is when a connection was last found dead, in Unix nanoseconds.
	lastFailure atomic.Int64
	clock       clock
}

// New returns a Client that connects when it is first used.
func New(o Options) *Client {
	c := &Client{clock: clock{start: time.Now()}}
	dial := []redis.DialOption{
		redis.DialReadTimeout(commandTimeout),
		redis.DialWriteTimeout(commandTimeout),
		redis.DialUsername(o.Username),
		redis.DialPassword(o.Password),
		redis.DialDatabase(o.DB),
		redis.DialContextFunc(new(net.Dialer).DialContext),
	}
	if o.TLS {
		// redigo's own TLS takes no notice of the context while it shakes hands.
		secure := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}
		dial = append(dial, redis.DialContextFunc(secure.DialContext))
	}
	c.pool = &redis.Pool{
		MaxActive: maxConns,
		MaxIdle:   maxConns,
		Wait:      true,
		DialContext: func(ctx context.Context) (redis.Conn, error) {
			return redis.DialContext(ctx, "tcp", o.Addr, dial...)
		},
		// When one connection dies, those that were idle then are dead with it.
		// Dropping them here costs nothing; a PING before use would cost a round
		// trip on every command.
		TestOnBorrow: func(_ redis.Conn, idleSince time.Time) error {
			if idleSince.UnixNano() <= c.lastFailure.Load() {
				return errors.New("idle since before a failure")
			}
			return nil
		},
	}
	return c
}

// Close closes all connections. Commands fail with ErrUnavailable afterwards.
func (c *Client) Close() error { return c.pool.Close() }

// Ping asks Redis whether it answers.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.Do(ctx, "PING")
	return err
}

// Do sends one command and returns redigo's reply. A nil reply is no error.
// Every error wraps ErrUnavailable.
//
// The command is not given up when ctx is cancelled. It is done within the time
// limit anyway, giving up would cost a connection each time a client goes away,
// and a client that goes away must not leave half of something behind.
func (c *Client) Do(ctx context.Context, command string, args ...any) (any, error) {
	return c.run(ctx, func(conn timedConn) (any, error) {
		return conn.Do(command, args...)
	})
}

// timedConn gives its commands together until deadline. redigo's DoContext would
// do so, too, at the price of a goroutine for each command.
type timedConn struct {
	redis.Conn
	deadline time.Time
}

func (c timedConn) Do(command string, args ...any) (any, error) {
	left := time.Until(c.deadline)
	if left <= 0 {
		return nil, context.DeadlineExceeded
	}
	return redis.DoWithTimeout(c.Conn, left, command, args...)
}

func (c *Client) run(ctx context.Context, command func(timedConn) (any, error)) (any, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandTimeout)
	defer cancel()
	for try := 1; ; try++ {
		reply, err := c.once(ctx, command)
		if err == nil {
			return reply, nil
		}
		if try == maxTries || !isDeadConn(err) || ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
}

func (c *Client) once(ctx context.Context, command func(timedConn) (any, error)) (any, error) {
	conn, err := c.pool.GetContext(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	reply, err := command(timedConn{conn, deadline})
	if conn.Err() != nil {
		c.lastFailure.Store(time.Now().UnixNano())
		c.clock.forget()
	}
	return reply, err
}

// isDeadConn tells a connection that was closed under us (end of file, reset,
// broken pipe) from a Redis that is slow, refuses, or answers with an error.
// Only the first is worth another try.
func isDeadConn(err error) bool {
	var replied redis.Error
	if errors.As(err, &replied) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return false
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return false
	}
	var timeout interface{ Timeout() bool }
	return !errors.As(err, &timeout) || !timeout.Timeout()
}
