package redisconn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
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
		found := l != nil && l != nobody
		if !sleep(ctx, lookPause, nil) || found && !sleep(ctx, lookInterval, c.lookup) {
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

// askSentinels asks all Sentinels, because one of them may be cut off from the others
// and believe in a server that was replaced: what the latest election says counts.
// Then it asks that server whether it knows. One that does not serve as a master must
// not be used: it may lag behind, and a session that has ended would be alive there.
func (c *Client) askSentinels(ctx context.Context) (*layout, error) {
	addr, err := c.elected(ctx)
	if err != nil {
		// Nobody to ask. What is in force stays as long as it says that it is the master.
		before := c.layout.Load()
		if before == nil || len(before.nodes) == 0 {
			return nil, err
		}
		addr = before.nodes[0].addr
	}
	role, roleErr := redis.Values(askOne(ctx, addr, c.dial, "ROLE"))
	if roleErr != nil {
		return nil, errors.Join(err, roleErr)
	}
	var name string
	if _, roleErr := redis.Scan(role, &name); roleErr != nil || name != "master" {
		return nobody, fmt.Errorf("%s is %q and not the master", addr, name)
	}
	return &layout{nodes: []*node{c.nodeAt(addr)}}, err
}

// elected returns the address of the master by the latest election that a Sentinel
// knows of.
func (c *Client) elected(ctx context.Context) (string, error) {
	o := Options{Username: c.options.SentinelUsername, Password: c.options.SentinelPassword, TLS: c.options.TLS}
	var mu sync.Mutex
	var latest int64 = -1
	var addr string
	var failed error
	var wg sync.WaitGroup
	for _, at := range c.options.Sentinels {
		wg.Go(func() {
			state, err := redis.StringMap(askOne(ctx, at, o.dialOptions(), "SENTINEL", "MASTER", c.options.Master))
			epoch, epochErr := redis.Int64([]byte(state["config-epoch"]), nil)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				failed = fmt.Errorf("sentinel %s: %w", at, err)
			case epochErr != nil || state["ip"] == "":
				failed = fmt.Errorf("sentinel %s: strange answer", at)
			case epoch > latest:
				latest, addr = epoch, net.JoinHostPort(state["ip"], state["port"])
			}
		})
	}
	wg.Wait()
	if latest < 0 {
		return "", failed
	}
	return addr, nil
}

// askCluster asks servers of the cluster, those that share the keys at present before
// those that were given, until one knows where the slots are.
func (c *Client) askCluster(ctx context.Context) (*layout, error) {
	var addrs []string
	if l := c.layout.Load(); l != nil {
		for _, n := range l.nodes {
			addrs = append(addrs, n.addr)
		}
	}
	var failed error
	for _, addr := range append(addrs, c.options.Cluster...) {
		shares, err := redis.Values(askOne(ctx, addr, c.dial, "CLUSTER", "SLOTS"))
		if err == nil {
			var l *layout
			if l, err = c.shared(shares, addr); err == nil {
				return l, nil
			}
		}
		failed = fmt.Errorf("%s: %w", addr, err)
	}
	return nil, failed
}

// shared makes a layout of what a server answers to CLUSTER SLOTS: for each range of
// slots the first, the last, the master and its replicas.
func (c *Client) shared(shares []any, by string) (*layout, error) {
	l := &layout{slots: new([redisc.HashSlots]*node)}
	nodes := map[*node]bool{}
	for _, share := range shares {
		parts, err := redis.Values(share, nil)
		if err != nil {
			return nil, err
		}
		var first, last, port int
		var master []any
		var host string
		if _, err := redis.Scan(parts, &first, &last, &master); err != nil {
			return nil, err
		}
		if _, err := redis.Scan(master, &host, &port); err != nil {
			return nil, err
		}
		if first < 0 || last >= redisc.HashSlots || first > last {
			return nil, fmt.Errorf("strange slots: %d to %d", first, last)
		}
		n := c.nodeAt(completed(fmt.Sprintf("%s:%d", host, port), by))
		nodes[n] = true
		for slot := first; slot <= last; slot++ {
			l.slots[slot] = n
		}
	}
	if len(nodes) == 0 {
		return nil, errors.New("knows of no slots")
	}
	l.nodes = slices.Collect(maps.Keys(nodes))
	return l, nil
}

// completed makes an address that a server has named one that can be dialled: its
// own host may be left out, and that of IPv6 comes without brackets.
func completed(addr, by string) string {
	i := strings.LastIndexByte(addr, ':')
	host, port := strings.Trim(addr[:max(i, 0)], "[]"), addr[i+1:]
	if host == "" || host == "?" {
		host, _, _ = net.SplitHostPort(by)
	}
	return net.JoinHostPort(host, port)
}
