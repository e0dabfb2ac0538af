package redisconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"
)

// silence is how long a Sentinel that has stopped to answer is waited for. It may be the
// one that holds a failover: until that is done it alone knows.
const silence = 3 * time.Second

// sentinel is one Redis Sentinel.
type sentinel struct {
	addr, master string
	pool         *redis.Pool
	log          *slog.Logger

	mu     sync.Mutex
	asking bool
	next   *statement // for who asks from now on
	since  time.Time  // when it stopped to answer; zero while it does
	warned bool       // that it does not
}

// statement is what a Sentinel says of the master, once said is closed.
type statement struct {
	said     chan struct{}
	addr     string
	epoch    int64 // of the election
	failover bool  // it is putting another server in the place of this one
	err      error
}

func (o Options) sentinel(addr string) *sentinel {
	dial := Options{Username: o.SentinelUsername, Password: o.SentinelPassword, TLS: o.TLS}.dialOptions()
	pool := &redis.Pool{
		MaxIdle: 1,
		DialContext: func(ctx context.Context) (redis.Conn, error) {
			return redis.DialContext(ctx, "tcp", addr, dial...)
		},
	}
	// Until it answers it is lost.
	return &sentinel{addr: addr, master: o.Master, pool: pool, log: o.Log, since: time.Unix(0, 0)}
}

// ask asks what the master is from now on. All who ask while a question is under way
// share the next one.
func (s *sentinel) ask() *statement {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = &statement{said: make(chan struct{})}
		if !s.asking {
			s.asking = true
			go s.question()
		}
	}
	return s.next
}

// question asks as long as somebody wants to know.
func (s *sentinel) question() {
	for {
		s.mu.Lock()
		a := s.next
		s.next, s.asking = nil, a != nil
		s.mu.Unlock()
		if a == nil {
			return
		}
		if a.err = s.hear(a); a.err != nil {
			a.err = fmt.Errorf("sentinel %s: %w", s.addr, a.err)
		}
		s.note(a.err)
		close(a.said)
	}
}

// note keeps in mind whether it answers.
func (s *sentinel) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.since, s.warned = time.Time{}, false
		return
	}
	if s.since.IsZero() {
		s.since = time.Now()
	}
	if !s.warned {
		s.log.Warn("a Sentinel does not answer; a failover that it makes may go unnoticed", "error", err)
		s.warned = true
	}
}

// hear asks once.
func (s *sentinel) hear(a *statement) error {
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	state, err := s.state(ctx)
	if err != nil && isDeadConn(err) { // it was idle
		state, err = s.state(ctx)
	}
	if err != nil {
		return err
	}
	if a.epoch, err = redis.Int64([]byte(state["config-epoch"]), nil); err != nil || state["ip"] == "" {
		return errors.New("strange answer")
	}
	a.addr = net.JoinHostPort(state["ip"], state["port"])
	// One that waits for the votes of the others may not get them, for seconds.
	a.failover = strings.Contains(state["flags"], "failover_in_progress") && state["failover-state"] != "wait_start"
	return nil
}

func (s *sentinel) state(ctx context.Context) (map[string]string, error) {
	conn, err := s.pool.GetContext(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return redis.StringMap(redis.DoContext(conn, ctx, "SENTINEL", "MASTER", s.master))
}

// lost tells whether it has not answered for so long, or never, that it is not waited
// for.
func (s *sentinel) lost() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.since.IsZero() && time.Since(s.since) > silence
}

// election is what the Sentinels say together.
type election struct {
	addr string // of the master, by the latest election that one of them knows of
	// failing are the servers in whose place one of them is putting another.
	failing []string
	// silent is what is wrong with one that has not answered in time, and did lately.
	silent error
}

// elected asks all Sentinels, because one of them may be cut off from the others and
// believe in a server that was replaced. It waits for all or for those that are not lost,
// until ctx ends. Where none answers the error says what is wrong with one.
func (c *Client) elected(ctx context.Context, all bool) (e election, err error) {
	statements := make([]*statement, len(c.sentinels))
	lost := make([]bool, len(c.sentinels))
	for i, s := range c.sentinels {
		statements[i], lost[i] = s.ask(), s.lost()
	}
	var epoch int64 = -1
	for i, a := range statements {
		if all || !lost[i] {
			select {
			case <-a.said:
			case <-ctx.Done():
			}
		}
		select {
		case <-a.said:
		default:
			a = &statement{err: fmt.Errorf("sentinel %s: %w", c.sentinels[i].addr, context.DeadlineExceeded)}
		}
		if err = a.err; err != nil {
			if !lost[i] && isTimeout(err) {
				e.silent = err
			}
			continue
		}
		if a.failover {
			e.failing = append(e.failing, a.addr)
		}
		// Who holds a failover names the old server with the new epoch until it is done.
		if a.epoch > epoch || a.epoch == epoch && !a.failover {
			epoch, e.addr = a.epoch, a.addr
		}
	}
	if epoch >= 0 {
		err = nil
	}
	return e, err
}

// replaced returns an error if the Sentinels may have put another server in the place of
// this one, or be doing so. Where they are all lost they have not.
func (c *Client) replaced(ctx context.Context, n *node) error {
	if len(c.sentinels) == 0 {
		return nil // a cluster
	}
	limit := limited(ctx)
	defer limit.done()
	switch e, err := c.elected(limit, false); {
	case e.silent != nil:
		return e.silent
	case err == nil && (e.addr != n.addr || slices.Contains(e.failing, n.addr)):
		return fmt.Errorf("another server takes the place of %s", n.addr)
	}
	return nil
}

// askSentinels asks the server that the Sentinels name whether it knows. One that does
// not serve as a master must not be used: it may lag behind, and a session that has ended
// would be alive there.
func (c *Client) askSentinels(ctx context.Context) (*layout, error) {
	limit, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	e, err := c.elected(limit, true)
	if err != nil {
		// Nobody to ask. What is in force stays as long as it says that it is the master.
		before := c.layout.Load()
		if before == nil || len(before.nodes) == 0 {
			return nil, err
		}
		e.addr = before.nodes[0].addr
	}
	role, roleErr := redis.Values(askOne(ctx, e.addr, c.dial, "ROLE"))
	if roleErr != nil {
		return nil, errors.Join(err, roleErr)
	}
	var name string
	if _, roleErr := redis.Scan(role, &name); roleErr != nil || name != "master" {
		return nobody, fmt.Errorf("%s is %q and not the master", e.addr, name)
	}
	return &layout{nodes: []*node{c.nodeAt(e.addr)}, passing: slices.Contains(e.failing, e.addr)}, err
}
