package redisconn

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"
)

// maxPipelines is the maximum number of pipelines per server that run at the same time. GETs
// that arrive meanwhile share the next one.
const maxPipelines = 4

// pipeline batches the GETs of concurrent requests: see "Pipelining" in the package
// documentation.
type pipeline struct {
	mu      sync.Mutex
	waiting []pipelinedGet // the next batch
	running int            // the number of batches being sent
}

// pipelinedGet is a GET in a batch. reply receives the reply, or is closed without one if the
// batch fails.
type pipelinedGet struct {
	key   string
	reply chan any
}

// get sends a GET in a batch with GETs from other requests. If the batch fails or takes too long,
// it sends the GET again on its own.
func (n *node) get(deadline time.Time, key string) (any, error) {
	g := pipelinedGet{key: key, reply: make(chan any, 1)}

	var timeout <-chan time.Time
	if batch := n.pipeline.add(g); batch != nil {
		n.sendBatch(batch, deadline)
	} else {
		// Wait for most of the remaining time: if Redis is only slow, repeating all GETs would make it
		// slower.
		timeout = time.After(time.Until(deadline) * 3 / 4)
	}

	var reply any
	var ok bool
	select {
	case reply, ok = <-g.reply:
	case <-timeout:
	}

	if !ok {
		replies, err := n.getAll(deadline, n.options.Timeout, g)
		if err != nil {
			return nil, err
		}

		reply = replies[0]
	}

	if replyErr, ok := reply.(redis.Error); ok {
		return nil, replyErr
	}

	return reply, nil
}

// add adds a GET to the next batch. If it returns a batch, the caller must send it.
func (p *pipeline) add(get pipelinedGet) (batch []pipelinedGet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = append(p.waiting, get)
	return p.takeBatch()
}

// done records that a batch was sent. If it returns another batch, the caller must send it.
func (p *pipeline) done() (batch []pipelinedGet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	return p.takeBatch()
}

// takeBatch returns the GETs that are waiting, if another batch may be sent. The caller must
// hold mu.
func (p *pipeline) takeBatch() (batch []pipelinedGet) {
	if p.running >= maxPipelines || p.waiting == nil {
		return nil
	}

	p.running++
	batch = p.waiting
	p.waiting = nil

	return batch
}

// sendBatch sends a batch of GETs and delivers the replies. If other GETs have arrived
// meanwhile, a new goroutine sends them, so that no request has to work for later ones.
func (n *node) sendBatch(batch []pipelinedGet, deadline time.Time) {
	replies, err := n.getAll(deadline, n.options.maxPipelineWait(), batch...)
	for i, g := range batch {
		if err == nil {
			g.reply <- replies[i]
		}

		close(g.reply)
	}

	if next := n.pipeline.done(); next != nil {
		go n.sendBatch(next, time.Now().Add(n.options.Timeout))
	}
}

// getAll sends GETs in one pipeline and waits for the replies no longer than wait. It returns
// either all replies or an error. If a reply cannot be the reply to a GET, it closes the connection:
// the replies that follow may belong to other commands, and users would get each other's
// sessions.
func (n *node) getAll(deadline time.Time, wait time.Duration, gets ...pipelinedGet) ([]any, error) {
	return redis.Values(n.withConn(deadline, false, func(conn timedConn) (any, error) {
		for _, g := range gets {
			if err := conn.Send("GET", g.key); err != nil {
				return nil, err
			}
		}

		limit := time.Now().Add(wait)
		if limit.Before(deadline) {
			conn.deadline = limit
		}

		replies, err := redis.Values(conn.Do(""))

		for _, reply := range replies {
			if !isGetReply(reply) {
				closeNow(conn.Conn)
				return nil, fmt.Errorf("not a reply to GET: %T", reply)
			}
		}

		return replies, err
	}))
}

// isGetReply reports whether reply can be the reply to a GET.
func isGetReply(reply any) bool {
	switch reply.(type) {
	case nil, []byte, redis.Error:
		return true
	default:
		return false
	}
}

// closeNow closes a pooled connection. Its Close method would return it to the pool instead.
func closeNow(conn redis.Conn) {
	expired, cancel := context.WithTimeout(context.Background(), 0)
	defer cancel()
	_, _ = redis.ReceiveContext(conn, expired) // a timeout closes the connection
}
