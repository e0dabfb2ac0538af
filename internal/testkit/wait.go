package testkit

import (
	"testing"
	"time"
)

const (
	// waitLimit is generous because a busy machine is no reason to fail. Only a failing
	// test waits this long.
	waitLimit    = 2 * time.Minute
	pollInterval = 5 * time.Millisecond
)

// Eventually polls condition until it returns true, and fails the test if that takes two
// minutes. The failure reads "timed out waiting for " + what.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()

	deadline := time.Now().Add(waitLimit)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting for %s", what)
		}

		time.Sleep(pollInterval)
	}
}

// Receive returns the next value from a channel, and fails the test if none arrives
// within two minutes.
func Receive[T any](t testing.TB, what string, values <-chan T) T {
	t.Helper()

	select {
	case value := <-values:
		return value
	case <-time.After(waitLimit):
		t.Fatalf("timed out waiting for %s", what)
		panic("unreachable")
	}
}
