package hashpool

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/testkit"
)

// normalNice is the nice value with which the tests were started.
var normalNice = nice(syscall.Getpid())

// nice returns the nice value of a thread of this process, or "" if there is no such thread.
func nice(tid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/stat", tid))
	if err != nil {
		return ""
	}

	// The name in parentheses may contain anything. Field 3 follows it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return fields[19-3]
}

// Only the workers run at low priority. Their threads are not reused for other goroutines.
func TestPoolPriority(t *testing.T) {
	t.Parallel()

	normal, err := strconv.Atoi(normalNice)
	testkit.NoError(t, err)
	want := strconv.Itoa(min(normal+niceIncrement, maxNice))

	const slots = 4
	p := newPool(slots, time.Hour)
	var mu sync.Mutex
	threads := map[int]bool{}
	var wg, started sync.WaitGroup
	started.Add(slots)
	for range slots {
		wg.Go(func() {
			mustDo(t, p, func() {
				started.Done()
				started.Wait() // so that every job runs on a different worker
				mu.Lock()
				defer mu.Unlock()
				tid := syscall.Gettid()
				threads[tid] = true
				if got := nice(tid); got != want {
					t.Errorf("worker: got nice value %s, want %s", got, want)
				}
			})
		})
	}

	wg.Wait()
	if len(threads) != slots {
		t.Errorf("got jobs on %d threads, want %d", len(threads), slots)
	}

	checkOtherThreads(t)
	p.Close()
	for tid := range threads {
		// The runtime parks the first thread of a process instead of ending it.
		for tid != syscall.Getpid() && nice(tid) != "" {
			runtime.Gosched()
		}
	}

	checkOtherThreads(t)
}

// checkOtherThreads checks that other goroutines run on threads with normal priority. It uses more
// threads than existed before, so that it also covers new ones.
func checkOtherThreads(t *testing.T) {
	t.Helper()
	const n = 50
	var wg, started sync.WaitGroup
	started.Add(n)
	for range n {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			started.Done()
			started.Wait()
			if got := nice(syscall.Gettid()); got != normalNice {
				t.Errorf("other goroutine: got nice value %s, want %s", got, normalNice)
			}
		})
	}

	wg.Wait()
}
