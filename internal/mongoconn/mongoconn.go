package mongoconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/x/mongo/driver/connstring"

	"latchkey/internal/telemetry"
)

// ErrUnavailable says that MongoDB did not answer, or not in time. Whether a write
// took effect is unknown.
var ErrUnavailable = errors.New("MongoDB is unavailable")

const (
	defaultDatabase = "latchkey"
	// opTimeout bounds every call, the choice of a server included, so that a
	// request with two calls answers within 3 seconds when MongoDB is away.
	opTimeout = 1200 * time.Millisecond
)

// Open returns the database that uri names (latchkey where it names none), whose
// commands and connections metrics counts. It
// connects when it is first used, but a mongodb+srv host is resolved now. An error
// means that the uri is wrong, and does not hold it. Close it by its Client.
func Open(uri string, metrics *telemetry.Metrics) (*mongo.Database, error) {
	parsed, err := connstring.ParseAndValidate(uri)
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return nil, fmt.Errorf("the MongoDB URI: %s cannot be resolved", dns.Name)
	}
	if err != nil {
		// The parser's text may quote the password.
		return nil, errors.New("the MongoDB URI cannot be used")
	}
	database := parsed.Database
	if database == "" {
		database = defaultDatabase
	}
	client, err := mongo.Connect(context.Background(), options.Client().
		ApplyURI(uri).
		SetAppName("latchkey").
		SetMonitor(metrics.MongoMonitor()).
		SetPoolMonitor(metrics.PoolMonitor()).
		SetServerSelectionTimeout(opTimeout).
		SetConnectTimeout(opTimeout).
		SetDialer(dialer{net.Dialer{Timeout: opTimeout}}))
	if err != nil {
		return nil, errors.New("the MongoDB URI cannot be used")
	}
	return client.Database(database), nil
}

// dialer makes connections on which no read takes for ever.
type dialer struct{ net.Dialer }

// DialContext implements options.ContextDialer.
func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.Dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return conn{c}, nil
}

// conn gives a read without a deadline that of a call. It is one of the greeting of a new
// connection, for which the driver has none: with a MongoDB that takes connections and
// says nothing, the few that may be made at a time would be waited for long after it is
// well again, and no others be made. All calls of ours have a deadline: see Bounded and
// Unhurried.
type conn struct{ net.Conn }

// SetReadDeadline implements net.Conn.
func (c conn) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		t = time.Now().Add(opTimeout)
	}
	return c.Conn.SetReadDeadline(t)
}

// Bounded gives one call its time limit. It is not given up when ctx is cancelled: a
// client that goes away must not leave half of something behind, nor cost a
// connection.
func Bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), opTimeout)
}

// Unhurried gives one call that may look at every document there is an hour, or as long
// as ctx does. Every call has an end: one without is taken for the greeting of a connection.
func Unhurried(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Hour)
}

// Unavailable makes an error of the driver an ErrUnavailable; nil stays nil.
func Unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
