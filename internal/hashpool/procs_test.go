package hashpool

import (
	"runtime"
	"testing"
	"time"
)

func TestSlots(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ procs, cpus, linuxSlots, linuxProcs, otherSlots, otherProcs int }{
		{1, 1, 1, 3, 1, 2},
		{2, 2, 2, 5, 1, 2},
		{8, 8, 8, 17, 7, 8},
		{16, 8, 8, 25, 15, 16}, // GOMAXPROCS is set in the environment
		{1, 8, 1, 2, 1, 2},     // a CPU quota
		{4, 8, 3, 4, 3, 4},
	} {
		wantSlots := tc.linuxSlots
		wantProcs := tc.linuxProcs
		if !hasThreadPriority {
			wantSlots = tc.otherSlots
			wantProcs = tc.otherProcs
		}

		if got := slotsFor(tc.procs, tc.cpus); got != wantSlots {
			t.Errorf("slotsFor(%d, %d): got %d, want %d", tc.procs, tc.cpus, got, wantSlots)
		}

		if got := procsFor(wantSlots, tc.procs, tc.cpus); got != wantProcs {
			t.Errorf("procsFor(%d, %d, %d): got %d, want %d", wantSlots, tc.procs, tc.cpus, got, wantProcs)
		}
	}

	p := newPool(defaultSlots(), time.Hour)
	defer p.Close()
	mustDo(t, p, func() {})

	if n, want := runtime.GOMAXPROCS(0), procsFor(defaultSlots(), startProcs, numCPU); n < want {
		t.Errorf("got GOMAXPROCS %d, want at least %d for %d slots", n, want, defaultSlots())
	}
}
