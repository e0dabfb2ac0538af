package redisconn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/gomodule/redigo/redis"
	"github.com/mna/redisc"
)

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
