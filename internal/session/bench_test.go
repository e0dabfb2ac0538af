package session

import "testing"

// BenchmarkLoad measures the cost of loading a request's session. Run it with TEST_REDIS=server,
// because an in-process Redis would add its own work to the result.
func BenchmarkLoad(b *testing.B) {
	m, _ := newManager(b)
	_, token := begin(b, m)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Load(background, token); err != nil {
			b.Fatal(err)
		}
	}
}
