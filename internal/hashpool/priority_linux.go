package hashpool

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// niceIncrement is added to the nice value of the program. While one of its other threads
	// keeps the CPU busy, a hashing thread gets about a quarter of the time; otherwise it gets
	// all. With a greater increment, logins would take seconds next to another busy program.
	niceIncrement = 5

	maxNice = 19

	// shortestSlice is the shortest time slice of a thread that Linux supports, in
	// nanoseconds. Since Linux 6.6 a thread keeps its CPU until the end of its slice, even
	// if a more important thread wakes up. With the default slice, a request might wait for
	// the next tick, up to 4 ms.
	shortestSlice = 100_000
)

// lowerPriority gives the calling thread a low priority. On Linux, setpriority applies to
// a single thread, and lowering the priority needs no privilege. If it fails anyway, hashing
// competes with requests on equal terms; the pool still bounds it.
func lowerPriority() {
	current, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return
	}

	nice := min(current.Nice+niceIncrement, maxNice)
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), int(nice))

	// Before 6.12, Linux ignores the slice.
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{
		Policy:  unix.SCHED_NORMAL,
		Nice:    nice,
		Runtime: shortestSlice,
	}, 0)
}
