package auth

import "syscall"

const threadPriority = true

// lowestPriority is the highest "nice" value: such a thread gets about a seventieth of
// what one of requests gets, and all of what these leave.
const lowestPriority = 19

// lowerPriority lowers that of the calling thread, which needs no privilege. Linux
// takes the id of a thread for that of a process here. Where it is forbidden
// nevertheless, hashing shares the processors evenly, which is still bounded.
func lowerPriority() {
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), lowestPriority)
}
