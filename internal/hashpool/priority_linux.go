package hashpool

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// lowestPriority is the highest nice value. While a thread with normal priority keeps the
	// CPU busy, a thread with lowestPriority gets about 1/70 of the time; otherwise it gets all.
	lowestPriority = 19

	// shortestSlice is the shortest time slice of a thread that Linux supports, in
	// nanoseconds. Since Linux 6.6 a thread keeps its CPU until the end of its slice, even
	// if a more important thread wakes up. With the default slice, a request might wait for
	// the next tick, up to 4 ms.
	shortestSlice = 100_000
)

// lowerPriority gives the calling thread the lowest priority. On Linux, setpriority applies to
// a single thread, and lowering the priority needs no privilege. If it fails anyway, hashing
// competes with requests on equal terms; the pool still bounds it.
func lowerPriority() {
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), lowestPriority)

	// Before 6.12, Linux ignores the slice.
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{
		Policy:  unix.SCHED_NORMAL,
		Nice:    lowestPriority,
		Runtime: shortestSlice,
	}, 0)
}
