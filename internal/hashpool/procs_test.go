package hashpool

import (
	"runtime"
	"testing"
	"time"
)

func TestSlots(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ procs, machine, slots, want, other, wantOther int }{
		{1, 1, 1, 3, 1, 2},
		{2, 2, 2, 5, 1, 2},
		{8, 8, 8, 17, 7, 8},
		{16, 8, 8, 25, 15, 16}, // GOMAXPROCS in the environment
		{1, 8, 1, 2, 1, 2},     // a quota
		{4, 8, 3, 4, 3, 4},
	} {
		slots, want := tc.slots, tc.want
		if !threadPriority {
			slots, want = tc.other, tc.wantOther
		}

		if got := slotsFor(tc.procs, tc.machine); got != slots {
			t.Errorf("%d of %d CPUs: got %d slots, want %d", tc.procs, tc.machine, got, slots)
		}

		if got := procsFor(slots, tc.procs, tc.machine); got != want {
			t.Errorf("%d of %d CPUs: got GOMAXPROCS %d, want %d", tc.procs, tc.machine, got, want)
		}
	}

	p := newPool(defaultSlots(), time.Hour)
	defer p.Close()
	mustDo(t, p, func() {})

	if n, want := runtime.GOMAXPROCS(0), procsFor(defaultSlots(), startProcs, machine); n < want {
		t.Errorf("got GOMAXPROCS %d, want at least %d for %d slots", n, want, defaultSlots())
	}
}
