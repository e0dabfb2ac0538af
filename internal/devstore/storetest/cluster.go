package storetest

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/mna/redisc"
)

// ClusterRedis is a Redis Cluster of three servers that share the keys, each with a
// replica or none.
type ClusterRedis struct {
	Redis
	servers []*RedisServer
}

const (
	clusterShare = redisc.HashSlots / 3
	// clusterTimeout is after how many milliseconds a server is taken for dead.
	clusterTimeout = "1000"
)

// StartCluster starts a cluster with replicas for a test that takes a server away.
func StartCluster(t testing.TB) *ClusterRedis {
	t.Helper()
	c, stop, err := startCluster(t.TempDir(), true)
	t.Cleanup(stop)
	fatal(t, err)
	return c
}

func startCluster(dir string, replicas bool) (c *ClusterRedis, stop func(), err error) {
	c = &ClusterRedis{}
	made := c // c is nil after an error
	stop = func() {
		for _, server := range made.servers {
			server.Kill()
		}
	}
	count := 3
	if replicas {
		count = 6
	}
	for i := range count {
		bus, err := freePort()
		if err != nil {
			return nil, stop, err
		}
		server, err := startRedis(filepath.Join(dir, itoa(int64(i))), append(slices.Clone(replicated),
			"--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", clusterTimeout)...)
		if err != nil {
			return nil, stop, err
		}
		c.servers = append(c.servers, server)
		if i < 3 {
			c.Cluster = append(c.Cluster, server.Addr)
			last := (i+1)*clusterShare - 1
			if i == 2 {
				last = redisc.HashSlots - 1
			}
			_, err = ask(server.Addr, "CLUSTER", "ADDSLOTSRANGE", i*clusterShare, last)
		}
		if err == nil && i > 0 {
			host, port, _ := net.SplitHostPort(server.Addr)
			_, err = ask(c.servers[0].Addr, "CLUSTER", "MEET", host, port, bus)
		}
		if err != nil {
			return nil, stop, err
		}
	}
	for i := 3; i < count; i++ {
		id, err := redis.String(ask(c.servers[i-3].Addr, "CLUSTER", "MYID"))
		if err != nil {
			return nil, stop, err
		}
		err = eventually("the servers have met", func() error {
			_, err := ask(c.servers[i].Addr, "CLUSTER", "REPLICATE", id)
			return err
		})
		if err != nil {
			return nil, stop, err
		}
	}
	return c, stop, c.ready()
}

// ready waits until every server finds that all is well.
func (c *ClusterRedis) ready() error {
	return eventually("the cluster is complete", func() error {
		for _, server := range c.servers {
			nodes, err := redis.String(ask(server.Addr, "CLUSTER", "NODES"))
			if err != nil {
				return err
			}
			info, err := redis.String(ask(server.Addr, "CLUSTER", "INFO"))
			if err != nil {
				return err
			}
			if !strings.Contains(info, "cluster_state:ok") || strings.Count(nodes, " connected") != len(c.servers) || strings.Contains(nodes, "fail") ||
				strings.Count(nodes, "slave") != len(c.servers)-3 {
				return fmt.Errorf("%s: %s\n%s", server.Addr, strings.SplitN(info, "\r\n", 2)[0], nodes)
			}
			replication, err := redis.String(ask(server.Addr, "INFO", "replication"))
			if err != nil {
				return err
			}
			if strings.Contains(replication, "master_link_status:down") {
				return fmt.Errorf("%s is not in touch with its master", server.Addr)
			}
		}
		return nil
	})
}

// Ready waits until the cluster is complete.
func (c *ClusterRedis) Ready(t testing.TB) {
	t.Helper()
	fatal(t, c.ready())
}

// Holder is the server that has a key now.
func (c *ClusterRedis) Holder(t testing.TB, key string) *RedisServer {
	t.Helper()
	for _, server := range c.servers {
		_, err := ask(server.Addr, "EXISTS", key)
		if moved := redisc.ParseRedir(err); err == nil || moved == nil {
			continue
		} else if i := c.at(moved.Addr); i >= 0 {
			return c.servers[i]
		}
	}
	for _, server := range c.servers[:3] {
		if _, err := ask(server.Addr, "EXISTS", key); err == nil {
			return server
		}
	}
	t.Fatalf("nobody has %s", key)
	return nil
}

// Replaced waits until another server has the share of one that was killed.
func (c *ClusterRedis) Replaced(t testing.TB, failed *RedisServer) {
	t.Helper()
	fatal(t, eventually("a replica has the place of the server that failed", func() error {
		for _, server := range c.servers {
			if server == failed {
				continue
			}
			info, err := redis.String(ask(server.Addr, "CLUSTER", "INFO"))
			if err != nil {
				return err
			}
			nodes, err := redis.String(ask(server.Addr, "CLUSTER", "NODES"))
			if err != nil {
				return err
			}
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(nodes, "fail") {
				return fmt.Errorf("%s has not noticed:\n%s", server.Addr, nodes)
			}
		}
		return nil
	}))
}

func (c *ClusterRedis) at(addr string) int {
	for i, server := range c.servers {
		if server.Addr == addr {
			return i
		}
	}
	return -1
}

// clusterConn sends a command to the server that has its key, and those that have
// none to all that share the keys.
type clusterConn struct {
	redis.Conn
	cluster *redisc.Cluster
}

func newClusterConn(addrs []string) (redis.Conn, error) {
	c := clusterConn{cluster: &redisc.Cluster{StartupNodes: addrs}}
	if err := c.cluster.Refresh(); err != nil {
		return nil, err
	}
	conn := c.cluster.Get()
	var err error
	c.Conn, err = redisc.RetryConn(conn, 4, 10*time.Millisecond)
	return c, err
}

func (c clusterConn) Do(command string, args ...any) (any, error) {
	switch command {
	case "KEYS":
		var all []any
		err := c.cluster.EachNode(false, func(_ string, conn redis.Conn) error {
			keys, err := redis.Values(conn.Do(command, args...))
			all = append(all, keys...)
			return err
		})
		return all, err
	case "DBSIZE":
		var all int64
		err := c.cluster.EachNode(false, func(_ string, conn redis.Conn) error {
			n, err := redis.Int64(conn.Do(command))
			all += n
			return err
		})
		return all, err
	case "FLUSHALL", "FLUSHDB":
		return "OK", c.cluster.EachNode(false, func(_ string, conn redis.Conn) error {
			_, err := conn.Do(command)
			return err
		})
	}
	return c.Conn.Do(command, args...)
}

func (c clusterConn) Close() error { return errors.Join(c.Conn.Close(), c.cluster.Close()) }
