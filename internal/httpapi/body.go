package httpapi

import (
	"bytes"
	"container/list"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/internal/ratelimit"
)

const (
	// maxBody is the largest body in bytes, except for routes that take passwords.
	maxBody = 8 << 10
	// maxPasswordBody is the largest body in bytes of a route that takes passwords. Two passwords
	// of auth.MaxPasswordLength characters fit, even if JSON escapes each character as a surrogate
	// pair of 12 bytes, such as \ud83d\ude00.
	maxPasswordBody = 32 << 10
	// maxWaitingBodies is the maximum number of requests whose bodies are incomplete. It bounds
	// their memory, because each also holds its headers and a goroutine.
	maxWaitingBodies = 256
)

var errTooLarge = newFailure(http.StatusRequestEntityTooLarge, "body_too_large", "The request body is too large.").
	explain("Larger than 8 KiB, or 32 KiB if the operation takes a password.")

var errSlowBody = newFailure(http.StatusServiceUnavailable, "overloaded", "The server is overloaded. Try again shortly.").
	explain("The body arrived slowly while many other requests were waiting for theirs. Nothing was done.")

// bodies reads the bodies of requests. If too many are incomplete, it gives up the oldest body of the
// client that has the most. Most bodies arrive together with the headers, so a client with many
// incomplete ones is slow on purpose. If the limit refused new requests instead, one client could
// keep out all others.
type bodies struct {
	clientIPs *clientIPs

	mu      sync.Mutex
	waiting list.List // of *waitingBody, oldest first
}

// waitingBody is a body that is being read.
type waitingBody struct {
	client string // an IP, or a network for IPv6
	conn   deadliner
	// settled is set when the body is complete or given up, whichever comes first.
	settled atomic.Bool
}

// deadliner interrupts the reading of a body. *http.ResponseController implements it.
type deadliner interface{ SetReadDeadline(time.Time) error }

// read reads the body of a request, at most limit bytes. It returns nil if the request has no body.
func (b *bodies) read(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		closeHTTP1(w, r) // instead of reading all of it
		return nil, errTooLarge
	}
	if r.ContentLength == 0 {
		return nil, nil
	}

	waiting := &waitingBody{
		client: ratelimit.NetworkKey(b.clientIPs.of(r)),
		conn:   http.NewResponseController(w),
	}
	body, givenUp, err := b.readAll(waiting, http.MaxBytesReader(w, r.Body, limit), r.ContentLength)
	if givenUp {
		closeHTTP1(w, r) // its read deadline is in the past
		return nil, errSlowBody
	}

	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, invalidJSON("The request body is incomplete.")
	}

	return body, nil
}

// readAll reads a body, which counts as waiting until it is complete. It reports whether the body
// was given up. length is negative if it is unknown.
func (b *bodies) readAll(waiting *waitingBody, from io.Reader, length int64) (body []byte, givenUp bool, err error) {
	place := b.add(waiting)
	defer b.remove(place)

	var content bytes.Buffer
	content.Grow(int(max(length, 0)) + bytes.MinRead) // allocate once, instead of repeatedly while reading
	_, err = content.ReadFrom(from)
	givenUp = !waiting.settled.CompareAndSwap(false, true)

	return content.Bytes(), givenUp, err
}

// add adds a waiting body. If there are too many, it gives up another one first.
func (b *bodies) add(added *waitingBody) (place *list.Element) {
	b.mu.Lock()
	defer b.mu.Unlock()

	if b.waiting.Len() >= maxWaitingBodies {
		dropped := b.waiting.Remove(b.oldestOfBusiest()).(*waitingBody)
		if dropped.settled.CompareAndSwap(false, true) {
			// The lock is held, so its handler cannot return first, which would invalidate conn.
			_ = dropped.conn.SetReadDeadline(time.Unix(1, 0))
		}
	}

	return b.waiting.PushBack(added)
}

// oldestOfBusiest returns the oldest body of the client with the most bodies. If several clients
// have the most, it is the oldest of theirs.
func (b *bodies) oldestOfBusiest() *list.Element {
	counts := map[string]int{}
	for e := b.waiting.Front(); e != nil; e = e.Next() {
		counts[e.Value.(*waitingBody).client]++
	}

	oldest := b.waiting.Front()
	for e := oldest.Next(); e != nil; e = e.Next() {
		if counts[e.Value.(*waitingBody).client] > counts[oldest.Value.(*waitingBody).client] {
			oldest = e
		}
	}

	return oldest
}

// remove removes a body. If it was given up, it has been removed already.
func (b *bodies) remove(place *list.Element) {
	b.mu.Lock()
	defer b.mu.Unlock()

	b.waiting.Remove(place)
}

// closeHTTP1 closes an HTTP/1.1 connection after the response. It does nothing on an HTTP/2
// connection, which other requests share: the server can cancel the rest of the body alone.
func closeHTTP1(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
}
