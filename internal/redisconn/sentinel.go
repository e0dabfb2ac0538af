package redisconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"
	"golang.org/x/sync/singleflight"
)

// sentinelGrace is how long we wait for a Sentinel that has stopped replying. It may be
// leading a failover, which no other Sentinel knows about until it is complete.
const sentinelGrace = 3 * time.Second

// sentinel is a connection to one Sentinel.
type sentinel struct {
	*node

	calls    singleflight.Group
	querying sync.Mutex // held during a query

	// failedSince is when the Sentinel stopped replying, in Unix nanoseconds. It is 0 while
	// the Sentinel replies, and neverReplied or failureLogged before its first reply.
	failedSince atomic.Int64
}

// Special values of sentinel.failedSince. Read as times, both are long ago.
const (
	neverReplied  = 1 // the Sentinel has not replied yet
	failureLogged = 2 // the same, and a failure has been logged
)

// masterReply is what a Sentinel knows about the master.
type masterReply struct {
	addr     string // host:port
	epoch    int64  // the number of the failover that made it the master
	failover bool   // whether this Sentinel is replacing it
}

func newSentinel(addr string, o Options) *sentinel {
	o.Username = o.SentinelUsername
	o.Password = o.SentinelPassword
	o.DB = 0

	s := &sentinel{node: newNode(addr, o)}
	s.failedSince.Store(neverReplied)
	return s
}

// query asks the Sentinel for the master. The query starts after the call, because the reply to a query that
// is already running may predate a failover. So callers never join a running query, but all of them share
// the next one, which waits for the mutex. Once it holds the mutex, later callers start another query.
func (s *sentinel) query() <-chan singleflight.Result {
	return s.calls.DoChan("", func() (any, error) {
		s.querying.Lock()
		defer s.querying.Unlock()
		s.calls.Forget("")

		reply, err := s.send()
		if err == nil {
			s.failedSince.Store(0)
			return reply, nil
		}

		firstFailure := s.failedSince.CompareAndSwap(neverReplied, failureLogged) ||
			s.failedSince.CompareAndSwap(0, time.Now().UnixNano())
		if firstFailure {
			s.options.Log.Warn("Sentinel is not responding; a failover that it leads may go unnoticed",
				"sentinel", s.addr, "error", err)
		}

		return reply, err
	})
}

// send sends a query and parses the reply.
func (s *sentinel) send() (masterReply, error) {
	deadline := time.Now().Add(s.options.refreshTimeout())

	state, err := redis.StringMap(s.do(deadline, "SENTINEL", "MASTER", s.options.Master))
	if err != nil {
		return masterReply{}, err
	}

	epoch, err := redis.Int64([]byte(state["config-epoch"]), nil)
	if err != nil || state["ip"] == "" {
		return masterReply{}, errors.New("unexpected reply")
	}

	// In state wait_start the Sentinel is still waiting for the votes of the others. It may
	// do so for seconds, and fail.
	inProgress := strings.Contains(state["flags"], "failover_in_progress")
	elected := state["failover-state"] != "wait_start"

	return masterReply{
		addr:     net.JoinHostPort(state["ip"], state["port"]),
		epoch:    epoch,
		failover: inProgress && elected,
	}, nil
}

// isLost reports whether the Sentinel is not worth waiting for, because it has never replied, or
// has not replied for sentinelGrace.
func (s *sentinel) isLost() bool {
	since := s.failedSince.Load()
	return since != 0 && time.Since(time.Unix(0, since)) > sentinelGrace
}

// queryMaster asks the Sentinels for the master until the deadline. It skips lost Sentinels,
// unless includeLost is set.
//
// The Sentinels may disagree, because one that is cut off still names the previous master, so queryMaster
// returns the master of the latest failover, or "" if no Sentinel replies. failing contains the servers that
// a Sentinel is replacing. If a Sentinel does not reply, err is its error, preferably a timeout.
func (c *Client) queryMaster(deadline time.Time, includeLost bool) (master string, failing []string, err error) {
	queries := map[*sentinel]<-chan singleflight.Result{}

	for _, s := range c.sentinels {
		if includeLost || !s.isLost() {
			queries[s] = s.query()
		}
	}

	var epoch int64 = -1
	for s, query := range queries {
		reply, queryErr := receive(query, deadline)
		if queryErr != nil {
			if !isTimeout(err) {
				err = fmt.Errorf("sentinel %s: %w", s.addr, queryErr)
			}

			continue
		}

		if reply.failover {
			failing = append(failing, reply.addr)
		}

		// During a failover, the Sentinel that leads it reports the old master with the new epoch.
		// So with equal epochs, prefer one that is not failing over.
		isNewer := reply.epoch > epoch || reply.epoch == epoch && !reply.failover
		if isNewer {
			epoch = reply.epoch
			master = reply.addr
		}
	}

	return master, failing, err
}

// receive returns the result of a query, or context.DeadlineExceeded if there is none before the deadline.
func receive(query <-chan singleflight.Result, deadline time.Time) (masterReply, error) {
	select {
	case result := <-query:
		reply, _ := result.Val.(masterReply)
		return reply, result.Err
	case <-time.After(time.Until(deadline)):
		return masterReply{}, context.DeadlineExceeded
	}
}

// findMaster returns the topology with the server that the Sentinels name, or noMaster if that server is not
// a master. Replicas must not be used: they may lag behind, and ended sessions would be live there.
func (c *Client) findMaster() (*topology, error) {
	addr, failing, err := c.queryMaster(time.Now().Add(c.options.refreshTimeout()), true)

	current := c.topology.Load()
	switch {
	case addr != "":
		err = nil // one reply is enough
	case current == nil || current == noMaster:
		return nil, err
	default:
		// If no Sentinel replies, keep the current server while it is a master.
		addr = current.nodes[0].addr
	}

	master := c.nodeAt(addr)
	reply, roleErr := master.do(time.Now().Add(c.options.refreshTimeout()), "ROLE")
	if roleErr != nil {
		return nil, errors.Join(err, roleErr)
	}

	var role string
	if roleErr := Scan(reply, nil, &role); roleErr != nil || role != "master" {
		return noMaster, fmt.Errorf("%s is %q, not a master", addr, role)
	}

	return &topology{nodes: []*node{master}, inFailover: slices.Contains(failing, addr)}, err
}
