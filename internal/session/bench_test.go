package session

import "testing"

// BenchmarkLoad measures the cost of loading the session of a request. Run it with
// TEST_REDIS=server, because the work of the in-process Redis would count, too.
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
