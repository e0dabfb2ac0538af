package redisconn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/FZambia/sentinel/v2"
	"github.com/gomodule/redigo/redis"
	"github.com/mna/redisc"
)

const (
	// lookInterval is how often it is asked where Redis is, while all is well. So long
	// at most a process that has nothing to do may believe in a server that another
	// has taken the place of.
	lookInterval = time.Second
	// lookPause is the least time between two questions, while all is not.
	lookPause = 50 * time.Millisecond
	// lookTimeout bounds each step of a question.
	lookTimeout = 250 * time.Millisecond
)

// layout is which server has which keys. It is never changed, only replaced.
type layout struct {
	nodes []*node
	// slots maps the slots of a cluster to nodes; nil where one server has all keys.
	slots *[redisc.HashSlots]*node
}

// String lists the servers.
func (l *layout) String() string {
	addrs := make([]string, len(l.nodes))
	for i, n := range l.nodes {
		addrs[i] = n.addr
	}
	slices.Sort(addrs)
	return strings.Join(addrs, " ")
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
	if l := c.layout.Load(); l != nil {
		return l, nil
	}
	select {
	case <-c.found:
		return c.layout.Load(), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: not found yet", ErrUnavailable)
	}
}

// adopt puts a layout in force, and parts with servers that are not in it.
func (c *Client) adopt(l *layout) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for addr, n := range c.nodes {
		if !slices.Contains(l.nodes, n) {
			n.retire()
			delete(c.nodes, addr)
		}
	}
	if c.layout.Swap(l) == nil {
		close(c.found)
	}
}

// nodeAt returns the node of an address.
func (c *Client) nodeAt(addr string) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[addr]
	if n == nil {
		n = newNode(addr, c.dial)
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

// watch keeps the layout up to date. Where nobody can be asked the last one stays:
// Redis may be well without its Sentinels.
func (c *Client) watch(ctx context.Context, ask func() (*layout, error)) {
	lost := false // so that trouble is told once, not with every try
	for ctx.Err() == nil {
		l, err := ask()
		if err != nil && !lost {
			c.options.Log.WarnContext(ctx, "cannot find out where Redis is", "error", err)
		}
		if err == nil {
			if before := c.layout.Load(); lost || before != nil && before.String() != l.String() {
				c.options.Log.InfoContext(ctx, "Redis is found", "servers", l.String())
			}
			c.adopt(l)
		}
		lost = err != nil
		select {
		case <-ctx.Done():
		case <-time.After(lookPause):
		}
		select {
		case <-ctx.Done():
		case <-c.lookup:
		case <-time.After(lookInterval):
		}
	}
}

// watchSentinels watches the server that the Sentinels name. They may believe in one
// that does not know of its office yet, or no longer holds it, so it is asked itself.
func (c *Client) watchSentinels(ctx context.Context) {
	s := &sentinel.Sentinel{
		Addrs: slices.Clone(c.options.Sentinels), MasterName: c.options.Master,
		Dial: func(addr string) (redis.Conn, error) {
			return redis.Dial("tcp", addr, c.options.transport(),
				redis.DialReadTimeout(lookTimeout), redis.DialWriteTimeout(lookTimeout),
				redis.DialUsername(c.options.SentinelUsername), redis.DialPassword(c.options.SentinelPassword))
		},
	}
	defer func() { _ = s.Close() }()
	c.watch(ctx, func() (*layout, error) {
		addr, err := s.MasterAddr()
		if err != nil {
			return nil, err
		}
		n := c.nodeAt(addr)
		ctx, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		role, err := redis.Values(n.once(ctx, false, func(_ *node, conn timedConn) (any, error) { return conn.Do("ROLE") }))
		if err != nil {
			return nil, err
		}
		var name string
		var replicas []any
		if _, err := redis.Scan(role, &name, nil, &replicas); err != nil || name != "master" {
			return nil, fmt.Errorf("%s is %q, not master", addr, name)
		}
		n.replicas.Store(int64(len(replicas)))
		return &layout{nodes: []*node{n}}, nil
	})
}

// askCluster asks servers of the cluster, those that are known and those that were
// given, until one answers.
func (c *Client) askCluster() (*layout, error) {
	addrs := slices.Clone(c.options.Cluster)
	if l := c.layout.Load(); l != nil {
		for _, n := range l.nodes {
			addrs = append(addrs, n.addr)
		}
	}
	var slots [redisc.HashSlots][]string
	cluster := redisc.Cluster{
		StartupNodes: addrs,
		DialOptions: []redis.DialOption{
			c.options.transport(), redis.DialReadTimeout(lookTimeout), redis.DialWriteTimeout(lookTimeout),
			redis.DialUsername(c.options.Username), redis.DialPassword(c.options.Password),
		},
		LayoutRefresh: func(_, found [redisc.HashSlots][]string) { slots = found },
	}
	defer func() { _ = cluster.Close() }()
	if err := cluster.Refresh(); err != nil {
		return nil, err
	}
	l := &layout{slots: new([redisc.HashSlots]*node)}
	nodes := map[string]*node{}
	for i, servers := range slots {
		if len(servers) == 0 {
			continue
		}
		n := nodes[servers[0]]
		if n == nil {
			n = c.nodeAt(completed(servers[0], addrs[0]))
			n.replicas.Store(int64(len(servers) - 1))
			nodes[servers[0]] = n
		}
		l.slots[i] = n
	}
	if len(nodes) == 0 {
		return nil, errors.New("the cluster has no slots yet")
	}
	l.nodes = slices.Collect(maps.Values(nodes))
	return l, nil
}
