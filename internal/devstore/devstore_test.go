package devstore

import (
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
)

// Keys expire by themselves: the clock of the in-process Redis ticks.
func TestRedisClockTicks(t *testing.T) {
	t.Parallel()
	addr, stop, err := StartRedis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	conn, err := redis.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := conn.Do("SET", "short", "x", "PX", 100); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Do("SET", "long", "x", "EX", 3600); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		alive, err := redis.Int(conn.Do("EXISTS", "short"))
		if err != nil {
			t.Fatal(err)
		}
		if alive == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a key of 100 ms lives on")
		}
	}
	if alive, err := redis.Int(conn.Do("EXISTS", "long")); err != nil || alive != 1 {
		t.Errorf("a key of an hour is gone, %v", err)
	}
}
