package app

import (
	"os"
	"runtime/debug"
)

// heapBallastSize makes garbage collections rarer. The garbage collector runs when the heap has
// doubled. The live heap of this server is so small that, under load, this would happen a
// hundred times a second and take a sixth of the CPU time. The ballast moves it to one collection
// per 20 MB or so. It is never written, so it uses no physical memory. A higher GOGC would
// also apply when the live heap is large.
const heapBallastSize = 16 << 20

// newHeapBallast returns memory to keep while the server runs. It returns nil if the operator
// tuned the garbage collector, or if memory is scarce: the ballast counts towards GOMEMLIMIT.
func newHeapBallast() []byte {
	if os.Getenv("GOGC") != "" || debug.SetMemoryLimit(-1) < 8*heapBallastSize {
		return nil
	}

	return make([]byte, heapBallastSize)
}
