package storetest

import (
	"errors"
	"os"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/gomodule/redigo/redis"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// Redis is one empty database of a Redis that tests share. How it is reached depends
// on what TEST_REDIS asks for.
type Redis struct {
	Addr string // of the server, or of the one that the Sentinels named at first
	DB   int

	Sentinels []string
	Master    string
	Cluster   []string

	Username, Password string // of an ACL user that a test has made
}

// maxDatabases is how many tests of one process can have a database each.
const maxDatabases = 4096

var redisDBs atomic.Int64

// NewRedis returns an empty database.
func NewRedis(t testing.TB) Redis {
	t.Helper()
	r, err := sharedRedis()
	fatal(t, err)
	if r.Cluster != nil {
		// A cluster has one database, so there is one test at a time: see Main.
		_, err := r.Conn(t).Do("FLUSHALL")
		fatal(t, err)
		return r
	}
	if r.DB = int(redisDBs.Add(1)); r.DB >= maxDatabases {
		t.Fatalf("more than %d tests want a database", maxDatabases)
	}
	t.Cleanup(func() { r.empty(t) })
	return r
}

// empty takes out what a test has left: the clock of the in-process Redis looks at every
// key each time it ticks.
func (r Redis) empty(t testing.TB) {
	t.Helper()
	_, err := r.Conn(t).Do("FLUSHDB")
	if err != nil {
		t.Error(err)
	}
}

// fatal ends a test where the stores cannot be had. Without a redis-server it is
// skipped, unless TEST_REDIS asks for one.
func fatal(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, errNoRedisServer) && os.Getenv("TEST_REDIS") == "" {
		t.Skip("needs redis-server on the PATH; make check runs this test")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Conn connects to look at what the code under test has done.
func (r Redis) Conn(t testing.TB) redis.Conn {
	t.Helper()
	var conn redis.Conn
	var err error
	if r.Cluster != nil {
		conn, err = newClusterConn(r.Cluster)
	} else {
		conn, err = redis.Dial("tcp", r.Addr, redis.DialDatabase(r.DB))
	}
	fatal(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ProxiedRedis returns an empty database of one server, whatever TEST_REDIS asks for:
// direct, and as it is reached through a proxy.
func ProxiedRedis(t testing.TB) (direct, proxied Redis, proxy *Proxy) {
	t.Helper()
	switch os.Getenv("TEST_REDIS") {
	case "", "server":
		direct = NewRedis(t)
	default:
		direct = StartRedis(t).Redis
	}
	proxy = NewProxy(t, direct.Addr)
	return direct, Redis{Addr: proxy.Addr, DB: direct.DB}, proxy
}
