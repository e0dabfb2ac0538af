package hashpool

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"

	"latchkey/internal/telemetry"
)

// ErrBusy is returned when passwords arrive faster than this machine can hash them, so that
// the wait would be too long.
var ErrBusy = errors.New("too many passwords to hash")

const (
	// maxHashWait is how long a job may wait in its queue. If it took much longer, clients
	// and proxies would give up, and users would submit the form again.
	maxHashWait = 5 * time.Second

	// maxQueue is the maximum number of jobs in a queue. It bounds the memory that a flood of
	// logins can use while jobs are fast.
	maxQueue = 1024

	// initialAverage is the job duration that is assumed until jobs have finished. It is about
	// that of bcrypt at cost 10.
	initialAverage = 100 * time.Millisecond
)

// Lane is the queue of a job. While jobs wait in both lanes, the lanes take turns. So a flood in
// one lane leaves half of the threads to the other.
type Lane int

const (
	// Anyone is the lane for passwords that anyone can send.
	Anyone Lane = iota
	// Owners is the lane for passwords from clients that have proved something before: from a known
	// device, in a session, or with a link from an email.
	Owners

	lanes = 2
)

// Pool hashes passwords on threads with a low priority. If the goroutines that handle
// requests did it, a flood of logins would starve all other requests, because Go preempts a
// goroutine only after 10 ms.
//
// Every method that hashes runs a single job, so that all logins in a lane wait equally long. Call
// Close when the pool is no longer needed.
type Pool struct {
	cost    int
	slots   int
	maxWait time.Duration
	metrics *telemetry.Metrics
	// compare is bcrypt.CompareHashAndPassword. Tests replace it to measure its work.
	compare func(hash, password []byte) error
	hashes  [lanes]atomic.Uint64
	workers sync.WaitGroup

	mu      sync.Mutex
	wake    sync.Cond     // uses mu; signals a new job or Close
	queues  [lanes][]*job // oldest first
	last    Lane          // of the last job that has started
	running int
	average time.Duration // moving average of the job duration
	started bool
	closed  bool
}

type job struct {
	work     func()
	lane     Lane
	queued   time.Time
	done     chan struct{}
	panicked error // telemetry.Recovered, if work panicked; valid once done is closed
}

// New returns a pool that hashes with bcrypt at the given cost, which must be from 4 to 14.
// It starts its threads with the first job, one for each processor that the machine can
// spare. metrics may be nil.
func New(cost int, metrics *telemetry.Metrics) *Pool {
	p := newPool(defaultSlots(), maxHashWait)
	p.cost = cost
	p.metrics = metrics
	return p
}

// newPool returns a pool that runs up to slots jobs at a time and refuses jobs that would
// wait, or have waited, longer than maxWait.
func newPool(slots int, maxWait time.Duration) *Pool {
	p := &Pool{
		slots:   slots,
		maxWait: maxWait,
		compare: bcrypt.CompareHashAndPassword,
		average: initialAverage,
	}
	p.wake.L = &p.mu

	return p
}

// Busy reports whether a new job in a lane would be refused. Use it to reject a login before it
// costs a database query.
func (p *Pool) Busy(lane Lane) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.full(lane)
}

// Waiting returns the number of jobs in the queues.
func (p *Pool) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting()
}

// waiting is like Waiting, but the caller must hold mu.
func (p *Pool) waiting() (n int) {
	for _, queue := range p.queues {
		n += len(queue)
	}

	return n
}

// Hashes returns the number of passwords hashed or compared since the start.
func (p *Pool) Hashes() uint64 { return p.HashesIn(Anyone) + p.HashesIn(Owners) }

// HashesIn returns the number of passwords hashed or compared in a lane since the start.
func (p *Pool) HashesIn(lane Lane) uint64 { return p.hashes[lane].Load() }

// Close refuses new jobs, waits for all queued jobs to finish, and ends the threads.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()

	p.wake.Broadcast()
	p.workers.Wait()
}

// do runs work on one of the threads and returns when work has finished. If ctx ends while work
// is queued, or work has not started after maxWait, it never runs; once work has started, do waits
// for it. If work panics, so does do. Errors: ErrBusy, without waiting if the wait is expected to
// exceed maxWait; ctx.Err().
func (p *Pool) do(ctx context.Context, lane Lane, work func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}

	j := &job{work: work, lane: lane, queued: time.Now(), done: make(chan struct{})}
	if err := p.enqueue(j); err != nil {
		return err
	}

	// The expected wait is estimated from recent jobs. The actual wait is longer if other programs
	// take the CPUs.
	timeout := time.NewTimer(p.maxWait)
	defer timeout.Stop()

	var err error
	select {
	case <-j.done:
	case <-ctx.Done():
		err = ctx.Err()
	case <-timeout.C:
		err = ErrBusy
	}

	if err != nil {
		if p.withdraw(j) {
			return err
		}
		<-j.done
	}

	if j.panicked != nil {
		panic(j.panicked)
	}

	return nil
}

// enqueue adds a job to the queue. The first job starts the workers, since commands that
// hash nothing need no threads. Errors: ErrBusy.
func (p *Pool) enqueue(j *job) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full(j.lane) {
		return ErrBusy
	}

	if !p.started {
		p.started = true
		raiseProcs(p.slots)

		for range p.slots {
			p.workers.Go(p.worker)
		}
	}

	p.queues[j.lane] = append(p.queues[j.lane], j)
	p.wake.Signal()

	return nil
}

// withdraw removes a job from the queue. It returns false if the job has already started.
func (p *Pool) withdraw(j *job) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	queue := p.queues[j.lane]
	waiting := len(queue)
	queue = slices.DeleteFunc(queue, func(other *job) bool { return other == j })
	p.queues[j.lane] = queue
	return len(queue) < waiting
}

// full reports whether a new job in a lane must be refused. The caller must hold mu. While a slot
// is free, any job is accepted, however long recent jobs took: otherwise a single very slow job
// would keep out all the jobs that could bring the average down again.
func (p *Pool) full(lane Lane) bool {
	waiting := len(p.queues[lane])
	if p.closed || waiting >= maxQueue {
		return true
	}

	// The lanes take turns.
	others := p.waiting() - waiting
	ahead := p.running + waiting + min(others, waiting+1)
	wait := time.Duration(ahead) * p.average / time.Duration(p.slots)

	return ahead >= p.slots && wait > p.maxWait
}

// worker runs one job after another on its own thread. It never unlocks the thread, so that
// the thread ends with the worker. Otherwise the runtime would use a low-priority
// thread for requests. No other thread inherits the priority, because the runtime never
// clones a locked thread.
func (p *Pool) worker() {
	runtime.LockOSThread()
	lowerPriority()

	for {
		j := p.next()
		if j == nil {
			return
		}
		p.run(j)
	}
}

// next takes the next job, and waits for one if necessary. It returns nil when the pool is closed
// and the queues are empty.
func (p *Pool) next() *job {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.waiting() == 0 && !p.closed {
		p.wake.Wait()
	}
	if p.waiting() == 0 {
		return nil
	}

	lane := (p.last + 1) % lanes
	if len(p.queues[lane]) == 0 {
		lane = p.last
	}

	j := p.queues[lane][0]
	p.queues[lane] = slices.Delete(p.queues[lane], 0, 1) // also clears the last element, so that no job leaks
	p.last = lane
	p.running++

	return j
}

// run runs a job and updates the average.
func (p *Pool) run(j *job) {
	start := time.Now()
	p.metrics.PasswordHashed(start.Sub(j.queued))

	defer func() {
		if cause := recover(); cause != nil {
			j.panicked = telemetry.Recovered(cause)
		}

		p.mu.Lock()
		p.running--
		p.average += (time.Since(start) - p.average) / 8
		p.mu.Unlock()

		p.hashes[j.lane].Add(1)
		close(j.done)
	}()

	j.work()
}
