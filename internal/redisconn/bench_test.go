package redisconn

import (
	"context"
	"testing"
	"time"

	"latchkey/internal/devstore/storetest"
)

// BenchmarkGet is one GET within the budget of a request. With TEST_REDIS=server it
// asks a real Redis.
func BenchmarkGet(b *testing.B) {
	r := storetest.NewRedis(b)
	if _, err := r.Conn(b).Do("SET", "key", "a value of about the length that a session has"); err != nil {
		b.Fatal(err)
	}
	c := newClient(b, r)
	b.ReportAllocs()
	for b.Loop() {
		ctx := WithBudget(context.Background(), time.Second)
		if reply, err := c.Do(ctx, "GET", "key"); err != nil || reply == nil {
			b.Fatal(reply, err)
		}
	}
}
