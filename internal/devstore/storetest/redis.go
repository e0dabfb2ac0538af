package storetest

import (
	"errors"
	"os"
	"sync/atomic"
	"testing"

	"github.com/gomodule/redigo/redis"
	"github.com/mna/redisc"

	"latchkey/internal/testkit/suite"
)

// maxDatabases is the number of databases of a Redis server, and so the maximum number of
// tests per process.
const maxDatabases = 4096

// databaseNumbers counts the Redis databases that tests of this process have used.
var databaseNumbers atomic.Int64

// Redis is a Redis database. TEST_REDIS determines whether it is on a single server, on
// servers behind Sentinels, or on a cluster.
type Redis struct {
	Addr string // host:port of the server, or of the first master if there are Sentinels
	DB   int

	Sentinels []string
	Master    string // the master's name in the Sentinels' configuration
	Cluster   []string

	InProcess bool // it does not report changes, so sessions cannot be kept in memory

	Username string // an ACL user that a test has created
	Password string
}

// NewRedis returns an empty database on the Redis that all tests of this process share.
func NewRedis(t testing.TB) Redis {
	t.Helper()
	suite.Default(t)

	r, err := sharedRedis()
	check(t, err)

	if r.Cluster != nil {
		// A cluster has a single database, so Main runs one test at a time.
		_, err := r.Conn(t).Do("FLUSHALL")
		check(t, err)

		return r
	}

	r.DB = int(databaseNumbers.Add(1))
	if r.DB >= maxDatabases {
		t.Fatalf("more than %d tests need a Redis database", maxDatabases)
	}

	t.Cleanup(func() {
		// Keys that are left behind would slow down the in-process Redis, which visits every
		// key whenever its clock advances.
		if _, err := r.Conn(t).Do("FLUSHDB"); err != nil {
			t.Error(err)
		}
	})

	return r
}

// Conn connects to the database without the code under test, so that a test can inspect or
// prepare its keys.
func (r Redis) Conn(t testing.TB) redis.Conn {
	t.Helper()
	if r.Cluster != nil {
		return clusterConn{cluster: &redisc.Cluster{StartupNodes: r.Cluster}}
	}

	conn, err := redis.Dial("tcp", r.Addr, redis.DialDatabase(r.DB))
	check(t, err)
	t.Cleanup(func() { _ = conn.Close() })

	return conn
}

// ProxiedRedis returns an empty database on a single server, for direct connections and for
// connections through a proxy. Unless TEST_REDIS selects a single server, it starts one.
func ProxiedRedis(t testing.TB) (direct, proxied Redis, proxy *Proxy) {
	t.Helper()
	switch os.Getenv("TEST_REDIS") {
	case "", "server":
		direct = NewRedis(t)
	default:
		direct = StartRedis(t).Redis
	}

	proxy = NewProxy(t, direct.Addr)
	proxied = Redis{Addr: proxy.Addr, DB: direct.DB, InProcess: direct.InProcess}

	return direct, proxied, proxy
}

// check fails the test if err is not nil. If redis-server is not installed, it skips the test
// unless TEST_REDIS requires a server.
func check(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, errNoRedisServer) && os.Getenv("TEST_REDIS") == "" {
		t.Skip("redis-server is not on the PATH; make check runs this test")
	}

	if err != nil {
		t.Fatal(err)
	}
}
