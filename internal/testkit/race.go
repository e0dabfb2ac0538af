package testkit

import "sync"

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
