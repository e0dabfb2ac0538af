package session

import (
	"context"
	"testing"
)

// BenchmarkLoad is what each request behind a session costs here. Run it with
// TEST_REDIS=server: what the Redis of the process does counts, too.
func BenchmarkLoad(b *testing.B) {
	m, _ := newManager(b)
	_, token := begin(b, m)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Load(context.Background(), token); err != nil {
			b.Fatal(err)
		}
	}
}
