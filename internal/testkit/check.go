package testkit

import "testing"

// NoError fails the test if there is an error.
func NoError(t testing.TB, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}
