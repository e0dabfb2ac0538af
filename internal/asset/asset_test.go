package asset

import "testing"

func TestAcceptsGzip(t *testing.T) {
	t.Parallel()

	for header, want := range map[string]bool{
		"":                        false,
		"gzip":                    true,
		"deflate, GZIP;q=0.5, br": true,
		"x-gzip":                  true,
		"*":                       true,
		"br":                      false,
		"gzip;q=0":                false,
		"*;q=0":                   false,
		"gzipped":                 false,
	} {
		if got := acceptsGzip(header); got != want {
			t.Errorf("acceptsGzip(%q) = %v, want %v", header, got, want)
		}
	}
}
