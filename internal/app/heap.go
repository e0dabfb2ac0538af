package app

import (
	"os"
	"runtime/debug"
)

// heapFloor is memory that is never written, so that it takes addresses and no pages. Go
// collects garbage when the heap has doubled, and that of a server whose state is in its
// stores is so small that this would be a hundred times a second under load, and a sixth
// of all work. With this beside it there is a collection for each 20 MB or so. Unlike
// with a higher GOGC it stays at that where more is in use.
const heapFloor = 16 << 20

// newHeapFloor returns the floor, to keep as long as the server runs, or nil where the
// operator has settled how garbage is collected, or where there is little memory: it
// counts towards GOMEMLIMIT.
func newHeapFloor() []byte {
	if os.Getenv("GOGC") != "" || debug.SetMemoryLimit(-1) < 8*heapFloor {
		return nil
	}
	return make([]byte, heapFloor)
}
