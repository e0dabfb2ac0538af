package auth

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const threadPriority = true

const (
	// lowestPriority is the highest "nice" value: such a thread gets about a seventieth of
	// what one of requests gets, and all of what these leave.
	lowestPriority = 19
	// shortestSlice is the least that Linux gives a thread at a time, in nanoseconds. Since
	// 6.6 one keeps its processor until its slice is over, whoever wakes up, and a request
	// that comes meanwhile may wait for the next tick, of up to 4 ms.
	shortestSlice = 100_000
)

// lowerPriority lowers that of the calling thread, which needs no privilege. Linux
// takes the id of a thread for that of a process here. Where it is forbidden
// nevertheless, hashing shares the processors evenly, which is still bounded.
func lowerPriority() {
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), lowestPriority)
	// Before 6.12 Linux takes no heed of it.
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{
		Policy: unix.SCHED_NORMAL, Nice: lowestPriority, Runtime: shortestSlice,
	}, 0)
}
