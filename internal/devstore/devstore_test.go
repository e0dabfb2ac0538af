package devstore

import (
	"testing"

	"latchkey/internal/testkit"

	"github.com/gomodule/redigo/redis"
)

// Keys expire, because the clock of the in-process Redis advances.
func TestRedisKeysExpire(t *testing.T) {
	t.Parallel()
	addr, stop, err := StartRedis()
	testkit.NoError(t, err)

	t.Cleanup(stop)
	conn, err := redis.Dial("tcp", addr)
	testkit.NoError(t, err)

	t.Cleanup(func() { _ = conn.Close() })
	_, err = conn.Do("SET", "short", "x", "PX", 100)
	testkit.NoError(t, err)
	_, err = conn.Do("SET", "long", "x", "EX", 3600)
	testkit.NoError(t, err)

	testkit.Eventually(t, "the key with a TTL of 100 ms to expire", func() bool {
		alive, err := redis.Int(conn.Do("EXISTS", "short"))
		testkit.NoError(t, err)

		return alive == 0
	})

	if alive, err := redis.Int(conn.Do("EXISTS", "long")); err != nil || alive != 1 {
		t.Errorf("key with a TTL of an hour: got %d keys, %v; want 1", alive, err)
	}
}
