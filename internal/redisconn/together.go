package redisconn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"
)

// Under load nearly all that a GET costs, here and in Redis, is a packet each way and the
// wake-ups that go with them. So reads of single keys that come while maxBatches others
// are under way wait until one of those is done, a round trip at most, and then go
// together: each is a command of its own with a reply of its own, as in any pipeline.
//
// Only reads do: what became of one when its connection broke does not matter, so that
// each can be tried again alone. And only those that have the whole time of a command:
// then who leads a batch has come before the others in it, and they need no timer to be
// answered within their own time. Where Redis is slow, or a connection has gone silent,
// nobody waits for the others longer than patience: each then goes alone, as if there
// were none.

const (
	// maxBatches is how many batches are under way to one server at a time.
	maxBatches = 4
	// maxBatch is how many reads go together.
	maxBatch = 64
	// patience is how long a read waits for a batch to end, and reads that go together for
	// their replies. It is a hundred times of what that takes, and leaves the most of a
	// command's time for going alone.
	patience = commandTimeout / 4
)

// reads are those of one server that wait to be sent.
type reads struct {
	mu      sync.Mutex
	batches int // under way
	waiting []*read
}

// read is one GET. Of those that wait the first is told to lead the next batch, and the
// others get their replies from who leads it.
type read struct {
	key   string
	reply any
	err   error
	lead  chan bool // nil for who need not wait
}

// errOther says that a batch failed. It had less time than a command has, so this is
// neither an error of the network nor one of time: the read is tried again for itself.
var errOther = errors.New("asked together with others")

// read is once for a GET, along with others that come at the same time.
func (n *node) read(l *limit, key string) (any, error) {
	r := &read{key: key}
	if !n.reads.join(r) {
		switch lead, left := n.reads.wait(r); {
		case left:
			_, err := n.once(l, false, func(_ *node, conn timedConn) (any, error) { return nil, conn.read([]*read{r}) })
			return r.reply, err
		case !lead:
			return r.reply, r.err
		}
	}
	batch := n.reads.take(r)
	err := errOther // a panic must not leave the others waiting
	defer func() { n.reads.done(batch[1:], err) }()
	if _, err = n.once(l, false, func(_ *node, conn timedConn) (any, error) { return nil, conn.read(batch) }); err != nil {
		if len(batch) > 1 {
			return nil, together(err)
		}
		return nil, err
	}
	return r.reply, r.err
}

// together says of the failure of a batch what it is to one of its reads.
func together(err error) error { return fmt.Errorf("%w: %v", errOther, err) } //nolint:errorlint // see errOther

// wait returns whether r is to lead a batch, or else has its reply; or, after some time,
// that it has left.
func (rs *reads) wait(r *read) (lead, left bool) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case lead = <-r.lead:
		return lead, false
	case <-timer.C:
	}
	if rs.leave(r) {
		return false, true
	}
	return <-r.lead, false // it goes with a batch, which does not take longer either
}

// leave returns false where r waits no more.
func (rs *reads) leave(r *read) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	i := slices.Index(rs.waiting, r)
	if i < 0 {
		return false
	}
	rs.waiting = slices.Delete(rs.waiting, i, i+1)
	return true
}

// join returns true where r need not wait for a batch to end.
func (rs *reads) join(r *read) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.batches < maxBatches {
		rs.batches++
		return true
	}
	r.lead = make(chan bool, 1)
	rs.waiting = append(rs.waiting, r)
	return false
}

// take returns the batch that r leads, r first.
func (rs *reads) take(r *read) []*read {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	n := min(len(rs.waiting), maxBatch-1)
	batch := append(make([]*read, 0, 1+n), r)
	batch = append(batch, rs.waiting[:n]...)
	rs.waiting = slices.Delete(rs.waiting, 0, n)
	return batch
}

// done gives those that were asked together with another one their replies, or the error
// of them all, and has the one that waits longest lead the next batch.
func (rs *reads) done(others []*read, err error) {
	for _, r := range others {
		if err != nil {
			r.err = together(err)
		}
		r.lead <- false
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if len(rs.waiting) == 0 {
		rs.batches--
		return
	}
	first := rs.waiting[0]
	rs.waiting = slices.Delete(rs.waiting, 0, 1)
	first.lead <- true
}

// read sends all reads of a batch at once, and notes their replies.
func (c timedConn) read(batch []*read) error {
	left := time.Until(c.deadline)
	if left <= 0 {
		return context.DeadlineExceeded
	}
	if len(batch) == 1 {
		reply, err := redis.DoWithTimeout(c.Conn, left, "GET", batch[0].key)
		if err != nil {
			return err
		}
		return c.take(batch, []any{reply})
	}
	for _, r := range batch {
		if err := c.Send("GET", r.key); err != nil {
			return err
		}
	}
	replies, err := redis.Values(redis.DoWithTimeout(c.Conn, min(left, patience), ""))
	if err != nil {
		return err
	}
	return c.take(batch, replies)
}

// take notes the replies. With one that is none to a GET the connection is given up: it
// may be that of another command, and then so are all that follow, and everyone would be
// given the session of someone else.
func (c timedConn) take(batch []*read, replies []any) error {
	for i, reply := range replies {
		switch reply := reply.(type) {
		case nil, []byte:
			batch[i].reply = reply
		case redis.Error:
			batch[i].err = reply
		default:
			for c.Err() == nil {
				_, _ = redis.ReceiveWithTimeout(c.Conn, time.Nanosecond)
			}
			return fmt.Errorf("a reply that is none to GET: %T", reply)
		}
	}
	return nil
}
