package coherence

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lease is how long values may be used after the last beat that has arrived was sent. It must be
	// the same on all servers.
	lease = 250 * time.Millisecond

	// beatInterval is the time between two beats. A lease survives the loss of a few.
	beatInterval = 50 * time.Millisecond

	// silence is the time without a beat after which a connection is considered lost.
	silence = 4 * lease

	// maxPause is the maximum time between two attempts to open a stream.
	maxPause = 2 * time.Second
)

// stream is a connection on which a Redis server reports changes.
type stream struct {
	server string

	// live is when the last beat that has arrived was sent, and registered when the last one was that
	// also registered this server. Both are nil before that, and after the connection was lost.
	live, registered atomic.Pointer[time.Time]

	mu     sync.Mutex // held while the fields above change
	closed bool
}

// noStream is never live.
var noStream = &stream{closed: true}

// isLive reports whether the values of a stream may be used now, provided that this server is
// registered.
func (s *stream) isLive(now time.Time) bool { return isWithinLease(s.live.Load(), now) }

// isRegistered reports whether this server has a lease from the Redis server of a stream.
func (s *stream) isRegistered(now time.Time) bool { return isWithinLease(s.registered.Load(), now) }

// isWithinLease reports whether the lease from a beat that was sent at a time, or never if that is
// nil, has not ended.
func isWithinLease(sent *time.Time, now time.Time) bool {
	return sent != nil && isShort(now.Sub(*sent), time.Duration(now.UnixNano()-sent.UnixNano()))
}

// isShort reports whether a period is shorter than a lease, both on the monotonic clock and by the time
// of day: see rule 7 of the package documentation.
func isShort(elapsed, byTimeOfDay time.Duration) bool {
	return elapsed < lease && byTimeOfDay < lease
}

// confirm records that a beat has arrived.
func (s *stream) confirm(b beat) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.closed {
		return
	}

	later(&s.live, b.sent)
	if b.registers {
		later(&s.registered, b.sent)
	}
}

// later sets p to t, unless it is later already.
func later(p *atomic.Pointer[time.Time], t time.Time) {
	if before := p.Load(); before == nil || before.Before(t) {
		p.Store(&t)
	}
}

// close ends the lease.
func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.closed = true
	s.live.Store(nil)
	s.registered.Store(nil)
}

// beat is a message that a server sends itself through Redis.
type beat struct {
	sent      time.Time
	registers bool // whether it also registers the server
}

// reportChannel is where Redis reports changes to a connection that uses RESP2.
const reportChannel = "__redis__:invalidate"
