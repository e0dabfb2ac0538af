package storetest

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"latchkey/internal/devstore"
	"latchkey/internal/testkit/suite"
)

// databases counts the databases of this process, to give each a different name.
var databases atomic.Int64

// Mongo returns the URI of an empty database, which is dropped after the test.
func Mongo(t testing.TB) string {
	t.Helper()
	suite.Default(t)

	base, err := sharedMongo()
	check(t, err)
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal("cannot parse MONGODB_TEST_URI: it must contain a single host")
	}

	name := fmt.Sprintf("latchkey_test_%s_%d_%d", time.Now().Format("150405"), databases.Add(1), os.Getpid())
	u.Path = "/" + name
	uri := u.String()

	t.Cleanup(func() {
		if err := Database(t, uri).Drop(context.Background()); err != nil {
			t.Errorf("drop %s: %v", name, err)
		}
	})

	return uri
}

// Database connects to the database at uri without the code under test, so that a test can
// inspect or prepare its documents.
func Database(t testing.TB, uri string) *mongo.Database {
	t.Helper()
	client, err := mongo.Connect(context.Background(), options.Client().ApplyURI(uri))
	check(t, err)
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })

	u, err := url.Parse(uri)
	check(t, err)

	return client.Database(u.Path[1:])
}

// StartMongo starts a MongoDB for a test that stops it. It returns the URI of a database,
// and a function that stops the server before the end of the test.
func StartMongo(t testing.TB) (uri string, stop func()) {
	t.Helper()
	suite.Default(t)

	base, stop, err := devstore.StartMongo(t.TempDir(), slog.New(slog.DiscardHandler))
	check(t, err)
	return base + "latchkey_test", stop
}

// ProxiedMongo returns the URI of an empty database behind a proxy.
func ProxiedMongo(t testing.TB) (uri string, proxy *Proxy) {
	t.Helper()
	u, err := url.Parse(Mongo(t))
	check(t, err)

	proxy = NewProxy(t, u.Host)
	u.Host = proxy.Addr
	u.RawQuery = "directConnection=true"

	return u.String(), proxy
}
