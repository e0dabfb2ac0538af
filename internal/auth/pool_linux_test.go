package auth

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

// usual is what the tests were started with.
var usual = nice(syscall.Getpid())

// nice is the priority of a thread of ours; "" when there is no such thread.
func nice(tid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/stat", tid))
	if err != nil {
		return ""
	}
	// The name, in parentheses, may hold anything; what follows begins with field 3.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return fields[19-3]
}

// Workers run at the lowest priority and nothing else does, also when their threads
// have ended.
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
			err := p.do(t.Context(), func() {
				all.Done()
				all.Wait() // so that each is another worker's
				mu.Lock()
				defer mu.Unlock()
				tid := syscall.Gettid()
				threads[tid] = true
				if got := nice(tid); got != "19" {
					t.Errorf("a worker's nice is %s", got)
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(threads) != slots {
		t.Errorf("%d threads for %d slots", len(threads), slots)
	}
	ordinary(t)
	p.close()
	for tid := range threads {
		// The first thread of a process is not ended but parked by the runtime.
		for tid != syscall.Getpid() && nice(tid) != "" {
			runtime.Gosched()
		}
	}
	ordinary(t)
}

// ordinary looks at threads of ordinary goroutines, more than there were before.
func ordinary(t *testing.T) {
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
				t.Errorf("an ordinary goroutine's nice is %s, want %s", got, usual)
			}
		})
	}
	wg.Wait()
}
