package storetest

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/gomodule/redigo/redis"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// Redis is one empty database of a Redis that tests share.
type Redis struct {
	Addr string
	DB   int
}

// maxDatabases is how many tests of one process can have a database each.
const maxDatabases = 4096

var redisDBs atomic.Int64

// NewRedis returns an empty database.
func NewRedis(t testing.TB) Redis {
	t.Helper()
	addr, err := sharedRedis()
	if err != nil {
		t.Fatalf("start Redis: %v", err)
	}
	db := int(redisDBs.Add(1))
	if db >= maxDatabases {
		t.Fatalf("more than %d tests want a database", maxDatabases)
	}
	return Redis{Addr: addr, DB: db}
}

// Conn connects to look at what the code under test has done.
func (r Redis) Conn(t testing.TB) redis.Conn {
	t.Helper()
	conn, err := redis.Dial("tcp", r.Addr, redis.DialDatabase(r.DB))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
