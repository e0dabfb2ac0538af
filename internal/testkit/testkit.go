package testkit

import (
	"sync"
	"testing"
	"time"
)

// NoError fails the test if err is not nil.
func NoError(t testing.TB, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

const (
	// waitLimit is generous because tests must not fail just because the machine is busy. Only
	// a failing test waits this long.
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

// Concurrently calls f(0) to f(n-1), each in its own goroutine, and returns the results
// in order. No call begins before all goroutines are ready, so that the calls overlap as
// much as possible.
func Concurrently[T any](n int, f func(i int) T) []T {
	results := make([]T, n)
	start := make(chan struct{})

	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			<-start
			results[i] = f(i)
		})
	}

	close(start)
	group.Wait()

	return results
}
