package redisconn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/mna/redisc"
)

const (
	// refreshInterval is the refresh period in steady state. An idle process may use a
	// replaced server for about that long.
	refreshInterval = time.Second

	// refreshPause is the minimum time between two refreshes after a failure.
	refreshPause = 50 * time.Millisecond
)

// topology maps keys to servers. It is immutable.
type topology struct {
	nodes []*node

	// slots maps the slots of a cluster to nodes. It is nil if a single server has all keys.
	slots *[redisc.HashSlots]*node

	// inFailover is set while another server is replacing the master.
	inFailover bool
}

// noMaster is the topology while the known server is not a master, and after Close.
var noMaster = &topology{}

// addrs returns the host:port of all servers, sorted.
func (t *topology) addrs() []string {
	var addrs []string
	for _, n := range t.nodes {
		addrs = append(addrs, n.addr)
	}

	slices.Sort(addrs)
	return addrs
}

// sameAs reports whether t and other map all keys to the same servers.
func (t *topology) sameAs(other *topology) bool {
	if !slices.Equal(t.nodes, other.nodes) {
		return false
	}
	return t.slots == nil || *t.slots == *other.slots
}

// nodeFor returns the server for a key. If a cluster has not assigned the key's slot, it
// returns any server, which will redirect the command.
func (t *topology) nodeFor(key string) *node {
	if t.slots == nil {
		return t.nodes[0]
	}
	return cmp.Or(t.slots[redisc.Slot(key)], t.nodes[0])
}

// current returns the current topology. If none was found yet, it waits until the deadline.
// Errors: ErrUnavailable.
func (c *Client) current(deadline time.Time) (*topology, error) {
	t := c.topology.Load()
	if t == nil {
		select {
		case <-c.ready:
		case <-time.After(time.Until(deadline)):
		}

		t = c.topology.Load()
	}

	if t == nil || t == noMaster {
		return nil, fmt.Errorf("%w: no usable server found", ErrUnavailable)
	}

	return t, nil
}

// apply installs a topology and closes connections to servers no longer in it.
func (c *Client) apply(t *topology) {
	c.mu.Lock()
	defer c.mu.Unlock()
	previous := c.topology.Swap(t)
	if previous == nil {
		close(c.ready)
	}

	for addr, n := range c.nodes {
		if !slices.Contains(t.nodes, n) {
			_ = n.pool.Load().Close() // connections in use are closed when they are returned
			delete(c.nodes, addr)
		}
	}
}

// nodeAt returns the node with the given host:port, and creates it if necessary.
func (c *Client) nodeAt(addr string) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[addr]
	if n == nil {
		n = newNode(addr, c.options)
		c.nodes[addr] = n
	}

	return n
}

// requestRefresh makes watch refresh the topology now.
func (c *Client) requestRefresh() {
	select {
	case c.refresh <- struct{}{}:
	default:
	}
}

// watch keeps the topology up to date until ctx ends. If find returns no topology, the
// current one stays in use, because Redis may work even if its Sentinels do not.
func (c *Client) watch(ctx context.Context, find func() (*topology, error)) {
	failing := false // so that a failure is logged once, not on every attempt

	for {
		t, err := find()
		if ctx.Err() != nil {
			return
		}

		if err != nil && !failing {
			c.options.Log.WarnContext(ctx, "cannot refresh the Redis topology", "error", err)
		}
		failing = err != nil

		if t != nil {
			c.logChange(ctx, c.topology.Load(), t)
			c.apply(t)
		}

		time.Sleep(refreshPause)

		stable := t != nil && t != noMaster && !t.inFailover
		if stable {
			select {
			case <-c.refresh:
			case <-ctx.Done():
			case <-time.After(refreshInterval):
			}
		}
	}
}

// logChange logs that the servers have changed, if they have.
func (c *Client) logChange(ctx context.Context, before, after *topology) {
	if before == nil || slices.Equal(before.addrs(), after.addrs()) {
		return
	}

	c.options.Log.InfoContext(ctx, "Redis topology changed",
		"before", strings.Join(before.addrs(), " "),
		"after", strings.Join(after.addrs(), " "))
}

// findSlots asks the servers of the cluster for the slots until one replies: first those
// that currently serve keys, then the configured ones.
func (c *Client) findSlots() (*topology, error) {
	addrs := c.options.Cluster
	if t := c.topology.Load(); t != nil {
		addrs = slices.Concat(t.addrs(), addrs)
	}

	var lastErr error
	for _, addr := range addrs {
		reply, err := c.nodeAt(addr).do(time.Now().Add(c.options.refreshTimeout()), "CLUSTER", "SLOTS")
		t, err := c.parseSlots(reply, err, addr)
		if err == nil {
			return t, nil
		}

		lastErr = fmt.Errorf("%s: %w", addr, err)
	}

	return nil, lastErr
}

// parseSlots parses a reply to CLUSTER SLOTS, which came from the host:port source. For each range
// of slots, the reply contains the first slot, the last slot, the master and the replicas.
func (c *Client) parseSlots(reply any, err error, source string) (*topology, error) {
	ranges, err := Values(reply, err)
	if err != nil {
		return nil, err
	}

	t := &topology{slots: new([redisc.HashSlots]*node)}

	for _, r := range ranges {
		var first, last int
		var master []any
		if err := Scan(r, nil, &first, &last, &master); err != nil {
			return nil, err
		}

		var host string
		var port int
		if err := Scan(master, nil, &host, &port); err != nil {
			return nil, err
		}

		if first < 0 || last >= redisc.HashSlots || first > last {
			return nil, fmt.Errorf("unexpected slots: %d to %d", first, last)
		}

		n := c.nodeAt(resolveAddr(fmt.Sprintf("%s:%d", host, port), source))
		if !slices.Contains(t.nodes, n) {
			t.nodes = append(t.nodes, n)
		}

		for slot := first; slot <= last; slot++ {
			t.slots[slot] = n
		}
	}

	if len(t.nodes) == 0 {
		return nil, errors.New("no slots")
	}

	return t, nil
}

// resolveAddr returns the host:port to dial for addr, which the server at source has named. A cluster may
// name a server without a host, which means the host of source, or with an IPv6 host that has no
// brackets.
func resolveAddr(addr, source string) string {
	colon := strings.LastIndexByte(addr, ':')
	host := strings.Trim(addr[:max(colon, 0)], "[]")
	port := addr[colon+1:]

	if host == "" || host == "?" {
		host, _, _ = net.SplitHostPort(source)
	}

	return net.JoinHostPort(host, port)
}
