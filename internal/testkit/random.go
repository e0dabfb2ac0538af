package testkit

import "testing"

const (
	// randomValues is the number of values that CheckRandom checks. The share of these in which a
	// given bit is set has a standard deviation of half a percentage point, so it practically never
	// differs from 50 percent by five.
	randomValues = 10_000
	minShare     = 45 // percent
	maxShare     = 55
)

// CheckRandom calls next 10,000 times. It fails the test unless all values differ and have the
// given size, and each bit is set in about half of them (OWASP ASVS 5.0 7.2.3, 11.5.1). what names
// the value in failures.
func CheckRandom(t testing.TB, what string, size int, next func() []byte) {
	t.Helper()

	seen := make(map[string]bool, randomValues)
	counts := make([]int, 8*size) // the number of values in which each bit is set
	for range randomValues {
		value := next()
		switch {
		case len(value) != size:
			t.Fatalf("%s: got %d bytes, want %d", what, len(value), size)
		case seen[string(value)]:
			t.Fatalf("%s: got the same value twice", what)
		}

		seen[string(value)] = true
		for i := range counts {
			counts[i] += int(value[i/8] >> (i % 8) & 1)
		}
	}

	for i, n := range counts {
		if share := n * 100 / randomValues; share < minShare || share >= maxShare {
			t.Errorf("%s: got bit %d of byte %d set in %d of %d values, want about half", what, i%8, i/8, n, randomValues)
		}
	}
}
