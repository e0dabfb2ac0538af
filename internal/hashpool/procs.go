package hashpool

import (
	"runtime"
	"sync"
)

// hasThreadPriority is whether each thread can have its own priority.
const hasThreadPriority = runtime.GOOS == "linux"

var (
	// startProcs is GOMAXPROCS at the start of the program, before raiseProcs.
	startProcs = runtime.GOMAXPROCS(0)

	// numCPU is the number of CPUs.
	numCPU = runtime.NumCPU()
)

// defaultSlots returns the number of passwords to hash in parallel on this machine.
func defaultSlots() int { return slotsFor(startProcs, numCPU) }

// slotsFor returns one slot per CPU if priorities keep the CPUs available to requests.
// Otherwise it reserves one CPU for requests.
func slotsFor(procs, cpus int) int {
	if priorityDecides(procs, cpus) {
		return cpus
	}
	return max(1, procs-1)
}

// priorityDecides reports whether threads with normal priority always get a CPU first. They do
// on Linux, except in a container with a CPU quota, where all threads use up the same quota. Go
// sets GOMAXPROCS below the number of CPUs if there is a quota.
func priorityDecides(procs, cpus int) bool { return hasThreadPriority && procs >= cpus }

// procsFor returns the GOMAXPROCS that leaves enough processors (the Ps of Go's scheduler)
// for requests while slots jobs are running.
//
// A worker holds a P for up to 10 ms, even while its thread is waiting for a CPU. So the
// workers get additional Ps, and the priorities of the threads decide which ones run. One
// more P covers a request whose thread was preempted by the system: Go takes its P back only
// after a while. Under a quota there is just one P more than workers, because additional
// threads would only use up the quota faster.
func procsFor(slots, procs, cpus int) int {
	if priorityDecides(procs, cpus) {
		return procs + slots + 1
	}
	return max(procs, slots+1)
}

var procsMu sync.Mutex

// raiseProcs raises GOMAXPROCS for a pool with the given number of slots. It is based on the
// value at the start of the program, so that a second pool does not raise it further.
// Afterwards the runtime no longer adapts GOMAXPROCS to a changed quota.
func raiseProcs(slots int) {
	procsMu.Lock()
	defer procsMu.Unlock()
	want := procsFor(slots, startProcs, numCPU)
	if runtime.GOMAXPROCS(0) < want {
		runtime.GOMAXPROCS(want)
	}
}
