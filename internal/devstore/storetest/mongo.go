package storetest

import (
	"context"
	"log/slog"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"latchkey/internal/devstore"
)

var databases atomic.Int64

// Mongo returns the URI of a fresh database that is dropped after the test.
func Mongo(t testing.TB) string {
	t.Helper()
	base, err := sharedMongo()
	if err != nil {
		t.Fatalf("start MongoDB: %v", err)
	}
	u, err := url.Parse(base)
	if err != nil {
		t.Fatalf("MONGODB_TEST_URI must be a URI of one host")
	}
	name := "latchkey_test_" + time.Now().Format("150405") + "_" + itoa(databases.Add(1)) + "_" + itoa(int64(os.Getpid()))
	u.Path = "/" + name
	uri := u.String()
	t.Cleanup(func() {
		if err := Database(t, uri).Drop(context.Background()); err != nil {
			t.Errorf("drop %s: %v", name, err)
		}
	})
	return uri
}

// Database opens the database that uri names, to look at what the code under
// test has done, or to prepare what it will find.
func Database(t testing.TB, uri string) *mongo.Database {
	t.Helper()
	client, err := mongo.Connect(context.Background(), options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	return client.Database(u.Path[1:])
}

// StartMongo starts a MongoDB for a test that takes it away. It returns the URI
// of a database and a way to stop the server early.
func StartMongo(t testing.TB) (uri string, stop func()) {
	t.Helper()
	base, stop, err := devstore.StartMongo(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return base + "latchkey_test", stop
}

// ProxiedMongo returns the URI of a fresh database behind a proxy.
func ProxiedMongo(t testing.TB) (uri string, proxy *Proxy) {
	t.Helper()
	direct, err := url.Parse(Mongo(t))
	if err != nil {
		t.Fatal(err)
	}
	proxy = NewProxy(t, direct.Host)
	direct.Host, direct.RawQuery = proxy.Addr, "directConnection=true"
	return direct.String(), proxy
}
