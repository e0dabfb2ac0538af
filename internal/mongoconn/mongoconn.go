package mongoconn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/mongo/readconcern"
	"go.mongodb.org/mongo-driver/mongo/readpref"
	"go.mongodb.org/mongo-driver/mongo/writeconcern"
	"go.mongodb.org/mongo-driver/x/mongo/driver/connstring"

	"latchkey/internal/telemetry"
)

// ErrUnavailable is returned when MongoDB failed or did not reply in time. A write may have
// taken effect.
var ErrUnavailable = errors.New("MongoDB is unavailable")

var errInvalidURI = errors.New("invalid MongoDB URI")

// DefaultTimeout is the default of Options.Timeout. It lets the server answer a request that needs
// two operations within 3 seconds while MongoDB is down.
const DefaultTimeout = 1200 * time.Millisecond

// defaultName is the name of the database if the connection string contains none.
const defaultName = "latchkey"

// Options are the settings of a Database.
type Options struct {
	// URI is a MongoDB connection string.
	URI string

	// Timeout limits each operation, including the selection of a server. The default is
	// DefaultTimeout.
	Timeout time.Duration

	// Dial opens connections. The default is a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	Metrics *telemetry.Metrics
}

// Database is a MongoDB database with a time limit for operations.
type Database struct {
	*mongo.Database

	timeout time.Duration
}

// Open returns a database. It connects on first use, but resolves a mongodb+srv host
// immediately. An error means that the connection string is invalid or its host cannot be
// resolved. Errors do not quote the connection string, which may contain a password.
//
// Read preference, read concern and write concern are not taken from the connection string.
// A secondary that lags would make new accounts look deleted, and a write that only the
// primary has may be rolled back: a disabled account would be active again.
func Open(o Options) (*Database, error) {
	timeout := cmp.Or(o.Timeout, DefaultTimeout)

	parsed, err := connstring.ParseAndValidate(o.URI)
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return nil, fmt.Errorf("MongoDB URI: cannot resolve %s", dns.Name)
	}
	if err != nil {
		return nil, errInvalidURI // err may quote the password
	}

	dial := o.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: timeout}).DialContext
	}

	client, err := mongo.Connect(context.Background(), options.Client().
		ApplyURI(o.URI).
		SetAppName("latchkey").
		SetMonitor(o.Metrics.MongoMonitor()).
		SetPoolMonitor(o.Metrics.PoolMonitor()).
		SetReadPreference(readpref.Primary()).
		SetReadConcern(readconcern.Local()).
		SetWriteConcern(writeconcern.Majority()).
		SetServerSelectionTimeout(timeout).
		SetConnectTimeout(timeout).
		SetDialer(dialer{dial: dial, timeout: timeout}))
	if err != nil {
		return nil, errInvalidURI
	}

	name := cmp.Or(parsed.Database, defaultName)

	return &Database{Database: client.Database(name), timeout: timeout}, nil
}

// dialer opens connections whose reads never block forever: see conn.
type dialer struct {
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	timeout time.Duration
}

// DialContext implements options.ContextDialer.
func (d dialer) DialContext(ctx context.Context, network, hostPort string) (net.Conn, error) {
	c, err := d.dial(ctx, network, hostPort)
	if err != nil {
		return nil, err
	}
	return conn{Conn: c, timeout: d.timeout}, nil
}

// conn sets a deadline for reads that have none. Such reads belong to handshakes, because all
// our operations have a deadline: see WithTimeout and WithLongTimeout. The driver sets no
// deadline for a handshake, and runs only a few handshakes at a time. If MongoDB accepted
// connections without replying, those handshakes would still block all others after MongoDB
// has recovered.
type conn struct {
	net.Conn

	timeout time.Duration
}

// SetReadDeadline implements net.Conn.
func (c conn) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		t = time.Now().Add(c.timeout)
	}
	return c.Conn.SetReadDeadline(t)
}

// WithTimeout returns a context for one operation. It is not cancelled with ctx: if a
// client disconnects, that must not leave a change half done or make the driver close a
// connection.
func (d *Database) WithTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), d.timeout)
}

// WithLongTimeout returns a context for one operation that may read every document. It ends
// when ctx does, and after an hour at the latest. Without any deadline, conn would mistake the
// operation for a handshake.
func WithLongTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Hour)
}

// Retry calls operation, and calls it again if MongoDB's reply was lost. MongoDB may or may not
// have executed a write by then, so the second call must recognize the work of the first. ctx must
// come from WithTimeout; the first call gets most of its time. The driver retries writes only on a
// replica set, and nothing after a timeout. Errors: those of operation, which must come from the
// driver.
func Retry(ctx context.Context, operation func(context.Context) error) error {
	deadline, _ := ctx.Deadline()
	first, cancel := context.WithTimeout(ctx, time.Until(deadline)*3/4)
	defer cancel()

	err := operation(first)
	if mongo.IsNetworkError(err) || mongo.IsTimeout(err) {
		return operation(ctx)
	}

	return err
}

// Unavailable wraps an error from the driver in ErrUnavailable, without the values that a
// server may quote in it: see Redact. It returns nil for nil.
func Unavailable(err error) error {
	if err == nil {
		return nil
	}

	return fmt.Errorf("%w: %w", ErrUnavailable, Redact(err))
}

// Redact hides what a server quotes in an error: the key in a duplicate key error, or the command
// that a user may not run. Both can contain emails, which must not be logged.
func Redact(err error) error {
	var fromServer mongo.ServerError
	if !errors.As(err, &fromServer) {
		return err
	}

	return redactedError{err}
}

// redactedError is an error of a server without the documents that its text quotes.
type redactedError struct{ error }

// Error returns the message up to the first quoted document.
func (e redactedError) Error() string {
	message, document, ok := strings.Cut(e.error.Error(), "{")
	if !ok || document == "" {
		return message
	}

	return message + "{...}"
}

// Unwrap returns the driver's error.
func (e redactedError) Unwrap() error { return e.error }
