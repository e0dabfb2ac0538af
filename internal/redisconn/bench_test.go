package redisconn

import (
	"context"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
	"latchkey/internal/testkit"
)

// BenchmarkGetParallel measures GETs with 64 concurrent requests per CPU, each within a budget.
// TEST_REDIS=server selects a real Redis.
func BenchmarkGetParallel(b *testing.B) {
	r := storetest.NewRedis(b)
	_, err := r.Conn(b).Do("SET", "key", "a value that is about as long as a session record")
	testkit.NoError(b, err)
	c := newClient(b, r)
	b.ReportAllocs()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			ctx := WithBudget(context.Background(), time.Second)
			if reply, err := c.Do(ctx, "GET", "key"); err != nil || reply == nil {
				b.Errorf("GET: got %v, %v; want a value", reply, err)
			}
		}
	})
}
