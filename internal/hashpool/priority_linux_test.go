package hashpool

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// usual is the nice value with which the tests were started.
var usual = nice(syscall.Getpid())

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

// Only the workers run with the lowest priority. Their threads are not reused for other goroutines.
func TestPoolPriority(t *testing.T) {
	t.Parallel()
	const slots = 4
	p := newPool(slots, time.Hour)
	var mu sync.Mutex
	threads := map[int]bool{}
	var wg, all sync.WaitGroup
	all.Add(slots)
	for range slots {
		wg.Go(func() {
			mustDo(t, p, func() {
				all.Done()
				all.Wait() // so that every job runs on a different worker
				mu.Lock()
				defer mu.Unlock()
				tid := syscall.Gettid()
				threads[tid] = true
				if got := nice(tid); got != "19" {
					t.Errorf("worker: got nice value %s, want 19", got)
				}
			})
		})
	}

	wg.Wait()
	if len(threads) != slots {
		t.Errorf("got %d threads, want %d", len(threads), slots)
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

// checkOtherThreads checks the priority of threads of other goroutines. It uses more threads than
// existed before.
func checkOtherThreads(t *testing.T) {
	t.Helper()
	const n = 50
	var wg, all sync.WaitGroup
	all.Add(n)
	for range n {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			all.Done()
			all.Wait()
			if got := nice(syscall.Gettid()); got != usual {
				t.Errorf("other goroutine: got nice value %s, want %s", got, usual)
			}
		})
	}

	wg.Wait()
}
