package storetest

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gomodule/redigo/redis"
	"github.com/mna/redisc"

	"latchkey/internal/testkit"
	"latchkey/internal/testkit/suite"
)

// clusterMasters is the number of masters in a cluster.
const clusterMasters = 3

// clusterTimeout is the time after which the cluster considers a server down, in
// milliseconds.
const clusterTimeout = "1000"

// ClusterRedis is a Redis Cluster of three masters, each with the same number of replicas.
type ClusterRedis struct {
	Redis
	servers []*RedisServer
}

// StartCluster starts a cluster with one replica per master, for a test that kills a server.
func StartCluster(t testing.TB) *ClusterRedis {
	t.Helper()
	suite.Default(t)

	c, err := startCluster(t.Cleanup, t.TempDir(), 1)
	check(t, err)
	return c
}

// startCluster starts a cluster with the given number of replicas per master.
func startCluster(cleanup func(func()), dir string, replicas int) (*ClusterRedis, error) {
	c := &ClusterRedis{}
	createArgs := []string{"--cluster-yes", "--cluster-replicas", strconv.Itoa(replicas), "--cluster", "create"}

	for i := range clusterMasters * (1 + replicas) {
		busPort, err := testkit.FreePort()
		if err != nil {
			return c, err
		}

		args := append(slices.Clone(replicatedArgs),
			"--cluster-enabled", "yes",
			"--cluster-port", busPort,
			"--cluster-node-timeout", clusterTimeout)
		server, err := startRedis(cleanup, filepath.Join(dir, strconv.Itoa(i)), args...)
		if err != nil {
			return c, err
		}

		c.servers = append(c.servers, server)
		createArgs = append(createArgs, server.Addr+"@"+busPort)
		if i < clusterMasters {
			c.Cluster = append(c.Cluster, server.Addr)
		}
	}

	if output, err := exec.Command("redis-cli", createArgs...).CombinedOutput(); err != nil {
		return c, fmt.Errorf("create the cluster: %w\n%s", err, output)
	}

	return c, c.awaitReady()
}

// AwaitReady waits until the cluster is complete and healthy.
func (c *ClusterRedis) AwaitReady(t testing.TB) {
	t.Helper()
	check(t, c.awaitReady())
}

func (c *ClusterRedis) awaitReady() error {
	replicas := len(c.servers) - clusterMasters
	return c.awaitHealthy("the cluster is complete", nil, func(nodes string) bool {
		return strings.Count(nodes, " connected") == len(c.servers) &&
			strings.Count(nodes, "slave") == replicas &&
			!strings.Contains(nodes, "fail")
	})
}

// MasterOf returns the master that has a key. Replicas do not serve keys.
func (c *ClusterRedis) MasterOf(t testing.TB, key string) *RedisServer {
	t.Helper()
	for _, server := range c.servers {
		if _, err := query(server.Addr, "EXISTS", key); err == nil {
			return server
		}
	}

	t.Fatalf("no server has the key %s", key)

	return nil
}

// AwaitFailover waits until a replica has replaced a killed server.
func (c *ClusterRedis) AwaitFailover(t testing.TB, failed *RedisServer) {
	t.Helper()
	check(t, c.awaitHealthy("a replica has replaced the failed server", failed, func(nodes string) bool {
		return strings.Contains(nodes, "fail")
	}))
}

// awaitHealthy waits until all servers except failed consider the cluster healthy, and condition
// returns true for the output of CLUSTER NODES on each.
func (c *ClusterRedis) awaitHealthy(what string, failed *RedisServer, condition func(nodes string) bool) error {
	return eventually(what, func() error {
		for _, server := range c.servers {
			if server == failed {
				continue
			}

			if err := checkClusterNode(server.Addr, condition); err != nil {
				return err
			}
		}

		return nil
	})
}

func checkClusterNode(addr string, condition func(nodes string) bool) error {
	info, err1 := redis.String(query(addr, "CLUSTER", "INFO"))
	nodes, err2 := redis.String(query(addr, "CLUSTER", "NODES"))
	replication, err3 := redis.String(query(addr, "INFO", "replication"))
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}

	clusterOK := strings.Contains(info, "cluster_state:ok")
	replicaDisconnected := strings.Contains(replication, "master_link_status:down")
	if !clusterOK || replicaDisconnected || !condition(nodes) {
		state, _, _ := strings.Cut(info, "\r\n")
		return fmt.Errorf("%s: %s\n%s\n%s", addr, state, nodes, replication)
	}

	return nil
}

// clusterConn is a connection to a cluster. It sends a command that has a key to the server
// that owns the key, and KEYS, DBSIZE, FLUSHALL and FLUSHDB to all masters. Every command uses a new
// connection.
type clusterConn struct {
	redis.Conn // nil; only Do and Close are implemented
	cluster    *redisc.Cluster
}

// Do implements redis.Conn.
func (c clusterConn) Do(command string, args ...any) (any, error) {
	if err := c.cluster.Refresh(); err != nil {
		return nil, err
	}

	switch command {
	case "KEYS", "DBSIZE", "FLUSHALL", "FLUSHDB":
		return c.doOnAllMasters(command, args...)
	}

	const attempts = 3
	conn, err := redisc.RetryConn(c.cluster.Get(), attempts, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()

	return conn.Do(command, args...)
}

// doOnAllMasters returns the keys of all masters for KEYS, and otherwise the sum of the replies.
func (c clusterConn) doOnAllMasters(command string, args ...any) (any, error) {
	var keys []any
	var sum int64
	err := c.cluster.EachNode(false, func(_ string, conn redis.Conn) error {
		reply, err := conn.Do(command, args...)
		if n, ok := reply.(int64); ok {
			sum += n
		} else if batch, ok := reply.([]any); ok {
			keys = append(keys, batch...)
		}

		return err
	})

	if command == "KEYS" {
		return keys, err
	}

	return sum, err
}

// Close implements redis.Conn.
func (clusterConn) Close() error { return nil }
