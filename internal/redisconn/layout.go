package redisconn

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/mna/redisc"
)

const (
	// lookInterval is how often it is asked where Redis is, while all is well. About so
	// long a process that has nothing to do may believe in a server that another has
	// taken the place of.
	lookInterval = time.Second
	// lookPause is the least time between two questions, while all is not.
	lookPause = 50 * time.Millisecond
	// lookTimeout bounds one question to one server.
	lookTimeout = 250 * time.Millisecond
)

// layout is which server has which keys. It is never changed, only replaced.
type layout struct {
	nodes []*node
	// slots maps the slots of a cluster to nodes; nil where one server has all keys.
	slots *[redisc.HashSlots]*node
	// passing says that another server is about to take the place of this one.
	passing bool
}

// nobody is the layout while the one server that is known must not be used.
var nobody = &layout{}

// String lists the servers.
func (l *layout) String() string {
	addrs := make([]string, len(l.nodes))
	for i, n := range l.nodes {
		addrs[i] = n.addr
	}
	slices.Sort(addrs)
	return strings.Join(addrs, " ")
}

// same tells whether two layouts have every key at the same server.
func (l *layout) same(other *layout) bool {
	if l.slots == nil || other.slots == nil {
		return l.slots == other.slots && slices.Equal(l.nodes, other.nodes)
	}
	return *l.slots == *other.slots
}

// at returns the server that has a key.
func (l *layout) at(key string) *node {
	if l.slots != nil {
		if n := l.slots[redisc.Slot(key)]; n != nil {
			return n
		}
	}
	return l.nodes[0] // in a cluster it will name the right one
}

// known returns the layout, which right after the start may have to be found yet,
// before ctx ends.
func (c *Client) known(ctx context.Context) (*layout, error) {
	l := c.layout.Load()
	if l == nil {
		c.look()
		select {
		case <-c.found:
			l = c.layout.Load()
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: not found yet", ErrUnavailable)
		}
	}
	if len(l.nodes) == 0 {
		c.look()
		return nil, fmt.Errorf("%w: the server that is known is a replica", ErrUnavailable)
	}
	return l, nil
}

// adopt puts a layout in force, and parts with servers that are not in it.
func (c *Client) adopt(l *layout) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.layout.Swap(l) == nil {
		close(c.found)
	}
	for addr, n := range c.nodes {
		if !slices.Contains(l.nodes, n) {
			n.retire()
			delete(c.nodes, addr)
		}
	}
}

// nodeAt returns the node of an address.
func (c *Client) nodeAt(addr string) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[addr]
	if n == nil {
		n = newNode(addr, c.dial)
		n.replaceable = len(c.options.Sentinels)+len(c.options.Cluster) > 0
		c.nodes[addr] = n
		if c.closed {
			n.retire()
		}
	}
	return n
}

// look asks for another look at where Redis is.
func (c *Client) look() {
	select {
	case c.lookup <- struct{}{}:
	default:
	}
}

// watch keeps the layout up to date. Where nobody knows better the last one stays:
// Redis may be well without its Sentinels.
func (c *Client) watch(ctx context.Context, ask func(context.Context) (*layout, error)) {
	lost := false // so that trouble is told once, not with every try
	for {
		l, err := ask(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !lost {
			c.options.Log.WarnContext(ctx, "cannot find out where Redis is", "error", err)
		}
		lost = err != nil
		if l != nil {
			if before := c.layout.Load(); before != nil && before.String() != l.String() {
				c.options.Log.InfoContext(ctx, "Redis is at other servers now", "before", before.String(), "now", l.String())
			}
			c.adopt(l)
		}
		settled := l != nil && l != nobody && !l.passing
		if !sleep(ctx, lookPause, nil) || settled && !sleep(ctx, lookInterval, c.lookup) {
			return
		}
	}
}

// sleep waits for so long, or until it is woken. It returns false where ctx has ended.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-timer.C:
	}
	return true
}

// askOne sends one command to a server on a connection of its own.
func askOne(ctx context.Context, addr string, dial []redis.DialOption, command string, args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	conn, err := redis.DialContext(ctx, "tcp", addr, dial...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return redis.DoContext(conn, ctx, command, args...)
}
