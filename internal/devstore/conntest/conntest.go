package conntest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/mongoconn"
	"latchkey/internal/redisconn"
)

// Timeout is the time limit of a command on a busy machine.
const Timeout = 10 * time.Second

// Redis returns a client for r, which it closes after the test. The servers and credentials in o
// are replaced with those of r; the other options have defaults.
func Redis(t testing.TB, r storetest.Redis, o redisconn.Options) *redisconn.Client {
	t.Helper()
	o.Addr = r.Addr
	o.DB = r.DB
	o.Username = r.Username
	o.Password = r.Password
	o.Sentinels = r.Sentinels
	o.Master = r.Master
	o.Cluster = r.Cluster

	if o.Timeout == 0 {
		o.Timeout = Timeout
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}

	client := redisconn.New(o)
	t.Cleanup(client.Close)
	return client
}

// Mongo returns the database at o.URI, from which it disconnects after the test.
func Mongo(t testing.TB, o mongoconn.Options) *mongoconn.Database {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = Timeout
	}

	db, err := mongoconn.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Client().Disconnect(context.Background()) })
	return db
}
