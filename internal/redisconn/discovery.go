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

	"github.com/gomodule/redigo/redis"
	"github.com/mna/redisc"
)

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
	latest, err := c.elected(ctx)
	if err != nil {
		// Nobody to ask. What is in force stays as long as it says that it is the master.
		before := c.layout.Load()
		if before == nil || len(before.nodes) == 0 {
			return nil, err
		}
		latest = election{addr: before.nodes[0].addr}
	}
	role, roleErr := redis.Values(askOne(ctx, latest.addr, c.dial, "ROLE"))
	if roleErr != nil {
		return nil, errors.Join(err, roleErr)
	}
	var name string
	if _, roleErr := redis.Scan(role, &name); roleErr != nil || name != "master" {
		return nobody, fmt.Errorf("%s is %q and not the master", latest.addr, name)
	}
	return &layout{nodes: []*node{c.nodeAt(latest.addr)}, passing: latest.failover}, err
}

// election is what the Sentinels say of the master.
type election struct {
	addr string
	// failover says that one of them is about to put another server in its place.
	failover bool
}

// elected returns the master by the latest election that a Sentinel knows of.
func (c *Client) elected(ctx context.Context) (election, error) {
	o := Options{Username: c.options.SentinelUsername, Password: c.options.SentinelPassword, TLS: c.options.TLS}
	var mu sync.Mutex
	var last int64 = -1
	var latest election
	var failed error
	var wg sync.WaitGroup
	for _, at := range c.options.Sentinels {
		wg.Go(func() {
			state, err := redis.StringMap(askOne(ctx, at, o.dialOptions(), "SENTINEL", "MASTER", c.options.Master))
			epoch, epochErr := redis.Int64([]byte(state["config-epoch"]), nil)
			// While a Sentinel does it, it names the old server, with the new epoch.
			failover := strings.Contains(state["flags"], "failover_in_progress")
			mu.Lock()
			defer mu.Unlock()
			latest.failover = latest.failover || failover
			switch {
			case err != nil:
				failed = fmt.Errorf("sentinel %s: %w", at, err)
			case epochErr != nil || state["ip"] == "":
				failed = fmt.Errorf("sentinel %s: strange answer", at)
			case epoch > last || epoch == last && !failover:
				last, latest.addr = epoch, net.JoinHostPort(state["ip"], state["port"])
			}
		})
	}
	wg.Wait()
	if last < 0 {
		return election{}, failed
	}
	return latest, nil
}

// askCluster asks servers of the cluster, those that share the keys at present before
// those that were given, until one knows where the slots are.
func (c *Client) askCluster(ctx context.Context) (*layout, error) {
	return c.askClusterBut(ctx, "")
}

// askClusterBut asks all but one.
func (c *Client) askClusterBut(ctx context.Context, but string) (*layout, error) {
	var addrs []string
	if l := c.layout.Load(); l != nil {
		for _, n := range l.nodes {
			addrs = append(addrs, n.addr)
		}
	}
	var failed error
	for _, addr := range append(addrs, c.options.Cluster...) {
		if addr == but {
			continue
		}
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
