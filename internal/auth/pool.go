package auth

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/internal/telemetry"
)

// ErrBusy says that more passwords come in than this machine can hash: to wait would
// take longer than anyone does. HTTP answers 503 with Retry-After.
var ErrBusy = errors.New("too many passwords to hash")

const (
	// maxHashWait is how long a login may wait for its turn: clients and proxies give
	// up not much later, and their users send the form again.
	maxHashWait = 5 * time.Second
	// maxQueue bounds the memory of a flood while jobs are quick.
	maxQueue = 1024
	// firstGuess is taken for a job's time until one is done: about bcrypt at cost 10.
	firstGuess = 100 * time.Millisecond
)

// pool does the work of hashing on threads of its own, of the lowest priority that
// the system has. On the goroutines of requests a flood of logins starves all others:
// Go lets a goroutine compute for 10 ms before another has its turn.
type pool struct {
	slots   int
	maxWait time.Duration
	metrics *telemetry.Metrics
	// done counts the jobs that were done, for tests.
	done    atomic.Uint64
	workers sync.WaitGroup

	mu      sync.Mutex
	wake    sync.Cond // by mu: the queue has a job, or closed
	queue   list.List // of *job, the oldest first
	running int
	average time.Duration // of a job's time
	started bool
	closed  bool
}

type job struct {
	work     func()
	queued   time.Time
	started  bool // by pool.mu
	done     chan struct{}
	panicked string // with the stack; read after done
}

// newPool returns a pool that does slots jobs at a time and refuses those that would
// wait longer than maxWait. Its threads start with the first job.
func newPool(slots int, maxWait time.Duration) *pool {
	p := &pool{slots: slots, maxWait: maxWait, average: firstGuess}
	p.wake.L = &p.mu
	return p
}

// do waits for its turn and returns when work is done. A caller whose context ends
// before its turn leaves, and work is not done; once begun, work is waited for. A
// panic of work is one of the caller. Errors: ErrBusy, at once; that of the context.
func (p *pool) do(ctx context.Context, work func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{work: work, queued: time.Now(), done: make(chan struct{})}
	p.mu.Lock()
	if p.full() {
		p.mu.Unlock()
		return ErrBusy
	}
	p.start()
	place := p.queue.PushBack(j)
	p.mu.Unlock()
	p.wake.Signal()

	select {
	case <-j.done:
	case <-ctx.Done():
		p.mu.Lock()
		if !j.started {
			p.queue.Remove(place)
			p.mu.Unlock()
			return ctx.Err()
		}
		p.mu.Unlock()
		<-j.done
	}
	if j.panicked != "" {
		panic(j.panicked)
	}
	return nil
}

// busy tells whether do would refuse now, so that a login can be refused before a
// store is asked about it.
func (p *pool) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.full()
}

// waiting is how many jobs wait for their turn.
func (p *pool) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.Len()
}

// full is busy, by mu. While a slot is free nothing is refused, however long the
// last jobs took: otherwise one hung job would refuse all that could correct the average.
func (p *pool) full() bool {
	waiting := p.queue.Len()
	if p.closed || waiting >= maxQueue {
		return true
	}
	ahead := waiting + p.running
	return ahead >= p.slots && time.Duration(ahead)*p.average/time.Duration(p.slots) > p.maxWait
}

// close refuses what comes from now on, and returns when all that waited is done
// and the threads have no more to do.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.wake.Broadcast()
	p.workers.Wait()
}

// start starts the workers, by mu, when there is something to do: a command that
// hashes nothing needs no threads.
func (p *pool) start() {
	if p.started {
		return
	}
	p.started = true
	raiseProcs(p.slots)
	for range p.slots {
		p.workers.Go(p.worker)
	}
}

// worker does one job after the other on a thread of its own. It never unlocks the
// thread, which ends with it: the runtime would give one of low priority to requests.
// Nor does a thread inherit the priority, since the runtime does not clone a locked one.
func (p *pool) worker() {
	runtime.LockOSThread()
	lowerPriority()
	for {
		p.mu.Lock()
		for p.queue.Len() == 0 && !p.closed {
			p.wake.Wait()
		}
		next := p.queue.Front()
		if next == nil {
			p.mu.Unlock()
			return
		}
		j := p.queue.Remove(next).(*job)
		j.started = true
		p.running++
		p.mu.Unlock()
		p.run(j)
	}
}

func (p *pool) run(j *job) {
	began := time.Now()
	p.metrics.PasswordHashed(began.Sub(j.queued))
	defer func() {
		if cause := recover(); cause != nil {
			j.panicked = fmt.Sprintf("%v\n\nwhile hashing:\n%s", cause, debug.Stack())
		}
		p.mu.Lock()
		p.running--
		p.average += (time.Since(began) - p.average) / 8
		p.mu.Unlock()
		p.done.Add(1)
		close(j.done)
	}()
	j.work()
}

// The processors that Go was given when the program started, before raiseProcs.
var (
	startProcs = runtime.GOMAXPROCS(0)
	machine    = runtime.NumCPU()
)

// defaultSlots is how many passwords are hashed at a time on this machine.
func defaultSlots() int { return slotsFor(startProcs, machine) }

// slotsFor is one slot for each processor where priority decides who computes. Where
// it does not, one processor is left to the requests.
func slotsFor(procs, machine int) int {
	if priorityDecides(procs, machine) {
		return machine
	}
	return max(1, procs-1)
}

// priorityDecides is false on systems other than Linux, where threads have no
// priority here, and under a quota of a container, which makes Go use fewer
// processors than there are: a thread of low priority uses up the same quota.
func priorityDecides(procs, machine int) bool { return threadPriority && procs >= machine }

// procsFor is the GOMAXPROCS with which slots jobs leave some for the requests.
// A worker keeps one of Go's processors for up to 10 ms, even when its thread does
// not run; so the workers get theirs on top, and the system decides by priority which
// threads run. One more is for the thread of a request that the system has put aside,
// whose processor Go takes away after a while only. Under a quota one beside the workers
// has to do: more would use it up.
func procsFor(slots, procs, machine int) int {
	if priorityDecides(procs, machine) {
		return procs + slots + 1
	}
	return max(procs, slots+1)
}

var procsMu sync.Mutex

// raiseProcs sets GOMAXPROCS for pools of up to slots jobs. It is counted from what the
// program started with, so that a second pool of a process does not raise it again.
// The runtime stops following changes of the quota then.
func raiseProcs(slots int) {
	procsMu.Lock()
	defer procsMu.Unlock()
	if want := procsFor(slots, startProcs, machine); runtime.GOMAXPROCS(0) < want {
		runtime.GOMAXPROCS(want)
	}
}
