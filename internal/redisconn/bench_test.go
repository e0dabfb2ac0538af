package redisconn

import (
	"context"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
)

// BenchmarkGet measures a GET within the budget of a request. TEST_REDIS=server selects a real Redis.
func BenchmarkGet(b *testing.B) {
	get := newGetter(b)
	b.ReportAllocs()
	for b.Loop() {
		get(b)
	}
}

// BenchmarkGetParallel measures GETs with 64 concurrent requests per CPU.
func BenchmarkGetParallel(b *testing.B) {
	get := newGetter(b)
	b.ReportAllocs()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			get(b)
		}
	})
}

func newGetter(b *testing.B) func(testing.TB) {
	b.Helper()
	r := storetest.NewRedis(b)
	if _, err := r.Conn(b).Do("SET", "key", "a value that is about as long as a session record"); err != nil {
		b.Fatal(err)
	}

	c := newClient(b, r)

	return func(t testing.TB) {
		ctx := WithBudget(context.Background(), time.Second)
		if reply, err := c.Do(ctx, "GET", "key"); err != nil || reply == nil {
			t.Error(reply, err)
		}
	}
}
